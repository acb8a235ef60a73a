"""The scrape loop of one target: wait for the tick, fetch, read, append; a failure is recorded and the loop goes on.

Scrapes of a target never overlap: a scrape, with its write, that lasts beyond the next tick makes the loop leave that
tick out.
"""

import asyncio
import logging
import time
from concurrent.futures import Future

from exposition.errors import ExpositionError
from exposition.formats import Format
from scraper.broken_body import failure_of
from scraper.cache import Plan, Scrape, ScrapeCache
from scraper.client import Response, TargetClient
from scraper.clock import Clock
from scraper.config import ScrapeConfig
from scraper.content_type import FORMATS, format_of
from scraper.errors import BodyTooLargeError, ScrapeError, ScrapeLimitError
from scraper.metrics import ScrapeMetrics
from scraper.read_queue import ReadQueue
from scraper.schedule import next_tick_ms, scrape_time_ms
from scraper.series import SeriesRules
from scraper.target import Health, Target, TargetState
from tsdb.errors import StoreError
from tsdb.store import Store

log = logging.getLogger(__name__)

# What is larger is done in a thread. To compare a body with the last one takes some 10 us for 1000 bytes, to read new
# lines 100 to 700: so the event loop is held for 40 ms at most, and for 10 where a thread would hardly pay.
_COMPARE_INLINE_BYTES = 4 * 1024 * 1024
_READ_INLINE_BYTES = 16 * 1024


class ScrapeLoop:
    """Scrapes one target until stopped. `job` is resolved.

    While `refusal` is set, scrapes fail with it as their error and fetch nothing (the pool's target_limit).
    """

    def __init__(
        self,
        target: Target,
        job: ScrapeConfig,
        cache: ScrapeCache,
        client: TargetClient,
        store: Store,
        clock: Clock,
        metrics: ScrapeMetrics,
        reads: ReadQueue,
    ) -> None:
        self.target = target
        self.cache = cache
        self.state = TargetState()
        self.refusal: str | None = None
        self._job = job
        self._fallback = FORMATS[job.fallback_scrape_protocol] if job.fallback_scrape_protocol else None
        self._content_type: str | None = None
        self._format = Format.TEXT
        self._sample_limit = job.sample_limit
        self._reports_extra = bool(job.extra_scrape_metrics)
        self._keeps_known = job.sample_limit_action == "keep_known"
        self._plan: Plan | None = None
        self._grown: tuple[str, ...] = ()
        self._client = client
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._reads = reads
        self._scraping = False
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._pending: list[Future[None]] = []

    def start(self, offset_seed: str, last_scrape_ms: int | None = None) -> None:
        """Begin; the first scrape is at the first tick from now, and after the last scrape of an earlier loop."""
        self._task = asyncio.create_task(
            self._run(self.target.offset_ms(offset_seed), last_scrape_ms), name=f"scrape {self.target.url}"
        )
        self._task.add_done_callback(self._report_crash)

    async def stop(self, *, abort: bool = False) -> None:
        """End the loop and wait for it. A scrape under way is finished, unless `abort`."""
        self._stopping = True
        if self._task is not None:
            if abort or not self._scraping:
                self._task.cancel()
            await asyncio.wait([self._task])
            if not abort:
                await self.settle()
        self._client.close()

    async def _run(self, offset_ms: int, last_ms: int | None) -> None:
        interval_ms = self.target.interval_ms
        while not self._stopping:
            tick = next_tick_ms(self._clock.now_ms(), interval_ms, offset_ms, last_ms)
            if last_ms is not None and tick > last_ms + interval_ms:
                self._metrics.scrapes_missed.inc((tick - last_ms) // interval_ms - 1)
            await self._clock.sleep_until(tick)
            now_ms = self._clock.now_ms()
            self._metrics.lateness_s.observe((now_ms - tick) / 1000)
            self._scraping = True
            try:
                await self.scrape(scrape_time_ms(now_ms, tick, interval_ms))
            finally:
                self._scraping = False
            last_ms = tick

    async def scrape(self, time_ms: int) -> None:
        """Scrape once; the samples get the given time. What it wrote is durable after `settle`."""
        await self.settle()
        try:
            await self._scrape(time_ms)
        except StoreError as refused:
            self._note_refusal(refused)

    async def settle(self) -> None:
        """Wait until what was handed to the store is durable: long before the next scrape, as a rule."""
        pending, self._pending = self._pending, []
        for future in pending:
            try:
                if not future.done():
                    # Shielded: a write under way is the store's to finish, also when this loop is cancelled.
                    await asyncio.shield(asyncio.wrap_future(future))
                future.result()
            except StoreError as refused:
                self._note_refusal(refused)

    async def farewell(self, time_ms: int) -> None:
        """Write staleness markers for all series of the target."""
        try:
            self._pending = [self._store.append(self.cache.farewell(time_ms))]
        except StoreError as refused:
            self._note_refusal(refused)
        await self.settle()

    async def _scrape(self, time_ms: int) -> None:
        started = time.monotonic()
        error: Exception | None = None
        body_bytes = 0
        try:
            response = await self._fetch()
            body_bytes = len(response.body)
            scrape = await self._read(response, time_ms)
        except (ScrapeError, ExpositionError) as failure:
            error = failure
            scrape = self.cache.read_nothing()
            if isinstance(failure.__cause__, BodyTooLargeError):
                body_bytes = -1
        duration_s = time.monotonic() - started
        self._record(scrape, error, time_ms, duration_s)
        # Relabelling kept what is refused for its time, and Prometheus counts it.
        samples, kept = scrape.plan.samples, scrape.plan.kept + scrape.out_of_bounds
        if isinstance(error, ScrapeError):
            samples, kept = error.samples, error.kept
        report = [0.0 if error else 1.0, duration_s, samples, kept, scrape.added]
        if self._reports_extra:
            report += (self.target.timeout_ms / 1000, self._sample_limit, body_bytes)
        if self._keeps_known:
            report.append(scrape.plan.refused)
        self._pending = [self._store.append(batch) for batch in self.cache.assemble(scrape, report, time_ms)]
        if scrape.exemplars:
            self._store.append_exemplars(scrape.exemplars)

    async def _fetch(self) -> Response:
        if self.refusal is not None:
            raise ScrapeLimitError(self.refusal)
        return await self._client.fetch()

    async def _read(self, response: Response, time_ms: int) -> Scrape:
        body = response.body
        if response.content_type != self._content_type:
            self._format = format_of(response.content_type, self._fallback)
            self._content_type = response.content_type
        if len(body) <= _COMPARE_INLINE_BYTES and (repeated := self.cache.repeated(body, time_ms)) is not None:
            return repeated
        if len(body) <= _READ_INLINE_BYTES:
            return self._read_anew(body, time_ms)
        return await self._reads.run(lambda: self._read_anew(body, time_ms), is_first=self.state.last_scrape_ms is None)

    def _read_anew(self, body: bytes, time_ms: int) -> Scrape:
        """In a thread for large bodies; until it is done, nothing else uses the cache."""
        try:
            if len(body) > _COMPARE_INLINE_BYTES and (repeated := self.cache.repeated(body, time_ms)) is not None:
                return repeated
            return self.cache.read(body, self._format, time_ms)
        except ScrapeLimitError:
            raise
        except (ScrapeError, ExpositionError) as error:
            raise failure_of(error, body, self._format, SeriesRules(self._job, self.target.labels)) from error

    def _note_refusal(self, refused: StoreError) -> None:
        self.cache.write_refused()
        self._metrics.writes_refused.inc()
        log.error("scrape was not stored", extra={"target": self.target.url, "error": str(refused)})

    def _record(self, scrape: Scrape, error: Exception | None, time_ms: int, duration_s: float) -> None:
        state, metrics, plan = self.state, self._metrics, scrape.plan
        if error is not None and str(error) != state.last_error:
            log.info("scrape failed", extra={"target": self.target.url, "error": str(error)})
        state.health = Health.DOWN if error else Health.UP
        state.last_error = str(error) if error else ""
        state.last_scrape_ms = time_ms
        state.last_scrape_duration_s = duration_s
        metrics.scrapes.inc()
        metrics.samples.inc(plan.samples)
        if error is not None:
            metrics.scrapes_failed.inc()
        if isinstance(error, ScrapeLimitError):
            metrics.limit_exceeded.inc()
        if plan.refused:
            metrics.series_refused.inc(plan.refused)
        if error is None and plan is not self._plan:
            self._plan = plan
            metrics.layouts_changed.inc()
            self._note_growth(plan)
        if plan.duplicates:
            metrics.duplicates.inc(plan.duplicates)
        if scrape.out_of_bounds:
            metrics.out_of_bounds.inc(scrape.out_of_bounds)

    def _note_growth(self, plan: Plan) -> None:
        if plan.grown == self._grown:
            return
        self._grown = plan.grown
        if plan.refused:
            log.warning(
                "a limit is reached, new series are refused",
                extra={"target": self.target.url, "refused": plan.refused, "metrics": ", ".join(plan.grown)},
            )
        else:
            log.info("back within the limit, no series is refused", extra={"target": self.target.url})

    def _report_crash(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (crash := task.exception()) is not None:
            self.state.health = Health.DOWN
            self.state.last_error = f"the scrape loop ended: {crash!r}"
            log.error("scrape loop ended by a defect", extra={"target": self.target.url}, exc_info=crash)
