"""The table of functions: from a call to its evaluation.

What the parser knows and this table does not have are the functions of native histograms.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.labels import EMPTY_LABELS, METRIC_NAME, Labels
from common.matchers import Matcher, MatchType
from promql.annotations import Annotations
from promql.evaluator import Evaluator
from promql.functions import anchored, over_time, rates, trends
from promql.functions import labels as label_functions
from promql.functions.elementwise import DATES, MATHEMATICS, round_to
from promql.functions.histograms import (
    bucket_fractions,
    bucket_quantiles,
    evaluate_histograms,
    find_histograms,
)
from promql.functions.info import info
from promql.nodes import Call, MatrixSelector, Node, VectorSelector
from promql.numbers import format_openmetrics
from promql.syntax.literals import as_utf8
from promql.vector import Grid, StepVector, concatenate
from promql.windows import Reducer, reduce_windows
from tsdb.model import BoolArray, FloatArray, IntArray

VectorFunction = Callable[[Evaluator, Call, Grid], StepVector]
ScalarFunction = Callable[[Evaluator, Call, Grid], FloatArray]

_COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")


@dataclass(frozen=True, slots=True)
class RangeFunction:
    """A function of one range vector and nothing else."""

    reducer: Reducer
    keep_name: bool = False
    counter: bool = False
    """Whether series not named like counters are worth an info."""

    def __call__(self, evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
        """Evaluate a call."""
        argument, reducer = call.args[0], self.reducer
        windows = evaluator.windows(argument, grid)
        if isinstance(argument, MatrixSelector) and argument.selector.anchoring is not None:
            reducer = anchored.reducer(call.name, argument)
        result = reduce_windows(windows, grid.count, reducer, self.keep_name)
        if self.counter:
            inform_of_names(result, evaluator.annotations, call)
        return result


def inform_of_names(result: StepVector, annotations: Annotations, call: Call) -> None:
    """Say which series of the result of a function of counters are not named like counters."""
    for name in sorted({labels.metric_name for labels in result.labels}):
        if name and not name.endswith(_COUNTER_SUFFIXES):
            annotations.possible_non_counter(name, call.args[0].position)


def _elementwise(function: Callable[[FloatArray], FloatArray]) -> VectorFunction:
    def evaluate(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
        vector = evaluator.vector(call.args[0], grid)
        return vector.with_values(function(vector.values))

    return evaluate


def _date(function: Callable[[FloatArray], FloatArray]) -> VectorFunction:
    def evaluate(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
        if not call.args:
            return StepVector.unlabelled(function((grid.times_ms // 1000).astype(np.float64)))
        return _elementwise(function)(evaluator, call, grid)

    return evaluate


def _quantile_over_time(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    quantiles = evaluator.scalar(call.args[0], grid)
    windows = evaluator.windows(call.args[1], grid)
    result = reduce_windows(windows, grid.count, over_time.quantile_over_time(quantiles))
    if result.labels:
        _warn_of_quantiles(evaluator, quantiles[result.present.any(axis=0)], call.args[0])
    return result


def _warn_of_quantiles(evaluator: Evaluator, quantiles: FloatArray, node: Node) -> None:
    bad = quantiles[~((quantiles >= 0) & (quantiles <= 1))]
    for quantile in dict.fromkeys(bad.tolist()):
        evaluator.annotations.invalid_quantile(quantile, node.position)


def _predict_linear(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    ahead = evaluator.scalar(call.args[1], grid)
    windows = evaluator.windows(call.args[0], grid)
    return reduce_windows(windows, grid.count, trends.predict_linear(ahead, grid.times_ms))


def _double_exponential_smoothing(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    smoothing, trend = (evaluator.scalar(arg, grid) for arg in call.args[1:3])
    windows = evaluator.windows(call.args[0], grid)
    if not windows:
        return StepVector.empty(grid.count)
    return reduce_windows(windows, grid.count, trends.double_exponential_smoothing(smoothing, trend))


def _absent(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    vector = evaluator.vector(call.args[0], grid)
    return _where_absent(call.args[0], vector.present)


def _absent_over_time(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    windows = evaluator.windows(call.args[0], grid)
    result = reduce_windows(windows, grid.count, over_time.present_over_time)
    return _where_absent(call.args[0], result.present)


def _where_absent(selector: Node, present: BoolArray) -> StepVector:
    """1 with the labels that the selector pins, at the steps where no series is present, bool[S, K]."""
    absent: BoolArray = np.logical_not(present.any(axis=0, keepdims=True))
    labels = EMPTY_LABELS
    if isinstance(selector, MatrixSelector):
        selector = selector.selector
    if isinstance(selector, VectorSelector):
        labels = _pinned_labels(selector.matchers)
    return StepVector.of([labels], np.ones(absent.shape), absent).compact()


def _pinned_labels(matchers: tuple[Matcher, ...]) -> Labels:
    """The first equality pins a label; every matcher of the label after it, and no one before, takes that back."""
    pinned: dict[str, str] = {}
    equal: set[str] = set()
    for matcher in matchers:
        if matcher.type is MatchType.EQUAL and matcher.name not in equal:
            pinned[matcher.name] = as_utf8(matcher.value)
            equal.add(matcher.name)
        else:
            pinned.pop(matcher.name, None)
    pinned.pop(METRIC_NAME, None)
    return Labels.of(pinned)


def _clamp(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    vector = evaluator.vector(call.args[0], grid)
    bounds = [evaluator.scalar(arg, grid) for arg in call.args[1:]]
    everywhere = np.full(grid.count, np.inf)
    low = bounds[0] if call.name != "clamp_max" else -everywhere
    high = bounds[-1] if call.name != "clamp_min" else everywhere
    values = _max(low, _min(high, vector.values))
    return vector.with_values(values, vector.present & ~(high < low)).compact()


def _max(a: FloatArray, b: FloatArray) -> FloatArray:
    """Go's math.Max: NaN, unless the other one is infinite."""
    return np.where((a == np.inf) | (b == np.inf), np.inf, np.maximum(a, b))


def _min(a: FloatArray, b: FloatArray) -> FloatArray:
    """Go's math.Min: NaN, unless the other one is infinite."""
    return np.where((a == -np.inf) | (b == -np.inf), -np.inf, np.minimum(a, b))


def _round(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    vector = evaluator.vector(call.args[0], grid)
    nearest = evaluator.scalar(call.args[1], grid) if len(call.args) > 1 else 1.0
    return vector.with_values(round_to(vector.values, nearest))


def _timestamp(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    if isinstance(call.args[0], VectorSelector):
        vector = evaluator.sample_times(call.args[0], grid)
        return vector.with_values(vector.values / 1000)
    vector = evaluator.vector(call.args[0], grid)
    return vector.with_values(np.broadcast_to(grid.times_ms / 1000, vector.values.shape))


def _vector(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    return StepVector.unlabelled(evaluator.scalar(call.args[0], grid))


def _label_replace(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    target, template, source, pattern = map(evaluator.text, call.args[1:])
    vector = evaluator.vector(call.args[0], grid)
    return label_functions.label_replace(vector, target, template, source, pattern)


def _label_join(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    target, separator, *sources = map(evaluator.text, call.args[1:])
    return label_functions.label_join(evaluator.vector(call.args[0], grid), target, separator, sources)


def _sort(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    vector = evaluator.vector(call.args[0], grid)
    if not _is_ordered(evaluator, grid):
        return vector
    return label_functions.sort_by_value(vector, descending=call.name == "sort_desc")


def _sort_by_label(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    names = [evaluator.text(arg) for arg in call.args[1:]]
    vector = evaluator.vector(call.args[0], grid)
    if not _is_ordered(evaluator, grid):
        return vector
    return label_functions.sort_by_labels(vector, names, descending=call.name == "sort_by_label_desc")


def _is_ordered(evaluator: Evaluator, grid: Grid) -> bool:
    """Order means something in instant queries only; range queries sort by labels in the end."""
    return evaluator.query.count == 1 and grid.count == 1


def _histogram_quantile(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    quantiles = evaluator.scalar(call.args[0], grid)
    _warn_of_quantiles(evaluator, quantiles, call.args[0])
    return _quantiles_of_histograms(evaluator, call.args[1], grid, [quantiles], [None])


def _histogram_quantiles(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    name = evaluator.text(call.args[1])
    quantiles = [evaluator.scalar(arg, grid) for arg in call.args[2:]]
    for node, wanted in zip(call.args[2:], quantiles, strict=True):
        _warn_of_quantiles(evaluator, wanted, node)
    tags = [(name, format_openmetrics(float(wanted[0]))) if len(wanted) else None for wanted in quantiles]
    return _quantiles_of_histograms(evaluator, call.args[0], grid, quantiles, tags)


def _quantiles_of_histograms(
    evaluator: Evaluator,
    node: Node,
    grid: Grid,
    quantiles: list[FloatArray],
    tags: list[tuple[str, str] | None],
) -> StepVector:
    vector = evaluator.vector(node, grid)
    histograms = find_histograms(vector, evaluator.annotations, node.position)
    results = []
    for wanted, tag in zip(quantiles, tags, strict=True):

        def function(
            bounds: FloatArray, counts: FloatArray, histogram: IntArray, step: IntArray, wanted: FloatArray = wanted
        ) -> FloatArray:
            values, forced = bucket_quantiles(wanted[step], bounds, counts)
            for index in np.unique(histogram[forced]).tolist():
                name = histograms.labels[index].metric_name
                evaluator.annotations.forced_monotonicity(name, node.position)
            return values

        result = evaluate_histograms(vector, histograms, function)
        if tag is not None:
            tagged = [Labels.of({**dict(series), tag[0]: tag[1]}) for series in result.labels]
            result = StepVector(tagged, result.values, result.present, result.drop_name)
        results.append(result)
    return concatenate(results, grid.count)


def _histogram_fraction(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    lower, upper = (evaluator.scalar(arg, grid) for arg in call.args[:2])
    vector = evaluator.vector(call.args[2], grid)
    histograms = find_histograms(vector, evaluator.annotations, call.args[2].position)
    return evaluate_histograms(
        vector,
        histograms,
        lambda bounds, counts, _, step: bucket_fractions(lower[step], upper[step], bounds, counts),
    )


VECTOR_FUNCTIONS: dict[str, VectorFunction] = {
    "absent": _absent,
    "absent_over_time": _absent_over_time,
    "avg_over_time": RangeFunction(over_time.avg_over_time),
    "changes": RangeFunction(over_time.changes),
    "clamp": _clamp,
    "clamp_max": _clamp,
    "clamp_min": _clamp,
    "count_over_time": RangeFunction(over_time.count_over_time),
    "delta": RangeFunction(rates.extrapolated(counter=False, per_second=False)),
    "deriv": RangeFunction(trends.deriv),
    "double_exponential_smoothing": _double_exponential_smoothing,
    "first_over_time": RangeFunction(over_time.first_over_time, keep_name=True),
    "histogram_fraction": _histogram_fraction,
    "histogram_quantile": _histogram_quantile,
    "histogram_quantiles": _histogram_quantiles,
    "idelta": RangeFunction(rates.instant_change(counter=False, per_second=False)),
    "increase": RangeFunction(rates.extrapolated(counter=True, per_second=False), counter=True),
    "info": info,
    "irate": RangeFunction(rates.instant_change(counter=True, per_second=True)),
    "label_join": _label_join,
    "label_replace": _label_replace,
    "last_over_time": RangeFunction(over_time.last_over_time, keep_name=True),
    "mad_over_time": RangeFunction(over_time.mad_over_time),
    "max_over_time": RangeFunction(over_time.max_over_time),
    "min_over_time": RangeFunction(over_time.min_over_time),
    "predict_linear": _predict_linear,
    "present_over_time": RangeFunction(over_time.present_over_time),
    "quantile_over_time": _quantile_over_time,
    "rate": RangeFunction(rates.extrapolated(counter=True, per_second=True), counter=True),
    "resets": RangeFunction(over_time.resets),
    "round": _round,
    "sort": _sort,
    "sort_by_label": _sort_by_label,
    "sort_by_label_desc": _sort_by_label,
    "sort_desc": _sort,
    "stddev_over_time": RangeFunction(over_time.stddev_over_time),
    "stdvar_over_time": RangeFunction(over_time.stdvar_over_time),
    "sum_over_time": RangeFunction(over_time.sum_over_time),
    "timestamp": _timestamp,
    "ts_of_first_over_time": RangeFunction(over_time.ts_of_first_over_time),
    "ts_of_last_over_time": RangeFunction(over_time.ts_of_last_over_time),
    "ts_of_max_over_time": RangeFunction(over_time.ts_of_max_over_time),
    "ts_of_min_over_time": RangeFunction(over_time.ts_of_min_over_time),
    "vector": _vector,
    **{name: _elementwise(function) for name, function in MATHEMATICS.items()},
    **{name: _date(function) for name, function in DATES.items()},
}


def _constant(of: Callable[[Evaluator, Grid], float]) -> ScalarFunction:
    return lambda evaluator, _, grid: np.full(grid.count, of(evaluator, grid))


def _scalar(evaluator: Evaluator, call: Call, grid: Grid) -> FloatArray:
    """The only sample of a step, NaN where there is none or more than one."""
    vector = evaluator.vector(call.args[0], grid)
    if not vector.labels:
        return np.full(grid.count, np.nan)
    row = vector.present.argmax(axis=0)
    only = vector.present.sum(axis=0) == 1
    return np.where(only, vector.values[row, np.arange(grid.count)], np.nan)


def _least_or_greatest(evaluator: Evaluator, call: Call, grid: Grid) -> FloatArray:
    sides = [evaluator.scalar(arg, grid) for arg in call.args]
    return np.minimum(*sides) if call.name == "min_of" else np.maximum(*sides)


SCALAR_FUNCTIONS: dict[str, ScalarFunction] = {
    "end": _constant(lambda evaluator, _: evaluator.query_end_ms / 1000),
    "max_of": _least_or_greatest,
    "min_of": _least_or_greatest,
    "pi": _constant(lambda _, __: np.pi),
    "range": _constant(lambda evaluator, _: (evaluator.query_end_ms - evaluator.query.start_ms) / 1000),
    "scalar": _scalar,
    "start": _constant(lambda evaluator, _: evaluator.query.start_ms / 1000),
    "step": _constant(lambda evaluator, _: evaluator.query.step_ms / 1000),
    "time": lambda _, __, grid: grid.times_ms / 1000,
}
