// The row of current values.
import { el, setText } from "../../ui/dom.ts";
import type { TileText } from "./facts.ts";

/** From here on a resource deserves a look, and from there on it is urgent. */
const HIGH_SHARE = 0.8;
const CRITICAL_SHARE = 0.92;

interface Tile {
  readonly element: HTMLElement;
  readonly value: HTMLElement;
  readonly detail: HTMLElement;
  readonly level: HTMLElement;
  readonly meter: HTMLElement;
  readonly fill: HTMLElement;
}

export class Tiles {
  readonly element = el("ul", { class: "tiles", "aria-label": "Current values" });
  private readonly tiles = new Map<string, Tile>();

  show(texts: readonly TileText[]): void {
    const shown = texts.map((text) => this.fill(text).element);
    if (shown.some((element, index) => this.element.children[index] !== element)) this.element.replaceChildren(...shown);
  }

  private fill(text: TileText): Tile {
    const tile = this.tiles.get(text.name) ?? newTile(text.name);
    this.tiles.set(text.name, tile);
    setText(tile.value, text.value);
    setText(tile.detail, text.detail);
    const level = levelOf(text.share);
    tile.element.dataset["level"] = level;
    setText(tile.level, level === "normal" ? "" : level);
    tile.meter.classList.toggle("absent", text.share === null);
    tile.fill.style.setProperty("width", `${100 * Math.min(1, Math.max(0, text.share ?? 0))}%`);
    return tile;
  }
}

export function levelOf(share: number | null): "normal" | "high" | "critical" {
  if (share === null || share < HIGH_SHARE) return "normal";
  return share < CRITICAL_SHARE ? "high" : "critical";
}

function newTile(name: string): Tile {
  const value = el("span", { class: "tile-value" });
  const detail = el("span", { class: "tile-detail" });
  const level = el("span", { class: "tile-level" });
  const fill = el("span", { class: "meter-fill" });
  const meter = el("span", { class: "meter", "aria-hidden": "true" }, fill);
  const head = el("span", { class: "tile-head" }, el("span", { class: "tile-name", title: name }, name), level);
  return { element: el("li", { class: "tile" }, head, value, detail, meter), value, detail, level, meter, fill };
}
