"""The web page, in a real browser, on a live `fleetwatch run`."""

import os
import re
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest
from playwright.sync_api import Page, Request, expect

from tests.fleetwatch_process import FleetwatchProcess
from tests.web.chromium import wait_for_charts
from tests.web.conftest import OpenPage

# Axes and grid are grey: only the lines of a chart have colour.
COLOURED_PIXELS = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let coloured = 0;
    for (let at = 0; at < data.length; at += 4) {
        const [red, green, blue, alpha] = data.subarray(at, at + 4);
        if (alpha > 30 && Math.max(red, green, blue) - Math.min(red, green, blue) > 50) coloured += 1;
    }
    return coloured;
}"""
MOST_COMMON_COLOUR = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const counts = new Map();
    for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] < 250) continue;
        const colour = data.subarray(at, at + 3).join();
        counts.set(colour, (counts.get(colour) ?? 0) + 1);
    }
    return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
}"""
IN_ALL_CHARTS = 6
NEXT_REFRESH_MS = 15_000


@pytest.fixture
def base(fleetwatch_run: FleetwatchProcess) -> str:
    return fleetwatch_run.url


def fragment(page: Page) -> dict[str, str]:
    """The parameters behind `#` in the address."""
    query = urlsplit(page.url).fragment.partition("?")[2]
    return {name: values[0] for name, values in parse_qs(query).items()}


def asks_for_range(request: Request) -> bool:
    return "/api/v1/query_range" in request.url


def test_every_chart_draws_this_hosts_samples(open_page: OpenPage, base: str) -> None:
    page = open_page("#/server?range=5m", base=base)
    wait_for_charts(page)
    for panel in page.locator(".panel").all():
        title = panel.get_attribute("aria-label")
        assert int(panel.get_attribute("data-points") or 0) > 0, title
        assert panel.locator("canvas").evaluate(COLOURED_PIXELS) > 0, title
        assert panel.locator(".legend-entry").count() > 0, title


def test_tiles_show_this_hosts_values(open_page: OpenPage, base: str) -> None:
    page = open_page("", base=base)
    expect(page.locator(".tile")).to_have_count(7)
    texts = {(lines := tile.inner_text().split("\n"))[0]: lines for tile in page.locator(".tile").all()}
    assert all(re.search(r"\d", lines[-2]) for lines in texts.values()), texts
    assert texts["CPU"][-1] == f"{os.cpu_count()} cores".replace("1 cores", "1 core")
    memory = re.search(r"of ([0-9.]+) GiB", texts["Memory"][-1])
    assert memory, texts
    assert float(memory[1]) == pytest.approx(psutil.virtual_memory().total / 2**30, rel=0.01)
    expect(page.locator("h1")).to_have_text(os.uname().nodename)
    expect(page.locator(".badge")).to_have_text("Up")


def test_the_page_is_live(open_page: OpenPage, base: str) -> None:
    page = open_page("#/server?range=5m", base=base)
    wait_for_charts(page)
    age = page.locator(".heading-age")
    first = age.inner_text()
    with page.expect_request(asks_for_range, timeout=NEXT_REFRESH_MS):
        pass
    expect(age).not_to_have_text(first)


def test_refresh_can_be_turned_off_and_the_address_says_so(open_page: OpenPage, base: str) -> None:
    page = open_page("", base=base)
    wait_for_charts(page)
    page.get_by_label("Refresh every").select_option("0")
    assert fragment(page)["refresh"] == "off"
    page.reload()
    wait_for_charts(page)
    expect(page.get_by_label("Refresh every")).to_have_value("0")


def test_a_relative_range_is_chosen(open_page: OpenPage, base: str) -> None:
    page = open_page("", base=base)
    wait_for_charts(page)
    page.get_by_role("button", name="Last 15 min").click()
    with page.expect_request(asks_for_range) as request:
        page.get_by_role("button", name="Last 5 min").click()
    asked = parse_qs(urlsplit(request.value.url).query)
    assert 300 <= float(asked["end"][0]) - float(asked["start"][0]) <= 310
    assert fragment(page)["range"] == "5m"
    wait_for_charts(page)


def test_an_absolute_range_is_chosen_and_checked(open_page: OpenPage, base: str) -> None:
    page = open_page("", base=base, timezone_id="Asia/Kolkata")
    wait_for_charts(page)
    page.get_by_role("button", name="Last 15 min").click()
    form = page.get_by_role("form", name="Absolute range")
    form.get_by_label("From").fill("2026-11-24T12:00:00")
    form.get_by_label("To").fill("2026-11-24T11:00:00")
    form.get_by_role("button", name="Apply").click()
    expect(form.get_by_role("alert")).to_contain_text("after the beginning")
    form.get_by_label("To").fill("2026-11-24T13:00:00")
    form.get_by_role("button", name="Apply").click()
    assert fragment(page)["from"] == "2026-11-24T06:30:00Z"
    assert fragment(page)["to"] == "2026-11-24T07:30:00Z"


def test_a_drag_zooms_all_charts_and_back_undoes_it(open_page: OpenPage, base: str) -> None:
    page = open_page("#/server?range=5m", base=base)
    wait_for_charts(page)
    surface = page.locator(".u-over").first
    box = surface.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"], box["y"] + 50, steps=3)
    with page.expect_request(asks_for_range):
        page.mouse.up()
    wait_for_charts(page)
    assert {"from", "to"} <= fragment(page).keys()
    page.get_by_role("button", name="Back to the view before").click()
    page.wait_for_url(re.compile(r"range=5m"))
    expect(page.get_by_role("button", name="Last 5 min")).to_be_visible()


def test_the_crosshair_reads_all_charts_by_mouse_and_by_keyboard(open_page: OpenPage, base: str) -> None:
    page = open_page("#/server?range=5m&refresh=off", base=base)
    wait_for_charts(page)
    moments = page.locator(".panel-moment:not(:empty)")
    expect(moments).to_have_count(0)
    page.locator(".u-over").first.hover()
    expect(moments).to_have_count(IN_ALL_CHARTS)
    page.mouse.move(0, 0)
    expect(moments).to_have_count(0)
    page.locator(".plot").nth(1).focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(moments).to_have_count(IN_ALL_CHARTS)
    assert len(set(moments.all_inner_texts())) == 1
    expect(page.locator('.visually-hidden[role="status"]')).to_contain_text("used")
    page.keyboard.press("Escape")
    expect(moments).to_have_count(0)


def test_a_legend_entry_hides_its_line(open_page: OpenPage, base: str) -> None:
    page = open_page("#/server?range=5m&refresh=off", base=base)
    wait_for_charts(page)
    panel = page.get_by_role("region", name="Filesystem use")
    assert panel.locator("canvas").evaluate(COLOURED_PIXELS) > 0
    for entry in panel.locator(".legend-entry").all():
        entry.click()
        expect(entry).to_have_attribute("aria-pressed", "false")
    assert panel.locator("canvas").evaluate(COLOURED_PIXELS) == 0


def test_the_theme_follows_the_system_until_it_is_chosen(open_page: OpenPage, base: str) -> None:
    page = open_page("#/server?range=5m&refresh=off", base=base, color_scheme="dark")
    wait_for_charts(page)
    root, chart = page.locator(":root"), page.locator("canvas").first
    expect(root).to_have_attribute("data-theme", "dark")
    dark = chart.evaluate(MOST_COMMON_COLOUR)
    page.get_by_role("button", name="Light theme").click()
    expect(root).to_have_attribute("data-theme", "light")
    assert page.locator("canvas").first.evaluate(MOST_COMMON_COLOUR) != dark
    page.reload()
    expect(root).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="Dark theme").click()
    page.emulate_media(color_scheme="light")
    expect(root).to_have_attribute("data-theme", "light")


def test_a_phone_shows_everything_without_scrolling_sideways(open_page: OpenPage, base: str) -> None:
    page = open_page("", base=base, viewport=(390, 844), has_touch=True)
    wait_for_charts(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for panel in page.locator(".panel").all():
        box = panel.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


def test_an_unknown_server_is_said_to_be_one(open_page: OpenPage, base: str) -> None:
    page = open_page("#/server?instance=nowhere:1&job=node", base=base)
    expect(page.get_by_role("heading", name="No server “nowhere:1”")).to_be_visible()


def test_the_page_works_below_a_strict_policy(open_page: OpenPage, base: str) -> None:
    """No inline script or style, nothing from elsewhere: a violation would be a console error."""
    page = open_page("", base=base)
    response = page.request.get(base)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy or "default-src 'self'" in policy
    assert "unsafe" not in policy
    wait_for_charts(page)
