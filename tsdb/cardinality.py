"""What series there are, counted: by metric, by label, by pair of label and value, and by target.

Counts come from the postings of the label index, one vector for each label name, so that a million series are counted
in a fraction of a second. They are of all series of the store, those that get no samples any more included, as long
as it has samples of them.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from common.labels import METRIC_NAME, Labels
from tsdb.catalog import Catalog
from tsdb.head import Extent
from tsdb.model import IntArray

GROWTH_MS = 3600 * 1000
"""New series are those of the last hour."""

_MARK_EVERY_MS = 60 * 1000

_SERIES_BYTES = 8
"""What a label takes for each series that has it: a number in the series' row, and one in its postings."""

_PAIR_BYTES = 280
"""What a pair of label and value takes beside its text and its series, as measured: Python objects and their places."""


@dataclass(frozen=True, slots=True)
class Count:
    """A number of something by its name."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class TargetCount:
    """The series of a target, and those of them that were made lately."""

    labels: Labels
    series: int
    new: int


@dataclass(frozen=True, slots=True)
class Cardinality:
    """The counts of a store; lists hold the greatest ones first.

    `label_pairs` are distinct pairs of label and value. `chunks` and the times are of what is in memory; the times
    are None where nothing is. `label_bytes` says what the index takes for each label. `new_since_ms` is from when on
    series count as new, None where that is not known yet.
    """

    series: int
    label_pairs: int
    chunks: int
    first_ms: int | None
    last_ms: int | None
    metric_series: Sequence[Count]
    label_values: Sequence[Count]
    label_bytes: Sequence[Count]
    pair_series: Sequence[Count]
    target_series: Sequence[TargetCount]
    new_since_ms: int | None


class Growth:
    """Which series are new: ids rise, so that it takes no more than to remember the next one now and then."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque()

    def mark(self, now_ms: int, next_id: int) -> None:
        """Say which id the next series will get; called every now and then with rising times."""
        if self._marks and now_ms < self._marks[-1][0] + _MARK_EVERY_MS:
            return
        self._marks.append((now_ms, next_id))
        while len(self._marks) > 1 and self._marks[1][0] <= now_ms - GROWTH_MS:
            self._marks.popleft()

    def since(self) -> tuple[int, int] | None:
        """From when on series are new, and the id of the first that may be."""
        return self._marks[0] if self._marks else None


def count_series(catalog: Catalog, extent: Extent, growth: Growth, limit: int) -> Cardinality:
    """Count, at most `limit` of each kind. Takes a while: for a thread."""
    label_values, label_bytes, pairs, metrics = [], [], [], []
    label_pairs = 0
    for name in catalog.index.names():
        values, series = catalog.index.sizes(name)
        if name == METRIC_NAME:
            metrics = list(_greatest(values, series, limit))
        label_pairs += len(values)
        label_values.append(Count(name, len(values)))
        taken = len(values) * _PAIR_BYTES + len("".join(values)) + int(series.sum()) * _SERIES_BYTES
        label_bytes.append(Count(name, taken))
        pairs += [Count(f"{name}={count.name}", count.value) for count in _greatest(values, series, limit)]
    since = growth.since()
    return Cardinality(
        series=len(catalog.index),
        label_pairs=label_pairs,
        chunks=extent.chunks,
        first_ms=extent.first_ms,
        last_ms=extent.last_ms,
        metric_series=_first(metrics, limit),
        label_values=_first(label_values, limit),
        label_bytes=_first(label_bytes, limit),
        pair_series=_first(pairs, limit),
        target_series=_targets(catalog, since, limit),
        new_since_ms=None if since is None else since[0],
    )


def _targets(catalog: Catalog, since: tuple[int, int] | None, limit: int) -> list[TargetCount]:
    series = catalog.series_of_targets()
    new = np.zeros_like(series)
    if since is not None:
        # Targets may have come since the others were counted.
        new = catalog.series_of_targets(since[1])[: len(series)]
    labels = catalog.targets_from(0)
    found = [
        TargetCount(labels[number], int(series[number]), int(new[number]))
        for number in _greatest_places(series, limit).tolist()
    ]
    return sorted(found, key=lambda target: (-target.series, target.labels))


def _greatest(names: Sequence[str], counts: IntArray, limit: int) -> Iterator[Count]:
    for place in _greatest_places(counts, limit).tolist():
        yield Count(names[place], int(counts[place]))


def _greatest_places(counts: IntArray, limit: int) -> IntArray:
    """Where the greatest of the counts are, zeros left out; in no order."""
    if limit < len(counts):
        places: IntArray = np.argpartition(counts, len(counts) - limit)[len(counts) - limit :]
        return places[counts[places] > 0]
    return np.flatnonzero(counts)


def _first(counts: Iterable[Count], limit: int) -> list[Count]:
    return sorted(counts, key=lambda count: (-count.value, count.name))[:limit]
