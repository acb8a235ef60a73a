import assert from "node:assert/strict";
import { test } from "node:test";

import { busiest, columnsOf, combine, isolated, stacked } from "./lines.ts";

const grid = { startS: 100, endS: 130, stepS: 10 };

test("a matrix becomes columns over the whole grid, what is no number a gap", () => {
  const matrix = [
    { metric: { mode: "user" }, values: [[100, "1"], [120, "NaN"], [130, "2.5"]] },
    { metric: { mode: "idle" }, values: [[110, "+Inf"], [120, "7"], [140, "9"]] },
  ] as const;
  assert.deepEqual(columnsOf(matrix, grid), [
    { labels: { mode: "user" }, values: [1, null, null, 2.5] },
    { labels: { mode: "idle" }, values: [null, null, 7, null] },
  ]);
});

test("stacking adds up, and keeps a gap only where all have one", () => {
  assert.deepEqual(stacked([[1, null, 3], [10, null, null], [100, null, 300]]), [
    [1, null, 3], [11, null, 3], [111, null, 303],
  ]);
  assert.deepEqual(stacked([]), []);
});

test("arithmetic over columns keeps gaps", () => {
  assert.deepEqual(combine([[5, null, 3], [1, 1, 3]], (a, b) => a - b), [4, null, 0]);
});

test("idle and excess entries are left out, and counted", () => {
  const some = new Map([["b", [[0, 2]]], ["a", [[1, 0], [5, 0]]], ["zero", [[0, 0]]], ["none", [[null, null]]]]);
  assert.deepEqual(busiest(some, "device"), { names: ["a", "b"], remark: "2 idle devices not shown" });
  assert.deepEqual(busiest(new Map([["a", [[0]]]]), "device"), { names: ["a"], remark: "" });
  const many = new Map(Array.from({ length: 10 }, (_, index) => [`d${index}`, [[index + 1]]]));
  assert.deepEqual(busiest(many, "device"), {
    names: ["d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9"], remark: "2 less busy devices not shown",
  });
});

test("lone points are found", () => {
  assert.deepEqual(isolated([1, null, 2, 3, null, 4]), [0, 5]);
  assert.deepEqual(isolated([null, null]), []);
});
