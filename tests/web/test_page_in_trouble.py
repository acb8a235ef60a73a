"""The web page where things go wrong: hostile metrics, a target that is down, a server that goes and comes back."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Route, expect

from tests.fleetwatch_process import FleetwatchProcess, free_port, running
from tests.web.chromium import PANELS, wait_for_charts
from tests.web.conftest import OpenPage

HOSTILE = '"><img src=x onerror=alert(1)>'
RECOVERY_TIMEOUT_MS = 30_000

_IN_LABEL = HOSTILE.replace('"', '\\"')
EXPOSITION = f"""\
node_uname_info{{nodename="{_IN_LABEL}",sysname="{_IN_LABEL}",release="{_IN_LABEL}",machine="{_IN_LABEL}"}} 1
node_filesystem_size_bytes{{device="d",fstype="ext4",mountpoint="{_IN_LABEL}"}} 100
node_filesystem_avail_bytes{{device="d",fstype="ext4",mountpoint="{_IN_LABEL}"}} 40
"""
JOB = """\
  - job_name: {name}
    static_configs:
      - targets: ["localhost:{port}"]
        labels: {{instance: {name}}}
      - targets: ["localhost:{closed_port}"]
        labels: {{instance: gone}}
"""


class HostileExporter(BaseHTTPRequestHandler):
    """Serves metrics whose label values are markup."""

    def do_GET(self) -> None:
        body = EXPOSITION.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def hostile_port() -> Iterator[int]:
    exporter = ThreadingHTTPServer(("127.0.0.1", 0), HostileExporter)
    thread = threading.Thread(target=exporter.serve_forever)
    thread.start()
    yield exporter.server_address[1]
    exporter.shutdown()
    thread.join()
    exporter.server_close()


@pytest.fixture(scope="module")
def fleetwatch(tmp_path_factory: pytest.TempPathFactory, hostile_port: int) -> Iterator[FleetwatchProcess]:
    """A `fleetwatch run` that scrapes a hostile target and one that is not there."""
    job = JOB.format(name=json.dumps(HOSTILE), port=hostile_port, closed_port=free_port())
    with running(tmp_path_factory.mktemp("trouble"), more_jobs=job) as process:
        process.wait_for("count(count_over_time(up[5m]) >= 3)", lambda answer: list(answer.values()) == [4])
        yield process


def server_page(job: str, instance: str) -> str:
    return f"#/server?instance={quote(instance)}&job={quote(job)}&range=5m"


def test_label_values_are_text_wherever_they_appear(open_page: OpenPage, fleetwatch: FleetwatchProcess) -> None:
    page = open_page(server_page(HOSTILE, HOSTILE), base=fleetwatch.url)
    filesystems = page.get_by_role("region", name="Filesystem use")
    expect(filesystems).to_have_attribute("data-state", "ready")
    expect(page.locator("h1")).to_have_text(HOSTILE)
    expect(page.locator(".heading-detail")).to_contain_text(HOSTILE)
    expect(filesystems.locator(".legend-name")).to_have_text(HOSTILE)
    expect(page.locator(".tile-name").nth(2)).to_have_text(f"Disk {HOSTILE}")
    page.get_by_role("button", name=HOSTILE).first.click()
    expect(page.locator(".choice-detail").filter(has_text=HOSTILE).first).to_be_visible()
    page.keyboard.press("Escape")
    page.goto(f"{fleetwatch.url}/{server_page(HOSTILE, HOSTILE + 'unknown')}")
    expect(page.get_by_role("heading", name=f"No server “{HOSTILE}unknown”")).to_be_visible()
    expect(page.locator("img")).to_have_count(0)


def test_a_server_that_is_down_says_why(open_page: OpenPage, fleetwatch: FleetwatchProcess) -> None:
    page = open_page(server_page(HOSTILE, "gone"), base=fleetwatch.url)
    expect(page.locator(".badge")).to_have_text("Down")
    expect(page.locator(".heading-problem")).to_contain_text(re.compile("refused|connect", re.IGNORECASE))
    expect(page.locator('.panel[data-state="empty"]')).to_have_count(PANELS)


def test_another_server_is_chosen_by_typing(open_page: OpenPage, fleetwatch: FleetwatchProcess) -> None:
    page = open_page(server_page(HOSTILE, "gone"), base=fleetwatch.url)
    page.get_by_role("button", name="gone").click()
    page.get_by_label("Filter servers").fill(f"localhost:{fleetwatch.exporter_port}")
    page.keyboard.press("Enter")
    wait_for_charts(page)
    assert "job=node" in page.url


def test_what_the_server_rejects_is_said_in_its_words(open_page: OpenPage, fleetwatch: FleetwatchProcess) -> None:
    """No query of the page is rejected by a healthy server, so the answer is put in its mouth."""
    address = server_page("node", f"localhost:{fleetwatch.exporter_port}")
    page = open_page(f"{address}&refresh=off", base=fleetwatch.url, may_fail=True)
    wait_for_charts(page)
    words = "query would use <b>too much</b> memory"

    def reject(route: Route) -> None:
        route.fulfill(status=422, json={"status": "error", "errorType": "execution", "error": words})

    page.route("**/api/v1/query_range**", reject)
    page.get_by_role("button", name="Zoom out").click()
    failed = page.locator('.panel[data-state="failed"]')
    expect(failed).to_have_count(PANELS)
    expect(failed.first).to_contain_text(words)
    page.unroute("**/api/v1/query_range**")
    failed.first.get_by_role("button", name="Try again").click()
    wait_for_charts(page)


def test_the_page_waits_for_a_server_that_went_away(open_page: OpenPage, tmp_path: Path) -> None:
    port, exporter_port = free_port(), free_port()
    with running(tmp_path, port=port, exporter_port=exporter_port) as process:
        process.wait_for('count_over_time(up{job="node"}[5m]) >= 3', bool)
        page = open_page("#/server?range=5m", base=process.url, may_fail=True)
        wait_for_charts(page)
        process.kill()
        banner = page.get_by_role("alert").filter(has_text="does not answer")
        expect(banner).to_be_visible(timeout=RECOVERY_TIMEOUT_MS)
        wait_for_charts(page)  # what was drawn stays
        age = page.locator(".heading-age").inner_text()
    with running(tmp_path, port=port, exporter_port=exporter_port):
        expect(banner).to_be_hidden(timeout=RECOVERY_TIMEOUT_MS)
        expect(page.locator(".heading-age")).not_to_have_text(age, timeout=RECOVERY_TIMEOUT_MS)
