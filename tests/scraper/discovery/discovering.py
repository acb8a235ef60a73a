"""What the tests of sources share: a discoverer at work, and the API it asks, on loopback."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from prometheus_client import CollectorRegistry

from scraper.discovery.metrics import DiscoveryMetrics
from scraper.discovery.model import Discoverer, Surroundings, TargetGroup
from scraper.discovery.watch import DirectoryWatcher

REFRESH_MS = 20
"""A refresh interval for tests that wait for the next refresh."""

Labels = dict[str, str]


class Published:
    """What a discoverer publishes: `targets` have their group's labels, as they reach relabelling."""

    def __init__(self) -> None:
        self.groups: list[TargetGroup] = []
        self.times = 0

    def __call__(self, groups: Sequence[TargetGroup]) -> None:
        self.groups = list(groups)
        self.times += 1

    @property
    def targets(self) -> list[Labels]:
        return [
            {name: value for name, value in {**group.labels, **target}.items() if value}
            for group in self.groups
            for target in group.targets
        ]

    @property
    def addresses(self) -> list[str]:
        return sorted(target["__address__"] for target in self.targets)


def surroundings(directory: Path = Path()) -> Surroundings:
    return Surroundings(directory, DirectoryWatcher(), DiscoveryMetrics(CollectorRegistry()))


def failures(around: Surroundings, mechanism: str) -> float:
    """How often a source failed so far."""
    value = around.metrics.failures.labels(mechanism)._value.get()
    return float(value)


@asynccontextmanager
async def running(discoverer: Discoverer) -> AsyncIterator[Published]:
    """A discoverer at work; a crash of it is raised at the end."""
    published = Published()
    task = asyncio.create_task(discoverer.run(published))
    try:
        yield published
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


# Docker's clients put the API version before the path.
_VERSION = re.compile(r"^/v1\.\d+(?=/)")


class FakeAPI:
    """An HTTP API: an answer is JSON, text, or made by a function of the request; paths without one are 404.

    A query may be part of a path. After a # come Action and NextToken of a form, as AWS's query API has them.
    `broken` makes it fail with every request.
    """

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.broken = False
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        path = _VERSION.sub("", request.path)
        if self.broken:
            raise web.HTTPInternalServerError
        form = dict(parse_qsl(self.bodies[-1].decode("latin-1")))
        if "Action" in form:
            path += f"#{form['Action']}" + (f"&NextToken={form['NextToken']}" if "NextToken" in form else "")
        with_query = f"{path}?{request.query_string}"
        key = with_query if with_query in self.answers else path
        if key not in self.answers:
            raise web.HTTPNotFound
        answer = self.answers[key]
        if callable(answer):
            answer = answer(request)
            if isinstance(answer, Awaitable):
                answer = await answer
        if isinstance(answer, web.StreamResponse):
            return answer
        return web.Response(text=answer) if isinstance(answer, str) else web.json_response(answer)


@asynccontextmanager
async def serving_api(answers: dict[str, Any], unix_socket: Path | None = None) -> AsyncIterator[FakeAPI]:
    """Serve an API on a free port of 127.0.0.1, or on a Unix socket."""
    api = FakeAPI(answers)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.UnixSite(runner, unix_socket) if unix_socket else web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    if unix_socket is None:
        host, port = runner.addresses[0][:2]
        api.url = f"http://{host}:{port}"
    else:
        api.url = f"unix://{unix_socket}"
    try:
        yield api
    finally:
        await runner.cleanup()
