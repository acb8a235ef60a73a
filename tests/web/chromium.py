"""Debian's Chromium under Playwright, and the watch over what a page says and where it goes."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, expect, sync_playwright

from tests.components import require

# No rendering on a graphics card, no update checks, no calls home.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic", "--no-first-run",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

PANELS = 6
LOAD_TIMEOUT_MS = 20_000


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for a block; skips the test where Chromium is missing."""
    executable = require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watch:
    """What a page must not do: complain, open dialogs, or ask anybody but its server."""

    origin: str
    forgives_failed_requests: bool = False
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def over(self, page: Page) -> None:
        """Listen to a page from now on."""
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("dialog", self._on_dialog)
        page.on("request", self._on_request)

    @property
    def foreign(self) -> list[str]:
        """Addresses outside of the origin that the page asked for."""
        return [url for url in self.requests if not url.startswith(f"{self.origin}/")]

    def _on_console(self, message: ConsoleMessage) -> None:
        failed_request = message.text.startswith("Failed to load resource")
        if message.type in ("error", "warning") and not (failed_request and self.forgives_failed_requests):
            self.complaints.append(f"{message.type}: {message.text}")

    def _on_dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)


def wait_for_charts(page: Page) -> None:
    """Until every panel has drawn samples."""
    expect(page.locator('.panel[data-state="ready"]')).to_have_count(PANELS, timeout=LOAD_TIMEOUT_MS)
