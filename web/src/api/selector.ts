// PromQL text. Label values come from metrics and from the address bar: they are quoted, never pasted.
import type { Labels } from "./prometheus.ts";

/** `job="node",instance="a:9100"`: equality matchers for the labels, to be put between braces. */
export function matchers(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${quoted(value)}`)
    .join(",");
}

/** A PromQL string literal. */
export function quoted(value: string): string {
  const escaped = value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  return `"${escaped}"`;
}
