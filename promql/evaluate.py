"""Walks the expression tree: every node is evaluated at all steps at once.

Expressions pinned to one time with `@` are evaluated at one step and repeated. Between nodes, the evaluation looks
whether its time is up, its caller gone, or its result too large.
"""

import time
from collections.abc import Callable

import numpy as np

from promql.aggregations import aggregate
from promql.annotations import Annotations
from promql.binary import evaluate_binary, evaluate_scalar_binary
from promql.errors import ExecutionError, QueryCanceledError, QueryTimeoutError, TooManySamplesError
from promql.functions.calls import SCALAR_FUNCTIONS, VECTOR_FUNCTIONS, RangeFunction, inform_of_names
from promql.nodes import (
    Aggregation,
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
from promql.rollups import reduce_rollups
from promql.selection import Selection, Times
from promql.vector import Grid, StepVector, merge_same_labels
from promql.windows import Samples, Windows, make_windows, reduce_windows
from tsdb.model import BoolArray, FloatArray, Frame, is_stale
from tsdb.rollups import Column, RollupFrame


class Limits:
    """When a query has to stop: a deadline, a caller's wish, a number of samples."""

    def __init__(self, timeout_s: float, max_samples: int, is_canceled: Callable[[], bool] | None) -> None:
        self._deadline_s = time.monotonic() + timeout_s
        self._max_samples = max_samples
        self._is_canceled = is_canceled

    def check(self) -> None:
        """Raises QueryTimeoutError or QueryCanceledError."""
        if self._is_canceled is not None and self._is_canceled():
            raise QueryCanceledError
        if time.monotonic() > self._deadline_s:
            raise QueryTimeoutError

    def check_samples(self, samples: int) -> None:
        """Raises TooManySamplesError."""
        if samples > self._max_samples:
            raise TooManySamplesError


class Evaluation:
    """One query over fetched samples; an Evaluator."""

    def __init__(self, selection: Selection, times: Times, limits: Limits, annotations: Annotations) -> None:
        self.annotations = annotations
        self.query = times.query
        self.query_end_ms = times.query_end_ms
        self._selection = selection
        self._times = times
        self._limits = limits

    def vector(self, node: Node, grid: Grid) -> StepVector:
        """An instant vector at each step of a grid."""
        if grid.count > 1 and is_step_invariant(node):
            return self.vector(node, grid.first_step()).broadcast(grid.count)
        self._check(grid, 1)
        vector = self._vector(node, grid)
        self._limits.check_samples(vector.values.size)
        return vector

    def _vector(self, node: Node, grid: Grid) -> StepVector:
        match node:
            case VectorSelector():
                return self._latest(node, grid, _latest_value)
            case Call() if (rollups := self._selection.rollups(node)) is not None:
                return self._reduced(node, rollups, grid)
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

    def scalar(self, node: Node, grid: Grid) -> FloatArray:
        """A scalar at each step of a grid, float64[K]."""
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
                looked_at = self._times.evaluated(grid, node.selector.at, node.selector.offset_ms)
                frames = self._frames(node.selector, node.range_ms, looked_at)
                samples = [_samples(frame, _not_stale(frame)) for frame in frames]
            case Subquery():
                looked_at = self._times.evaluated(grid, node.at, node.offset_ms)
                samples = self._subquery(node, grid)
            case _:
                raise ExecutionError(f"expected a range vector, got {type(node).__name__}")
        self._check(grid, sum(len(part.labels) for part in samples))
        return make_windows(samples, looked_at.times_ms, node.range_ms)

    def _reduced(self, node: Call, rollups: list[RollupFrame], grid: Grid) -> StepVector:
        """A function of a range vector, from roll-ups."""
        (argument,) = node.args
        if not isinstance(argument, MatrixSelector):
            raise ExecutionError(f"expected a range vector, got {type(argument).__name__}")
        looked_at = self._times.evaluated(grid, argument.selector.at, argument.selector.offset_ms)
        self._check(grid, sum(len(part.labels) for part in rollups))
        result = reduce_rollups(node, rollups, looked_at, argument.range_ms)
        function = VECTOR_FUNCTIONS[node.name]
        if isinstance(function, RangeFunction) and function.counter:
            inform_of_names(result, self.annotations, node)
        return result

    def _subquery(self, node: Subquery, grid: Grid) -> list[Samples]:
        inner = self._times.subquery_grid(node, grid)
        if inner.count == 0:
            return []
        self._check(inner, 1)
        vector = self.vector(node.expr, inner)
        keep = None if vector.present.all() else vector.present
        return [Samples(vector.labels, vector.drop_name, inner.times_ms, vector.values, keep)]

    def sample_times(self, node: VectorSelector, grid: Grid) -> StepVector:
        """The times in milliseconds of the samples a selector finds."""
        return self._latest(node, grid, _latest_time)

    def _latest(
        self,
        node: VectorSelector,
        grid: Grid,
        of_latest: Callable[[Windows], tuple[FloatArray, BoolArray]],
    ) -> StepVector:
        """Something of the latest sample within the lookback; staleness markers are no samples but end a series."""
        looked_at = self._times.evaluated(grid, node.at, node.offset_ms)
        rollups = self._selection.rollups(node)
        if rollups is not None:
            frames = [rollup.frame(Column.LATEST) for rollup in rollups]
        else:
            frames = self._frames(node, self._times.lookback_ms, looked_at)
        self._check(grid, sum(len(frame.labels) for frame in frames))
        samples = [_samples(frame, frame.present) for frame in frames]
        windows = make_windows(samples, looked_at.times_ms, self._times.lookback_ms)
        return reduce_windows(windows, grid.count, of_latest, keep_name=True)

    def _check(self, grid: Grid, series: int) -> None:
        """Before anything of this size is made."""
        self._limits.check()
        self._limits.check_samples(series * grid.count)

    def _frames(self, selector: VectorSelector, range_ms: int, looked_at: Grid) -> list[Frame]:
        return self._selection.frames(selector.matchers, looked_at.start_ms - range_ms + 1, looked_at.end_ms)


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
    return merge_same_labels(vector.compact().without_dropped_names())
