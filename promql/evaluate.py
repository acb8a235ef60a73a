"""Walks the expression tree: every node is evaluated at all steps at once.

Expressions pinned to one time with `@` are evaluated at one step and repeated, those that occur several times are
evaluated once, and those that go series by series in slices. Between nodes and slices, the evaluation looks whether
its time is up, its caller gone, or its result too large.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from promql.aggregations import aggregate
from promql.annotations import Annotations
from promql.binary import evaluate_binary, evaluate_scalar_binary
from promql.errors import ExecutionError
from promql.functions.anchored import smoothed_times, smoothed_values
from promql.functions.calls import SCALAR_FUNCTIONS, VECTOR_FUNCTIONS, RangeFunction, inform_of_names
from promql.limits import Limits
from promql.nodes import (
    Aggregation,
    Anchoring,
    Binary,
    Call,
    MatrixSelector,
    Negation,
    Node,
    Number,
    Subquery,
    Text,
    VectorSelector,
    is_step_invariant,
)
from promql.plan import Plan
from promql.rollups import reduce_rollups
from promql.selection import Selection, Times
from promql.slices import Leaf, Selector, find_leaf, gathered
from promql.stats import SampleCounts, Trace
from promql.vector import Grid, StepVector
from promql.windows import Samples, Windows, make_windows, reduce_windows, window_slices
from tsdb.model import BoolArray, FloatArray, Frame, IntArray, is_stale
from tsdb.rollups import Column


@dataclass(frozen=True, slots=True, eq=False)
class _Slice:
    """Some of the series of a leaf, and the evaluation of all of them."""

    selector: Selector
    windows: Windows
    whole: "Evaluation"
    scalars: dict[tuple[Node, Grid], FloatArray]


class Evaluation:
    """One query over fetched samples; an Evaluator. `trace` takes down what each node did."""

    def __init__(
        self,
        plan: Plan,
        selection: Selection,
        times: Times,
        limits: Limits,
        annotations: Annotations,
        trace: Trace | None = None,
    ) -> None:
        self.annotations = annotations
        self.query = times.query
        self.query_end_ms = times.query_end_ms
        self.samples = SampleCounts(times.query)
        self._plan = plan
        self.selection = selection
        self._times = times
        self._limits = limits
        self._trace = trace
        self._slice: _Slice | None = None
        # The values that are needed again, and how often.
        self._shared: dict[tuple[Node, Grid], StepVector] = {}
        self._uses_left = Counter(plan.uses)

    def vector(self, node: Node, grid: Grid) -> StepVector:
        """An instant vector at each step of a grid."""
        if grid.count > 1 and is_step_invariant(node):
            return self.vector(node, grid.first_step()).broadcast(grid.count)
        shared = self._slice is None and self._plan.is_shared(node)
        if shared and (known := self._shared.get((node, grid))) is not None:
            self._use(node, grid)
            return known
        # As few frames for a level of the expression as can be: Python allows a thousand.
        self._check(grid, 1)
        if self._trace is None:
            vector = self._vector(node, grid)
        else:
            with self._trace.evaluating(node) as taken:
                vector = taken.vector = self._vector(node, grid)
        self._limits.check_samples(vector.values.size)
        if shared:
            self._shared[node, grid] = vector
            self._use(node, grid)
        return vector

    def _use(self, node: Node, grid: Grid) -> None:
        """Let the value of a node go where it is not needed again."""
        self._uses_left[node] -= 1
        if not self._uses_left[node]:
            del self._shared[node, grid]

    def _vector(self, node: Node, grid: Grid) -> StepVector:
        if (leaf := self._leaf(node, grid)) is not None:
            series = sum(len(frame.labels) for frame in self._frames(leaf))
            self._check(grid, series)
            return gathered(self._slices(node, grid, leaf), series, grid.count)
        match node:
            case VectorSelector():
                smoothed = node.anchoring is Anchoring.SMOOTHED
                return self._latest(node, grid, smoothed_values if smoothed else _latest_value)
            case Call() if self.selection.rollups(node, grid) is not None:
                return self._reduced(node, grid)
            case Call() if node.name in VECTOR_FUNCTIONS:
                return VECTOR_FUNCTIONS[node.name](self, node, grid)
            case Call():
                raise ExecutionError(f'function "{node.name}" is not supported')
            case Aggregation():
                return aggregate(self, node, grid)
            case Binary():
                return evaluate_binary(self, node, grid)
            case Negation():
                operand = self.vector(node.expr, grid)
                return operand.with_values(-operand.values)
            case _:
                raise ExecutionError(f"expected an instant vector, got {type(node).__name__}")

    def again(self) -> "Evaluation":
        """The same query, to be evaluated at other steps."""
        other = copy.copy(self)
        other._shared, other._uses_left = {}, Counter(self._plan.uses)
        return other

    # Slices

    def slices(self, node: Node, grid: Grid) -> Iterator[StepVector] | None:
        """See Evaluator."""
        leaf = None if self._plan.is_shared(node) else self._leaf(node, grid)
        return None if leaf is None else self._slices(node, grid, leaf)

    def _leaf(self, node: Node, grid: Grid) -> Leaf | None:
        if self._slice is not None or self.selection.has_rollups:
            return None
        return find_leaf(node, grid, self._times, self._plan)

    def _slices(self, node: Node, grid: Grid, leaf: Leaf) -> Iterator[StepVector]:
        self._check(leaf.grid, 1)
        scalars: dict[tuple[Node, Grid], FloatArray] = {}
        for windows in window_slices(self._samples(leaf), self._ends_ms(leaf), self._range_ms(leaf.selector)):
            self._limits.check()
            part = copy.copy(self)
            part._slice = _Slice(leaf.selector, windows, self, scalars)
            yield part.vector(node, grid)

    # Other types

    def scalar(self, node: Node, grid: Grid) -> FloatArray:
        """A scalar at each step of a grid, float64[K]."""
        if self._slice is None:
            return self._scalar(node, grid)
        known = self._slice.scalars
        if (node, grid) not in known:
            known[node, grid] = self._slice.whole.scalar(node, grid)
        return known[node, grid]

    def _scalar(self, node: Node, grid: Grid) -> FloatArray:
        self._check(grid, 1)
        match node:
            case Number():
                return np.full(grid.count, node.value)
            case Call() if node.name in SCALAR_FUNCTIONS:
                return SCALAR_FUNCTIONS[node.name](self, node, grid)
            case Negation():
                return -self.scalar(node.expr, grid)
            case Binary():
                return evaluate_scalar_binary(self, node, grid)
            case _:
                raise ExecutionError(f"expected a scalar, got {type(node).__name__}")

    def text(self, node: Node) -> str:
        """A string."""
        if isinstance(node, Text):
            return node.value
        raise ExecutionError(f"expected a string, got {type(node).__name__}")

    def windows(self, node: Node, grid: Grid) -> list[Windows]:
        """A range vector at each step of a grid."""
        match node:
            case MatrixSelector():
                windows = self._leaf_windows(Leaf(node, grid))
                for part in windows:
                    rows = len(part.labels) if len(part.low) == 1 else 1
                    self.samples.add(grid, rows * part.counts.sum(axis=0))
                return windows
            case Subquery():
                looked_at = self._times.evaluated(grid, node.at, node.offset_ms)
                samples = self._subquery(node, grid)
                self._check(grid, sum(len(part.labels) for part in samples))
                return make_windows(samples, looked_at.times_ms, node.range_ms)
            case _:
                raise ExecutionError(f"expected a range vector, got {type(node).__name__}")

    def _subquery(self, node: Subquery, grid: Grid) -> list[Samples]:
        inner = self._times.subquery_grid(node, grid)
        if inner.count == 0:
            return []
        self._check(inner, 1)
        vector = self.vector(node.expr, inner)
        keep = None if vector.present.all() else vector.present
        return [Samples(vector.labels, vector.drop_name, inner.times_ms, vector.values, keep)]

    # Selectors

    def sample_times(self, node: VectorSelector, grid: Grid) -> StepVector:
        """The times in milliseconds of the samples a selector finds."""
        smoothed = node.anchoring is Anchoring.SMOOTHED
        return self._latest(node, grid, smoothed_times if smoothed else _latest_time)

    def _latest(
        self,
        node: VectorSelector,
        grid: Grid,
        of_latest: Callable[[Windows], tuple[FloatArray, BoolArray]],
    ) -> StepVector:
        """Something of the latest sample within the lookback; staleness markers are no samples but end a series."""
        vector = reduce_windows(self._leaf_windows(Leaf(node, grid)), grid.count, of_latest, keep_name=True)
        self.samples.add(grid, vector.present.sum(axis=0))
        return vector

    def _leaf_windows(self, leaf: Leaf) -> list[Windows]:
        if self._slice is not None and leaf.selector is self._slice.selector:
            return [self._slice.windows]
        samples = list(self._samples(leaf))
        self._check(leaf.grid, sum(len(part.labels) for part in samples))
        return make_windows(samples, self._ends_ms(leaf), self._range_ms(leaf.selector))

    def _samples(self, leaf: Leaf) -> Iterator[Samples]:
        # What is between two samples does not care for markers.
        of_range = isinstance(leaf.selector, MatrixSelector) or leaf.selector.anchoring is Anchoring.SMOOTHED
        return (_samples(frame, _not_stale(frame) if of_range else frame.present) for frame in self._frames(leaf))

    def _frames(self, leaf: Leaf) -> list[Frame]:
        selector = leaf.selector
        if isinstance(selector, VectorSelector):
            rollups = self.selection.rollups(selector, leaf.grid)
            if rollups is not None:
                return [rollup.frame(Column.LATEST) for rollup in rollups]
        looked_at, range_ms = self._looked_at(selector, leaf.grid), self._range_ms(selector)
        matchers = _of(selector).matchers
        return self.selection.frames(matchers, looked_at.start_ms - range_ms + 1, looked_at.end_ms)

    def _range_ms(self, selector: Selector) -> int:
        return self._times.reach(_of(selector), _range_ms(selector))[1]

    def _looked_at(self, selector: Selector, grid: Grid) -> Grid:
        offset_ms, _ = self._times.reach(_of(selector), _range_ms(selector))
        return self._times.evaluated(grid, _of(selector).at, offset_ms)

    def _ends_ms(self, leaf: Leaf) -> IntArray:
        return self._looked_at(leaf.selector, leaf.grid).times_ms

    def _reduced(self, node: Call, grid: Grid) -> StepVector:
        """A function of a range vector, from roll-ups."""
        (argument,) = node.args
        rollups = self.selection.rollups(node, grid)
        if not isinstance(argument, MatrixSelector) or rollups is None:
            raise ExecutionError(f"expected a range vector with roll-ups, got {type(argument).__name__}")
        self._check(grid, sum(len(part.labels) for part in rollups))
        result = reduce_rollups(node, rollups, self._looked_at(argument, grid), argument.range_ms)
        function = VECTOR_FUNCTIONS[node.name]
        if isinstance(function, RangeFunction) and function.counter:
            inform_of_names(result, self.annotations, node)
        return result

    def _check(self, grid: Grid, series: int) -> None:
        """Before anything of this size is made."""
        self._limits.check()
        self._limits.check_samples(series * grid.count)


def _of(selector: Selector) -> VectorSelector:
    return selector.selector if isinstance(selector, MatrixSelector) else selector


def _range_ms(selector: Selector) -> int | None:
    return selector.range_ms if isinstance(selector, MatrixSelector) else None


def _samples(frame: Frame, keep: BoolArray | None) -> Samples:
    drop_name = np.zeros(len(frame.labels), np.bool_)
    return Samples(frame.labels, drop_name, frame.times_ms, frame.values, keep)


def _not_stale(frame: Frame) -> BoolArray | None:
    """Which samples of a frame a range vector has, or None where all."""
    stale = is_stale(frame.values)
    if not stale.any():
        return frame.present
    return ~stale if frame.present is None else frame.present & ~stale


def _latest_value(windows: Windows) -> tuple[FloatArray, BoolArray]:
    values = windows.last(windows.values)
    return values, (windows.counts > 0) & ~is_stale(values)


def _latest_time(windows: Windows) -> tuple[FloatArray, BoolArray]:
    _, present = _latest_value(windows)
    return windows.last(windows.times_ms).astype(np.float64), present


def finished(vector: StepVector) -> StepVector:
    """The answer of a query: names dropped, labels unique, no series without samples."""
    return vector.compact().without_dropped_names()
