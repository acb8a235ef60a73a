// Puts the frame around the pages and shows the one the address names.
import "./style/tokens.css";
import "./style/base.css";
import "./style/header.css";
import "./style/popover.css";
import "./style/server.css";
import "./style/panel.css";

import { PrometheusApi } from "./api/prometheus.ts";
import { Connection } from "./app/connection.ts";
import { Router } from "./app/router.ts";
import { Shell } from "./app/shell.ts";
import { ThemeSwitch } from "./app/theme.ts";
import type { Page, PageFactory } from "./pages/page.ts";
import { ServerPage } from "./pages/server/page.ts";

/** Pages by the path after `#`; the first one also answers for paths that name none. */
const PAGES: ReadonlyMap<string, PageFactory> = new Map([["/server", (context) => new ServerPage(context)]]);

function start(root: HTMLElement): void {
  const api = new PrometheusApi(document.baseURI);
  const theme = new ThemeSwitch();
  const router = new Router();
  let page: Page | null = null;
  let shownPath = "";
  const connection = new Connection(api, () => page?.refresh());
  const shell = new Shell(theme, connection.banner);
  root.replaceChildren(...shell.elements);

  router.start(({ path, params }) => {
    const [firstPath = ""] = PAGES.keys();
    const pagePath = PAGES.has(path) ? path : firstPath;
    if (pagePath !== shownPath) {
      page?.destroy();
      const { toolbar, content } = shell.clear();
      page = PAGES.get(pagePath)?.({ api, router, theme, connection, toolbar, content }) ?? null;
      shownPath = pagePath;
    }
    page?.navigate(params);
  });
}

const root = document.getElementById("app");
if (root === null) throw new Error("index.html has no element #app");
start(root);
