"""The scrape manager: pools for the jobs of a config, reload, and what the targets and metadata APIs show."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry

from common.labels import Labels
from exposition.model import Metadata
from scraper.client import JobClient, open_session
from scraper.clock import Clock, SystemClock
from scraper.config import ScrapeConfig, ScrapeSettings, resolve
from scraper.departures import Departures
from scraper.discovery.metrics import DiscoveryMetrics
from scraper.discovery.watch import DirectoryWatcher
from scraper.inventory import Inventory, Key
from scraper.loop import ScrapeLoop
from scraper.metrics import ScrapeMetrics
from scraper.pool import PoolContext, ScrapePool
from scraper.read_queue import ReadQueue
from scraper.relabel import RelabelConfig
from tsdb.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ActiveTarget:
    """A target that is scraped, and its last scrape; `last_scrape_ms` is None before the first.

    `metadata` is what its last body said of the metric families.
    """

    scrape_pool: str
    scrape_url: str
    labels: Labels
    discovered_labels: Labels
    health: str
    last_error: str
    last_scrape_ms: int | None
    last_scrape_duration_s: float
    scrape_interval_ms: int
    scrape_timeout_ms: int
    metadata: Mapping[str, Metadata]

    @classmethod
    def of(cls, scrape_pool: str, loop: ScrapeLoop) -> "ActiveTarget":
        """The target of a loop as it is now."""
        target, state = loop.target, loop.state
        return cls(
            scrape_pool=scrape_pool,
            scrape_url=target.url,
            labels=target.labels,
            discovered_labels=target.discovered_labels,
            health=state.health.value,
            last_error=state.last_error,
            last_scrape_ms=state.last_scrape_ms,
            last_scrape_duration_s=state.last_scrape_duration_s,
            scrape_interval_ms=target.interval_ms,
            scrape_timeout_ms=target.timeout_ms,
            metadata=loop.cache.metadata,
        )


@dataclass(frozen=True, slots=True)
class DroppedTarget:
    """A target that relabelling dropped."""

    scrape_pool: str
    discovered_labels: Labels


class ScrapeManager:
    """Scrapes what its config says into a store. All methods belong to one event loop.

    `offset_seed` tells apart several processes that scrape the same targets, so that they do so at different times.
    An `inventory` is told of the targets while this runs.
    """

    def __init__(
        self,
        store: Store,
        registry: CollectorRegistry | None = None,
        clock: Clock | None = None,
        offset_seed: str = "",
        inventory: Inventory | None = None,
    ) -> None:
        self.inventory = inventory
        self._clock = clock or SystemClock()
        self._departures = Departures(self._clock)
        self._watcher = DirectoryWatcher()
        self._reads = ReadQueue()
        registry = registry or CollectorRegistry()
        self._context = PoolContext(
            store=store,
            clock=self._clock,
            metrics=ScrapeMetrics(registry),
            departures=self._departures,
            watcher=self._watcher,
            discovery=DiscoveryMetrics(registry),
            reads=self._reads,
            offset_seed=offset_seed,
        )
        self._session: aiohttp.ClientSession | None = None
        self._pools: dict[str, ScrapePool] = {}

    async def apply(self, settings: ScrapeSettings, directory: Path = Path()) -> None:
        """Start, or go over to a new config; checked before (scraper.config_checks), files relative to `directory`.

        Targets that stay as they are keep their loops and miss no scrape. Raises ScraperError where TLS files are
        unusable, and then everything stays as it was.
        """
        if self._session is None:
            self._session = open_session()
            if self.inventory is not None:
                self.inventory.start(self._discovered)
        jobs = {job.job_name: resolve(job, settings.global_) for job in settings.scrape_configs}
        clients = await asyncio.to_thread(_clients, self._session, jobs, directory)
        for name in self._pools.keys() - jobs.keys():
            await self._pools.pop(name).stop(abort=False)
        for name, job in jobs.items():
            if pool := self._pools.get(name):
                pool.reload(job, clients[name], directory)
            else:
                self._pools[name] = ScrapePool(job, clients[name], directory, self._context)
                self._pools[name].start()
        log.info("scrape config applied", extra={"jobs": len(jobs)})

    async def stop(self) -> None:
        """End everything now, for shutdown: no staleness markers, the next start goes on. Idempotent."""
        if self.inventory is not None:
            await self.inventory.stop()
        for pool in self._pools.values():
            await pool.stop(abort=True)
        self._pools.clear()
        await self._reads.close()
        await self._departures.close()
        await self._watcher.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _discovered(self) -> frozenset[Key]:
        targets = [target for pool in self._pools.values() for target in pool.loops]
        return frozenset([Key(target.labels.get("job"), target.labels.get("instance")) for target in targets])

    def scrape_pools(self) -> list[str]:
        """The names of the jobs, sorted."""
        return sorted(self._pools)

    def active_targets(self) -> list[ActiveTarget]:
        """What is scraped, by pool."""
        return [
            ActiveTarget.of(name, loop) for name, pool in sorted(self._pools.items()) for loop in pool.loops.values()
        ]

    def relabel_configs(self, scrape_pool: str) -> Sequence[RelabelConfig] | None:
        """The relabelling of a job's targets; None where there is no such job."""
        pool = self._pools.get(scrape_pool)
        return None if pool is None else pool.job.relabel_configs

    def dropped_targets(self) -> list[DroppedTarget]:
        """What relabelling dropped, by pool; no more of each than its keep_dropped_targets."""
        return [DroppedTarget(name, labels) for name, pool in sorted(self._pools.items()) for labels in pool.dropped]

    def dropped_counts(self) -> dict[str, int]:
        """How many targets relabelling dropped, by pool."""
        return {name: pool.dropped_count for name, pool in sorted(self._pools.items())}

    def metadata(self) -> dict[str, list[Metadata]]:
        """Type, help and unit by metric family: each distinct answer of the targets once."""
        found: dict[str, dict[Metadata, None]] = {}
        for pool in self._pools.values():
            for loop in pool.loops.values():
                for family, metadata in loop.cache.metadata.items():
                    found.setdefault(family, {})[metadata] = None
        return {family: list(distinct) for family, distinct in found.items()}


def _clients(session: aiohttp.ClientSession, jobs: Mapping[str, ScrapeConfig], directory: Path) -> dict[str, JobClient]:
    """In a thread: it reads certificates, and a file may be where nobody answers."""
    return {name: JobClient(session, job, directory) for name, job in jobs.items()}
