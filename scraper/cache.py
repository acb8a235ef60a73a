"""The scrape cache: from a body to a batch, with no work per line as long as the lines repeat.

A scrape whose lines are those of the last one's template (exposition.fast) has the same series in the same order, so
the last `Plan` holds: which values to take, and their Layout. Where they changed, a new plan is made: each line's
prefix is looked up among those of the last body, and only prefixes never seen go through the parser, relabelling
and the store's index. Bodies that only the strict reader can read (with timestamps, say) are looked up by labels.

    read(body)      -> Scrape    parse and look up; raises, and then changes nothing
    assemble(...)   -> [Batch]   add the report series, and staleness markers for what vanished since the last scrape

Staleness follows prometheus scrape/scrape.go: series with timestamps of their own are not tracked unless the job says
so; a failed scrape is one without any series.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.labels import Labels
from exposition.errors import ExpositionError
from exposition.fast import Split, Template, split
from exposition.formats import Format, parse
from exposition.model import Metadata
from scraper.config import ScrapeConfig
from scraper.errors import ScrapeLimitError
from scraper.series import SeriesRules, report_series
from tsdb.model import STALE_NAN, Batch, BoolArray, FloatArray, IntArray, Layout
from tsdb.store import Store

MAX_AHEAD_MS = 10 * 60 * 1000
"""Timestamps further in the future are refused (prometheus maxAheadTime)."""

_DROPPED = -1
_NO_IDS: IntArray = np.empty(0, dtype=np.int64)

_Key = bytes | Labels


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What one set of lines comes to.

    `take` are positions in the body's values followed by the report's, in the order of `layout`; None takes all.
    `tracked` are the ids that get staleness markers when they vanish. `samples` counts the lines, `kept` those left
    after relabelling, `duplicates` those of a series that the body had before.
    """

    layout: Layout
    take: IntArray | None
    tracked: IntArray
    samples: int
    kept: int
    duplicates: int


@dataclass(frozen=True, slots=True, eq=False)
class Scrape:
    """A body that was read: float64 values in body order, and the plan for them.

    `added` counts series that the last body did not have. Where samples bring times of their own, `times_ms` is
    int64 like the values, and `repeats` has the further samples of series: (series id, time, value).
    """

    plan: Plan
    values: FloatArray
    added: int = 0
    times_ms: IntArray | None = None
    repeats: tuple[tuple[int, int, float], ...] = ()
    out_of_bounds: int = 0


class ScrapeCache:
    """The memory of one target between its scrapes. `job` is resolved."""

    def __init__(self, store: Store, target_id: int, target_labels: Labels, job: ScrapeConfig) -> None:
        self.metadata: dict[str, Metadata] = {}
        self._store = store
        self._target_id = target_id
        self._rules = SeriesRules(job, target_labels)
        self._sample_limit = job.sample_limit
        self._honor_timestamps = job.honor_timestamps
        self._track_timestamps = job.track_timestamps_staleness
        self._report_ids = store.series_ids(report_series(target_labels))
        self._nothing = self._plan_of(_NO_IDS)
        self._ids: dict[_Key, int] = {}
        self._template: Template | None = None
        self._plan = self._nothing
        self._tracked = _NO_IDS
        self._tracked_before = _NO_IDS

    def take_over(self, predecessor: "ScrapeCache") -> None:
        """Go on where the cache of an earlier loop of the same target left off, under other rules maybe."""
        self.metadata = predecessor.metadata
        self._tracked = predecessor._tracked

    def read(self, body: bytes, body_format: Format, time_ms: int) -> Scrape:
        """Parse a body scraped at a time and find its series. Raises ExpositionError and ScrapeError."""
        if not body:
            return self.read_nothing()
        body = self._rules.mark_empty_labels(body)
        if self._template is not None and (values := self._template.values(body)) is not None:
            return Scrape(self._plan, values)
        parts = split(body, body_format)
        if parts is not None:
            try:
                return self._read_parts(parts)
            except ExpositionError:
                pass  # the strict reader accepts it or has the right message
        return self._read_strictly(body, body_format, time_ms)

    def read_nothing(self) -> Scrape:
        """What a failed scrape comes to: no series at all."""
        return Scrape(self._nothing, np.empty(0))

    def assemble(self, scrape: Scrape, report: Sequence[float], time_ms: int) -> list[Batch]:
        """The batches to append: the scrape, its report (values in the order of REPORT_NAMES), what vanished.

        One batch, and more only where a body has several samples of a series.
        """
        plan = scrape.plan
        layout = plan.layout
        values = np.concatenate((scrape.values, report))
        times = scrape.times_ms
        if times is not None:
            times = np.concatenate((times, np.full(len(report), time_ms)))
        if plan.take is not None:
            values = values[plan.take]
            times = times[plan.take] if times is not None else None
        if self._tracked is not plan.tracked:
            vanished = np.setdiff1d(self._tracked, layout.series_ids)
            if len(vanished):
                layout = self._store.layout(np.concatenate((layout.series_ids, vanished)))
                values = np.concatenate((values, np.full(len(vanished), STALE_NAN)))
                if times is not None:
                    times = np.concatenate((times, np.full(len(vanished), time_ms)))
        self._tracked_before, self._tracked = self._tracked, plan.tracked
        return [
            Batch(self._target_id, layout, time_ms, values, times),
            *self._repeat_batches(scrape.repeats, time_ms),
        ]

    def write_refused(self) -> None:
        """The last batches were not stored: series that vanished then still need their markers."""
        self._tracked = np.union1d(self._tracked, self._tracked_before)

    def farewell(self, time_ms: int) -> Batch:
        """Staleness markers for everything, the report series too."""
        ids = np.union1d(self._tracked, self._report_ids)
        self._tracked = _NO_IDS
        return Batch(self._target_id, self._store.layout(ids), time_ms, np.full(len(ids), STALE_NAN))

    def _read_parts(self, parts: Split) -> Scrape:
        metadata = parts.metadata()
        ids, added = self._look_up(parts.prefixes(), parts.series)
        self._plan = self._plan_of(ids)
        self._template = parts.template()
        self.metadata = metadata
        return Scrape(self._plan, parts.values, added)

    def _read_strictly(self, body: bytes, body_format: Format, time_ms: int) -> Scrape:
        exposition = parse(body, body_format.value)
        samples = exposition.samples
        ids, added = self._look_up([sample.labels for sample in samples], lambda index: samples[index].labels)
        values = np.array([sample.value for sample in samples], dtype=np.float64)
        timed = np.array([self._honor_timestamps and sample.time_ms is not None for sample in samples], dtype=bool)
        self.metadata = exposition.metadata
        self._template = None
        if not timed.any():
            return Scrape(self._plan_of(ids), values, added)
        times = np.array([time_ms if sample.time_ms is None else sample.time_ms for sample in samples], dtype=np.int64)
        times[~timed] = time_ms
        out_of_bounds = (times > time_ms + MAX_AHEAD_MS) & (ids != _DROPPED)
        ids[out_of_bounds] = _DROPPED
        return Scrape(
            self._plan_of(ids, timed),
            values,
            added,
            times,
            _repeats(ids, times, values, timed),
            int(out_of_bounds.sum()),
        )

    def _look_up(self, keys: Sequence[_Key], exposed: Callable[[int], Labels]) -> tuple[IntArray, int]:
        """int64 ids for the keys of the lines, _DROPPED where relabelling drops one, and how many series are new.

        `exposed` gives the labels of a line. The keys are what the cache knows from now on, and nothing else.
        """
        known = self._ids
        fresh: dict[_Key, Labels | None] = {}
        for index, key in enumerate(keys):
            if key not in known and key not in fresh:
                fresh[key] = self._rules.apply(exposed(index))
        new = {key: labels for key, labels in fresh.items() if labels is not None}
        self._check_sample_limit(keys, new)
        found = dict.fromkeys(fresh, _DROPPED)
        if new:
            found.update(zip(new, self._store.series_ids(list(new.values())).tolist(), strict=True))
        self._ids = {key: found[key] if key in found else known[key] for key in keys}
        return np.array([self._ids[key] for key in keys], dtype=np.int64), len(new)

    def _check_sample_limit(self, keys: Sequence[_Key], new: Mapping[_Key, Labels]) -> None:
        """Raises ScrapeLimitError before the store learns of new series."""
        if not self._sample_limit:
            return
        kept = [key for key in keys if self._ids.get(key, _DROPPED) != _DROPPED or key in new]
        if len(set(kept)) > self._sample_limit:
            raise ScrapeLimitError(
                f"sample limit exceeded: {len(set(kept))} samples, the job's sample_limit is {self._sample_limit}",
                samples=len(keys),
                kept=len(kept),
            )

    def _plan_of(self, ids: IntArray, timed: BoolArray | None = None) -> Plan:
        """The plan for the series ids of the lines; `timed` says which lines bring their own time."""
        lines = len(ids)
        everything = np.concatenate((ids, self._report_ids))
        distinct, first = np.unique(everything, return_index=True)
        take = np.sort(first[distinct != _DROPPED])
        from_body = take[take < lines]
        kept = int((ids != _DROPPED).sum())
        repeated = kept - len(from_body)
        if timed is not None:
            if not self._track_timestamps:
                from_body = from_body[~timed[from_body]]
            repeated = int(((ids != _DROPPED) & ~timed).sum()) - int((~timed[take[take < lines]]).sum())
        return Plan(
            layout=self._store.layout(everything[take]),
            take=None if len(take) == len(everything) else take,
            tracked=ids[from_body],
            samples=lines,
            kept=kept,
            duplicates=repeated,
        )

    def _repeat_batches(self, repeats: Sequence[tuple[int, int, float]], time_ms: int) -> Iterator[Batch]:
        """Further samples of series, each batch with one of each series.

        A store keeps one batch for each target and time, so that theirs are moved by a millisecond each; the
        samples have their own times anyway.
        """
        rounds: list[dict[int, tuple[int, float]]] = []
        for series_id, sample_ms, value in repeats:
            for samples in rounds:
                if series_id not in samples:
                    break
            else:
                samples = {}
                rounds.append(samples)
            samples[series_id] = (sample_ms, value)
        for number, samples in enumerate(rounds, start=1):
            yield Batch(
                self._target_id,
                self._store.layout(np.array(list(samples), dtype=np.int64)),
                time_ms + number,
                np.array([value for _, value in samples.values()], dtype=np.float64),
                np.array([sample_ms for sample_ms, _ in samples.values()], dtype=np.int64),
            )


def _repeats(
    ids: IntArray, times: IntArray, values: FloatArray, timed: BoolArray
) -> tuple[tuple[int, int, float], ...]:
    """Samples with a time of their own whose series has one earlier in the body, at another time."""
    _, first = np.unique(ids, return_index=True)
    if len(first) == len(ids):
        return ()
    seen = {(int(ids[index]), int(times[index])) for index in first}
    is_first = np.zeros(len(ids), dtype=bool)
    is_first[first] = True
    repeats = []
    for index in np.flatnonzero(~is_first & timed & (ids != _DROPPED)).tolist():
        sample = (int(ids[index]), int(times[index]))
        if sample not in seen:
            seen.add(sample)
            repeats.append((*sample, float(values[index])))
    return tuple(repeats)
