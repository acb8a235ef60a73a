"""Anchored and smoothed selectors: windows that know what stood at their edges (prometheus proposal PROM-52).

Their windows are wider than what was asked for by the lookback: before, and for smoothed ones behind, too. An
anchored window begins with the last sample before it. A smoothed one begins and ends with values between the samples
on both sides of its edges. Neither is extrapolated.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from promql.nodes import Anchoring, MatrixSelector
from promql.windows import Reducer, WindowGroup, Windows
from tsdb.model import BoolArray, FloatArray, IntArray

SAFE_FUNCTIONS = {
    Anchoring.ANCHORED: ("changes", "delta", "increase", "rate", "resets"),
    Anchoring.SMOOTHED: ("delta", "increase", "rate"),
}
"""The functions that take such a selector."""

Element = TypeVar("Element", bound=np.generic)
Reduced = tuple[FloatArray, BoolArray]


def reducer(function: str, selector: MatrixSelector) -> Reducer:
    """The reducer of a function over an anchored or smoothed range."""
    match function:
        case "changes":
            return _each_group(selector, lambda part: part.count_steps(np.not_equal))
        case "resets":
            return _each_group(selector, lambda part: part.count_steps(np.less))
        case "delta":
            return _each_group(selector, lambda part: part.grown(counter=False))
        case "increase":
            return _each_group(selector, lambda part: part.grown(counter=True))
        case _:
            return _each_group(selector, lambda part: part.grown(counter=True) / (selector.range_ms / 1000))


def smoothed_values(windows: Windows) -> Reduced:
    """A smoothed instant vector: on the line between the samples on both sides of a step, or as the last one.

    The windows reach as far behind the steps as before them.
    """
    return _at_steps(windows, lambda part: part.right(counter=False))


def smoothed_times(windows: Windows) -> Reduced:
    """The times in milliseconds of the last samples that are not behind the steps."""
    return _at_steps(windows, lambda part: part.first_ms)


def _at_steps(windows: Windows, function: Callable[["_Group"], FloatArray]) -> Reduced:
    values, present = _nothing(windows)
    for group in windows.by_length():
        part = _group(windows, group, 0, smoothed=True)
        values[group.index], present[group.index] = function(part), part.before > 0
    return values, present


def edged_series(windows: Windows, selector: MatrixSelector) -> Iterator[tuple[int, IntArray, FloatArray]]:
    """The only window of each series as it is shown: its row, and times and values with those at both edges."""
    smoothed = selector.selector.anchoring is Anchoring.SMOOTHED
    for group in windows.by_length():
        part = _group(windows, group, selector.range_ms, smoothed=smoothed)
        rows = np.arange(len(windows.labels)) if group.rows is None else group.rows
        left, right = part.left(counter=False).reshape(-1), part.right(counter=False).reshape(-1)
        samples, times_ms = (array.reshape(len(rows), -1) for array in (part.samples, part.times_ms))
        edges_ms = np.array([part.starts_ms, part.ends_ms]).reshape(2, -1)[:, :1]
        before, until_end = part.before.reshape(-1), part.until_end.reshape(-1)
        for index in np.flatnonzero(part.present).tolist():
            inside = slice(before[index], until_end[index])
            times = np.concatenate([edges_ms[0], times_ms[index, inside], edges_ms[1]])
            yield rows[index], times, np.concatenate([left[[index]], samples[index, inside], right[[index]]])


def _each_group(selector: MatrixSelector, function: Callable[["_Group"], FloatArray]) -> Reducer:
    smoothed = selector.selector.anchoring is Anchoring.SMOOTHED

    def reduce(windows: Windows) -> Reduced:
        values, present = _nothing(windows)
        for group in windows.by_length():
            part = _group(windows, group, selector.range_ms, smoothed=smoothed)
            values[group.index], present[group.index] = function(part), part.present
        return values, present

    return reduce


def _nothing(windows: Windows) -> Reduced:
    shape = (len(windows.labels), len(windows.ends_ms))
    return np.full(shape, np.nan), np.zeros(shape, np.bool_)


def _group(windows: Windows, group: WindowGroup, range_ms: int, *, smoothed: bool) -> "_Group":
    lookbacks_ms = windows.range_ms - range_ms
    ends_ms = windows.ends_ms[group.steps] - (lookbacks_ms // 2 if smoothed else 0)
    samples = group.take(windows.values)
    times_ms = np.broadcast_to(group.take(windows.times_ms), samples.shape)
    return _Group(samples, times_ms, ends_ms - range_ms, ends_ms, smoothed)


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Windows of n samples each: `samples` and `times_ms` are [..., n], start and end [...].

    Positions are counted within a window. Of its samples those from `first` to `last` matter.
    """

    samples: FloatArray
    times_ms: IntArray
    starts_ms: IntArray
    ends_ms: IntArray
    smoothed: bool

    @property
    def before(self) -> IntArray:
        """How many samples are not behind the start."""
        return self._count(self.times_ms <= self.starts_ms[..., np.newaxis])

    @property
    def first(self) -> IntArray:
        """The last sample that is not behind the start, else the first there is."""
        return np.maximum(self.before - 1, 0)

    @property
    def first_ms(self) -> FloatArray:
        """The time of that sample."""
        return self._at(self.times_ms, self.first).astype(np.float64)

    @property
    def until_end(self) -> IntArray:
        """How many samples are before the end."""
        return self._count(self.times_ms < self.ends_ms[..., np.newaxis])

    @property
    def last(self) -> IntArray:
        """The first sample at or behind the end, else the last there is."""
        newest = self.samples.shape[-1] - 1
        return np.minimum(self.until_end, newest) if self.smoothed else np.full(self.samples.shape[:-1], newest)

    @property
    def present(self) -> BoolArray:
        """Whether there is any sample to speak of: not only before, nor only behind."""
        present: BoolArray = self._at(self.times_ms, self.last) > self.starts_ms
        return present & (self._at(self.times_ms, self.first) <= self.ends_ms)

    def grown(self, *, counter: bool) -> FloatArray:
        """From the left edge to the right one, plus what a counter lost at resets between."""
        left, right = self.left(counter=counter), self.right(counter=counter)
        grown: FloatArray = right - left
        return grown + self._lost(left, right) if counter else grown

    def count_steps(self, counted: Callable[[FloatArray, FloatArray], BoolArray]) -> FloatArray:
        """How many samples from the first on stand in some relation to the one before."""
        before, after = self.samples[..., :-1], self.samples[..., 1:]
        steps = counted(after, before) & ~(np.isnan(before) & np.isnan(after))
        counts: IntArray = (steps & (np.arange(steps.shape[-1]) >= self.first[..., np.newaxis])).sum(axis=-1)
        return counts.astype(np.float64)

    def left(self, *, counter: bool) -> FloatArray:
        """The value at the start."""
        first = self.first
        picked = self._at(self.samples, first)
        if not self.smoothed:
            return picked
        following = np.minimum(first + 1, self.samples.shape[-1] - 1)
        between = self._between(first, following, self.starts_ms, counter=counter)
        return np.where(self._at(self.times_ms, first) < self.starts_ms, between, picked)

    def right(self, *, counter: bool) -> FloatArray:
        """The value at the end."""
        last = self.last
        picked = self._at(self.samples, last)
        if not self.smoothed:
            return picked
        between = self._between(np.maximum(last - 1, 0), last, self.ends_ms, counter=counter)
        return np.where((last > 0) & (self._at(self.times_ms, last) > self.ends_ms), between, picked)

    def _between(self, left: IntArray, right: IntArray, at_ms: IntArray, *, counter: bool) -> FloatArray:
        """On the line between two samples; a counter that was reset comes from 0."""
        value, next_value = self._at(self.samples, left), self._at(self.samples, right)
        if counter:
            value = np.where(next_value < value, 0.0, value)
        time_ms, next_ms = self._at(self.times_ms, left), self._at(self.times_ms, right)
        between: FloatArray = value + (next_value - value) * (at_ms - time_ms) / (next_ms - time_ms)
        return between

    def _lost(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """What was lost at resets, going from the left edge over the samples between the edges to the right one."""
        places = np.arange(self.samples.shape[-1])
        inside = (places >= self.before[..., np.newaxis]) & (places < self.until_end[..., np.newaxis])
        previous = left
        lost = np.zeros_like(left)
        for place in places.tolist():
            here, value = inside[..., place], self.samples[..., place]
            lost += np.where(here & (value < previous), previous, 0.0)
            previous = np.where(here, value, previous)
        lost += np.where(right < previous, previous, 0.0)
        return lost

    def _count(self, mask: BoolArray) -> IntArray:
        counts: IntArray = np.broadcast_to(mask, self.samples.shape).sum(axis=-1)
        return counts

    def _at(self, array: npt.NDArray[Element], place: IntArray) -> npt.NDArray[Element]:
        taken: npt.NDArray[Element] = np.take_along_axis(array, place[..., np.newaxis], axis=-1)[..., 0]
        return taken
