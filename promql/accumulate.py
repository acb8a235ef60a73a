"""Aggregations that are added up slice by slice: `sum`, `avg`, `count`, `group`, `min`, `max`."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np

from common.labels import Labels
from promql.grouping import Groups, make_groups
from promql.nodes import Aggregation
from promql.summation import group_sum_parts, rounded, two_sum
from promql.vector import StepVector
from tsdb.model import FloatArray, IntArray


class _Accumulator(ABC):
    """What is known of each group after some slices: arrays float64[G, K] that grow as groups appear."""

    initial: tuple[float, ...] = ()
    """What each array holds for a group of which no slice was added."""

    def __init__(self, steps: int) -> None:
        self.state = [np.empty((0, steps)) for _ in self.initial]
        self.counts = np.empty((0, steps))

    def grow(self, groups: int) -> None:
        """Make room for this many more groups."""
        more = (groups, self.counts.shape[1])
        self.state = [
            np.concatenate([array, np.full(more, value)]) for array, value in zip(self.state, self.initial, strict=True)
        ]
        self.counts = np.concatenate([self.counts, np.zeros(more)])

    @abstractmethod
    def add(self, rows: IntArray, groups: Groups) -> None:
        """Take groups of a slice in, whose places in the arrays are `rows`."""

    @abstractmethod
    def values(self) -> FloatArray:
        """The aggregate of each group and step, float64[G, K]; undefined where there was no sample."""


class _Sum(_Accumulator):
    initial = (0.0, 0.0)

    def add(self, rows: IntArray, groups: Groups) -> None:
        total, error = group_sum_parts(groups.values(0.0), groups.starts)
        self.state[0][rows], rounding = two_sum(self.state[0][rows], total)
        self.state[1][rows] += rounding + error

    def values(self) -> FloatArray:
        return rounded(*self.state)


class _Avg(_Sum):
    def values(self) -> FloatArray:
        return super().values() / self.counts


class _Extremum(_Accumulator):
    initial = (np.nan,)
    better: np.ufunc

    def add(self, rows: IntArray, groups: Groups) -> None:
        best = self.better.reduceat(groups.values(np.nan), groups.starts, axis=0)
        self.state[0][rows] = self.better(self.state[0][rows], best)

    def values(self) -> FloatArray:
        return self.state[0]


class _Min(_Extremum):
    better = np.fmin


class _Max(_Extremum):
    better = np.fmax


class _Count(_Accumulator):
    def add(self, rows: IntArray, groups: Groups) -> None:
        pass  # counted anyway

    def values(self) -> FloatArray:
        return self.counts


class _Group(_Count):
    def values(self) -> FloatArray:
        return np.ones_like(self.counts)


_ACCUMULATORS: dict[str, type[_Accumulator]] = {
    "avg": _Avg,
    "count": _Count,
    "group": _Group,
    "max": _Max,
    "min": _Min,
    "sum": _Sum,
}


def can_accumulate(op: str) -> bool:
    """Whether the aggregation can be added up from slices."""
    return op in _ACCUMULATORS


def accumulate(node: Aggregation, slices: Iterable[StepVector], steps: int) -> StepVector | None:
    """The value of an aggregation over slices of its operand; None where all series are needed at once.

    That is where a mean overflows.
    """
    accumulator = _ACCUMULATORS[node.op](steps)
    numbers: dict[Labels, int] = {}
    drop_name: list[bool] = []
    for vector in slices:
        if not vector.labels:
            continue
        groups = make_groups(vector, node.labels, without=node.without)
        known = len(numbers)
        rows = np.array([numbers.setdefault(labels, len(numbers)) for labels in groups.labels])
        if len(numbers) > known:
            accumulator.grow(len(numbers) - known)
            drop_name += groups.drop_name[rows >= known].tolist()
        accumulator.counts[rows] += groups.counts()
        accumulator.add(rows, groups)
    values = accumulator.values()
    if isinstance(accumulator, _Avg) and np.isinf(values).any():
        return None
    return StepVector(list(numbers), values, accumulator.counts > 0, np.array(drop_name, dtype=np.bool_))
