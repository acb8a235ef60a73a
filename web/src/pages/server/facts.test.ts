import assert from "node:assert/strict";
import { test } from "node:test";

import type { InstantSeries } from "../../api/prometheus.ts";
import { type Facts, readGauges, tilesOf } from "./facts.ts";

const gauge = (name: string, value: string, mountpoint?: string): InstantSeries => ({
  metric: { __name__: name, ...(mountpoint === undefined ? {} : { mountpoint }) }, value: [0, value],
});
const filesystem = (mountpoint: string, size: string, available: string) => [
  gauge("node_filesystem_size_bytes", size, mountpoint), gauge("node_filesystem_avail_bytes", available, mountpoint),
];

test("the disk is the root's, else the largest", () => {
  const [small, root, large] = [filesystem("/boot", "10", "5"), filesystem("/", "20", "5"), filesystem("/data", "90", "9")];
  assert.equal(readGauges([...small, ...large, ...root]).disk?.mountpoint, "/");
  assert.equal(readGauges([...small, ...large]).disk?.mountpoint, "/data");
  assert.equal(readGauges(filesystem("/", "0", "0")).disk, null);
});

test("tiles show values with what they are measured against", () => {
  const facts: Facts = {
    cpuPercent: 12.5, cpuCount: 4, memoryTotalBytes: 4 * 1024 ** 3, memoryAvailableBytes: 1024 ** 3,
    disk: { mountpoint: "/", sizeBytes: 200 * 1024 ** 3, availableBytes: 50 * 1024 ** 3 },
    load1: 2, receivedBytesPerS: 2048, sentBytesPerS: 0, bootS: 1000,
  };
  const byName = Object.fromEntries(tilesOf(facts, 1000 + 90061, 60).map(({ name, ...tile }) => [name, tile]));
  assert.deepEqual(byName["CPU"], { value: "12.5%", detail: "4 cores", share: 0.125 });
  assert.deepEqual(byName["Memory"], { value: "75.0%", detail: "1.00 of 4.00 GiB left", share: 0.75 });
  assert.deepEqual(byName["Disk /"], { value: "75.0%", detail: "50.0 of 200 GiB left", share: 0.75 });
  assert.deepEqual(byName["Load, 1 min"], { value: "2.00", detail: "0.50 per core", share: null });
  assert.deepEqual(byName["Network in"], { value: "2.00 KiB/s", detail: "average of 1 min", share: null });
  assert.equal(byName["Uptime"]?.value, "1 d 1 h");
});

test("what is not known is a dash, not a zero", () => {
  const nothing: Facts = {
    ...readGauges([]), cpuPercent: null, cpuCount: null, receivedBytesPerS: null, sentBytesPerS: null,
  };
  for (const tile of tilesOf(nothing, 0, 60)) assert.equal(tile.value, "–", tile.name);
});
