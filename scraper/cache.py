"""The scrape cache: from a body to a batch, with no work per line as long as the lines repeat.

A scrape whose lines are those of the last one's template (exposition.fast) has the same series in the same order, so
the last `Plan` holds: which values to take, and their Layout. Where they changed, a new plan is made: each line's
prefix is looked up among those of the last body, and only prefixes never seen go through the parser, relabelling
and the store's index. Bodies in protobuf go the same way. What only the strict reader can read is looked up by labels.

    repeated(body)  -> Scrape    the cheap look, None where it does not do
    read(body)      -> Scrape    parse and look up; raises, and then the series stay as they were
    assemble(...)   -> [Batch]   add the report series, and staleness markers for what vanished since the last scrape

Over the sample_limit a read fails, as in Prometheus. A job may say `sample_limit_action: keep_known` instead: then the
lines of the last body keep their places, new ones take the places left in the order of the body, and the others are
refused until there is room. What is known is known to this cache alone: after a restart, or a reload that changes the
job, the order of the first body decides. The limits of the store (tsdb.limits) work alike, but that
the store itself tells which series are known.

Staleness follows prometheus scrape/scrape.go: series with timestamps of their own are not tracked unless the job says
so; a failed scrape is one without any series.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.labels import Labels
from exposition.errors import ExpositionError
from exposition.fast import Split, split
from exposition.fast_template import Template
from exposition.formats import Format, parse
from exposition.model import Metadata
from exposition.protobuf import ProtobufParts, read_protobuf
from exposition.protobuf_template import ProtobufTemplate
from exposition.readings import Readings
from scraper.config import ScrapeConfig
from scraper.errors import ScrapeLimitError, StoreLimitError
from scraper.repeats import Repeat, find_repeats, one_of_each_series
from scraper.series import SeriesRules, report_series
from tsdb.errors import SeriesLimitError
from tsdb.model import STALE_NAN, Batch, BoolArray, FloatArray, IntArray, Layout, SeriesExemplar
from tsdb.store import Store

MAX_AHEAD_MS = 10 * 60 * 1000
"""Timestamps further in the future are refused (prometheus maxAheadTime)."""

# What stands for a line's series id where relabelling drops it, and where the sample_limit leaves no room for it.
_DROPPED = -1
_REFUSED = -2
_NO_IDS: IntArray = np.empty(0, dtype=np.int64)

GROWN_SHOWN = 5

_Key = bytes | Labels


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What one set of lines comes to.

    `take` are positions in the body's values followed by the report's, in the order of `layout`; None takes all.
    `tracked` are the ids that get staleness markers when they vanish. `samples` counts the lines, `kept` those left
    after relabelling, `duplicates` those of a series that the body had before; `has_repeats` says whether there are
    any, with times of their own or not. `refused` counts the series that a limit left no room for; `grown`
    names the metrics that have most of them, no more than GROWN_SHOWN.
    """

    layout: Layout
    take: IntArray | None
    tracked: IntArray
    samples: int
    kept: int
    duplicates: int
    has_repeats: bool = False
    refused: int = 0
    grown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """int64 ids for the lines of a body, how many series are new, and how many were refused by metric name.

    `store_is_full` says that the store refused some, which may change from scrape to scrape.
    """

    ids: IntArray
    added: int
    refused: Counter[str]
    store_is_full: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Lines:
    """What the lines of the last body came to. `timed` is bool[N], None where no time of their own counts."""

    found: _Found
    timed: BoolArray | None
    plan: Plan


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
    repeats: tuple[Repeat, ...] = ()
    out_of_bounds: int = 0
    exemplars: tuple[SeriesExemplar, ...] = ()


class ScrapeCache:
    """The memory of one target between its scrapes. `job` is resolved."""

    def __init__(self, store: Store, target_id: int, target_labels: Labels, job: ScrapeConfig) -> None:
        self.metadata: dict[str, Metadata] = {}
        self._store = store
        self._target_id = target_id
        self._rules = SeriesRules(job, target_labels)
        self._sample_limit = job.sample_limit
        self._keeps_known = job.sample_limit_action == "keep_known"
        self._honor_timestamps = job.honor_timestamps
        self._track_timestamps = job.track_timestamps_staleness
        self._report_ids = store.series_ids(report_series(job, target_labels))
        self._nothing = self._plan_of(_Found(_NO_IDS, 0, Counter()))
        self._ids: dict[_Key, int] = {}
        self._refused: dict[_Key, Labels] = {}
        self._over_limit: tuple[Template | ProtobufTemplate, ScrapeLimitError] | None = None
        self._last: tuple[Template | ProtobufTemplate, _Lines] | None = None
        # Held as long as `_ids`: the store keeps the series of a layout that is held, with or without samples.
        self._layout = self._nothing.layout
        self._tracked = _NO_IDS
        self._tracked_before = _NO_IDS

    def take_over(self, predecessor: "ScrapeCache") -> None:
        """Go on where the cache of an earlier loop of the same target left off, under other rules maybe."""
        self.metadata = predecessor.metadata
        self._tracked = predecessor._tracked

    def repeated(self, body: bytes, time_ms: int) -> Scrape | None:
        """What the cheap look at a body finds: the scrape where its lines are the last one's, None for `read` to find.

        Raises ScrapeLimitError again where the lines are those that exceeded a limit.
        """
        if not body:
            return self.read_nothing()
        body = self._rules.mark_empty_labels(body)
        if self._last is not None:
            template, lines = self._last
            if (readings := template.read(body)) is not None:
                return self._scrape(lines, readings, time_ms)
        if self._over_limit is not None:
            template, error = self._over_limit
            if template.read(body) is not None:
                raise ScrapeLimitError(str(error), error.samples, error.kept)
            self._over_limit = None
        return None

    def read(self, body: bytes, body_format: Format, time_ms: int) -> Scrape:
        """Parse a body scraped at a time and find its series. Raises ExpositionError and ScrapeError.

        Costs some microseconds a line, so that a thread may do it while nothing else uses the cache. The metadata of
        a body that exceeds a limit are kept: they help to find out why.
        """
        if not body:
            return self.read_nothing()
        if body_format is Format.PROTOBUF:
            return self._read_parts(read_protobuf(body, self._rules.empty_value), time_ms)
        body = self._rules.mark_empty_labels(body)
        parts = split(body, body_format)
        if parts is not None:
            try:
                return self._read_parts(parts, time_ms)
            except ExpositionError:
                pass  # the strict reader accepts it or has the right message
        return self._read_strictly(body, body_format, time_ms)

    def read_nothing(self) -> Scrape:
        """What a failed scrape comes to: no series at all."""
        return Scrape(self._nothing, np.empty(0))

    def assemble(self, scrape: Scrape, report: Sequence[float], time_ms: int) -> list[Batch]:
        """The batches to append: the scrape, its report (values in the order of report_names), what vanished.

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

    def _read_parts(self, parts: Split | ProtobufParts, time_ms: int) -> Scrape:
        self.metadata = parts.metadata()
        try:
            found = self._look_up(parts.prefixes(), parts.series)
        except StoreLimitError:
            raise  # the next scrape asks again: the store may have room then
        except ScrapeLimitError as error:
            self._over_limit = (parts.template(), error)
            raise
        lines = self._lines(found, parts.timed)
        self._last = None if found.store_is_full else (parts.template(), lines)
        return self._scrape(lines, parts.readings, time_ms, found.added)

    def _read_strictly(self, body: bytes, body_format: Format, time_ms: int) -> Scrape:
        exposition = parse(body, body_format)
        self.metadata = exposition.metadata
        samples = exposition.samples
        found = self._look_up([sample.labels for sample in samples], lambda index: samples[index].labels)
        self._last = None
        readings = Readings(
            np.array([sample.value for sample in samples], dtype=np.float64),
            np.array([sample.time_ms or 0 for sample in samples], dtype=np.int64),
            tuple([(index, sample.exemplar) for index, sample in enumerate(samples) if sample.exemplar is not None]),
        )
        timed = np.array([sample.time_ms is not None for sample in samples], dtype=bool)
        return self._scrape(self._lines(found, timed), readings, time_ms, found.added)

    def _lines(self, found: _Found, timed: BoolArray | None) -> _Lines:
        own_times = timed if timed is not None and timed.any() and self._honor_timestamps else None
        plan = self._plan_of(found, own_times)
        self._layout = plan.layout
        return _Lines(found, own_times, plan)

    def _scrape(self, lines: _Lines, readings: Readings, time_ms: int, added: int = 0) -> Scrape:
        values, ids, timed, plan = readings.values, lines.found.ids, lines.timed, lines.plan
        if timed is None or readings.times_ms is None:
            return Scrape(plan, values, added, exemplars=_exemplars(readings, ids, None, time_ms))
        times = np.where(timed, readings.times_ms, time_ms)
        out_of_bounds = (times > time_ms + MAX_AHEAD_MS) & (ids >= 0)
        if out_of_bounds.any():
            ids = np.where(out_of_bounds, _DROPPED, ids)
            plan = self._plan_of(replace(lines.found, ids=ids), timed)
        repeats = find_repeats(ids, times, values, timed) if plan.has_repeats else ()
        exemplars = _exemplars(readings, ids, times, time_ms)
        return Scrape(plan, values, added, times, repeats, int(out_of_bounds.sum()), exemplars)

    def _look_up(self, keys: Sequence[_Key], exposed: Callable[[int], Labels]) -> _Found:
        """The series for the keys of the lines; `exposed` gives the labels of a line.

        The keys, less those refused, are what the cache knows from now on, and nothing else.
        """
        known = self._ids
        fresh: dict[_Key, Labels | None] = {}
        for index, key in enumerate(keys):
            if key not in known and key not in fresh:
                try:
                    fresh[key] = self._refused.get(key) or self._rules.apply(exposed(index))
                except ScrapeLimitError as error:
                    kept = self._kept(keys[:index], fresh)
                    raise ScrapeLimitError(str(error), samples=index + 1, kept=len(kept)) from error
        new = {key: labels for key, labels in fresh.items() if labels is not None}
        over_limit = frozenset(self._over_sample_limit(keys, new))
        made = self._make(keys, {key: labels for key, labels in new.items() if key not in over_limit})
        refused = [key for key in new if made.get(key, _REFUSED) == _REFUSED]
        grown = Counter([new[key].metric_name for key in refused])
        # Spares their relabelling as long as they wait; no more of them than of the known, whatever the body's size.
        self._refused = {key: new[key] for key in refused[: self._sample_limit]}
        found = {**dict.fromkeys(fresh, _DROPPED), **dict.fromkeys(refused, _REFUSED), **made}
        self._ids = {key: found[key] if key in found else known[key] for key in keys}
        ids = np.array([self._ids[key] for key in keys], dtype=np.int64)
        for key in refused:
            del self._ids[key]
        return _Found(ids, len(new) - len(refused), grown, len(refused) > len(over_limit))

    def _make(self, keys: Sequence[_Key], new: Mapping[_Key, Labels]) -> dict[_Key, int]:
        """Ids for new series; _REFUSED where the store has no room for one, and known series are kept then."""
        if not new:
            return {}
        try:
            ids = self._store.series_ids(list(new.values()), self._target_id, partly=self._keeps_known)
        except SeriesLimitError as error:
            raise StoreLimitError(str(error), samples=len(keys), kept=len(self._kept(keys, new))) from error
        return dict(zip(new, np.where(ids < 0, _REFUSED, ids).tolist(), strict=True))

    def _over_sample_limit(self, keys: Sequence[_Key], new: Mapping[_Key, Labels]) -> Sequence[_Key]:
        """Those of the new keys that there is no room for.

        Raises ScrapeLimitError, before the store learns of new series, where being over the limit is a failure.
        """
        if not self._sample_limit:
            return ()
        kept = self._kept(keys, new)
        surplus = len(set(kept)) - self._sample_limit
        if surplus <= 0:
            return ()
        if not self._keeps_known:
            raise ScrapeLimitError("sample limit exceeded", samples=len(keys), kept=len(kept))
        return list(new)[-surplus:]

    def _kept(self, keys: Sequence[_Key], fresh: Mapping[_Key, Labels | None]) -> list[_Key]:
        """The keys that relabelling leaves."""
        return [key for key in keys if self._ids.get(key, _DROPPED) >= 0 or fresh.get(key) is not None]

    def _plan_of(self, found: _Found, timed: BoolArray | None = None) -> Plan:
        """The plan for the series of the lines; `timed` says which lines bring their own time."""
        ids = found.ids
        lines = len(ids)
        everything = np.concatenate((ids, self._report_ids))
        distinct, first = np.unique(everything, return_index=True)
        take = np.sort(first[distinct >= 0])
        from_body = take[take < lines]
        stored = ids >= 0
        repeated = int(stored.sum()) - len(from_body)
        has_repeats = repeated > 0
        if timed is not None:
            repeated = int((stored & ~timed).sum()) - int((~timed[from_body]).sum())
            if not self._track_timestamps:
                from_body = from_body[~timed[from_body]]
        return Plan(
            layout=self._store.layout(everything[take]),
            take=None if len(take) == len(everything) else take,
            tracked=ids[from_body],
            samples=lines,
            kept=int((ids != _DROPPED).sum()),
            duplicates=repeated,
            has_repeats=has_repeats,
            refused=found.refused.total(),
            grown=tuple([name for name, _ in found.refused.most_common(GROWN_SHOWN)]),
        )

    def _repeat_batches(self, repeats: Sequence[Repeat], time_ms: int) -> Iterator[Batch]:
        """Further samples of series, each batch with one of each series.

        A store keeps one batch for each target and time, so that theirs are moved by a millisecond each; the
        samples have their own times anyway.
        """
        for number, samples in enumerate(one_of_each_series(repeats), start=1):
            yield Batch(
                self._target_id,
                self._store.layout(np.array(list(samples), dtype=np.int64)),
                time_ms + number,
                np.array([value for _, value in samples.values()], dtype=np.float64),
                np.array([sample_ms for sample_ms, _ in samples.values()], dtype=np.int64),
            )


def _exemplars(readings: Readings, ids: IntArray, times: IntArray | None, time_ms: int) -> tuple[SeriesExemplar, ...]:
    """Those of stored series; one without a time gets its sample's."""
    found = []
    for index, exemplar in readings.exemplars:
        series_id = int(ids[index])
        if series_id >= 0:
            own_time = exemplar.time_ms is not None
            sample_ms = time_ms if times is None else int(times[index])
            exemplar_ms = sample_ms if exemplar.time_ms is None else exemplar.time_ms
            found.append(SeriesExemplar(series_id, exemplar_ms, exemplar.value, exemplar.labels, own_time))
    return tuple(found)
