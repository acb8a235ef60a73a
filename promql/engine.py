"""The engine: from PromQL text and times to a result.

    parse -> fetch what the selectors need -> evaluate all steps at once -> result

Stateless but for its store and options, and thread-safe when the store is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from promql.annotations import Annotations
from promql.errors import ParseError
from promql.evaluate import Evaluation, Limits, finished
from promql.nodes import Node, ValueType, value_type
from promql.parse import parse
from promql.result import Matrix, RangeVector, Result, Scalar, String, Value, Vector
from promql.selection import Selection, Times
from promql.vector import Grid, StepVector, drop_metric_name
from promql.windows import Windows
from tsdb.store import Queryable


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Limits and defaults of queries; the defaults are Prometheus's.

    `default_step_ms` is the resolution of subqueries that name none: the global evaluation interval. `max_samples`
    is how many samples a query may fetch, and how many any node of its expression may yield.
    """

    lookback_ms: int = 300_000
    default_step_ms: int = 60_000
    max_samples: int = 50_000_000
    timeout_s: float = 120.0


_DEFAULT_OPTIONS = EngineOptions()


class Engine:
    """Evaluates PromQL over a store."""

    def __init__(self, store: Queryable, options: EngineOptions = _DEFAULT_OPTIONS) -> None:
        self._store = store
        self._options = options

    def instant(
        self,
        expr: str,
        at_ms: int,
        *,
        lookback_ms: int | None = None,
        timeout_s: float | None = None,
        is_canceled: Callable[[], bool] | None = None,
    ) -> Result:
        """Evaluate at one time.

        `is_canceled` is asked now and then, from the calling thread. Raises PromQLError.
        """
        node, annotations = parse(expr), Annotations(expr)
        limits = self._limits(timeout_s, is_canceled)
        with np.errstate(all="ignore"):
            times = Times(Grid(at_ms, 0, 1), at_ms, self._lookback(lookback_ms), self._options.default_step_ms)
            value = _instant(node, self._evaluation(node, times, limits, annotations))
        return Result(value, annotations.warnings, annotations.infos)

    def range(
        self,
        expr: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        lookback_ms: int | None = None,
        timeout_s: float | None = None,
        is_canceled: Callable[[], bool] | None = None,
    ) -> Result:
        """Evaluate at start, start + step, ... up to end; the value is a Matrix.

        `is_canceled` is asked now and then, from the calling thread. Raises PromQLError.
        """
        if step_ms <= 0:
            raise ParseError("zero or negative query resolution step widths are not accepted. Try a positive integer")
        if end_ms < start_ms:
            raise ParseError("end timestamp must not be before start time")
        node, annotations = parse(expr), Annotations(expr)
        if (type_ := value_type(node)) not in (ValueType.SCALAR, ValueType.VECTOR):
            raise ParseError(
                f'invalid expression type "{type_.value}" for range query, must be Scalar or instant Vector'
            )
        grid = Grid(start_ms, step_ms, (end_ms - start_ms) // step_ms + 1)
        limits = self._limits(timeout_s, is_canceled)
        with np.errstate(all="ignore"):
            times = Times(grid, end_ms, self._lookback(lookback_ms), self._options.default_step_ms)
            evaluation = self._evaluation(node, times, limits, annotations)
            if type_ is ValueType.SCALAR:
                vector = StepVector.unlabelled(evaluation.scalar(node, grid))
            else:
                vector = finished(evaluation.vector(node, grid))
        return Result(_matrix(vector, grid), annotations.warnings, annotations.infos)

    def _evaluation(self, node: Node, times: Times, limits: Limits, annotations: Annotations) -> Evaluation:
        selection = Selection(self._store, node, times)
        limits.check_samples(selection.samples)
        return Evaluation(selection, times, limits, annotations)

    def _limits(self, timeout_s: float | None, is_canceled: Callable[[], bool] | None) -> Limits:
        timeout_s = self._options.timeout_s if timeout_s is None else min(timeout_s, self._options.timeout_s)
        return Limits(timeout_s, self._options.max_samples, is_canceled)

    def _lookback(self, lookback_ms: int | None) -> int:
        return self._options.lookback_ms if lookback_ms is None else lookback_ms


def _instant(node: Node, evaluation: Evaluation) -> Value:
    grid = evaluation.query
    match value_type(node):
        case ValueType.SCALAR:
            return Scalar(grid.start_ms, float(evaluation.scalar(node, grid)[0]))
        case ValueType.STRING:
            return String(grid.start_ms, evaluation.text(node))
        case ValueType.MATRIX:
            return _range_vector(evaluation.windows(node, grid))
        case ValueType.VECTOR:
            vector = finished(evaluation.vector(node, grid))
            return Vector(grid.start_ms, vector.labels, vector.values[:, 0].copy())


def _matrix(vector: StepVector, grid: Grid) -> Matrix:
    order = sorted(range(len(vector.labels)), key=vector.labels.__getitem__)
    if order != list(range(len(order))):
        vector = vector.rows(np.array(order, dtype=np.int64))
    return Matrix(grid.times_ms, vector.labels, vector.values, vector.present)


def _range_vector(parts: list[Windows]) -> RangeVector:
    """The samples in the only window of each series."""
    series = []
    for part in parts:
        for row, labels in enumerate(part.labels):
            own = row if len(part.low) > 1 else 0
            window = slice(int(part.low[own, 0]), int(part.high[own, 0]))
            if window.stop > window.start:
                dropped = drop_metric_name(labels) if part.drop_name[row] else labels
                series.append((dropped, part.times_ms[own, window].copy(), part.values[row, window].copy()))
    series.sort(key=lambda item: item[0])
    return RangeVector(
        [labels for labels, _, _ in series], [times for _, times, _ in series], [v for _, _, v in series]
    )
