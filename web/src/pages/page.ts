// What a page is, and what it is given. A new page is a new entry in PAGES of main.ts.
import type { PrometheusApi } from "../api/prometheus.ts";
import type { Connection } from "../app/connection.ts";
import type { Router } from "../app/router.ts";
import type { ThemeSwitch } from "../app/theme.ts";

export interface PageContext {
  readonly api: PrometheusApi;
  readonly router: Router;
  readonly theme: ThemeSwitch;
  readonly connection: Connection;
  /** Where the page puts its controls, and its content. */
  readonly toolbar: HTMLElement;
  readonly content: HTMLElement;
}

export interface Page {
  /** The address changed, or the page just opened. */
  navigate(params: URLSearchParams): void;
  /** Load again what is shown: the server is back. */
  refresh(): void;
  /** Ends timers and requests; the page's elements are removed by the caller. */
  destroy(): void;
}

export type PageFactory = (context: PageContext) => Page;
