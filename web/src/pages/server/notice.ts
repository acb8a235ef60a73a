// What stands in the place of the charts when there are none to draw.
import type { Target } from "../../api/prometheus.ts";
import { el } from "../../ui/dom.ts";
import { icon } from "../../ui/icons.ts";

const MOST_TARGETS = 8;

/** No server has been seen: the targets, and what they say. */
export function waitingNotice(targets: readonly Target[]): HTMLElement {
  const rows = targets.slice(0, MOST_TARGETS).map(({ scrapeUrl, health, lastError }) => {
    return el("li", {}, el("code", {}, scrapeUrl), el("span", {}, lastError === "" ? healthInWords(health) : lastError));
  });
  const advice = targets.length === 0
    ? "No targets are configured. Add a host's exporter to scrape_configs in the configuration file."
    : "The page fills by itself as soon as a target has been scraped. Rates need two scrapes.";
  return notice("pulse", "Waiting for the first scrapes", advice, el("ul", { class: "notice-list" }, ...rows));
}

/** The address names a server nobody knows. */
export function unknownServerNotice(instance: string): HTMLElement {
  const advice = "It was not scraped in this range of time. Choose another server or a longer range above.";
  return notice("server", `No server “${instance}”`, advice);
}

export function failureNotice(reason: string, advice: string, onRetry: () => void): HTMLElement {
  const retry = el("button", { type: "button", class: "button primary", onclick: onRetry }, "Try again");
  return notice("warning", "The list of servers could not be loaded", `${reason} ${advice}`, retry);
}

function notice(picture: "pulse" | "server" | "warning", title: string, advice: string, ...more: HTMLElement[]): HTMLElement {
  const words = el("div", { class: "notice-text" }, el("h1", {}, title), el("p", {}, advice), ...more);
  return el("section", { class: "notice", role: "status" }, icon(picture), words);
}

function healthInWords(health: string): string {
  return health === "up" ? "scraped; no host metrics in it (node_uname_info is missing)" : "not scraped yet";
}
