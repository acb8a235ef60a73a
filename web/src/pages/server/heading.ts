// Which server this is, whether it is up, and how old the values are.
import { formatMoment } from "../../format/clock.ts";
import { el, setShown, setText } from "../../ui/dom.ts";
import { icon } from "../../ui/icons.ts";
import type { Server } from "./servers.ts";

export class Heading {
  readonly element: HTMLElement;
  private readonly name = el("h1", {});
  private readonly status = el("span", { class: "badge" });
  private readonly detail = el("p", { class: "heading-detail" });
  private readonly age = el("p", { class: "heading-age" });
  private readonly reason = el("p", {});
  private readonly problem = el("div", { class: "heading-problem", hidden: true }, icon("warning"), this.reason);

  constructor() {
    const title = el("div", { class: "heading-title" }, this.name, this.status);
    this.element = el("div", { class: "heading" }, el("div", {}, title, this.detail), this.age, this.problem);
  }

  show(server: Server, scrapeError: string): void {
    const word = server.up === null ? "Not scraped" : server.up ? "Up" : "Down";
    setText(this.name, server.name);
    setText(this.status, word);
    this.status.className = `badge badge-${server.up === null ? "unknown" : word.toLowerCase()}`;
    const address = server.name === server.instance ? `job ${server.job}` : server.instance;
    setText(this.detail, [address, server.system].filter(Boolean).join(" · "));
    setText(this.reason, `The last scrape failed: ${scrapeError || "the target says no more."}`);
    setShown(this.problem, server.up === false);
    document.title = `${server.name} · Fleetwatch`;
  }

  /** The moment whose values are shown; live ones move on. */
  showMoment(atS: number, live: boolean): void {
    setText(this.age, `${live ? "Live · " : "Values of "}${formatMoment(atS)}`);
    this.age.classList.toggle("live", live);
  }
}
