"""Queries over their limits: the answer of a Prometheus with the same limits, in status, error type and words."""

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from promql import Engine
from promql.engine import EngineOptions
from tests.components import require
from tests.fleetwatch_process import free_port
from tests.server import sample_data
from tests.server.conftest import Serve
from tsdb.store import Store

START_TIMEOUT_S = 30
MAX_SAMPLES = 4
SPAN = "start=1700000000&end=1700000120&step=60"


@pytest.fixture(scope="module")
def prometheus_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("prometheus")
    (directory / "samples").write_text(sample_data.openmetrics())
    (directory / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    make_blocks = [str(require("promtool")), "tsdb", "create-blocks-from", "openmetrics", "samples", "data"]
    subprocess.run(make_blocks, cwd=directory, check=True, capture_output=True)
    port = free_port()
    command = [
        str(require("prometheus")),
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        "--storage.tsdb.retention.time=100y",
        f"--query.max-samples={MAX_SAMPLES}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=directory, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


async def ask(session: aiohttp.ClientSession, url: str) -> tuple[int, dict[str, Any]]:
    async with session.get(url) as response:
        answer = await response.json()
        return response.status, {name: answer.get(name) for name in ("status", "errorType", "error", "data")}


async def ask_once_ready(session: aiohttp.ClientSession, base: str, request: str) -> tuple[int, dict[str, Any]]:
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with session.get(f"{base}/-/ready") as response:
                    if response.status == 200:
                        return await ask(session, f"{base}/api/v1/{request}")
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        ("query?query=up[5m]&time=1700000120", (422, "execution")),
        (f"query_range?query=up&{SPAN}", (422, "execution")),
        (f"query_range?query=sum(up)&{SPAN}", (422, "execution")),
        ("query?query=max_over_time(vector(1)[1h:1s])&time=1700000120", (422, "execution")),
        ("query?query=1&time=1700000120", (200, None)),
    ],
)
async def test_same_error(
    store: Store, serve: Serve, prometheus_url: str, request_line: str, expected: tuple[int, str | None]
) -> None:
    server = await serve(engine=Engine(store, EngineOptions(max_samples=MAX_SAMPLES)))
    async with aiohttp.ClientSession() as session:
        theirs = await ask_once_ready(session, prometheus_url, request_line)
        ours = await ask(session, f"{server.url}/api/v1/{request_line}")
    assert (theirs[0], theirs[1]["errorType"]) == expected, theirs
    assert ours == theirs
