import assert from "node:assert/strict";
import { test } from "node:test";

import { gridFor, rateWindowS, timesOf } from "./steps.ts";

test("the step follows the width, and is never finer than the scrapes", () => {
  const span = { fromS: 1_000_003, toS: 1_003_603 };
  assert.deepEqual(gridFor(span, 700, 5), { startS: 999_990, endS: 1_003_590, stepS: 15 });
  assert.equal(gridFor(span, 700, 60).stepS, 60);
  assert.equal(gridFor(span, 300, 5).stepS, 30);
  assert.equal(gridFor({ fromS: 0, toS: 7 * 86400 }, 700, 15).stepS, 1800);
  assert.equal(gridFor({ fromS: 0, toS: 1000 * 86400 }, 100, 15).stepS, 20 * 86400);
});

test("a moving window stays on the same moments", () => {
  const [first, second] = [gridFor({ fromS: 0, toS: 3600 }, 700, 5), gridFor({ fromS: 7, toS: 3607 }, 700, 5)];
  assert.equal(first.stepS, second.stepS);
  assert.equal(first.startS, second.startS);
});

test("long steps do not hide the present", () => {
  const week = gridFor({ fromS: 1000, toS: 7 * 86400 + 1000 }, 700, 15);
  assert.deepEqual(week, { startS: 900, endS: 7 * 86400 + 900, stepS: 1800 });
});

test("rates see four scrapes, and leave no sample out between steps", () => {
  assert.equal(rateWindowS(5, 5), 20);
  assert.equal(rateWindowS(60, 15), 75);
  assert.equal(rateWindowS(15, 15), 60);
});

test("times of a grid include both ends", () => {
  assert.deepEqual(timesOf({ startS: 10, endS: 30, stepS: 10 }), [10, 20, 30]);
});
