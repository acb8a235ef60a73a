"""What tests of the scraper share: targets on loopback, a clock driven by hand, readers of a store."""

import asyncio
import heapq
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from aiohttp import web

from common.labels import Labels
from common.matchers import Matcher
from scraper.config import GlobalConfig, ScrapeConfig, ScrapeSettings, resolve
from scraper.discovery.static import StaticConfig
from tsdb.model import is_stale
from tsdb.store import Store

STALE = "stale"
TEXT = "text/plain; version=0.0.4; charset=utf-8"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Exposed:
    """A target: what it answers, and the requests it got."""

    body: str | bytes = ""
    content_type: str | None = TEXT
    status: int = 200
    handler: Handler | None = None
    address: str = ""
    requests: list[web.Request] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.handler is not None:
            return await self.handler(request)
        body = self.body.encode() if isinstance(self.body, str) else self.body
        headers = {} if self.content_type is None else {"Content-Type": self.content_type}
        return web.Response(body=body, status=self.status, headers=headers)


@asynccontextmanager
async def serving(exposed: Exposed) -> AsyncIterator[str]:
    """Serve a target on a free port of 127.0.0.1; yields `host:port`."""
    app = web.Application()
    app.router.add_get("/{path:.*}", exposed.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    exposed.address = f"{host}:{port}"
    try:
        yield exposed.address
    finally:
        await runner.cleanup()


class ManualClock:
    """A clock that stands still until `advance_to`."""

    def __init__(self, now_ms: float = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._count = 0

    def now_ms(self) -> float:
        return self._now_ms

    async def sleep_until(self, wall_ms: float) -> None:
        if wall_ms <= self._now_ms:
            return
        woken = asyncio.Event()
        self._count += 1
        sleeper = (wall_ms, self._count, woken)
        heapq.heappush(self._sleepers, sleeper)
        try:
            await woken.wait()
        finally:
            if sleeper in self._sleepers:  # it was cancelled
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)

    def advance_to(self, wall_ms: float) -> None:
        """Set the time, and wake who waits for it."""
        self._now_ms = wall_ms
        while self._sleepers and self._sleepers[0][0] <= wall_ms:
            heapq.heappop(self._sleepers)[2].set()

    def next_ms(self) -> float:
        """What the first sleeper waits for; infinity where nobody sleeps."""
        return self._sleepers[0][0] if self._sleepers else math.inf


def read_all(store: Store, start_ms: int = 0, end_ms: int = 2**53) -> dict[str, list[tuple[int, float | str]]]:
    """Every sample of a store by series, staleness markers as STALE."""
    return {str(labels): samples for labels, samples in read_series(store, start_ms, end_ms).items()}


def read_series(store: Store, start_ms: int = 0, end_ms: int = 2**53) -> dict[Labels, list[tuple[int, float | str]]]:
    found: dict[Labels, list[tuple[int, float | str]]] = {}
    for frame in store.select([Matcher.equal("no_such_label", "")], start_ms, end_ms):
        for row, labels in enumerate(frame.labels):
            present = np.ones(len(frame.times_ms), dtype=bool) if frame.present is None else frame.present[row]
            stale = is_stale(frame.values[row])
            found[labels] = [
                (int(frame.times_ms[column]), STALE if stale[column] else float(frame.values[row][column]))
                for column in np.flatnonzero(present)
            ]
    return found


async def eventually(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait for something that happens in other tasks or threads."""
    step_s = 0.005
    for _ in range(int(timeout_s / step_s)):
        if condition():
            return
        await asyncio.sleep(step_s)
    raise TimeoutError("what was waited for did not happen")


def resolved_job(**keys: object) -> ScrapeConfig:
    """A job with defaults filled in."""
    return resolve(ScrapeConfig(**{"job_name": "job", **keys}), GlobalConfig())  # type: ignore[arg-type]


def settings_for(*addresses: str, **keys: object) -> ScrapeSettings:
    """Settings with one job `job` of static targets."""
    job = {"job_name": "job", "static_configs": (StaticConfig(targets=addresses),), **keys}
    return ScrapeSettings(scrape_configs=(ScrapeConfig(**job),))  # type: ignore[arg-type]
