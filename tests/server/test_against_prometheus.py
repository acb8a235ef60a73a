"""The same requests to a Prometheus over the same data: same status, error type and data."""

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from tests.components import require
from tests.fleetwatch_process import free_port
from tests.server import sample_data
from tests.server.conftest import Server

ONLY_3 = "@3 "
START_TIMEOUT_S = 30


def listed(file: str) -> list[str]:
    lines = (Path(__file__).parent / file).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", " "))]


@pytest.fixture(scope="module")
def prometheus_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("prometheus")
    (directory / "samples").write_text(sample_data.openmetrics())
    (directory / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    make_blocks = [str(require("promtool")), "tsdb", "create-blocks-from", "openmetrics", "samples", "data"]
    subprocess.run(make_blocks, cwd=directory, check=True, capture_output=True)
    port = free_port()
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [
                require("prometheus"),
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=directory,
            stderr=log,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest_asyncio.fixture
async def prometheus(prometheus_url: str) -> str:
    """The address of a Prometheus that is ready."""
    async with aiohttp.ClientSession(prometheus_url) as session, asyncio.timeout(START_TIMEOUT_S):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with session.get("/-/ready") as response:
                    if response.status == 200:
                        return prometheus_url
            await asyncio.sleep(0.05)


async def ask(session: aiohttp.ClientSession, base: str, request: str) -> tuple[int, Any]:
    method, *words = request.split(" ") if request.startswith("POST ") else ("GET", request)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    url = URL(f"{base}/api/v1/{words[0]}", encoded=True)
    body = words[1] if method == "POST" else None
    async with session.request(method, url, data=body, headers=headers if body else None) as response:
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else await response.text()


def comparable(answer: Any, request: str, with_annotations: bool) -> Any:
    """What both must agree on: error texts are Prometheus's of one version, and vectors have no order."""
    if not isinstance(answer, dict):
        return answer
    kept = {name: answer.get(name) for name in ("status", "errorType", "data")}
    if with_annotations:
        kept |= {name: sorted(answer.get(name, [])) for name in ("warnings", "infos")}
    if (
        isinstance(answer.get("data"), dict)
        and isinstance(answer["data"].get("result"), list)
        and "sort" not in request
    ):
        kept["data"] = answer["data"] | {"result": sorted(answer["data"]["result"], key=str)}
    return kept


@pytest.mark.parametrize("request_line", [*listed("requests.txt"), *listed("wrong_requests.txt")])
async def test_same_answer(server: Server, prometheus: str, request_line: str) -> None:
    async with aiohttp.ClientSession() as session:
        _, build = await ask(session, prometheus, "status/buildinfo")
        is_3 = not build["data"]["version"].startswith("2.")
        if request_line.startswith(ONLY_3) and not is_3:
            pytest.skip("Prometheus 2 answers differently")
        request = request_line.removeprefix(ONLY_3)
        theirs_status, theirs = await ask(session, prometheus, request)
        ours_status, ours = await ask(session, server.url, request)
    assert comparable(ours, request, is_3) == comparable(theirs, request, is_3)
    assert ours_status == theirs_status
