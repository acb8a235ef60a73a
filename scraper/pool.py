"""A scrape pool: one job's discovery and its scrape loops, kept in step with each other.

Whatever changes (a discoverer publishes, the config is reloaded) only wakes the pool's one task, which compares the
targets that should be scraped with those that are. Loops whose target and settings are unchanged are not touched.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from common.labels import Labels
from scraper.cache import ScrapeCache
from scraper.client import JobClient, TargetClient
from scraper.clock import Clock
from scraper.config import ScrapeConfig
from scraper.departures import Departures
from scraper.discovery.metrics import DiscoveryMetrics
from scraper.discovery.model import TargetGroup
from scraper.discovery.sources import SD_CONFIGS, SourceConfig, discoverer, source_configs
from scraper.discovery.watch import DirectoryWatcher
from scraper.loop import ScrapeLoop
from scraper.metrics import ScrapeMetrics
from scraper.read_queue import ReadQueue
from scraper.relabel import compile_rules
from scraper.target import Target, populate
from tsdb.errors import StoreError
from tsdb.store import Store

log = logging.getLogger(__name__)

RETRY_MS = 5000
"""How long a pool waits before it asks a store again that refused to know its targets."""


@dataclass(frozen=True, slots=True)
class PoolContext:
    """What all pools share."""

    store: Store
    clock: Clock
    metrics: ScrapeMetrics
    departures: Departures
    watcher: DirectoryWatcher
    discovery: DiscoveryMetrics
    reads: ReadQueue
    offset_seed: str


class _Source:
    """A discoverer at work: its task and what it published last, None before that."""

    def __init__(self, config: SourceConfig, directory: Path, pool: "ScrapePool", context: PoolContext) -> None:
        self.config = config
        self.groups: Sequence[TargetGroup] | None = None
        self._pool = pool
        self.task = asyncio.create_task(
            discoverer(config, directory, context.watcher, context.discovery).run(self._publish)
        )
        self.task.add_done_callback(self._report_crash)

    def _publish(self, groups: Sequence[TargetGroup]) -> None:
        if groups != self.groups:
            self.groups = groups
            self._pool.wake()

    def _report_crash(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (crash := task.exception()) is not None:
            log.error("discovery ended by a defect", extra={"job": self._pool.job.job_name}, exc_info=crash)


class ScrapePool:
    """One job. `job` is resolved; `client` belongs to it."""

    def __init__(self, job: ScrapeConfig, client: JobClient, directory: Path, context: PoolContext) -> None:
        self.job = job
        self.loops: dict[Target, ScrapeLoop] = {}
        self.dropped: list[Labels] = []
        self.dropped_count = 0
        self._client = client
        self._directory = directory
        self._context = context
        self._sources: list[_Source] = []
        self._changed = asyncio.Event()
        self._restart_loops = False
        self._rules = compile_rules(job.relabel_configs)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to discover and to scrape."""
        self._open_sources()
        self._task = asyncio.create_task(self._run(), name=f"scrape pool {self.job.job_name}")
        self._task.add_done_callback(self._report_crash)

    def reload(self, job: ScrapeConfig, client: JobClient, directory: Path) -> None:
        """Go on with a new config of the same name."""
        if _scraping_part(job) != _scraping_part(self.job):
            self._restart_loops = True
            self._client = client
        self.job = job
        self._directory = directory
        self._rules = compile_rules(job.relabel_configs)
        self._open_sources()
        self.wake()

    def wake(self) -> None:
        """Have the targets compared anew."""
        self._changed.set()

    async def stop(self, *, abort: bool) -> None:
        """End everything. With `abort` at once and without traces, for shutdown; else the targets depart."""
        tasks = [source.task for source in self._sources]
        if self._task is not None:
            tasks.append(self._task)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await self._stop_loops(list(self.loops), abort=abort)
        self._context.metrics.pool_targets.remove(self.job.job_name)

    def _report_crash(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (crash := task.exception()) is not None:
            log.error("scrape pool ended by a defect", extra={"job": self.job.job_name}, exc_info=crash)

    def _open_sources(self) -> None:
        """Start discoverers for new configs, end those of configs that are gone, leave the others alone."""
        old = self._sources
        self._sources = []
        for config in source_configs(self.job):
            same = next((source for source in old if source.config == config), None)
            if same is not None:
                old.remove(same)
            self._sources.append(same or _Source(config, self._directory, self, self._context))
        for source in old:
            source.task.cancel()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._sync()
            except StoreError as error:
                log.error("targets cannot be registered", extra={"job": self.job.job_name, "error": str(error)})
                await self._context.clock.sleep_until(self._context.clock.now_ms() + RETRY_MS)
                self.wake()

    async def _sync(self) -> None:
        """Make the loops those of the targets that the sources know."""
        job, metrics = self.job, self._context.metrics
        groups = [group for source in self._sources for group in source.groups or ()]
        populated = await asyncio.to_thread(populate, groups, job, self._rules)
        for error in populated.errors:
            log.error("discovered labels make no target", extra={"job": job.job_name, "error": error})
        metrics.sync_failed.inc(len(populated.errors))
        self.dropped_count = len(populated.dropped)
        self.dropped = populated.dropped[: job.keep_dropped_targets or None]

        wanted = dict.fromkeys(populated.active)
        for target in wanted:
            if loop := self.loops.get(target):
                loop.target = target  # equal, but for what discovery says of it
        if self._restart_loops:
            self._restart_loops = False
            await self._stop_loops(list(self.loops))
        elif all(source.groups is not None for source in self._sources):
            # Before every source has spoken, a target that is not there may only not be known yet.
            await self._stop_loops([target for target in self.loops if target not in wanted])
        await self._start_loops([target for target in wanted if target not in self.loops])
        self._apply_target_limit()
        metrics.pool_targets.labels(job.job_name).set(len(self.loops))

    async def _stop_loops(self, targets: Sequence[Target], *, abort: bool = False) -> None:
        await asyncio.gather(*(self.loops[target].stop(abort=abort) for target in targets))
        for target in targets:
            loop = self.loops.pop(target)
            if not abort:
                self._context.departures.add(loop)

    async def _start_loops(self, targets: Sequence[Target]) -> None:
        if not targets:
            return
        context = self._context
        store = context.store
        caches = await asyncio.to_thread(_caches, targets, self.job, store)
        for target, cache in zip(targets, caches, strict=True):
            former = context.departures.come_back(target.labels)
            if former is not None:
                cache.take_over(former.cache)
            client = TargetClient(self._client, target)
            loop = ScrapeLoop(target, self.job, cache, client, store, context.clock, context.metrics, context.reads)
            self.loops[target] = loop
            loop.start(context.offset_seed, former.state.last_scrape_ms if former else None)

    def _apply_target_limit(self) -> None:
        limit, count = self.job.target_limit, len(self.loops)
        exceeded = f"target_limit exceeded (number of targets: {count}, limit: {limit})"
        for loop in self.loops.values():
            loop.refusal = exceeded if limit and count > limit else None


def _caches(targets: Sequence[Target], job: ScrapeConfig, store: Store) -> list[ScrapeCache]:
    return [ScrapeCache(store, store.register_target(target.labels), target.labels, job) for target in targets]


def _scraping_part(job: ScrapeConfig) -> ScrapeConfig:
    """The job without what only decides which targets there are: where this is equal, loops can go on."""
    return msgspec.structs.replace(
        job,
        static_configs=(),
        relabel_configs=(),
        target_limit=0,
        keep_dropped_targets=0,
        **dict.fromkeys(SD_CONFIGS, ()),
    )
