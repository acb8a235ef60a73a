// Chooses the server: a list that can be filtered by typing.
import { el, setText } from "../../ui/dom.ts";
import { icon } from "../../ui/icons.ts";
import { moveFocus, type Popover, popover } from "../../ui/popover.ts";
import { isSame, type Server } from "./servers.ts";
import type { ServerKey } from "./state.ts";

/** More would be slow to draw and longer than anybody reads. */
const MOST_SHOWN = 200;

export class ServerPicker {
  readonly element: HTMLElement;
  private readonly label = el("span", { class: "picker-label" }, "No server");
  private readonly popover: Popover;
  private readonly onChoose: (server: ServerKey) => void;
  private servers: readonly Server[] = [];
  private chosen: ServerKey | null = null;

  constructor(onChoose: (server: ServerKey) => void) {
    this.onChoose = onChoose;
    const button = el("button", { type: "button", class: "button picker" }, icon("server"), this.label, icon("chevron"));
    this.popover = popover(button, "Server", (panel) => this.fill(panel));
    this.element = el("div", { class: "picker-frame" }, button, this.popover.panel);
  }

  update(servers: readonly Server[], chosen: ServerKey | null): void {
    this.servers = servers;
    this.chosen = chosen;
    const name = servers.find((server) => isSame(server, chosen))?.name ?? chosen?.instance ?? "No server";
    setText(this.label, name);
    this.label.title = name;
  }

  private fill(panel: HTMLElement): void {
    const filter = el("input", { type: "search", class: "field", placeholder: "Filter by name or address", "aria-label": "Filter servers", autofocus: true, autocomplete: "off", spellcheck: "false" });
    const list = el("div", { class: "choices server-choices", role: "group", "aria-label": "Servers" });
    const narrow = () => list.replaceChildren(...this.choices(filter.value));
    filter.addEventListener("input", narrow);
    panel.onkeydown = (event) => {
      if (event.target === filter && (event.key === "Home" || event.key === "End")) return;
      if (event.target === filter && event.key === "Enter") list.querySelector("button")?.click();
      moveFocus(event, [filter, ...list.querySelectorAll("button")]);
    };
    panel.classList.add("server-popover");
    panel.replaceChildren(filter, list);
    narrow();
  }

  private choices(filter: string): HTMLElement[] {
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = this.servers.filter(({ name, instance, job }) => {
      const text = `${name} ${instance} ${job}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    if (matching.length === 0) return [el("p", { class: "hint" }, this.servers.length === 0 ? "None yet." : "None matches.")];
    const rows: HTMLElement[] = matching.slice(0, MOST_SHOWN).map((server) => this.choice(server));
    if (matching.length > MOST_SHOWN) rows.push(el("p", { class: "hint" }, `${matching.length - MOST_SHOWN} more: type to narrow.`));
    return rows;
  }

  private choice(server: Server): HTMLElement {
    const address = server.name === server.instance ? server.job : `${server.instance} · ${server.job}`;
    const button = el(
      "button", { type: "button", class: "choice", "aria-pressed": String(isSame(server, this.chosen)) },
      statusDot(server.up),
      el("span", { class: "choice-text" }, el("span", { class: "choice-name" }, server.name), el("span", { class: "choice-detail" }, address)),
      icon("check"),
    );
    button.addEventListener("click", () => {
      this.popover.close();
      this.onChoose({ job: server.job, instance: server.instance });
    });
    return button;
  }
}

/** A dot for the eye, a word for those who do not see it or its colour. */
export function statusDot(up: boolean | null): HTMLElement {
  const word = up === null ? "not scraped now" : up ? "up" : "down";
  return el("span", { class: `dot dot-${up === null ? "unknown" : word}`, title: word }, el("span", { class: "visually-hidden" }, `${word}: `));
}
