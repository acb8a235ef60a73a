import assert from "node:assert/strict";
import { test } from "node:test";

import type { InstantSeries } from "../../api/prometheus.ts";
import { mergeServers } from "./servers.ts";

const uname = (instance: string, nodename: string, release = "6.1") => ({
  job: "node", instance, nodename, release, sysname: "Linux", machine: "x86_64",
});
const up = (job: string, instance: string, value: string): InstantSeries => ({ metric: { job, instance }, value: [0, value] });

test("a server is found by its name, by being scraped, or by its past", () => {
  const found = mergeServers(
    [uname("a:1", "web10"), uname("b:1", "web9"), uname("b:1", "web9", "5.0")],
    [uname("b:1", "web9", "6.2")],
    [up("node", "b:1", "1"), up("node", "c:1", "0"), up("prometheus", "localhost:9090", "1")],
  );
  assert.deepEqual(found, [
    { job: "node", instance: "c:1", name: "c:1", system: "", up: false },
    { job: "node", instance: "b:1", name: "web9", system: "Linux 6.2 · x86_64", up: true },
    { job: "node", instance: "a:1", name: "web10", system: "Linux 6.1 · x86_64", up: null },
  ]);
});
