// uPlot, told how our charts look: options and data for a set of lines.
import uPlot from "uplot";

import { formatTimeTicks } from "../format/clock.ts";
import { formatTick, type Unit } from "../format/units.ts";
import { type Grid, timesOf } from "../time/steps.ts";
import { isolated, type Line, NEUTRAL_HUE, stacked } from "./lines.ts";
import type { Palette } from "./palette.ts";

export type Layout = "lines" | "stacked";

export interface PlotLook {
  readonly layout: Layout;
  readonly unit: Unit;
  /** Top of the value axis; null: as high as the values. */
  readonly ceiling: number | null;
}

export interface PlotEvents {
  /** The grid's index below the crosshair, or null where there is none. */
  onCursor(index: number | null): void;
  onZoom(fromS: number, toS: number): void;
  onZoomBack(): void;
}

const AXIS_WIDTH_PX = 70;
const NARROWEST_SELECTION_PX = 6;
const FONT = "11px system-ui, sans-serif";
const BYTE_TICKS = Array.from({ length: 60 }, (_, power) => 2 ** power);
/** Below these, an axis would magnify noise. */
const LOWEST_TOP: Readonly<Record<Unit, number>> = { percent: 1, bytes: 1024, "bytes-per-second": 1024, load: 0.5 };

/** The lines as uPlot's series: a stack begins with its top, so that the outline of a line below covers an empty one above. */
export function drawingOrder(layout: Layout, lines: readonly Line[]): Line[] {
  return layout === "stacked" ? lines.toReversed() : [...lines];
}

export function plotData(layout: Layout, lines: readonly Line[], grid: Grid): uPlot.AlignedData {
  if (layout === "stacked") return [timesOf(grid), ...stacked(lines.map(({ values }) => values)).reverse()];
  const drawn = lines.map(({ mirrored, values }) => (mirrored ? values.map((value) => (value === null ? null : -value)) : values));
  return [timesOf(grid), ...drawn];
}

/** `gridOf` is asked at each drawing: the window moves while the options stay. */
export function plotOptions(
  look: PlotLook, lines: readonly Line[], gridOf: () => Grid, palette: Palette, events: PlotEvents,
): uPlot.Options {
  return {
    width: 300,
    height: 200,
    padding: [10, 16, 0, 0], // to the right, half a label of the time axis
    legend: { show: false },
    scales: {
      x: { time: true, range: () => [gridOf().startS, gridOf().endS] },
      y: { range: (_, lowest, highest) => valueRange(look, lowest, highest) },
    },
    axes: [timeAxis(palette), valueAxis(look.unit, palette)],
    series: [{}, ...drawingOrder(look.layout, lines).map((line) => seriesOptions(look.layout, line, lines.length, palette))],
    bands: look.layout === "stacked" ? bandsBetween(lines.length) : [],
    cursor: cursorOptions(palette, events),
    hooks: {
      setCursor: [(plot) => events.onCursor(onPlot(plot) ? (plot.cursor.idx ?? null) : null)],
      setSelect: [(plot) => takeSelection(plot, events)],
      drawAxes: [(plot) => drawBaseline(plot, palette)],
    },
  };
}

function seriesOptions(layout: Layout, line: Line, lineCount: number, palette: Palette): uPlot.Series {
  const filled = fillOpacity(layout, line, lineCount);
  return {
    label: line.entry,
    stroke: palette.hue(line.hue),
    width: layout === "stacked" ? 1.25 : 1.75,
    fill: filled > 0 ? palette.hue(line.hue, filled) : "transparent",
    points: { show: true, size: 4, fill: palette.hue(line.hue), filter: (plot, index) => isolated(plot.data[index] ?? []) },
  };
}

function fillOpacity(layout: Layout, line: Line, lineCount: number): number {
  if (layout === "stacked") return line.hue === NEUTRAL_HUE ? 0.12 : 0.5;
  return lineCount === 1 || line.part !== "" ? 0.14 : 0; // many filled lines would blur into each other
}

/** Each area of a stack is filled down to the line below it; uPlot fills the lowest one down to zero. */
function bandsBetween(lineCount: number): uPlot.Band[] {
  return Array.from({ length: Math.max(0, lineCount - 1) }, (_, index) => ({ series: [index + 1, index + 2] }));
}

function valueRange(look: PlotLook, lowest: number | null, highest: number | null): uPlot.Range.MinMax {
  const floor = LOWEST_TOP[look.unit];
  const bottom = Math.min(0, lowest ?? 0);
  const top = look.ceiling ?? Math.max(0, highest ?? 0);
  if (look.ceiling !== null) return [bottom, Math.max(top, floor)];
  return [bottom < 0 ? Math.min(bottom * 1.1, -floor) : 0, Math.max(top * 1.1, floor)];
}

function timeAxis(palette: Palette): uPlot.Axis {
  return {
    stroke: palette.axis,
    font: FONT,
    size: 28,
    gap: 6,
    space: 64,
    grid: { show: false },
    ticks: { stroke: palette.grid, width: 1, size: 4 },
    values: (_, ticks, __, ___, increment) => formatTimeTicks(ticks, increment),
  };
}

function valueAxis(unit: Unit, palette: Palette): uPlot.Axis {
  const ofBytes = unit === "bytes" || unit === "bytes-per-second";
  return {
    stroke: palette.axis,
    font: FONT,
    size: AXIS_WIDTH_PX,
    gap: 8,
    space: 34,
    grid: { stroke: palette.grid, width: 1 },
    ticks: { show: false },
    values: (_, ticks, __, ___, increment) => ticks.map((tick) => formatTick(tick, increment, unit)),
    ...(ofBytes ? { incrs: BYTE_TICKS } : {}),
  };
}

function cursorOptions(palette: Palette, events: PlotEvents): uPlot.Cursor {
  return {
    y: false,
    move: (plot, left, top) => [snapped(plot, left), top],
    points: { size: 9, width: 2, stroke: palette.surface },
    drag: { x: true, y: false, setScale: false },
    bind: {
      dblclick: () => () => {
        events.onZoomBack();
        return null;
      },
    },
    // The crosshair goes to all charts; a selection stays with the one it is drawn in.
    sync: { key: "page", scales: ["x", null], setSeries: false, filters: { pub: (type) => type === "mousemove" } },
  };
}

/** Moves the crosshair of all charts to a position in this one; null: away. */
export function moveCrosshair(plot: uPlot, leftPx: number | null): void {
  // uPlot's types leave out the third argument, which tells the charts in sync.
  const setCursor = plot.setCursor as (position: { left: number; top: number }, fireHook: boolean, publish: boolean) => void;
  setCursor(leftPx === null ? { left: -10, top: -10 } : { left: leftPx, top: 0 }, true, true);
}

/** The crosshair stands on moments that have values. */
function snapped(plot: uPlot, leftPx: number): number {
  const atS = leftPx < 0 ? undefined : plot.data[0][plot.posToIdx(leftPx)];
  return atS === undefined ? leftPx : plot.valToPos(atS, "x");
}

function onPlot(plot: uPlot): boolean {
  return (plot.cursor.left ?? -1) >= 0;
}

function takeSelection(plot: uPlot, events: PlotEvents): void {
  const { left, width } = plot.select;
  if (width >= NARROWEST_SELECTION_PX) events.onZoom(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
  if (width > 0) plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
}

function drawBaseline(plot: uPlot, palette: Palette): void {
  const { ctx, bbox } = plot;
  const y = Math.round(plot.valToPos(0, "y", true)) + 0.5;
  ctx.save();
  ctx.strokeStyle = palette.baseline;
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}
