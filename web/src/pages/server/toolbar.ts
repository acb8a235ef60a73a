// The controls of the page: which server, which time, how often.
import type { TimeRange } from "../../time/range.ts";
import { el } from "../../ui/dom.ts";
import { icon, type IconName } from "../../ui/icons.ts";
import { RangePicker } from "./range-picker.ts";
import { ServerPicker } from "./server-picker.ts";
import type { Server } from "./servers.ts";
import { REFRESH_CHOICES_S, type ServerKey, type ServerPageState } from "./state.ts";

export interface ToolbarActions {
  chooseServer(server: ServerKey): void;
  chooseRange(range: TimeRange): void;
  chooseRefresh(refreshS: number): void;
  zoomOut(): void;
  back(): void;
  nowS(): number;
}

export class Toolbar {
  readonly elements: readonly HTMLElement[];
  private readonly servers: ServerPicker;
  private readonly range: RangePicker;
  private readonly refresh = el("select", { class: "button select", "aria-label": "Refresh every", title: "How often the page refreshes" });
  private readonly back: HTMLButtonElement;

  constructor(actions: ToolbarActions) {
    this.servers = new ServerPicker((server) => actions.chooseServer(server));
    this.range = new RangePicker(() => actions.nowS(), (range) => actions.chooseRange(range));
    this.back = iconButton("back", "Back to the view before", () => actions.back());
    const zoomOut = iconButton("zoomOut", "Zoom out: twice the time", () => actions.zoomOut());
    for (const seconds of REFRESH_CHOICES_S) this.refresh.append(el("option", { value: seconds }, nameOfRefresh(seconds)));
    this.refresh.addEventListener("change", () => actions.chooseRefresh(Number(this.refresh.value)));
    const refresh = el("div", { class: "select-frame" }, icon("refresh"), this.refresh);
    const time = el("div", { class: "control-group", role: "group", "aria-label": "Time" }, this.range.element, this.back, zoomOut, refresh);
    this.elements = [this.servers.element, time];
  }

  update(state: ServerPageState, servers: readonly Server[], chosen: ServerKey | null, canGoBack: boolean): void {
    this.servers.update(servers, chosen);
    this.range.update(state.range);
    this.refresh.value = String(state.refreshS);
    this.refresh.disabled = state.range.kind === "fixed";
    this.back.disabled = !canGoBack;
  }
}

function iconButton(name: IconName, label: string, onClick: () => void): HTMLButtonElement {
  return el("button", { type: "button", class: "button icon-button", "aria-label": label, title: label, onclick: onClick }, icon(name));
}

function nameOfRefresh(seconds: number): string {
  if (seconds === 0) return "Off";
  return seconds < 60 ? `${seconds} s` : `${seconds / 60} min`;
}
