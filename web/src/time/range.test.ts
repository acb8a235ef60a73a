import assert from "node:assert/strict";
import { test } from "node:test";

import {
  DEFAULT_RANGE, fixedRange, formatPromDuration, parsePromDuration, readRange, spanOf, type TimeRange, writeRange, zoomedOut,
} from "./range.ts";

test("every range survives the address bar", () => {
  const ranges: TimeRange[] = [
    { kind: "last", lengthS: 300 },
    { kind: "last", lengthS: 5400 },
    { kind: "last", lengthS: 7 * 86400 },
    { kind: "fixed", fromS: 1795498500, toS: 1795502100 },
  ];
  for (const range of ranges) {
    const params = new URLSearchParams();
    writeRange(range, params);
    assert.deepEqual(readRange(new URLSearchParams(params.toString())), range);
  }
});

test("an address that makes no sense gives the default range", () => {
  for (const text of ["", "range=soon", "range=0s", "range=1s", "from=1&to=nan", "from=200&to=100", "from=1e99&to=2e99"]) {
    assert.deepEqual(readRange(new URLSearchParams(text)), DEFAULT_RANGE, text);
  }
});

test("fixed moments are read as RFC 3339 or as seconds since the epoch", () => {
  const expected = { kind: "fixed", fromS: 1795498500, toS: 1795502100 };
  assert.deepEqual(readRange(new URLSearchParams("from=2026-11-24T05:35:00Z&to=2026-11-24T06:35:00Z")), expected);
  assert.deepEqual(readRange(new URLSearchParams("from=1795498500&to=1795502100")), expected);
});

test("durations are those of Prometheus", () => {
  const cases: [string, number | null][] = [
    ["15s", 15], ["1h30m", 5400], ["1d", 86400], ["500ms", 0.5], ["", null], ["5", null], ["m", null], ["-5m", null],
  ];
  for (const [text, seconds] of cases) assert.equal(parsePromDuration(text), seconds, text);
  assert.equal(formatPromDuration(5400), "90m");
  assert.equal(formatPromDuration(3600), "1h");
  assert.equal(formatPromDuration(45), "45s");
});

test("a selection narrower than the shortest range is widened around its middle", () => {
  assert.deepEqual(fixedRange(100, 110), { kind: "fixed", fromS: 90, toS: 120 });
});

test("zooming out doubles the span and stops at the present", () => {
  assert.deepEqual(spanOf(zoomedOut({ kind: "fixed", fromS: 1000, toS: 1100 }, 9000), 9000), { fromS: 950, toS: 1150 });
  assert.deepEqual(spanOf(zoomedOut({ kind: "last", lengthS: 100 }, 9000), 9000), { fromS: 8800, toS: 9000 });
});
