"""A scrape loop on a real target and a memory store, scraped at times that the test says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientSession
from prometheus_client import CollectorRegistry

from scraper.cache import ScrapeCache
from scraper.client import JobClient, TargetClient, open_session
from scraper.config import ScrapeConfig
from scraper.discovery.model import TargetGroup
from scraper.loop import ScrapeLoop
from scraper.metrics import ScrapeMetrics
from scraper.read_queue import ReadQueue
from scraper.target import populate
from tests.scraper.targets import Exposed, ManualClock, read_all, resolved_job, serving
from tsdb import Store, open_store

REPORT = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
Samples = list[tuple[int, float | str]]


@dataclass
class Scraped:
    """A target, the loop that scrapes it, and the store it writes to."""

    exposed: Exposed
    loop: ScrapeLoop
    store: Store
    registry: CollectorRegistry

    async def scrape(self, time_ms: int, body: str | None = None) -> None:
        """Scrape, of a new body where one is given, and wait until all is stored."""
        if body is not None:
            self.exposed.body = body
        await self.loop.scrape(time_ms)
        await self.loop.settle()

    def samples(self) -> dict[str, Samples]:
        """The target's own series, by their text less the target labels."""
        found = {self._short(series): samples for series, samples in read_all(self.store).items()}
        return {series: samples for series, samples in found.items() if series not in REPORT}

    def report(self, name: str) -> Samples:
        """One of the report series."""
        return next(samples for series, samples in read_all(self.store).items() if self._short(series) == name)

    def counter(self, name: str) -> float | None:
        """One of the scraper's own counters."""
        return self.registry.get_sample_value(f"fleetwatch_target_{name}_total")

    def _short(self, series: str) -> str:
        for label in (f'instance="{self.exposed.address}"', 'job="job"'):
            series = series.replace(f", {label}", "").replace(f"{label}, ", "").replace(label, "")
        return series.removesuffix("{}")


@asynccontextmanager
async def scraping(store: Store | None = None, /, **job: object) -> AsyncIterator[Scraped]:
    """A loop over a job with these keys; nothing is scraped yet."""
    exposed, registry = Exposed(), CollectorRegistry()
    store = store or open_store("memory:")
    session, reads = open_session(), ReadQueue()
    try:
        async with serving(exposed) as address:
            loop = _loop(address, resolved_job(**job), store, session, registry, reads)
            yield Scraped(exposed, loop, store, registry)
    finally:
        await reads.close()
        await session.close()
        store.close()


def _loop(
    address: str,
    job: ScrapeConfig,
    store: Store,
    session: ClientSession,
    registry: CollectorRegistry,
    reads: ReadQueue,
) -> ScrapeLoop:
    (target,) = populate([TargetGroup("test", [{"__address__": address}])], job, ()).active
    cache = ScrapeCache(store, store.register_target(target.labels), target.labels, job)
    client = TargetClient(JobClient(session, job, Path()), target)
    return ScrapeLoop(target, job, cache, client, store, ManualClock(), ScrapeMetrics(registry), reads)
