// Says things to screen readers: one polite live region for the whole page.
import { el, setText } from "./dom.ts";

const region = el("div", { class: "visually-hidden", role: "status", "aria-live": "polite" });

export function announce(words: string): void {
  if (!region.isConnected) document.body.append(region);
  setText(region, words);
}
