// From query results to lines on one time grid. Pure: no drawing here.
import { parseSampleValue, type Labels, type RangeSeries } from "../api/prometheus.ts";
import { type Grid, timesOf } from "../time/steps.ts";

/** One value per time of the grid; null where there is none. */
export type Values = (number | null)[];

export interface Column {
  readonly labels: Labels;
  readonly values: Values;
}

/** Index of a colour of the palette, from 1. */
export type Hue = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

/** For what is left over, like free memory. */
export const NEUTRAL_HUE: Hue = 8;

export interface Line {
  /** Its legend entry; lines of one entry (a device's two directions) share it and the hue. */
  readonly entry: string;
  /** Names the value within an entry that has several. */
  readonly part: "" | "read" | "write" | "in" | "out";
  readonly hue: Hue;
  readonly values: Values;
  /** Drawn downwards from zero. */
  readonly mirrored: boolean;
}

/** What a chart draws, and a remark on what it leaves out. */
export interface Drawing {
  readonly lines: readonly Line[];
  readonly remark: string;
}

const MOST_ENTRIES = 8;

/** The series of a matrix as columns over the whole grid, NaN and infinities as gaps, in the order of their labels. */
export function columnsOf(matrix: readonly RangeSeries[], grid: Grid): Column[] {
  const length = timesOf(grid).length;
  return matrix.map(({ metric, values }) => {
    const column: Values = new Array<number | null>(length).fill(null);
    for (const [atS, text] of values) {
      const index = Math.round((atS - grid.startS) / grid.stepS);
      const value = parseSampleValue(text);
      if (index >= 0 && index < length && Number.isFinite(value)) column[index] = value;
    }
    return { labels: metric, values: column };
  });
}

/** Element by element; a gap where any operand has one. */
export function combine(columns: readonly Values[], compute: (...values: number[]) => number): Values {
  const length = Math.max(0, ...columns.map((column) => column.length));
  return Array.from({ length }, (_, index) => {
    const operands = columns.map((column) => column[index] ?? null);
    return operands.every((operand) => operand !== null) ? compute(...operands) : null;
  });
}

/** Running sums from the first column to the last; a gap counts as nothing, unless all have it. */
export function stacked(columns: readonly Values[]): Values[] {
  const length = columns[0]?.length ?? 0;
  const sums: Values = new Array<number | null>(length).fill(null);
  for (let index = 0; index < length; index += 1) {
    if (columns.some((column) => (column[index] ?? null) !== null)) sums[index] = 0;
  }
  return columns.map((column) => {
    for (let index = 0; index < length; index += 1) {
      const sum = sums[index] ?? null;
      if (sum !== null) sums[index] = sum + (column[index] ?? 0);
    }
    return sums.slice();
  });
}

/**
 * The entries worth drawing: without those at zero all the time (unless all are), at most eight, the largest peaks.
 * Entries stay in the order of their names, so that colours do not jump between refreshes.
 */
export function busiest(entries: ReadonlyMap<string, readonly Values[]>, noun: string): { names: string[]; remark: string } {
  const peaks = [...entries].map(([name, columns]) => ({ name, peak: Math.max(...columns.map(peakOf)) }));
  const busy = peaks.filter(({ peak }) => peak > 0);
  const shown = (busy.length > 0 ? busy : peaks).sort((a, b) => b.peak - a.peak).slice(0, MOST_ENTRIES);
  const hidden = peaks.length - shown.length;
  const quality = hidden === peaks.length - busy.length ? "idle" : "less busy";
  return {
    names: shown.map(({ name }) => name).sort((a, b) => a.localeCompare(b)),
    remark: hidden > 0 ? `${hidden} ${quality} ${noun}${hidden > 1 ? "s" : ""} not shown` : "",
  };
}

/** Indices of values with a gap on either side: a line would not show them. */
export function isolated(values: ArrayLike<number | null | undefined>): number[] {
  const found: number[] = [];
  for (let index = 0; index < values.length; index += 1) {
    if (values[index] != null && values[index - 1] == null && values[index + 1] == null) found.push(index);
  }
  return found;
}

export function hueAt(index: number): Hue {
  return ((index % 8) + 1) as Hue;
}

function peakOf(values: Values): number {
  return values.reduce<number>((peak, value) => (value !== null && value > peak ? value : peak), 0);
}
