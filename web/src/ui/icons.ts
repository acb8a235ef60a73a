// Line icons on a 16 x 16 grid, drawn in the colour of the text around them.

const PATHS = {
  pulse: ["M1.5 9h3l2-5.5 3.2 9.5 2-5h2.8"],
  sun: ["M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6z", "M8 1.2v1.4M8 13.4v1.4M1.2 8h1.4M13.4 8h1.4M3.2 3.2l1 1M11.8 11.8l1 1M12.8 3.2l-1 1M4.2 11.8l-1 1"],
  moon: ["M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8z"],
  chevron: ["M4.5 6.5 8 10l3.5-3.5"],
  clock: ["M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2z", "M8 4.8V8l2.2 1.6"],
  back: ["M6 4 2.5 7.5 6 11", "M2.5 7.5H10a3.5 3.5 0 0 1 0 7H8"],
  zoomOut: ["M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9z", "M10.3 10.3 13.8 13.8M5 7h4"],
  server: ["M3 2.5h10v4.5H3zM3 9h10v4.5H3z", "M5.3 4.8h.01M5.3 11.3h.01"],
  refresh: ["M13.2 8a5.2 5.2 0 1 1-1.6-3.8L13.5 6", "M13.5 2.6V6h-3.4"],
  check: ["M3 8.5 6.5 12 13 4.5"],
  warning: ["M8 2.2 14.5 13.5h-13z", "M8 6.5v3.2M8 11.6h.01"],
} as const;

export type IconName = keyof typeof PATHS;

const SVG = "http://www.w3.org/2000/svg";

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  for (const d of PATHS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}
