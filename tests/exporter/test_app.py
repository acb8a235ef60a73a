"""The HTTP side: formats, compression, pages."""

import asyncio
import gzip
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from msgspec import convert
from prometheus_client import CollectorRegistry

from exporter.app import MetricsHandler, create_app
from exporter.collectors.stat import StatCollector, StatOptions
from exporter.registry import Registry
from exporter.roots import Roots
from exporter.settings import ExporterSettings, WebSettings
from exposition.formats import Format, choose_format, parse
from exposition.model import Metadata
from exposition.writer import Family, write
from tests.components import require
from tests.exporter.node_exporter import fetch, node_exporter

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
# What Prometheus 3 sends.
PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


KERNEL_NAMES = ("node_memory_", "node_netstat_")
Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    no_gzip = {"Accept-Encoding": "identity"}
    async with TestClient(TestServer(create_app()), auto_decompress=False, headers=no_gzip) as client:
        yield client


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, Format.TEXT),
        ("*/*", Format.TEXT),
        ("text/html, garbage;;q=x", Format.TEXT),
        ("application/openmetrics-text;version=new", Format.TEXT),
        ("text/plain;version=0.0.4", Format.TEXT),
        (OPENMETRICS, Format.OPENMETRICS),
        (PROMETHEUS_ACCEPT, Format.OPENMETRICS),
    ],
)
async def test_the_format_is_the_one_accepted(client: Client, accept: str | None, expected: Format) -> None:
    response = await client.get("/metrics", headers={"Accept": accept} if accept else {}, skip_auto_headers=["Accept"])
    content_type = response.headers["Content-Type"]

    assert response.status == 200
    assert choose_format(content_type) is expected
    exposition = parse(await response.read(), choose_format(content_type))
    names = {sample.labels.metric_name for sample in exposition.samples}
    assert names >= {"node_load1", "node_cpu_seconds_total", "process_cpu_seconds_total", "python_info"}
    assert exposition.metadata["node_load1"] == Metadata("gauge", "1m load average.")
    counter = "node_intr" if expected is Format.OPENMETRICS else "node_intr_total"
    assert exposition.metadata[counter].type == "counter"


async def test_gzip_where_it_is_accepted(client: Client) -> None:
    plain = await client.get("/metrics")
    zipped = await client.get("/metrics", headers={"Accept-Encoding": "deflate, gzip;q=0.5"})

    assert "Content-Encoding" not in plain.headers
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in zipped.headers["Vary"]
    body = await zipped.read()
    assert len(body) < len(await plain.read()) / 3
    assert b"node_load1 " in gzip.decompress(body)


async def test_pages(client: Client) -> None:
    landing_page = await client.get("/")
    assert landing_page.content_type == "text/html"
    assert 'href="metrics"' in await landing_page.text()
    assert (await client.get("/-/healthy")).status == 200
    assert (await client.get("/nothing")).status == 404
    assert (await client.post("/metrics")).status == 405


async def collectors_of(client: Client, query: str) -> set[str]:
    response = await client.get(f"/metrics?{query}")
    assert response.status == 200
    samples = parse(await response.read(), choose_format(response.headers["Content-Type"])).samples
    return {
        sample.labels.get("collector")
        for sample in samples
        if sample.labels.metric_name == "node_scrape_collector_success"
    }


async def test_a_request_may_choose_collectors(client: Client) -> None:
    every = await collectors_of(client, "")

    assert await collectors_of(client, "collect[]=cpu&collect[]=time&collect[]=cpu") == {"cpu", "time"}
    assert await collectors_of(client, "exclude[]=cpu&exclude[]=nonsense") == every - {"cpu"}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("collect[]=cpu&collect[]=nonsense", "missing collector: nonsense\n"),
        ("collect[]=uname", "disabled collector: uname\n"),
        ("collect[]=cpu&exclude[]=time", "Combined collect and exclude queries are not allowed.\n"),
    ],
)
async def test_a_wrong_choice_is_refused(query: str, message: str) -> None:
    settings = convert({"collectors": {"uname": {"enabled": False}}}, ExporterSettings)
    async with TestClient(TestServer(create_app(settings))) as client:
        response = await client.get(f"/metrics?{query}")
        assert (response.status, await response.text()) == (400, message)


async def test_settings_of_the_web_section() -> None:
    web_settings = WebSettings(telemetry_path="/host/metrics", disable_exporter_metrics=True)
    async with TestClient(TestServer(create_app(ExporterSettings(web=web_settings)))) as client:
        assert 'href="host/metrics"' in await (await client.get("/")).text()
        body = await (await client.get("/host/metrics")).text()
        assert "node_load1 " in body
        assert "process_cpu_seconds_total" not in body
        assert (await client.get("/metrics")).status == 404


class Hanging:
    """A collector that hangs until it is released."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.release = threading.Event()

    def collect(self) -> Iterator[Family]:
        self.started.set()
        self.release.wait()
        yield Family.single("late", "gauge", "", 1)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    collector = Hanging()
    yield collector
    collector.release.set()


async def test_requests_over_the_limit_are_refused(hanging: Hanging) -> None:
    handler = MetricsHandler(Registry({"hanging": hanging}, deadline_s=60), CollectorRegistry(), max_requests=1)
    app = web.Application()
    app.router.add_get("/metrics", handler.handle)
    app.on_cleanup.append(handler.close)
    async with TestClient(TestServer(app)) as client:
        first = asyncio.create_task(client.get("/metrics"))
        await asyncio.to_thread(hanging.started.wait)
        refused = await client.get("/metrics")
        hanging.release.set()

        assert refused.status == 503
        assert await refused.text() == "Limit of concurrent requests reached (1), try again later.\n"
        assert "late 1" in await (await first).text()
        assert (await client.get("/metrics")).status == 200


def test_a_hanging_collector_costs_its_own_metrics_once(hanging: Hanging, caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry({"hanging": hanging, "stat": StatCollector(Roots(), StatOptions())}, deadline_s=0.05)
    bodies = [write(registry.collect(), Format.TEXT).decode() for _ in range(3)]
    registry.close()

    for body in bodies:
        assert 'node_scrape_collector_success{collector="hanging"} 0' in body
        assert 'node_scrape_collector_duration_seconds{collector="hanging"} 0.05' in body
        assert 'node_scrape_collector_success{collector="stat"} 1' in body
        assert "node_boot_time_seconds " in body
    assert [record.__dict__["error"] for record in caplog.records] == [
        "not finished within 0.05 s; it is left out until it is"
    ]


class Giving:
    """A collector that gives one metric."""

    def __init__(self, name: str, value: float) -> None:
        self._name, self._value = name, value

    def collect(self) -> list[Family]:
        return [Family.single(self._name, "gauge", "", self._value)]


def test_a_metric_is_given_once(caplog: pytest.LogCaptureFixture) -> None:
    collectors = {
        "first": Giving("a", 1),
        "second": Giving("a", 2),
        "third": Giving("own", 3),
        "fourth": Giving("node_scrape_collector_success", 4),
    }
    registry = Registry(collectors, reserved=["own"])
    lines = write(registry.collect(), Format.TEXT).decode().splitlines()
    registry.close()

    assert [line for line in lines if line.startswith(("a ", "own ", "node_scrape_collector_success "))] == ["a 1"]
    success = [line for line in lines if line.startswith("node_scrape_collector_success{")]
    assert [line[-1] for line in success] == ["1", "0", "0", "0"]
    assert caplog.records[0].__dict__["error"] == "a is a metric of another collector"


def check_metrics(promtool: Path, body: bytes) -> str:
    command: list[str | Path] = [promtool, "check", "metrics"]
    check = subprocess.run(command, input=body, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return check.stdout.decode()


async def test_promtool_finds_no_more_than_in_node_exporter(client: Client) -> None:
    promtool = require("promtool")
    body = await (await client.get("/metrics")).read()
    with node_exporter() as url:
        theirs, _ = await asyncio.to_thread(fetch, url)
    expected = await asyncio.to_thread(check_metrics, promtool, theirs)
    output = await asyncio.to_thread(check_metrics, promtool, body)

    complaints = [line for line in output.splitlines() if line and line not in expected]
    # Fields that an older node_exporter does not know are named by the same rule.
    assert [line for line in complaints if not (line.startswith(KERNEL_NAMES) and "camelCase" in line)] == []
    assert expected


def test_the_exporter_does_without_the_packages_of_the_server() -> None:
    code = "import sys, exporter.app; print(*{'numpy', 'orjson', 'psycopg', 'sqlalchemy'} & set(sys.modules))"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert imported.split() == []
