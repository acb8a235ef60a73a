"""A real server on a free port, over a memory store with a few series."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from prometheus_client import CollectorRegistry

from promql import Engine
from server.app import create_app, make_runner
from server.deps import BuildInfo, Dependencies
from tests.server.sample_data import fill
from tsdb import open_store
from tsdb.store import Store


@dataclass(frozen=True)
class Server:
    """A running server and a session with it."""

    port: int
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def get(self, path: str, **params: Any) -> tuple[int, Any]:
        """Status and decoded JSON."""
        async with self.session.get(f"/api/v1/{path}", params=params) as response:
            return response.status, await response.json()

    async def data(self, path: str, **params: Any) -> Any:
        """The `data` of an answer that must succeed."""
        status, answer = await self.get(path, **params)
        assert (status, answer["status"]) == (200, "success"), answer
        return answer["data"]


Serve = Callable[..., Awaitable[Server]]


@pytest.fixture(autouse=True)
def as_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    """Log lines of the level that a process has are made here too."""
    caplog.set_level(logging.INFO)


@pytest.fixture
def store() -> Iterator[Store]:
    store = open_store("memory:")
    fill(store)
    yield store
    store.close()


@pytest_asyncio.fixture
async def serve(store: Store) -> AsyncIterator[Serve]:
    """Start a server; keyword arguments replace its dependencies."""
    runners: list[web.AppRunner] = []
    sessions: list[aiohttp.ClientSession] = []

    async def start(**changes: Any) -> Server:
        deps: dict[str, Any] = {
            "store": store,
            "engine": Engine(store),
            "build": BuildInfo("1.2.3", "abc", "main"),
            "registry": CollectorRegistry(),
            "ready": lambda: True,
        }
        runner = make_runner(create_app(Dependencies(**deps | changes)))
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        session = aiohttp.ClientSession(f"http://127.0.0.1:{port}")
        sessions.append(session)
        return Server(port, session)

    yield start
    for session in sessions:
        await session.close()
    for runner in runners:
        await runner.cleanup()


@pytest_asyncio.fixture
async def server(serve: Serve) -> Server:
    """A server with the usual dependencies."""
    return await serve()
