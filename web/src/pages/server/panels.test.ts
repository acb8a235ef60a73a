import assert from "node:assert/strict";
import { test } from "node:test";

import type { Column, Values } from "../../chart/lines.ts";
import { PANELS } from "./panels.ts";

function draw(id: string, found: Record<string, Column[]>) {
  const panel = PANELS.find((candidate) => candidate.id === id);
  assert.ok(panel);
  const { lines, remark } = panel.draw(found);
  return { lines: lines.map(({ entry, part, values, mirrored }) => [entry, part, values, mirrored]), remark };
}

const column = (labels: Record<string, string>, values: Values): Column => ({ labels, values });
const memoryColumn = (name: string, values: Values) => column({ __name__: `node_memory_${name}_bytes` }, values);

test("CPU modes are stacked in a fixed order; rare ones only where they occur, and none is made up", () => {
  const modes = [["system", 1], ["steal", 0], ["unheard-of", 3], ["user", 2]].map(([mode, value]) => column({ mode: String(mode) }, [Number(value)]));
  assert.deepEqual(draw("cpu", { modes }).lines, [["user", "", [2], false], ["system", "", [1], false]]);
});

test("used memory is what is neither free nor cache, and the three add up to the total", () => {
  const memory = [
    memoryColumn("MemTotal", [100, 100]), memoryColumn("MemFree", [40, null]), memoryColumn("Buffers", [5, 5]),
    memoryColumn("Cached", [20, 20]), memoryColumn("SReclaimable", [5, 5]),
  ];
  assert.deepEqual(draw("memory", { memory }).lines, [
    ["used", "", [30, null], false], ["buffers and cache", "", [30, 30], false], ["free", "", [40, null], false],
  ]);
});

test("memory is drawn where the kernel tells of no caches", () => {
  const memory = [memoryColumn("MemTotal", [100]), memoryColumn("MemFree", [40])];
  assert.deepEqual(draw("memory", { memory }).lines.map(([entry, , values]) => [entry, values]), [
    ["used", [60]], ["buffers and cache", [0]], ["free", [40]],
  ]);
});

test("a device has one entry with two directions, and idle devices are counted only", () => {
  const received = [column({ device: "eth0" }, [7]), column({ device: "ifb0" }, [0])];
  const sent = [column({ device: "eth0" }, [3]), column({ device: "ifb0" }, [0])];
  assert.deepEqual(draw("network", { received, sent }), {
    lines: [["eth0", "in", [7], false], ["eth0", "out", [3], true]],
    remark: "1 idle device not shown",
  });
});

test("a server without metrics draws nothing", () => {
  for (const panel of PANELS) {
    const found = Object.fromEntries(Object.keys(panel.queries("", "1m")).map((name) => [name, []]));
    assert.deepEqual(panel.draw(found).lines, [], panel.id);
  }
});
