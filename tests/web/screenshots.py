"""Takes the pictures of the page that the README shows: `python -m tests.web.screenshots http://localhost:9090`.

The server should have watched its host for the range shown; `--range 15m` fits one just started. Needs Chromium.
"""

import argparse
from pathlib import Path

from playwright.sync_api import Browser

from tests.web.chromium import chromium, wait_for_charts

IMAGES = Path(__file__).parents[2] / "docs" / "img"
LARGEST_BYTES = 250_000
DESKTOP, PHONE = (1440, 900), (390, 844)


def shoot(browser: Browser, url: str, name: str, theme: str, viewport: tuple[int, int]) -> Path:
    """One picture of the page, in a theme and a size in CSS pixels; phones have two device pixels for each."""
    width, height = viewport
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
        device_scale_factor=2 if viewport == PHONE else 1,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(url)
    wait_for_charts(page)
    page.wait_for_load_state("networkidle")
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path, full_page=viewport == DESKTOP)
    context.close()
    return path


def main() -> None:
    """Take the pictures; ends with an error where one is too large to be kept in a repository."""
    parser = argparse.ArgumentParser(description="Take the pictures of the page for the README.")
    parser.add_argument("url", help="the address of a running server")
    parser.add_argument("--range", default="15m", help="the range of time shown, as 15m or 1h")
    arguments = parser.parse_args()
    url = f"{arguments.url.rstrip('/')}/#/server?range={arguments.range}"
    IMAGES.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        paths = [
            shoot(browser, url, "dashboard-light", "light", DESKTOP),
            shoot(browser, url, "dashboard-dark", "dark", DESKTOP),
            shoot(browser, url, "dashboard-phone", "light", PHONE),
        ]
    for path in paths:
        size_bytes = path.stat().st_size
        print(f"{path}: {size_bytes:,} bytes")  # noqa: T201 (a script's report)
        if size_bytes > LARGEST_BYTES:
            raise SystemExit(f"{path} is larger than {LARGEST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
