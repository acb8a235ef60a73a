"""All samples of many series, one series after the other, in memory that does not grow with the store.

Series come sorted by metric name, then by their labels, so that what is written from them has its metrics together
and can be compared. They are read in groups, as large as the samples of the last group say that the next may be.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from common.labels import Labels
from common.matchers import Matcher
from tsdb.local import LocalStore
from tsdb.model import FloatArray, Frame, IntArray

SAMPLES_AT_ONCE = 1_000_000
"""What a group of series may hold, about: 16 MB. A series alone may hold more."""

_FIRST_GROUP = 16


@dataclass(frozen=True, slots=True, eq=False)
class SeriesSamples:
    """One series: `times_ms` int64[T] strictly rising, `values` float64[T], staleness markers among them."""

    labels: Labels
    times_ms: IntArray
    values: FloatArray


class SeriesWalk:
    """The series that fulfil any of the selectors (all, where there is none), and their samples in a time range.

    `len()` is the number of series; those without a sample in the range count, but are not given.
    """

    def __init__(self, store: LocalStore, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> None:
        self._store = store
        self._bounds = start_ms, end_ms
        ids = store.resolve_any(selectors)
        labels = store.labels_of(ids)
        order = sorted(range(len(ids)), key=lambda row: (labels[row].metric_name, labels[row]))
        self._ids = ids[order]

    def __len__(self) -> int:
        return len(self._ids)

    def samples(self, report: Callable[[int, int], None]) -> Iterator[SeriesSamples]:
        """Each series with its samples; `report` is told how many series are done, of how many."""
        done, size = 0, _FIRST_GROUP
        while done < len(self._ids):
            group = self._ids[done : done + size]
            frames = self._store.select_ids(group, *self._bounds)
            yield from _in_order(frames, group)
            done += len(group)
            report(done, len(self._ids))
            held = sum(frame.values.size for frame in frames)
            size = max(1, min(2 * size, SAMPLES_AT_ONCE * len(group) // max(1, held)))


def _in_order(frames: list[Frame], series_ids: IntArray) -> Iterator[SeriesSamples]:
    places = {series_id: (frame, row) for frame in frames for row, series_id in enumerate(frame.series_ids.tolist())}
    for series_id in series_ids.tolist():
        if series_id in places:
            frame, row = places[series_id]
            present = slice(None) if frame.present is None else np.flatnonzero(frame.present[row])
            yield SeriesSamples(frame.labels[row], frame.times_ms[present], frame.values[row, present])
