// A card with one chart: title, crosshair time, plot, legend, and a message where there is nothing to draw.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import { formatMoment } from "../format/clock.ts";
import type { Span } from "../time/range.ts";
import { type Grid, timesOf } from "../time/steps.ts";
import { announce } from "../ui/announcer.ts";
import { el, setShown, setText } from "../ui/dom.ts";
import { Legend } from "./legend.ts";
import type { Drawing, Line } from "./lines.ts";
import { readPalette } from "./palette.ts";
import { moveCrosshair, plotData, type PlotEvents, type PlotLook, plotOptions } from "./plot.ts";

export interface PanelText {
  readonly title: string;
  /** What the chart shows, in a sentence: its tooltip, and its description for those who cannot see it. */
  readonly description: string;
}

export interface PanelActions {
  onZoom(span: Span): void;
  onZoomBack(): void;
  onRetry(): void;
}

const HEIGHT_PX = 208;

export class Panel {
  readonly element: HTMLElement;
  private readonly look: PlotLook;
  private readonly actions: PanelActions;
  private readonly legend: Legend;
  private readonly moment = el("span", { class: "panel-moment" });
  private readonly remark = el("span", { class: "panel-remark" });
  private readonly message = el("div", { class: "panel-message" });
  private readonly surface: HTMLElement;
  private readonly resizing: ResizeObserver;
  private plot: uPlot | null = null;
  private plotKey = "";
  private grid: Grid = { startS: 0, endS: 0, stepS: 1 };
  private lines: readonly Line[] = [];
  private selectionStartS: number | null = null;

  constructor(text: PanelText, look: PlotLook, actions: PanelActions) {
    this.look = look;
    this.actions = actions;
    this.legend = new Legend(look.unit, () => this.redraw());
    const label = `${text.title}. ${text.description} Left and right arrow keys read values; Enter marks the ends of a range to zoom into; Backspace goes back.`;
    this.surface = el("div", { class: "plot", tabindex: 0, role: "application", "aria-label": label });
    this.surface.addEventListener("keydown", (event) => this.onKey(event));
    this.surface.addEventListener("blur", () => this.leave());
    const head = el("header", { class: "panel-head" }, el("h2", { title: text.description }, text.title), this.remark, this.moment);
    this.element = el("section", { class: "panel", "aria-label": text.title }, head);
    this.element.append(el("div", { class: "panel-body" }, this.surface, this.message), this.legend.element);
    this.resizing = new ResizeObserver(() => this.fit());
    this.resizing.observe(this.surface);
    this.say("loading", "Loading…");
  }

  /** Width of the drawing in CSS pixels. */
  get widthPx(): number {
    return this.surface.clientWidth;
  }

  show(drawing: Drawing, grid: Grid): void {
    this.grid = grid;
    this.lines = drawing.lines;
    setText(this.remark, drawing.remark);
    this.element.dataset["state"] = "ready";
    this.element.dataset["points"] = String(countValues(drawing.lines));
    setShown(this.message, false);
    this.redraw();
  }

  /** There is nothing to draw, and why. */
  showEmpty(reason: string): void {
    this.clear();
    this.say("empty", reason);
  }

  /** The last drawing stays, if there is one. */
  showFailure(reason: string, advice: string): void {
    const retry = el("button", { type: "button", class: "button", onclick: () => this.actions.onRetry() }, "Try again");
    const headline = el("strong", {}, this.plot === null ? "Could not be loaded" : "Not up to date");
    this.say("failed", headline, el("span", {}, reason), el("span", {}, advice), retry);
  }

  /** Back to how it began: another server's values must not be taken for this one's. */
  reset(): void {
    this.clear();
    this.say("loading", "Loading…");
  }

  /** Draws anew in the colours of the theme. */
  repaint(): void {
    this.plotKey = "";
    if (this.lines.length > 0) this.redraw();
  }

  destroy(): void {
    this.resizing.disconnect();
    this.clear();
  }

  private redraw(): void {
    this.legend.setLines(this.lines);
    const visible = this.lines.filter((line) => this.legend.shows(line));
    const data = plotData(this.look.layout, visible, this.grid);
    const key = JSON.stringify(visible.map(({ entry, part, hue, mirrored }) => [entry, part, hue, mirrored]));
    if (this.plot === null || key !== this.plotKey) {
      this.plot?.destroy();
      const options = plotOptions(this.look, visible, () => this.grid, readPalette(), this.events());
      this.plot = new uPlot(options, data, this.surface);
      this.plotKey = key;
      this.fit();
    } else {
      this.plot.setData(data);
    }
    this.onCursor(this.plot.cursor.idx ?? null);
  }

  private events(): PlotEvents {
    return {
      onCursor: (index) => this.onCursor(index),
      onZoom: (fromS, toS) => this.actions.onZoom({ fromS, toS }),
      onZoomBack: () => this.actions.onZoomBack(),
    };
  }

  private onCursor(index: number | null): void {
    const atS = index === null ? undefined : timesOf(this.grid)[index];
    setText(this.moment, atS === undefined ? "" : formatMoment(atS));
    this.element.classList.toggle("reading", atS !== undefined);
    this.legend.showAt(atS === undefined ? null : index);
  }

  private onKey(event: KeyboardEvent): void {
    const { plot } = this;
    if (plot === null || event.altKey || event.ctrlKey || event.metaKey) return;
    const last = timesOf(this.grid).length - 1;
    const current = plot.cursor.idx ?? null;
    const stride = event.shiftKey ? 10 : 1;
    switch (event.key) {
      case "ArrowLeft": this.moveTo(plot, Math.max(0, (current ?? last + stride) - stride)); break;
      case "ArrowRight": this.moveTo(plot, Math.min(last, (current ?? -stride) + stride)); break;
      case "Home": this.moveTo(plot, 0); break;
      case "End": this.moveTo(plot, last); break;
      case "Enter": this.mark(current); break;
      case "Backspace": this.actions.onZoomBack(); break;
      case "Escape": this.leave(); break;
      default: return;
    }
    event.preventDefault();
  }

  private moveTo(plot: uPlot, index: number): void {
    const times = timesOf(this.grid);
    moveCrosshair(plot, plot.valToPos(times[index] ?? 0, "x"));
    announce(`${formatMoment(times[index] ?? 0)}: ${this.legend.spokenAt(index)}`);
  }

  /** The first Enter begins a selection, the second zooms into it. */
  private mark(index: number | null): void {
    const atS = index === null ? undefined : timesOf(this.grid)[index];
    if (atS === undefined) return;
    if (this.selectionStartS === null) {
      this.selectionStartS = atS;
      announce(`Selection begins at ${formatMoment(atS)}`);
      return;
    }
    const [fromS, toS] = [Math.min(this.selectionStartS, atS), Math.max(this.selectionStartS, atS)];
    this.selectionStartS = null;
    this.actions.onZoom({ fromS, toS });
  }

  private leave(): void {
    this.selectionStartS = null;
    if (this.plot !== null) moveCrosshair(this.plot, null);
  }

  private say(state: string, ...content: (Node | string)[]): void {
    this.element.dataset["state"] = state;
    this.message.replaceChildren(...content);
    setShown(this.message, true);
  }

  private clear(): void {
    this.plot?.destroy();
    this.plot = null;
    this.lines = [];
    this.legend.setLines([]);
    setText(this.remark, "");
    setText(this.moment, "");
  }

  private fit(): void {
    if (this.widthPx > 0) this.plot?.setSize({ width: this.widthPx, height: HEIGHT_PX });
  }
}

function countValues(lines: readonly Line[]): number {
  return lines.reduce((count, line) => count + line.values.filter((value) => value !== null).length, 0);
}
