// The span of time a page shows: the last so many seconds, or two fixed moments. Kept in the address bar.

export type TimeRange =
  | { readonly kind: "last"; readonly lengthS: number }
  | { readonly kind: "fixed"; readonly fromS: number; readonly toS: number };

export interface Span {
  readonly fromS: number;
  readonly toS: number;
}

export const PRESETS: readonly { readonly lengthS: number; readonly name: string }[] = [
  { lengthS: 300, name: "Last 5 min" },
  { lengthS: 900, name: "Last 15 min" },
  { lengthS: 3600, name: "Last hour" },
  { lengthS: 6 * 3600, name: "Last 6 hours" },
  { lengthS: 24 * 3600, name: "Last 24 hours" },
  { lengthS: 7 * 86400, name: "Last 7 days" },
];

export const DEFAULT_RANGE: TimeRange = { kind: "last", lengthS: 900 };

/** Nothing narrower can be chosen: it would hold less than a few samples. */
export const SHORTEST_S = 30;

const UNIT_SECONDS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400, w: 604800, y: 31536000 };

/** The range at this moment, in seconds since the epoch. */
export function spanOf(range: TimeRange, nowS: number): Span {
  if (range.kind === "fixed") return { fromS: range.fromS, toS: range.toS };
  return { fromS: nowS - range.lengthS, toS: nowS };
}

/** A fixed range around a selection, widened to the shortest that makes sense. */
export function fixedRange(fromS: number, toS: number): TimeRange {
  const missing = Math.max(0, SHORTEST_S - (toS - fromS));
  return { kind: "fixed", fromS: Math.floor(fromS - missing / 2), toS: Math.ceil(toS + missing / 2) };
}

/** Twice as long around the same middle, never past the present. */
export function zoomedOut(range: TimeRange, nowS: number): TimeRange {
  const { fromS, toS } = spanOf(range, nowS);
  const half = (toS - fromS) / 2;
  const end = Math.min(nowS, toS + half);
  return fixedRange(end - 4 * half, end);
}

/** As parameters of the address: `range=1h`, or `from=...&to=...` in RFC 3339. */
export function writeRange(range: TimeRange, params: URLSearchParams): void {
  if (range.kind === "last") {
    params.set("range", formatPromDuration(range.lengthS));
  } else {
    params.set("from", toRfc3339(range.fromS));
    params.set("to", toRfc3339(range.toS));
  }
}

/** What the address says, or the default where it says nothing that makes sense. */
export function readRange(params: URLSearchParams): TimeRange {
  const lengthS = parsePromDuration(params.get("range") ?? "");
  if (lengthS !== null && lengthS >= SHORTEST_S) return { kind: "last", lengthS };
  const [fromS, toS] = [parseMoment(params.get("from")), parseMoment(params.get("to"))];
  if (fromS !== null && toS !== null && toS - fromS >= SHORTEST_S) return { kind: "fixed", fromS, toS };
  return DEFAULT_RANGE;
}

/** A Prometheus duration ("1h30m", "15s") in seconds, or null. */
export function parsePromDuration(text: string): number | null {
  if (!/^([0-9]+(ms|[smhdwy]))+$/.test(text)) return null;
  let seconds = 0;
  for (const [, count, unit] of text.matchAll(/([0-9]+)(ms|[smhdwy])/g)) {
    seconds += Number(count) * (UNIT_SECONDS[unit ?? ""] ?? 0);
  }
  return seconds;
}

/** Whole seconds as a Prometheus duration in its largest whole unit: 5400 is "90m". */
export function formatPromDuration(seconds: number): string {
  for (const unit of ["d", "h", "m"]) {
    const length = UNIT_SECONDS[unit] ?? 1;
    if (seconds >= length && seconds % length === 0) return `${seconds / length}${unit}`;
  }
  return `${seconds}s`;
}

/** "Last hour", "Last 90m" for a length that is no preset. */
export function nameOfLast(lengthS: number): string {
  return PRESETS.find((preset) => preset.lengthS === lengthS)?.name ?? `Last ${formatPromDuration(lengthS)}`;
}

function toRfc3339(atS: number): string {
  return new Date(atS * 1000).toISOString().replace(".000Z", "Z");
}

function parseMoment(text: string | null): number | null {
  if (text === null || text === "") return null;
  const seconds = /^[0-9.]+$/.test(text) ? Number(text) : Date.parse(text) / 1000;
  return Number.isFinite(seconds) && Math.abs(seconds) < 1e11 ? Math.floor(seconds) : null;
}
