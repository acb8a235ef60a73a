// The page of one server: its current values and its charts over a range of time, live by default.
import { ApiError } from "../../api/errors.ts";
import type { Target } from "../../api/prometheus.ts";
import { matchers } from "../../api/selector.ts";
import { columnsOf } from "../../chart/lines.ts";
import { Panel } from "../../chart/panel.ts";
import { fixedRange, parsePromDuration, type Span, spanOf, zoomedOut } from "../../time/range.ts";
import { gridFor, rateWindowS } from "../../time/steps.ts";
import { el, setShown } from "../../ui/dom.ts";
import type { Page, PageContext } from "../page.ts";
import { loadFacts, tilesOf } from "./facts.ts";
import { Heading } from "./heading.ts";
import { failureNotice, unknownServerNotice, waitingNotice } from "./notice.ts";
import { PANELS, type PanelSpec } from "./panels.ts";
import { findServers, isSame, type Server } from "./servers.ts";
import { DEFAULT_STATE, readState, type ServerKey, type ServerPageState, writeState } from "./state.ts";
import { Tiles } from "./tiles.ts";
import { Toolbar } from "./toolbar.ts";

const PATH = "/server";
/** The list of servers changes seldom and is long. */
const LIST_MAX_AGE_S = 15;
const WAITING_REFRESH_S = 2;
const USUAL_SCRAPE_INTERVAL_S = 15;
const FALLBACK_WIDTH_PX = 600;

export class ServerPage implements Page {
  private readonly context: PageContext;
  private readonly toolbar: Toolbar;
  private readonly heading = new Heading();
  private readonly tiles = new Tiles();
  private readonly panels: ReadonlyMap<PanelSpec, Panel>;
  private readonly noticeFrame = el("div", { class: "notice-frame" });
  private readonly dashboard: HTMLElement;
  private readonly endThemeListening: () => void;
  private readonly onVisibility = () => (document.hidden ? this.pause() : this.refresh());

  private state: ServerPageState = DEFAULT_STATE;
  private servers: readonly Server[] = [];
  private targets: readonly Target[] = [];
  /** Whose targets are known; null: all. */
  private listedJob: string | null = null;
  private listedAtS = Number.NEGATIVE_INFINITY;
  private shownServer: ServerKey | null = null;
  /** What each panel shows: a window that has not moved is not asked for again. */
  private readonly loaded = new Map<PanelSpec, string>();
  private loading = new AbortController();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(context: PageContext) {
    this.context = context;
    this.toolbar = new Toolbar({
      chooseServer: (server) => this.go({ server }),
      chooseRange: (range) => this.go({ range }),
      chooseRefresh: (refreshS) => this.go({ refreshS }),
      zoomOut: () => this.go({ range: zoomedOut(this.state.range, context.api.nowS()) }),
      back: () => context.router.back(),
      nowS: () => context.api.nowS(),
    });
    this.panels = new Map(PANELS.map((spec) => [spec, this.newPanel(spec)]));
    const grid = el("div", { class: "panels" }, ...[...this.panels.values()].map(({ element }) => element));
    this.dashboard = el("div", { class: "dashboard", hidden: true }, this.heading.element, this.tiles.element, grid);
    context.toolbar.append(...this.toolbar.elements);
    context.content.append(this.noticeFrame, this.dashboard);
    this.endThemeListening = context.theme.onChange(() => {
      for (const panel of this.panels.values()) panel.repaint();
    });
    document.addEventListener("visibilitychange", this.onVisibility);
  }

  navigate(params: URLSearchParams): void {
    this.state = readState(params);
    this.refresh();
  }

  refresh(): void {
    this.pause();
    this.loading = new AbortController();
    void this.load(this.loading.signal);
  }

  destroy(): void {
    this.pause();
    this.endThemeListening();
    document.removeEventListener("visibilitychange", this.onVisibility);
    for (const panel of this.panels.values()) panel.destroy();
  }

  private go(change: Partial<ServerPageState>): void {
    this.context.router.push(PATH, writeState({ ...this.state, server: this.shownServer, ...change }));
  }

  private pause(): void {
    this.loading.abort();
    clearTimeout(this.timer);
  }

  private newPanel(spec: PanelSpec): Panel {
    return new Panel(spec.text, spec.look, {
      onZoom: ({ fromS, toS }) => this.go({ range: fixedRange(fromS, toS) }),
      onZoomBack: () => {
        if (this.context.router.depth > 0) this.context.router.back();
      },
      onRetry: () => this.refresh(),
    });
  }

  private async load(signal: AbortSignal): Promise<void> {
    this.context.content.setAttribute("aria-busy", "true");
    const span = spanOf(this.state.range, this.context.api.nowS());
    const listFailure = await this.loadList(span, signal);
    if (signal.aborted) return;
    const server = this.chosenServer();
    this.updateToolbar(server);
    if (server !== null) await this.loadServer(server, span, signal);
    else if (listFailure !== null) this.showListFailure(listFailure);
    else this.showNotice(this.state.server === null ? waitingNotice(this.targets) : unknownServerNotice(this.state.server.instance));
    if (signal.aborted) return;
    this.context.content.setAttribute("aria-busy", "false");
    this.schedule();
  }

  private schedule(): void {
    const { range, refreshS } = this.state;
    const waiting = this.shownServer === null;
    if (this.context.connection.lost || document.hidden || (!waiting && (range.kind === "fixed" || refreshS === 0))) return;
    const delayS = waiting ? WAITING_REFRESH_S : refreshS;
    this.timer = setTimeout(() => this.refresh(), delayS * 1000);
  }

  /** An old list serves as long as there is no newer one: a failure is the caller's to judge. */
  private async loadList(span: Span, signal: AbortSignal): Promise<ApiError | null> {
    const { api } = this.context;
    const nowS = api.nowS();
    const known = this.servers.some((server) => this.state.server === null || isSame(server, this.state.server));
    const job = this.state.server?.job ?? null;
    const covered = this.listedJob === null || this.listedJob === job;
    if (known && covered && nowS - this.listedAtS < LIST_MAX_AGE_S) return null;
    try {
      [this.servers, this.targets] = await Promise.all([
        findServers(api, span, signal),
        api.targets(job, signal),
      ]);
    } catch (error) {
      return this.failureOf(error, signal);
    }
    [this.listedAtS, this.listedJob] = [nowS, job];
    return null;
  }

  private chosenServer(): Server | null {
    const { server: wanted } = this.state;
    if (wanted !== null) return this.servers.find((server) => isSame(server, wanted)) ?? null;
    return this.servers.find(({ up }) => up === true) ?? this.servers[0] ?? null;
  }

  private async loadServer(server: Server, span: Span, signal: AbortSignal): Promise<void> {
    const target = this.targets.find(({ labels }) => labels["job"] === server.job && labels["instance"] === server.instance);
    const scrapeIntervalS = parsePromDuration(target?.scrapeInterval ?? "") ?? USUAL_SCRAPE_INTERVAL_S;
    if (!isSame(server, this.shownServer)) this.startServer(server);
    this.heading.show(server, target?.lastError ?? "");
    setShown(this.dashboard, true);
    this.noticeFrame.replaceChildren();
    const selector = matchers({ job: server.job, instance: server.instance });
    const loads = [...this.panels].map(([spec, panel]) => this.loadPanel(spec, panel, selector, span, scrapeIntervalS, signal));
    await Promise.all([this.loadTiles(selector, span, scrapeIntervalS, signal), ...loads]);
  }

  private async loadTiles(selector: string, span: Span, scrapeIntervalS: number, signal: AbortSignal): Promise<void> {
    const { api } = this.context;
    try {
      const windowS = rateWindowS(0, scrapeIntervalS);
      const facts = await loadFacts(api, selector, windowS, span.toS, signal);
      if (signal.aborted) return;
      this.tiles.show(tilesOf(facts, span.toS, windowS));
      this.heading.showMoment(span.toS, this.state.range.kind === "last");
    } catch (error) {
      this.failureOf(error, signal); // the panels beside say what is wrong; the tiles' age shows that they are old
    }
  }

  private async loadPanel(
    spec: PanelSpec, panel: Panel, selector: string, span: Span, scrapeIntervalS: number, signal: AbortSignal,
  ): Promise<void> {
    const grid = gridFor(span, panel.widthPx || FALLBACK_WIDTH_PX, scrapeIntervalS);
    const window = `${rateWindowS(grid.stepS, scrapeIntervalS)}s`;
    const queries = Object.entries(spec.queries(selector, window));
    const key = JSON.stringify([queries, grid]);
    if (this.loaded.get(spec) === key) return;
    this.loaded.delete(spec);
    try {
      const found = await Promise.all(queries.map(async ([name, query]) => {
        return [name, columnsOf(await this.context.api.range(query, grid, signal), grid)] as const;
      }));
      if (signal.aborted) return;
      const drawing = spec.draw(Object.fromEntries(found));
      if (drawing.lines.some(({ values }) => values.some((value) => value !== null))) {
        panel.show(drawing, grid);
        this.loaded.set(spec, key);
      } else {
        panel.showEmpty(emptyReason(this.state));
      }
    } catch (error) {
      const failure = this.failureOf(error, signal);
      if (failure !== null && failure.kind !== "unreachable") panel.showFailure(failure.message, failure.advice);
    }
  }

  private startServer(server: Server): void {
    this.shownServer = { job: server.job, instance: server.instance };
    this.loaded.clear();
    for (const panel of this.panels.values()) panel.reset();
    this.context.router.replace(PATH, writeState({ ...this.state, server: this.shownServer }));
  }

  private updateToolbar(server: Server | null): void {
    this.toolbar.update(this.state, this.servers, server ?? this.state.server, this.context.router.depth > 0);
  }

  private showNotice(notice: HTMLElement): void {
    this.shownServer = null;
    setShown(this.dashboard, false);
    this.noticeFrame.replaceChildren(notice);
    document.title = "Fleetwatch";
  }

  private showListFailure(failure: ApiError): void {
    if (failure.kind !== "unreachable") this.showNotice(failureNotice(failure.message, failure.advice, () => this.refresh()));
  }

  /** What went wrong, null for a request of ours that was given up. A lost connection is said in the banner. */
  private failureOf(error: unknown, signal: AbortSignal): ApiError | null {
    if (signal.aborted) return null;
    if (!(error instanceof ApiError)) throw error;
    this.context.connection.notice(error);
    return error;
  }
}

function emptyReason({ range }: ServerPageState): string {
  if (range.kind === "fixed") return "This server has no such metrics in this range of time.";
  return "No samples yet in this range of time. Rates need two scrapes.";
}
