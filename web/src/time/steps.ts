// How densely a range is asked for, and over which window rates are taken.
import type { Span } from "./range.ts";

export interface Grid {
  readonly startS: number;
  readonly endS: number;
  readonly stepS: number;
}

const NICE_STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];

/** One point every so many CSS pixels: closer ones could not be told apart. */
const PIXELS_PER_POINT = 2;

/** With coarser steps, waiting for the next whole one would hide too much of the present. */
const LONGEST_LAG_S = 60;

/**
 * The evaluation times for a span drawn `widthPx` wide, no finer than samples exist. A moving window asks for the same
 * moments again until the next step (the next minute, or tenth of a step, where steps are long): charts do not
 * flicker, and nothing is asked twice.
 */
export function gridFor(span: Span, widthPx: number, scrapeIntervalS: number): Grid {
  const lengthS = span.toS - span.fromS;
  const finest = Math.max(lengthS / Math.max(1, widthPx / PIXELS_PER_POINT), scrapeIntervalS);
  const stepS = NICE_STEPS_S.find((step) => step >= finest) ?? Math.ceil(finest / 86400) * 86400;
  const lagS = stepS <= LONGEST_LAG_S ? stepS : Math.max(LONGEST_LAG_S, stepS / 10);
  const endS = Math.floor(span.toS / lagS) * lagS;
  return { startS: endS - Math.ceil(lengthS / stepS) * stepS, endS, stepS };
}

/**
 * The window of `rate()`: four scrapes, so that one lost scrape leaves a value; and one scrape more than the step, so
 * that the increase between the last sample of one window and the first of the next is counted.
 */
export function rateWindowS(stepS: number, scrapeIntervalS: number): number {
  return Math.ceil(Math.max(4 * scrapeIntervalS, stepS + scrapeIntervalS));
}

export function timesOf(grid: Grid): number[] {
  const count = Math.floor((grid.endS - grid.startS) / grid.stepS) + 1;
  return Array.from({ length: Math.max(0, count) }, (_, index) => grid.startS + index * grid.stepS);
}
