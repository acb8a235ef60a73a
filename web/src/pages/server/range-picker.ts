// Chooses the range of time: presets, or two moments.
import { formatRange, formatZone, fromLocalInput, toLocalInput } from "../../format/clock.ts";
import { nameOfLast, PRESETS, SHORTEST_S, spanOf, type TimeRange } from "../../time/range.ts";
import { el, setText } from "../../ui/dom.ts";
import { icon } from "../../ui/icons.ts";
import { moveFocus, type Popover, popover } from "../../ui/popover.ts";

export class RangePicker {
  readonly element: HTMLElement;
  private readonly label = el("span", { class: "picker-label" });
  private readonly popover: Popover;
  private readonly onChoose: (range: TimeRange) => void;
  private readonly nowS: () => number;
  private range: TimeRange = { kind: "last", lengthS: 0 };

  constructor(nowS: () => number, onChoose: (range: TimeRange) => void) {
    this.nowS = nowS;
    this.onChoose = onChoose;
    const button = el("button", { type: "button", class: "button picker" }, icon("clock"), this.label, icon("chevron"));
    this.popover = popover(button, "Time range", (panel) => this.fill(panel));
    this.element = el("div", { class: "picker-frame" }, button, this.popover.panel);
  }

  update(range: TimeRange): void {
    this.range = range;
    setText(this.label, range.kind === "last" ? nameOfLast(range.lengthS) : formatRange(range.fromS, range.toS));
  }

  private choose(range: TimeRange): void {
    this.popover.close();
    this.onChoose(range);
  }

  private fill(panel: HTMLElement): void {
    const choices = PRESETS.map(({ lengthS, name }) => {
      const chosen = this.range.kind === "last" && this.range.lengthS === lengthS;
      const choice = el("button", { type: "button", class: "choice", "aria-pressed": String(chosen), autofocus: chosen }, name);
      choice.addEventListener("click", () => this.choose({ kind: "last", lengthS }));
      choice.append(icon("check"));
      return choice;
    });
    const list = el("div", { class: "choices", role: "group", "aria-label": "Relative ranges" }, ...choices);
    list.addEventListener("keydown", (event) => moveFocus(event, choices));
    panel.classList.add("range-popover");
    panel.replaceChildren(list, this.form());
  }

  private form(): HTMLFormElement {
    const { fromS, toS } = spanOf(this.range, this.nowS());
    const moment = (atS: number) => el("input", { type: "datetime-local", step: 1, required: true, value: toLocalInput(atS), class: "field" });
    const [from, to] = [moment(fromS), moment(toS)];
    const problem = el("p", { class: "field-problem", role: "alert" });
    const form = el(
      "form", { class: "range-form", "aria-label": "Absolute range" },
      el("label", {}, "From", from),
      el("label", {}, "To", to),
      problem,
      el("button", { type: "submit", class: "button primary" }, "Apply"),
      el("p", { class: "hint" }, `Times are ${formatZone(toS)}.`),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const [chosenFromS, chosenToS] = [fromLocalInput(from.value), fromLocalInput(to.value)];
      if (chosenFromS === null || chosenToS === null) setText(problem, "Give both moments.");
      else if (chosenToS - chosenFromS < SHORTEST_S) setText(problem, `The end must be at least ${SHORTEST_S} s after the beginning.`);
      else this.choose({ kind: "fixed", fromS: chosenFromS, toS: chosenToS });
    });
    return form;
  }
}
