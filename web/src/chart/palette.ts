// The colours of the style sheet, as the canvas needs them. Read anew for each chart, so that a theme change shows.
import type { Hue } from "./lines.ts";

export interface Palette {
  readonly axis: string;
  readonly grid: string;
  readonly baseline: string;
  readonly surface: string;
  hue(hue: Hue, opacity?: number): string;
}

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const read = (name: string) => style.getPropertyValue(name).trim();
  return {
    axis: read("--text-muted"),
    grid: read("--chart-grid"),
    baseline: read("--chart-baseline"),
    surface: read("--surface"),
    hue: (hue, opacity = 1) => {
      const alpha = Math.round(opacity * 255).toString(16).padStart(2, "0");
      return `${read(`--hue-${hue}`)}${alpha}`; // the style sheet writes hues as #rrggbb
    },
  };
}
