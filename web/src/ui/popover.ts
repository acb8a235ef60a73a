// A button that opens a panel below itself. The browser's popover gives light dismissal, Escape and the top layer.
import { el } from "./dom.ts";

const GAP_PX = 6;
const MARGIN_PX = 8;

export interface Popover {
  readonly button: HTMLButtonElement;
  readonly panel: HTMLElement;
  close(): void;
}

let lastId = 0;

/** `onOpen` fills the panel each time it opens; the first element with `autofocus` in it gets the focus. */
export function popover(button: HTMLButtonElement, label: string, onOpen: (panel: HTMLElement) => void): Popover {
  lastId += 1;
  const panel = el("div", { id: `popover-${lastId}`, class: "popover", popover: "auto", role: "dialog", "aria-label": label });
  button.popoverTargetElement = panel;
  button.setAttribute("aria-haspopup", "dialog");
  button.setAttribute("aria-expanded", "false");

  panel.addEventListener("beforetoggle", (event) => {
    if ((event as ToggleEvent).newState === "open") onOpen(panel);
  });
  panel.addEventListener("toggle", (event) => {
    const open = (event as ToggleEvent).newState === "open";
    button.setAttribute("aria-expanded", String(open));
    if (open) placeBelow(button, panel);
  });
  window.addEventListener("resize", () => panel.hidePopover());
  return { button, panel, close: () => panel.hidePopover() };
}

/** Aligned with the button's left edge, or moved left as far as the window demands. */
function placeBelow(button: HTMLElement, panel: HTMLElement): void {
  const anchor = button.getBoundingClientRect();
  const rightmost = document.documentElement.clientWidth - panel.offsetWidth - MARGIN_PX;
  panel.style.setProperty("left", `${Math.max(MARGIN_PX, Math.min(anchor.left, rightmost))}px`);
  panel.style.setProperty("top", `${anchor.bottom + GAP_PX}px`);
}

/** Arrow keys, Home and End move the focus among the choices of a list. */
export function moveFocus(event: KeyboardEvent, choices: readonly HTMLElement[]): void {
  const current = choices.indexOf(document.activeElement as HTMLElement);
  const destinations: Readonly<Record<string, number>> = {
    ArrowDown: Math.min(choices.length - 1, current + 1),
    ArrowUp: Math.max(0, current - 1),
    Home: 0,
    End: choices.length - 1,
  };
  const destination = destinations[event.key];
  if (destination === undefined || choices.length === 0) return;
  choices[destination]?.focus();
  event.preventDefault();
}
