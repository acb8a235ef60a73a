"""What a query did: samples it looked at, and the time and the series of each node of its plan."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from promql.nodes import Node
from promql.vector import Grid, StepVector
from tsdb.model import IntArray


class SampleCounts:
    """Samples that were looked at, for each step of a query, as Prometheus counts them.

    A selector looks at one sample of each series at a step, a range selector at all in the window. What is looked at
    once for all steps, or at steps of a subquery, counts at the first.
    """

    def __init__(self, query: Grid) -> None:
        self._query = query
        self.per_step: IntArray = np.zeros(query.count, np.int64)

    @property
    def total(self) -> int:
        """Of all steps."""
        return int(self.per_step.sum())

    def add(self, grid: Grid, counts: IntArray) -> None:
        """Samples at each step of a grid, int64[K]."""
        query = self._query
        if grid.step_ms == query.step_ms and len(counts) and query.count > 1:
            first, between = divmod(grid.start_ms - query.start_ms, query.step_ms)
            if not between and 0 <= first <= query.count - len(counts):
                self.per_step[first : first + len(counts)] += counts
                return
        self.per_step[0] += counts.sum()


@dataclass(slots=True)
class QueryStats:
    """Seconds that a query took for fetching samples, for evaluation and for the order of the result; and its samples.

    `peak_samples` is the greatest number that was held at once. `rollups` says whether roll-ups were read.
    """

    prepare_s: float = 0.0
    evaluate_s: float = 0.0
    sort_s: float = 0.0
    samples: SampleCounts = field(default_factory=lambda: SampleCounts(Grid(0, 0, 1)))
    peak_samples: int = 0
    rollups: bool = False

    @property
    def total_s(self) -> float:
        """All of it."""
        return self.prepare_s + self.evaluate_s + self.sort_s

    @contextmanager
    def taking(self, name: str) -> Iterator[None]:
        """Within: time goes to one of the fields."""
        began = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, name, getattr(self, name) + time.perf_counter() - began)


@dataclass(slots=True)
class NodeTrace:
    """What a node yielded, in how many slices, and the seconds it took, its operands included."""

    series: int = 0
    slices: int = 0
    seconds: float = 0.0


@dataclass(slots=True, eq=False)
class _Taken:
    vector: StepVector


@dataclass(frozen=True, slots=True)
class Trace:
    """What each node of a plan did."""

    nodes: dict[Node, NodeTrace] = field(default_factory=dict)
    _within: set[Node] = field(default_factory=set)

    @contextmanager
    def evaluating(self, node: Node) -> Iterator[_Taken]:
        """Within: the node is evaluated; the result is to be left in what is given."""
        known = self.nodes.setdefault(node, NodeTrace())
        taken = _Taken(StepVector.empty(0))
        if node in self._within:
            yield taken  # a slice of the node that is being evaluated
            known.slices += 1
            return
        self._within.add(node)
        slices, began = known.slices, time.perf_counter()
        yield taken
        self._within.discard(node)
        known.seconds += time.perf_counter() - began
        known.series += len(taken.vector.labels)
        known.slices = max(known.slices, slices + 1)
