// The legend of a chart: one button per entry, with its values below the crosshair, or the latest. A click hides it.
import { formatValue, type Unit } from "../format/units.ts";
import { el, setText } from "../ui/dom.ts";
import type { Line } from "./lines.ts";

interface Field {
  readonly line: Line;
  readonly output: HTMLElement;
}

export class Legend {
  readonly element = el("ul", { class: "legend" });
  private readonly unit: Unit;
  private readonly onToggle: () => void;
  private readonly hidden = new Set<string>();
  private fields: Field[] = [];
  private shownEntries = "";

  constructor(unit: Unit, onToggle: () => void) {
    this.unit = unit;
    this.onToggle = onToggle;
    this.element.dataset["unit"] = unit;
  }

  /** Whether the reader has not hidden the line's entry. */
  shows(line: Line): boolean {
    return !this.hidden.has(line.entry);
  }

  setLines(lines: readonly Line[]): void {
    const entries = JSON.stringify(lines.map((line) => [line.entry, line.part, line.hue]));
    if (entries === this.shownEntries) {
      this.fields = this.fields.map(({ output }, index) => ({ line: lines[index] as Line, output }));
      return;
    }
    this.shownEntries = entries;
    this.fields = lines.map((line) => ({ line, output: el("span", { class: "legend-value" }) }));
    this.element.replaceChildren(...this.rows());
  }

  /** The values at an index of the grid; null: the latest. */
  showAt(index: number | null): void {
    for (const { line, output } of this.fields) {
      const value = index === null ? latest(line) : line.values[index];
      setText(output, formatValue(value, this.unit));
    }
  }

  /** The same in words, for those who hear the page. */
  spokenAt(index: number): string {
    const values = this.fields.filter(({ line }) => this.shows(line));
    return values
      .map(({ line }) => `${line.entry} ${line.part} ${formatValue(line.values[index], this.unit)}`)
      .join(", ");
  }

  private rows(): HTMLElement[] {
    const byEntry = Map.groupBy(this.fields, ({ line }) => line.entry);
    return [...byEntry].map(([entry, fields]) => {
      const swatch = el("span", { class: `swatch hue-${fields[0]?.line.hue ?? 1}` });
      const name = el("span", { class: "legend-name", title: entry }, entry);
      const button = el("button", { type: "button", class: "legend-entry", "aria-pressed": String(!this.hidden.has(entry)) });
      button.append(swatch, name);
      for (const { line, output } of fields) button.append(...(line.part === "" ? [] : [el("span", { class: "legend-part" }, line.part)]), output);
      button.addEventListener("click", () => {
        if (!this.hidden.delete(entry)) this.hidden.add(entry);
        button.setAttribute("aria-pressed", String(!this.hidden.has(entry)));
        this.onToggle();
      });
      return el("li", {}, button);
    });
  }
}

/** The last value, unless the line ended before the last two moments. */
function latest(line: Line): number | null {
  return line.values.at(-1) ?? line.values.at(-2) ?? null;
}
