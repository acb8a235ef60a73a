// The frame around every page: product name, the page's controls, theme button, banner, content.
import { el } from "../ui/dom.ts";
import { icon } from "../ui/icons.ts";
import type { Theme, ThemeSwitch } from "./theme.ts";

export class Shell {
  readonly elements: readonly HTMLElement[];
  private readonly toolbar = el("div", { class: "toolbar", role: "group", "aria-label": "View" });
  private readonly content = el("main", { id: "content", tabindex: -1 });

  constructor(theme: ThemeSwitch, banner: HTMLElement) {
    const skip = el("a", { class: "skip-link", href: "#content" }, "Skip to content");
    skip.addEventListener("click", (event) => {
      event.preventDefault(); // the address after # belongs to the router
      this.content.focus();
    });
    const brand = el("a", { class: "brand", href: "#/" }, el("span", { class: "brand-mark" }, icon("pulse")), "Fleetwatch");
    const header = el("header", { class: "header" }, brand, this.toolbar, themeButton(theme));
    this.elements = [skip, header, banner, this.content];
  }

  /** Empty places for the next page. */
  clear(): { toolbar: HTMLElement; content: HTMLElement } {
    this.toolbar.replaceChildren();
    this.content.replaceChildren();
    return { toolbar: this.toolbar, content: this.content };
  }
}

function themeButton(theme: ThemeSwitch): HTMLButtonElement {
  const button = el("button", { type: "button", class: "button icon-button theme-button", onclick: () => theme.toggle() });
  const show = (current: Theme) => {
    const label = current === "dark" ? "Light theme" : "Dark theme";
    button.title = label;
    button.setAttribute("aria-label", label);
    button.replaceChildren(icon(current === "dark" ? "sun" : "moon"));
  };
  show(theme.current);
  theme.onChange(show);
  return button;
}
