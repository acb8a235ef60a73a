// Notices when the server stops answering, says so once for the whole page, and asks until it is back.
import type { ApiError } from "../api/errors.ts";
import type { PrometheusApi } from "../api/prometheus.ts";
import { el } from "../ui/dom.ts";
import { icon } from "../ui/icons.ts";

const PROBE_INTERVAL_MS = 2000;

export class Connection {
  readonly banner: HTMLElement;
  private readonly api: PrometheusApi;
  private readonly onRecovered: () => void;
  private probing = false;

  constructor(api: PrometheusApi, onRecovered: () => void) {
    this.api = api;
    this.onRecovered = onRecovered;
    const words = "The Fleetwatch server does not answer. What you see is the last it said; the page goes on by itself when it is back.";
    this.banner = el("div", { class: "banner", role: "alert", hidden: true }, icon("warning"), el("p", {}, words));
  }

  get lost(): boolean {
    return this.probing;
  }

  /** To be told of every failure: an unreachable server is said in the banner. */
  notice(failure: ApiError): void {
    if (failure.kind !== "unreachable" || this.probing) return;
    this.probing = true;
    this.banner.hidden = false;
    void this.probeUntilBack();
  }

  private async probeUntilBack(): Promise<void> {
    while (!(await this.answers())) await new Promise((resolve) => setTimeout(resolve, PROBE_INTERVAL_MS));
    this.probing = false;
    this.banner.hidden = true;
    this.onRecovered();
  }

  private async answers(): Promise<boolean> {
    try {
      await this.api.healthy(AbortSignal.timeout(PROBE_INTERVAL_MS));
      return true;
    } catch {
      return false;
    }
  }
}
