"""A live Prometheus that scrapes what a test serves."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.components import require

STEPS, STEP_S = 600, 0.05
_LISTENING = re.compile(r'msg="Listening on" (?:component=web )?address=(\S+)')


@contextlib.asynccontextmanager
async def prometheus(config: str, directory: Path, *options: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A Prometheus 3 with this config, as a session for its API. Skips the test where there is only an older one."""
    executable = require("prometheus")
    asking = await asyncio.create_subprocess_exec(executable, "--version", stdout=asyncio.subprocess.PIPE)
    version, _ = await asking.communicate()
    if b"version 2." in version:
        pytest.skip("Prometheus 2 differs from 3.5")
    (directory / "prometheus.yml").write_text(config)
    arguments = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"]
    arguments += ["--scrape.discovery-reload-interval=100ms", *options]
    log = directory / "log"
    with log.open("w") as file:
        process = await asyncio.create_subprocess_exec(executable, *arguments, cwd=directory, stdout=file, stderr=file)
    try:
        address = await _address(process, log)
        async with aiohttp.ClientSession(f"http://{address}") as session:
            for _ in range(STEPS):
                if (await session.get("/-/ready")).status == 200:
                    break
                await asyncio.sleep(STEP_S)
            yield session
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _address(process: asyncio.subprocess.Process, log: Path) -> str:
    """Where it listens, which the system chose. Raises RuntimeError where it ended instead."""
    text = ""
    for _ in range(STEPS):
        text = await asyncio.to_thread(log.read_text)
        if found := _LISTENING.search(text):
            return found[1]
        if process.returncode is not None:
            break
        await asyncio.sleep(STEP_S)
    raise RuntimeError(f"prometheus does not listen: {text}")


async def ask(session: aiohttp.ClientSession, path: str, **params: str) -> Any:
    """The `data` of an answer of the API."""
    async with session.get(f"/api/v1/{path}", params=params) as response:
        return json.loads(await response.text())["data"]
