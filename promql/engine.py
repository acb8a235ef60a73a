"""The engine: from PromQL text and times to a result.

    parse -> fetch what the selectors need -> evaluate all steps at once -> result

Stateless but for its store and options, and thread-safe when the store is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from promql.annotations import Annotations
from promql.blocks import in_order, step_blocks
from promql.budget import estimate_bytes
from promql.errors import ParseError
from promql.evaluate import Evaluation, finished
from promql.explain import PlanLine, plan_lines
from promql.functions.anchored import edged_series
from promql.limits import Limits
from promql.lower import QueryTimes
from promql.memory import Claim
from promql.nodes import MatrixSelector, Node, ValueType, value_type
from promql.parse import parse
from promql.plan import Plan, make_plan
from promql.result import Matrix, RangeVector, Result, Scalar, String, Value, Vector
from promql.selection import Selection, Times
from promql.stats import QueryStats, Trace
from promql.syntax.literals import as_utf8
from promql.vector import Grid, StepVector, drop_metric_name
from promql.windows import Windows
from tsdb.cancellation import Cancellation
from tsdb.model import FloatArray, IntArray
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


@dataclass(frozen=True, slots=True)
class Explanation:
    """The plan of a query that was evaluated, and what it took."""

    lines: list[PlanLine]
    stats: QueryStats


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
        cancellation: Cancellation | None = None,
        memory: Claim | None = None,
    ) -> Result:
        """Evaluate at one time. Raises PromQLError, also within moments of `cancellation` being cancelled."""
        plan = make_plan(parse(expr))
        times = self._times(Grid(at_ms, 0, 1), at_ms, lookback_ms)
        limits = self._limits(timeout_s, cancellation, memory)
        return self._run(expr, plan, times, limits, lambda evaluation: _instant(plan.root, evaluation))

    def range(
        self,
        expr: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        lookback_ms: int | None = None,
        timeout_s: float | None = None,
        cancellation: Cancellation | None = None,
        memory: Claim | None = None,
    ) -> Result:
        """Evaluate at start, start + step, ... up to end; the value is a Matrix. Raises as `instant` does."""
        if step_ms <= 0:
            raise ParseError("zero or negative query resolution step widths are not accepted. Try a positive integer")
        if end_ms < start_ms:
            raise ParseError("end timestamp must not be before start time")
        node = parse(expr, QueryTimes(step_ms, end_ms - start_ms))
        if (type_ := value_type(node)) not in (ValueType.SCALAR, ValueType.VECTOR):
            raise ParseError(
                f'invalid expression type "{type_.value}" for range query, must be Scalar or instant Vector'
            )
        grid = Grid(start_ms, step_ms, (end_ms - start_ms) // step_ms + 1)
        plan = make_plan(node)
        times = self._times(grid, end_ms, lookback_ms)
        limits = self._limits(timeout_s, cancellation, memory)

        def evaluate(evaluation: Evaluation) -> list[StepVector]:
            blocks = step_blocks(plan, evaluation.selection, times)
            return [_stepped(plan.root, evaluation.again(), block) for block in blocks]

        return self._run(expr, plan, times, limits, evaluate)

    def explain(
        self,
        expr: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        cancellation: Cancellation | None = None,
        memory: Claim | None = None,
    ) -> Explanation:
        """Evaluate a range query, or with a step of 0 at one time, and say what was done. Raises as `instant` does."""
        trace = Trace()
        count = (end_ms - start_ms) // step_ms + 1 if step_ms > 0 else 1
        grid = Grid(start_ms, max(0, step_ms), count)
        plan = make_plan(parse(expr, QueryTimes(grid.step_ms, end_ms - start_ms)))
        limits = self._limits(None, cancellation, memory)
        explained: list[PlanLine] = []

        def evaluate(evaluation: Evaluation) -> Value | list[StepVector]:
            if step_ms > 0:
                value: Value | list[StepVector] = [_stepped(plan.root, evaluation, grid)]
            else:
                value = _instant(plan.root, evaluation)
            explained.extend(plan_lines(plan, evaluation.selection, trace))
            return value

        result = self._run(expr, plan, self._times(grid, end_ms, None), limits, evaluate, trace)
        return Explanation(explained, result.stats)

    def _run(
        self,
        expr: str,
        plan: Plan,
        times: Times,
        limits: Limits,
        evaluate: Callable[[Evaluation], Value | list[StepVector]],
        trace: Trace | None = None,
    ) -> Result:
        annotations, stats = Annotations(expr), QueryStats()
        with limits.in_force(), np.errstate(all="ignore"):
            with stats.taking("prepare_s"):
                selection = Selection(self._store, plan.root, times)
                limits.check_samples(selection.samples)
                limits.take(lambda: estimate_bytes(plan, selection, times))
            evaluation = Evaluation(plan, selection, times, limits, annotations, trace)
            with stats.taking("evaluate_s"):
                value = evaluate(evaluation)
            with stats.taking("sort_s"):
                if isinstance(value, list):
                    value = _matrix(value, times.query)
        stats.samples, stats.peak_samples = evaluation.samples, limits.peak_samples
        stats.rollups = selection.has_rollups
        return Result(value, annotations.warnings, annotations.infos, stats)

    def _times(self, grid: Grid, end_ms: int, lookback_ms: int | None) -> Times:
        lookback_ms = self._options.lookback_ms if lookback_ms is None else lookback_ms
        return Times(grid, end_ms, lookback_ms, self._options.default_step_ms)

    def _limits(self, timeout_s: float | None, cancellation: Cancellation | None, memory: Claim | None) -> Limits:
        timeout_s = self._options.timeout_s if timeout_s is None else min(timeout_s, self._options.timeout_s)
        return Limits(timeout_s, self._options.max_samples, cancellation or Cancellation(), memory)


def _stepped(node: Node, evaluation: Evaluation, steps: Grid) -> StepVector:
    if value_type(node) is ValueType.SCALAR:
        return StepVector.unlabelled(evaluation.scalar(node, steps))
    return finished(evaluation.vector(node, steps))


def _instant(node: Node, evaluation: Evaluation) -> Value:
    grid = evaluation.query
    match value_type(node):
        case ValueType.SCALAR:
            return Scalar(grid.start_ms, float(evaluation.scalar(node, grid)[0]))
        case ValueType.STRING:
            return String(grid.start_ms, as_utf8(evaluation.text(node)))
        case ValueType.MATRIX:
            return _range_vector(node, evaluation.windows(node, grid))
        case ValueType.VECTOR:
            vector = finished(evaluation.vector(node, grid))
            return Vector(grid.start_ms, vector.labels, vector.values[:, 0].copy())


def _matrix(blocks: list[StepVector], grid: Grid) -> Matrix:
    vector = in_order(blocks)
    return Matrix(grid.times_ms, vector.labels, vector.values, vector.present)


def _range_vector(node: Node, parts: list[Windows]) -> RangeVector:
    """The samples in the only window of each series."""
    series = []
    for part in parts:
        for row, times_ms, values in _samples(node, part):
            labels = part.labels[row]
            series.append((drop_metric_name(labels) if part.drop_name[row] else labels, times_ms, values))
    series.sort(key=lambda item: item[0])
    return RangeVector(
        [labels for labels, _, _ in series], [times for _, times, _ in series], [v for _, _, v in series]
    )


def _samples(node: Node, windows: Windows) -> Iterator[tuple[int, IntArray, FloatArray]]:
    """Row, times and values of the series that have any."""
    if isinstance(node, MatrixSelector) and node.selector.anchoring is not None:
        yield from edged_series(windows, node)
        return
    for row in range(len(windows.labels)):
        own = row if len(windows.low) > 1 else 0
        times_ms = windows.times_ms[row if len(windows.times_ms) > 1 else 0]
        window = slice(int(windows.low[own, 0]), int(windows.high[own, 0]))
        if window.stop > window.start:
            yield row, times_ms[window].copy(), windows.values[row, window].copy()
