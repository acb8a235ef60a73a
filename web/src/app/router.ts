// Which page, and in what state: both live in the address after `#`, as in `#/server?instance=a:9100&range=1h`, so
// that any static file server can serve the pages and every view is a link.

export interface Location {
  readonly path: string;
  readonly params: URLSearchParams;
}

export function readLocation(hash: string): Location {
  const [path = "", query = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
  return { path: path === "" ? "/" : path, params: new URLSearchParams(query) };
}

export class Router {
  private listener: (location: Location) => void = () => undefined;

  constructor() {
    // popstate comes for the back button, for links and for hand-edited addresses alike.
    window.addEventListener("popstate", () => this.listener(this.current));
  }

  get current(): Location {
    return readLocation(window.location.hash);
  }

  /** How many steps of this session lie behind: whether going back stays on this site. */
  get depth(): number {
    const state: unknown = window.history.state;
    return typeof state === "object" && state !== null && "depth" in state ? Number(state.depth) : 0;
  }

  start(listener: (location: Location) => void): void {
    this.listener = listener;
    listener(this.current);
  }

  /** A step the reader can take back. */
  push(path: string, params: URLSearchParams): void {
    window.history.pushState({ depth: this.depth + 1 }, "", addressOf(path, params));
    this.listener(this.current);
  }

  /** The same step said differently: defaults filled in, say. */
  replace(path: string, params: URLSearchParams): void {
    window.history.replaceState({ depth: this.depth }, "", addressOf(path, params));
  }

  back(): void {
    window.history.back();
  }
}

/** Colons and slashes stay readable: after `#` they need no escape. */
function addressOf(path: string, params: URLSearchParams): string {
  const query = params.toString().replaceAll("%3A", ":").replaceAll("%2F", "/");
  return query === "" ? `#${path}` : `#${path}?${query}`;
}
