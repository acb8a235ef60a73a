"""The same APIs asked by a live Prometheus: equal discovered labels.

Every target is dropped by relabelling, so that nobody scrapes the made-up addresses.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from scraper.target import discovered_labels
from tests.components import require
from tests.fleetwatch_process import free_port
from tests.scraper.discovery.api_case import NAMES, filled, read_case
from tests.scraper.discovery.discovering import FakeAPI, serving_api
from tests.scraper.targets import resolved_job

DROP = [{"source_labels": ["__address__"], "action": "drop"}]


def known(key: str, tmp_path: Path) -> bool:
    """Whether the Prometheus here was built with a kind of discovery."""
    config = tmp_path / "probe.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": [{"job_name": "a", key: []}]}))
    return (
        subprocess.run([require("promtool"), "check", "config", config], capture_output=True, check=False).returncode
        == 0
    )


def is_debian_s(prometheus: Path) -> bool:
    version = subprocess.run([prometheus, "--version"], capture_output=True, text=True, check=True)
    return "version 2." in version.stdout + version.stderr


@asynccontextmanager
async def running_prometheus(prometheus: Path, config: dict[str, Any], tmp_path: Path) -> AsyncIterator[str]:
    """A Prometheus with a config; yields the URL of its API."""
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    options = [f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address={address}"]
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            prometheus, f"--config.file={tmp_path}/prometheus.yml", *options, stderr=log
        )
    try:
        yield f"http://{address}/api/v1"
    finally:
        process.terminate()
        await process.wait()


def text_key(labels: dict[str, str]) -> list[tuple[str, str]]:
    return sorted(labels.items())


async def found_by(url: str, expected: dict[str, int]) -> dict[str, list[dict[str, str]]]:
    """The discovered labels by job, when there are as many as expected or after a while."""
    found: dict[str, list[dict[str, str]]] = {}
    async with aiohttp.ClientSession() as session:
        for _ in range(400):
            try:
                async with session.get(f"{url}/targets") as response:
                    dropped = (await response.json())["data"]["droppedTargets"]
            except aiohttp.ClientError:
                dropped = []
            found = {}
            for target in dropped:
                labels = target["discoveredLabels"]
                found.setdefault(labels["__metrics_path__"].removeprefix("/"), []).append(labels)
            if {job: len(targets) for job, targets in found.items()} == expected:
                break
            await asyncio.sleep(0.05)
    return found


def without(labels: dict[str, str], unknown: list[str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name not in unknown}


async def test_discovered_labels_are_prometheus_s(tmp_path: Path) -> None:
    prometheus = require("prometheus")
    old = is_debian_s(prometheus)
    cases = {
        name: case
        for name, case in ((name, read_case(name)) for name in NAMES)
        if not case.url and not (old and case.needs_prometheus_3) and known(case.key, tmp_path)
    }
    async with AsyncExitStack() as stack:
        apis: dict[str, FakeAPI] = {}
        jobs = []
        for name, case in cases.items():
            apis[name] = await stack.enter_async_context(serving_api(dict(case.answers)))
            unknown = case.unknown_to_debian if old else []
            entry = without(filled(case.config, apis[name]), unknown)
            jobs.append({"job_name": name, "metrics_path": f"/{name}", "relabel_configs": DROP, case.key: [entry]})
        url = await stack.enter_async_context(running_prometheus(prometheus, {"scrape_configs": jobs}, tmp_path))
        found = await found_by(url, {name: len(case.targets) for name, case in cases.items()})
    for name, case in cases.items():
        unknown = case.unknown_to_debian if old else []
        own = [
            dict(discovered_labels(without(target, unknown), {}, resolved_job(job_name=name, metrics_path=f"/{name}")))
            for target in filled(case.targets, apis[name])
        ]
        assert sorted(found.get(name, []), key=text_key) == sorted(own, key=text_key), name
