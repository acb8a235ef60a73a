import assert from "node:assert/strict";
import { test } from "node:test";

import {
  formatMoment, formatRange, formatTimeTicks, formatZone, fromLocalInput, toLocalInput,
} from "./clock.ts";

process.env["TZ"] = "Asia/Kolkata"; // half an hour off the grid of the zones
const NOON_UTC = Date.UTC(2026, 10, 24, 12, 0, 0) / 1000;

test("moments and zones are those of the browser", () => {
  assert.equal(formatMoment(NOON_UTC + 5), "24 Nov 2026, 17:30:05");
  assert.equal(formatZone(NOON_UTC), "UTC+05:30");
});

test("a range names the day once where both ends share it", () => {
  assert.equal(formatRange(NOON_UTC, NOON_UTC + 3600), "24 Nov, 17:30 – 18:30");
  assert.equal(formatRange(NOON_UTC, NOON_UTC + 86400), "24 Nov, 17:30 – 25 Nov, 17:30");
  assert.equal(formatRange(NOON_UTC + 1, NOON_UTC + 31), "24 Nov, 17:30:01 – 17:30:31");
});

test("time ticks show the day where it changes", () => {
  const sixOClock = NOON_UTC + 1800;
  assert.deepEqual(formatTimeTicks([sixOClock, sixOClock + 6 * 3600, sixOClock + 12 * 3600], 6 * 3600), [
    "18:00", "25 Nov", "06:00",
  ]);
  assert.deepEqual(formatTimeTicks([NOON_UTC, NOON_UTC + 30], 30), ["17:30:00", "17:30:30"]);
});

test("a local input field gives back what was put in", () => {
  assert.equal(toLocalInput(NOON_UTC + 7), "2026-11-24T17:30:07");
  assert.equal(fromLocalInput(toLocalInput(NOON_UTC + 7)), NOON_UTC + 7);
  assert.equal(fromLocalInput("next tuesday"), null);
});
