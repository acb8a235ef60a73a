"""Roll-ups: what is kept of the samples in each bucket of a coarse grid, instead of the samples.

A bucket is the time (end - resolution, end], and its end a multiple of the resolution: what PromQL looks at for a
step of that length. Each column can be computed for a longer time from its values for the buckets within.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from common.labels import Labels
from common.matchers import Matcher
from tsdb.model import ABSENT, BoolArray, FloatArray, Frame, IntArray, is_absent, is_stale
from tsdb.pieces import Piece

RESOLUTIONS_MS = (5 * 60 * 1000, 3600 * 1000)
"""Of the roll-ups that are kept. Each divides the next."""

LATEST_MS = 5 * 60 * 1000
"""How far Column.LATEST looks back: PromQL's lookback, if not told otherwise."""


class Column(enum.IntEnum):
    """What is known of a bucket. The numbers are part of what is stored.

    Staleness markers count for LATEST alone: the last sample, or marker, of the last five minutes of the bucket. MIN
    and MAX are NaN only where all samples are. LOST is what a counter lost by resets between samples of the bucket: it
    grew by LAST - FIRST + LOST. FIRST_AGE and LAST_AGE are how many milliseconds before the bucket's end those were.
    """

    MIN = 0
    MAX = 1
    SUM = 2
    COUNT = 3
    FIRST = 4
    LAST = 5
    LOST = 6
    LATEST = 7
    FIRST_AGE = 8
    LAST_AGE = 9


@dataclass(frozen=True, slots=True, eq=False)
class RollupFrame:
    """Buckets of series that share them.

    `ends_ms` is int64[B], strictly rising; buckets without a sample may be left out. `values` is float64[S, B, C],
    for C `columns`; ABSENT where a bucket has none. `labels` has S entries, `series_ids` is int64[S].
    """

    ends_ms: IntArray
    values: FloatArray
    series_ids: IntArray
    labels: list[Labels]
    columns: Sequence[Column]

    def frame(self, column: Column) -> Frame:
        """A column as if it were samples, each at the end of its bucket."""
        values = np.ascontiguousarray(self.values[:, :, self.columns.index(column)])
        present = ~is_absent(values)
        return Frame(self.ends_ms, values, self.series_ids, self.labels, None if present.all() else present)


@runtime_checkable
class RollupStore(Protocol):
    """A store that may keep roll-ups. Thread-safe, as tsdb.store.Store is."""

    def select_rollups(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        resolution_ms: int,
        columns: Sequence[Column],
    ) -> list[RollupFrame] | None:
        """The buckets that end from `start_ms` to `end_ms`, both included, of the series that fulfil every matcher.

        The bounds are multiples of the resolution, which is one of RESOLUTIONS_MS. What is not rolled up is computed
        from samples. Frames have the columns in their order; a series is in one frame at most, and left out where no
        bucket has a sample. None where so little is kept that `select` serves better.
        """


def bucket_end(time_ms: int, resolution_ms: int) -> int:
    """The end of the bucket that has a time."""
    return -(-time_ms // resolution_ms) * resolution_ms


def roll_up(piece: Piece, resolution_ms: int, columns: Sequence[Column] = tuple(Column)) -> tuple[IntArray, FloatArray]:
    """The ends int64[B] of the buckets that have samples, and float64[S, B, C], a value for each of the columns.

    The piece has at least one time.
    """
    ends = -(-piece.times_ms // resolution_ms) * resolution_ms
    starts = np.flatnonzero(np.diff(ends, prepend=ends[0] - 1))
    values = np.ascontiguousarray(piece.values)
    there = ~is_absent(values)
    samples = _Samples(piece.times_ms, values, there, there & ~is_stale(values), starts, ends[starts])
    rolled = np.empty((len(values), len(starts), len(columns)))
    with np.errstate(all="ignore"):
        for place, column in enumerate(columns):
            rolled[:, :, place] = _COMPUTED[column](samples)
    return ends[starts], rolled


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """What a piece has, [S, T]: which places are not ABSENT, and which are samples; where its buckets start and end."""

    times_ms: IntArray
    values: FloatArray
    there: BoolArray
    counted: BoolArray
    starts: IntArray
    ends_ms: IntArray

    def last_of(self, chosen: BoolArray) -> IntArray:
        """The last column in each bucket that is chosen, -1 where none is; int64[S, B]."""
        columns = np.arange(len(self.times_ms))
        last: IntArray = np.maximum.reduceat(np.where(chosen, columns, -1), self.starts, axis=1)
        return last

    def at(self, places: IntArray, known: BoolArray) -> FloatArray:
        """The values at some columns, int64[S, B], where they are known; else ABSENT."""
        values: FloatArray = np.where(
            known, np.take_along_axis(self.values, np.where(known, places, 0), axis=1), ABSENT
        )
        return values

    def ages_of(self, places: IntArray, known: BoolArray) -> FloatArray:
        """How far before the end of its bucket some columns are, in milliseconds; ABSENT where not known."""
        ages: FloatArray = np.where(known, self.ends_ms - self.times_ms[np.where(known, places, 0)], ABSENT)
        return ages

    def where_counted(self, values: FloatArray) -> FloatArray:
        """Values of the buckets, ABSENT for those without a sample."""
        filled: FloatArray = np.where(np.logical_or.reduceat(self.counted, self.starts, axis=1), values, ABSENT)
        return filled


_Take = Callable[[_Samples, IntArray, BoolArray], FloatArray]


def _extreme(samples: _Samples, better: np.ufunc) -> FloatArray:
    numbers = np.where(samples.counted, samples.values, np.nan)
    return samples.where_counted(better.reduceat(numbers, samples.starts, axis=1))


def _sum(samples: _Samples) -> FloatArray:
    """Neumaier's sums of the buckets: all first members at once, all second ones, ..."""
    values = np.where(samples.counted, samples.values, 0.0)
    lengths = np.diff(samples.starts, append=values.shape[1])
    total = values[:, samples.starts]
    error = np.zeros_like(total)
    for member in range(1, int(lengths.max())):
        buckets = np.flatnonzero(lengths > member)
        before, term = total[:, buckets], values[:, samples.starts[buckets] + member]
        added = before + term
        rounded = added - before
        error[:, buckets] += (before - (added - rounded)) + (term - rounded)
        total[:, buckets] = added
    return samples.where_counted(np.where(np.isfinite(error), total + error, total))


def _count(samples: _Samples) -> FloatArray:
    return samples.where_counted(np.add.reduceat(samples.counted, samples.starts, axis=1, dtype=np.float64))


def _first(samples: _Samples, take: _Take) -> FloatArray:
    width = len(samples.times_ms)
    places = np.where(samples.counted, np.arange(width), width)
    first = np.minimum.reduceat(places, samples.starts, axis=1)
    return take(samples, first, first < width)


def _last(samples: _Samples, take: _Take) -> FloatArray:
    last = samples.last_of(samples.counted)
    return take(samples, last, last >= 0)


def _latest(samples: _Samples) -> FloatArray:
    latest = samples.last_of(samples.there)
    return samples.at(latest, (latest >= 0) & (samples.times_ms[latest] > samples.ends_ms - LATEST_MS))


def _lost(samples: _Samples) -> FloatArray:
    """The sum of the samples that a smaller one follows in the bucket."""
    columns = np.arange(len(samples.times_ms))
    so_far = np.maximum.accumulate(np.where(samples.counted, columns, -1), axis=1)
    before = np.concatenate([np.full((len(so_far), 1), -1), so_far[:, :-1]], axis=1)
    earlier = np.take_along_axis(samples.values, np.maximum(before, 0), axis=1)
    first = np.repeat(samples.starts, np.diff(samples.starts, append=len(columns)))
    dropped = samples.counted & (before >= first) & (samples.values < earlier)
    return samples.where_counted(np.add.reduceat(np.where(dropped, earlier, 0.0), samples.starts, axis=1))


_COMPUTED: dict[Column, Callable[[_Samples], FloatArray]] = {
    Column.MIN: lambda samples: _extreme(samples, np.fmin),
    Column.MAX: lambda samples: _extreme(samples, np.fmax),
    Column.SUM: _sum,
    Column.COUNT: _count,
    Column.FIRST: lambda samples: _first(samples, _Samples.at),
    Column.LAST: lambda samples: _last(samples, _Samples.at),
    Column.LOST: _lost,
    Column.LATEST: _latest,
    Column.FIRST_AGE: lambda samples: _first(samples, _Samples.ages_of),
    Column.LAST_AGE: lambda samples: _last(samples, _Samples.ages_of),
}
