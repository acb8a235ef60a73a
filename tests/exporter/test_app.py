"""The HTTP side: formats, compression, pages."""

import asyncio
import gzip
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from exporter.app import create_app
from exposition.formats import Format, choose_format, parse
from exposition.model import Metadata
from tests.components import require

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
# What Prometheus 3 sends.
PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


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
    exposition = parse(await response.read(), content_type)
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


def check_metrics(promtool: Path, body: bytes) -> str:
    command: list[str | Path] = [promtool, "check", "metrics"]
    check = subprocess.run(command, input=body, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return check.stdout.decode()


async def test_promtool_finds_no_more_than_in_node_exporter(client: Client) -> None:
    promtool = require("promtool")
    body = await (await client.get("/metrics")).read()
    output = await asyncio.to_thread(check_metrics, promtool, body)

    # The kernel's names for memory are not in snake case; promtool says so of node_exporter too.
    complaints = [line for line in output.splitlines() if line]
    assert [line for line in complaints if not (line.startswith("node_memory_") and "camelCase" in line)] == []
    assert complaints


def test_the_exporter_does_without_the_packages_of_the_server() -> None:
    code = "import sys, exporter.app; print(*{'numpy', 'orjson', 'psycopg', 'sqlalchemy'} & set(sys.modules))"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert imported.split() == []
