// Light or dark: the system's choice, until the reader makes another; it is kept in this browser.

export type Theme = "light" | "dark";

const STORAGE_KEY = "fleetwatch.theme";

export class ThemeSwitch {
  private readonly systemDark = window.matchMedia("(prefers-color-scheme: dark)");
  private readonly listeners = new Set<(theme: Theme) => void>();

  constructor() {
    this.systemDark.addEventListener("change", () => this.apply());
    this.apply();
  }

  get current(): Theme {
    return readChoice() ?? this.system;
  }

  toggle(): void {
    const chosen: Theme = this.current === "dark" ? "light" : "dark";
    storeChoice(chosen === this.system ? null : chosen);
    this.apply();
  }

  /** Calls back after each change; the result ends that. */
  onChange(listener: (theme: Theme) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private get system(): Theme {
    return this.systemDark.matches ? "dark" : "light";
  }

  private apply(): void {
    document.documentElement.dataset["theme"] = this.current;
    for (const listener of this.listeners) listener(this.current);
  }
}

function readChoice(): Theme | null {
  try {
    const stored = localStorage.getItem(STORAGE_KEY);
    return stored === "light" || stored === "dark" ? stored : null;
  } catch {
    return null; // storage is forbidden in this browser: follow the system
  }
}

function storeChoice(choice: Theme | null): void {
  try {
    if (choice === null) localStorage.removeItem(STORAGE_KEY);
    else localStorage.setItem(STORAGE_KEY, choice);
  } catch {
    document.documentElement.dataset["theme"] = choice ?? ""; // lasts as long as the page does
  }
}
