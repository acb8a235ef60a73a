"""Which metrics are read: `Store.select` is counted by metric name, whoever calls it, dashboards and rules alike.

A selector that gives the name by equality reads that metric; any other reads the metrics of all series it finds.
Lookups of label names and values, and exports, are not reads.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from common.labels import METRIC_NAME
from common.matchers import Matcher, MatchType
from tsdb.index import SeriesIndex
from tsdb.model import IntArray


@dataclass(frozen=True, slots=True)
class MetricReads:
    """How often a metric was read, and when last."""

    reads: int
    last_read_ms: int


@dataclass(frozen=True, slots=True)
class MetricUsage:
    """A metric's series in the store, and its reads; `last_read_ms` is None where it never was read."""

    name: str
    series: int
    reads: int
    last_read_ms: int | None


@dataclass(frozen=True, slots=True)
class Usage:
    """The metrics of a store, and since when their reads are counted."""

    counted_since_ms: int
    metrics: Sequence[MetricUsage]

    def unread_first(self, before_ms: int, limit: int = 0) -> "Usage":
        """Those not read since a time come first, then the others; of each, those with the most series. 0: no limit."""

        def order(metric: MetricUsage) -> tuple[bool, int, str]:
            return not is_unread(metric, before_ms), -metric.series, metric.name

        return Usage(self.counted_since_ms, sorted(self.metrics, key=order)[: limit or None])


def is_unread(metric: MetricUsage, before_ms: int) -> bool:
    """Whether nobody has read a metric since a time."""
    return metric.last_read_ms is None or metric.last_read_ms < before_ms


def metric_usage(series: Iterable[tuple[str, int]], reads: Mapping[str, MetricReads]) -> list[MetricUsage]:
    """The usage of metrics given by name and number of series."""
    found = []
    for name, count in series:
        read = reads.get(name)
        found.append(MetricUsage(name, count, read.reads if read else 0, read.last_read_ms if read else None))
    return found


class ReadCounts:
    """Counts reads by metric name. Thread-safe; `now_ms` gives the time."""

    def __init__(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._reads: dict[str, MetricReads] = {}
        self._changed: set[str] = set()
        self.counted_since_ms = now_ms()

    def load(self, counted_since_ms: int, reads: Mapping[str, MetricReads]) -> None:
        """Take in what was counted before a restart."""
        with self._lock:
            self.counted_since_ms = counted_since_ms
            self._reads.update(reads)

    def note(self, matchers: Sequence[Matcher], found: IntArray, index: SeriesIndex) -> None:
        """Count a read of the series that the matchers found."""
        names = _names_read(matchers, found, index)
        if not names:
            return
        now_ms = self._now_ms()
        with self._lock:
            for name in names:
                before = self._reads.get(name)
                self._reads[name] = MetricReads(1 if before is None else before.reads + 1, now_ms)
            self._changed.update(names)

    def reads(self) -> dict[str, MetricReads]:
        """The counts by metric name."""
        with self._lock:
            return dict(self._reads)

    def take_changed(self) -> dict[str, MetricReads]:
        """The counts that changed since this was called last; `give_back` where they could not be stored."""
        with self._lock:
            changed, self._changed = self._changed, set()
            return {name: self._reads[name] for name in changed}

    def give_back(self, names: Iterable[str]) -> None:
        """Say that what was taken is not stored."""
        with self._lock:
            self._changed.update(names)


def _names_read(matchers: Sequence[Matcher], found: IntArray, index: SeriesIndex) -> Sequence[str]:
    if not len(found):
        return ()
    for matcher in matchers:
        if matcher.name == METRIC_NAME and matcher.type is MatchType.EQUAL and matcher.value:
            return (matcher.value,)
    return index.values(METRIC_NAME, found)
