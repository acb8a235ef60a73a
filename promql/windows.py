"""Range vectors: which samples of which series lie in the window of each step.

Frames become `Windows`, in which every series is dense. Series of one wide frame share their times, so that the
edges of all windows are found once, by binary search over one time vector. Series with gaps are split off by the
pattern of their gaps. The small frames of a fleet of many targets are joined where their windows begin and end at
the same samples, as they do when they are scraped at the same interval. What is left, series with patterns of their
own, is packed into one padded array with edges for each series.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from common.labels import Labels
from promql import limits
from promql.vector import StepVector
from tsdb.model import BoolArray, FloatArray, IntArray

Element = TypeVar("Element", bound=np.generic)

WIDE_ROWS = 32
"""Series that are worth a numpy call of their own."""
# Elements of a float64[rows, K] array for the series of small frames whose windows are made together: the more there
# are, the more of them are alike.
_JOINED_ELEMENTS = 1 << 20
# Elements of a float64[rows, K] array that is worked on at once: small enough to stay in the CPU's cache.
_CHUNK_ELEMENTS = 1 << 16
# Elements of the samples of whole windows laid out side by side.
_GATHER_ELEMENTS = 1 << 17


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Series that share their times, as input: `values` float64[S, T], `times_ms` int64[T].

    `keep` is bool[S, T]: which samples count; None is all.
    """

    labels: list[Labels]
    drop_name: BoolArray
    times_ms: IntArray
    values: FloatArray
    keep: BoolArray | None


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """S series of T samples, and for each of K steps the half-open range of samples in its window.

    `values` is float64[S, T]. `times_ms` is int64[1 or S, T], `low` and `high` are int64[1 or S, K]: one row stands
    for all series. A window is (ends_ms - range_ms, ends_ms]; `ends_ms` is int64[K].
    """

    labels: list[Labels]
    drop_name: BoolArray
    times_ms: IntArray
    values: FloatArray
    low: IntArray
    high: IntArray
    ends_ms: IntArray
    range_ms: int

    @property
    def counts(self) -> IntArray:
        """Samples in each window, int64[1 or S, K]."""
        return self.high - self.low

    def first(self, array: npt.NDArray[Element]) -> npt.NDArray[Element]:
        """The element at each window's first sample; undefined where the window is empty."""
        return pick(array, np.minimum(self.low, array.shape[1] - 1))

    def last(self, array: npt.NDArray[Element]) -> npt.NDArray[Element]:
        """The element at each window's last sample; undefined where the window is empty."""
        return pick(array, np.maximum(self.high - 1, 0))

    def chunks(self) -> Iterator["Windows"]:
        """The same windows, a few series at a time."""
        size = max(1, _CHUNK_ELEMENTS // max(self.values.shape[1], len(self.ends_ms), 1))
        for start in range(0, len(self.labels), size):
            yield self.select(slice(start, start + size))

    def select(self, rows: slice) -> "Windows":
        """Some of the series."""
        own = slice(None) if len(self.low) == 1 else rows
        return Windows(
            self.labels[rows],
            self.drop_name[rows],
            self.times_ms[slice(None) if len(self.times_ms) == 1 else rows],
            self.values[rows],
            self.low[own],
            self.high[own],
            self.ends_ms,
            self.range_ms,
        )

    def by_length(self) -> Iterator["WindowGroup"]:
        """The windows that are not empty in groups of equal length, of limited size."""
        counts = self.counts
        for length in np.unique(counts[counts > 0]).tolist():
            size = max(1, _GATHER_ELEMENTS // length)
            if len(counts) == 1:
                steps = np.flatnonzero(counts[0] == length)
                for part in _parts(steps, max(1, size // max(1, len(self.labels)))):
                    limits.check()
                    places = self.low[0, part][:, np.newaxis] + np.arange(length)
                    yield WindowGroup((slice(None), part), None, places)
            else:
                rows, steps = np.nonzero(counts == length)
                for part in _parts(np.arange(len(rows)), size):
                    limits.check()
                    row, step = rows[part], steps[part]
                    places = self.low[row, step][:, np.newaxis] + np.arange(length)
                    yield WindowGroup((row, step), row, places)


@dataclass(frozen=True, slots=True, eq=False)
class WindowGroup:
    """Some windows of n samples each.

    `index` is where they are in an array [S, K]. The shape of their results is [S, C], or [W] for W windows of
    series with times of their own.
    """

    index: Any
    rows: IntArray | None
    places: IntArray

    def take(self, array: npt.NDArray[Element]) -> npt.NDArray[Element]:
        """The samples of whole windows side by side: [S or 1, C, n] or [W, n] of an array [S or 1, T]."""
        if self.rows is None:
            return _take(array, self.places)
        if len(array) == 1:
            return _only_row(array)[self.places]
        return array[self.rows[:, np.newaxis], self.places]

    @property
    def steps(self) -> IntArray:
        """The step of each window: int64[C] or int64[W]."""
        steps: IntArray = self.index[1]
        return steps

    @property
    def length(self) -> int:
        """How many samples each window has."""
        return len(self.places[0])

    def at(self, array: npt.NDArray[Element], place: int) -> npt.NDArray[Element]:
        """The sample at one place of each window: [S or 1, C] or [W] of an array [S or 1, T]."""
        if self.rows is None:
            return _take(array, self.places[:, place])
        if len(array) == 1:
            return _only_row(array)[self.places[:, place]]
        return array[self.rows, self.places[:, place]]


def _parts(index: IntArray, size: int) -> Iterator[IntArray]:
    for start in range(0, len(index), size):
        yield index[start : start + size]


def pick(array: npt.NDArray[Element], index: IntArray) -> npt.NDArray[Element]:
    """array[s, index[s, k]] for [S or 1, T] and [S or 1, K]: as many rows as the larger of the two has."""
    if len(index) == 1:
        return _take(array, index[0])
    if len(array) == 1:
        return _only_row(array)[index]
    return np.take_along_axis(array, index, axis=1)


def _only_row(array: npt.NDArray[Element]) -> npt.NDArray[Element]:
    row: npt.NDArray[Element] = array[0]
    return row


def _take(array: npt.NDArray[Element], columns: IntArray) -> npt.NDArray[Element]:
    # Faster than indexing, and typed more loosely.
    taken: npt.NDArray[Element] = np.take(array, columns, axis=1)
    return taken


Reducer = Callable[[Windows], tuple[FloatArray, BoolArray]]
"""From windows to one value for each: float64 and bool, both [S, K] or broadcast to it."""


def reduce_windows(parts: Sequence[Windows], steps: int, reducer: Reducer, keep_name: bool = False) -> StepVector:
    """Apply a reducer to all windows, in slices that stay in the CPU's cache."""
    rows = sum(len(part.labels) for part in parts)
    values, present = np.empty((rows, steps)), np.empty((rows, steps), np.bool_)
    row = 0
    for part in parts:
        for chunk in part.chunks():
            limits.check()
            place = slice(row, row + len(chunk.labels))
            values[place], present[place] = reducer(chunk)
            row = place.stop
    labels = [labels for part in parts for labels in part.labels]
    drop_name = np.concatenate([part.drop_name for part in parts]) if parts else np.empty(0, np.bool_)
    return StepVector(labels, values, present, drop_name if keep_name else np.ones_like(drop_name)).compact()


def window_slices(samples: Iterable[Samples], ends_ms: IntArray, range_ms: int) -> Iterator[Windows]:
    """The windows of all samples a few series at a time, made when they are asked for."""
    waiting: list[Samples] = []
    rows = 0
    for part in samples:
        waiting.append(part)
        rows += len(part.labels)
        if rows * max(len(ends_ms), part.values.shape[1]) >= _JOINED_ELEMENTS:
            yield from _chunks(make_windows(waiting, ends_ms, range_ms))
            waiting, rows = [], 0
    yield from _chunks(make_windows(waiting, ends_ms, range_ms))


def _chunks(parts: Sequence[Windows]) -> Iterator[Windows]:
    return (chunk for part in parts for chunk in part.chunks())


def make_windows(samples: Sequence[Samples], ends_ms: IntArray, range_ms: int) -> list[Windows]:
    """The windows (end - range, end] over the samples that count; series without any are left out.

    The order of the series is kept within the samples of a frame, not beyond.
    """
    windows: list[Windows] = []
    alike: dict[tuple[bytes, bytes, int], list[Samples]] = {}
    unlike: list[Samples] = []
    for part in (part for frame in samples for part in _dense_parts(frame)):
        if part.keep is not None:
            unlike.append(part)
            continue
        low, high = _edges(part.times_ms, ends_ms, range_ms)
        if len(part.labels) >= WIDE_ROWS:
            windows.append(_share_edges([part], low, high, ends_ms, range_ms))
        else:
            alike.setdefault((low.tobytes(), high.tobytes(), len(part.times_ms)), []).append(part)
    for parts in alike.values():
        if len(alike) == 1 or sum(len(part.labels) for part in parts) >= WIDE_ROWS:
            low, high = _edges(parts[0].times_ms, ends_ms, range_ms)
            windows.append(_share_edges(parts, low, high, ends_ms, range_ms))
        else:
            unlike += parts
    if unlike:
        windows.append(_pack(unlike, ends_ms, range_ms))
    return windows


def _share_edges(parts: Sequence[Samples], low: IntArray, high: IntArray, ends_ms: IntArray, range_ms: int) -> Windows:
    """Dense series whose windows begin and end at the same samples: targets scraped at the same steps."""
    first = parts[0]
    one = len(parts) == 1
    return Windows(
        [labels for part in parts for labels in part.labels],
        first.drop_name if one else np.concatenate([part.drop_name for part in parts]),
        first.times_ms[np.newaxis]
        if one
        else np.repeat([part.times_ms for part in parts], [len(part.labels) for part in parts], axis=0),
        first.values if one else np.concatenate([part.values for part in parts]),
        low[np.newaxis],
        high[np.newaxis],
        ends_ms,
        range_ms,
    )


def _edges(times_ms: IntArray, ends_ms: IntArray, range_ms: int) -> tuple[IntArray, IntArray]:
    return (
        np.searchsorted(times_ms, ends_ms - range_ms, side="right"),
        np.searchsorted(times_ms, ends_ms, side="right"),
    )


def _dense_parts(samples: Samples) -> Iterator[Samples]:
    """Split by pattern of gaps; rows whose pattern few others share come together, with their gaps."""
    if samples.keep is None:
        if samples.values.size:
            yield samples
        return
    patterns, pattern_of_row = np.unique(np.packbits(samples.keep, axis=1), axis=0, return_inverse=True)
    pattern_of_row = pattern_of_row.reshape(-1)
    sizes = np.bincount(pattern_of_row, minlength=len(patterns))
    for pattern in np.flatnonzero(sizes >= WIDE_ROWS).tolist():
        rows = np.flatnonzero(pattern_of_row == pattern)
        columns = np.flatnonzero(samples.keep[rows[0]])
        if len(columns):
            yield Samples(
                [samples.labels[row] for row in rows.tolist()],
                samples.drop_name[rows],
                samples.times_ms[columns],
                samples.values[np.ix_(rows, columns)],
                None,
            )
    rows = np.flatnonzero(sizes[pattern_of_row] < WIDE_ROWS)
    rows = rows[samples.keep[rows].any(axis=1)]
    if len(rows):
        yield Samples(
            [samples.labels[row] for row in rows.tolist()],
            samples.drop_name[rows],
            samples.times_ms,
            samples.values[rows],
            samples.keep[rows],
        )


def _pack(parts: Sequence[Samples], ends_ms: IntArray, range_ms: int) -> Windows:
    """Series of unlike times in one padded array: what counts moves to the left, zeros behind it."""
    rows = sum(len(part.labels) for part in parts)
    width = max(len(part.times_ms) for part in parts)
    values, times = np.zeros((rows, width)), np.zeros((rows, width), np.int64)
    low, high = np.empty((2, rows, len(ends_ms)), np.int64)
    row = 0
    for part in parts:
        place, used = slice(row, row + len(part.labels)), len(part.times_ms)
        from_edge, to_edge = _edges(part.times_ms, ends_ms, range_ms)
        if part.keep is None:
            values[place, :used], times[place, :used] = part.values, part.times_ms
            low[place], high[place] = from_edge, to_edge
        else:
            order = np.argsort(~part.keep, axis=1, kind="stable")
            values[place, :used] = np.take_along_axis(np.where(part.keep, part.values, 0.0), order, axis=1)
            times[place, :used] = part.times_ms[order]
            kept_before = np.zeros((len(part.labels), used + 1), np.int64)
            np.cumsum(part.keep, axis=1, out=kept_before[:, 1:])
            low[place], high[place] = kept_before[:, from_edge], kept_before[:, to_edge]
        row = place.stop
    return Windows(
        [labels for part in parts for labels in part.labels],
        np.concatenate([part.drop_name for part in parts]),
        times,
        values,
        low,
        high,
        ends_ms,
        range_ms,
    )
