import assert from "node:assert/strict";
import { test } from "node:test";

import { formatBytes, formatDuration, formatPartOf, formatTick, formatValue } from "./units.ts";

test("bytes keep three significant digits and never reach 1000 of a unit", () => {
  const cases: [number, string][] = [
    [0, "0 B"],
    [512, "512 B"],
    [999, "999 B"],
    [1023, "1.00 KiB"],
    [1024, "1.00 KiB"],
    [1536, "1.50 KiB"],
    [12_595, "12.3 KiB"],
    [1024 ** 2 - 1, "1.00 MiB"],
    [25_276_502_016, "23.5 GiB"],
    [270_553_174_016, "252 GiB"],
    [-2048, "-2.00 KiB"],
  ];
  for (const [bytes, expected] of cases) assert.equal(formatBytes(bytes), expected);
});

test("a part is given in the unit of its whole", () => {
  assert.equal(formatPartOf(600 * 1024 ** 2, 23.5 * 1024 ** 3), "0.59 of 23.5 GiB");
  assert.equal(formatPartOf(9.996 * 1024 ** 3, 200 * 1024 ** 3), "10.0 of 200 GiB");
});

test("values carry their unit, and a missing one is a dash", () => {
  assert.equal(formatValue(12.345, "percent"), "12.3%");
  assert.equal(formatValue(0.004, "percent"), "0.00%");
  assert.equal(formatValue(0, "percent"), "0.0%");
  assert.equal(formatValue(99.96, "percent"), "100%");
  assert.equal(formatValue(2048, "bytes-per-second"), "2.00 KiB/s");
  assert.equal(formatValue(0.5, "load"), "0.50");
  assert.equal(formatValue(null, "load"), "–");
  assert.equal(formatValue(Number.POSITIVE_INFINITY, "bytes"), "–");
});

test("ticks are short and show magnitudes", () => {
  assert.equal(formatTick(25, 25, "percent"), "25%");
  assert.equal(formatTick(0.5, 0.5, "percent"), "0.5%");
  assert.equal(formatTick(-65_536, 65_536, "bytes-per-second"), "64 KiB/s");
  assert.equal(formatTick(1.5 * 1024 ** 3, 0.5 * 1024 ** 3, "bytes"), "1.5 GiB");
  assert.equal(formatTick(0, 1024, "bytes"), "0 B");
  assert.equal(formatTick(0.25, 0.05, "load"), "0.25");
});

test("durations show their two largest units", () => {
  assert.equal(formatDuration(5.9), "5 s");
  assert.equal(formatDuration(725), "12 min 5 s");
  assert.equal(formatDuration(3 * 86400 + 4 * 3600 + 59), "3 d 4 h");
  assert.equal(formatDuration(7260), "2 h 1 min");
});
