"""Pages in Chromium. One browser per module: Playwright's loop must not outlive the module's synchronous tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.components import missing
from tests.web.chromium import Watch, chromium

STATIC = Path(__file__).parents[2] / "server" / "static"

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not (STATIC / "assets").is_dir():
        missing("the page is not built: make ui")
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """`open_page(path, base=...)`: afterwards, no page may have complained or asked a foreign host.

    `may_fail` forgives what the browser itself logs about failed requests; other options are the context's.
    """
    watches: list[Watch] = []

    def open_page(
        path: str, *, base: str, may_fail: bool = False, viewport: tuple[int, int] = (1440, 1000), **options: Any
    ) -> Page:
        width, height = viewport
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        watch = Watch(base, may_fail)
        watch.over(page)
        watches.append(watch)
        page.goto(f"{base}/{path}")
        return page

    yield open_page
    for context in browser.contexts:
        context.close()
    assert watches
    assert [watch.complaints for watch in watches] == [[]] * len(watches)
    assert [watch.foreign for watch in watches] == [[]] * len(watches)
