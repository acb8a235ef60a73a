"""Aggregations: every group reduced over all its series and steps at once, or slice by slice where that can be."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from common.labels import Labels
from promql import limits
from promql.accumulate import accumulate, can_accumulate
from promql.errors import ExecutionError
from promql.evaluator import Evaluator
from promql.grouping import Groups, make_groups
from promql.nodes import Aggregation, Node
from promql.numbers import format_fixed, format_general
from promql.quantiles import quantile_sorted
from promql.ranking import select_first, select_greatest, select_ratio
from promql.summation import group_sums
from promql.syntax.literals import is_utf8, quote
from promql.vector import Grid, StepVector
from tsdb.model import BoolArray, FloatArray, IntArray

_INT64_LIMIT = 2.0**63
# Samples that count_values looks at without a look whether the query has to stop.
_COUNTED_AT_ONCE = 1 << 14


def _sum(groups: Groups) -> FloatArray:
    return group_sums(groups.values(0.0), groups.starts)


def _avg(groups: Groups) -> FloatArray:
    """Sum by count; where the sum overflows, the sum of the parts each sample has in the mean."""
    counts = groups.counts()
    means = _sum(groups) / counts
    if np.isinf(means).any():
        parts = groups.values(0.0) / np.repeat(counts, groups.sizes(), axis=0)
        means = np.where(np.isinf(means), group_sums(parts, groups.starts), means)
    return means


def _stdvar(groups: Groups) -> FloatArray:
    means = np.repeat(_avg(groups), groups.sizes(), axis=0)
    squares = np.where(groups.series.present, (groups.series.values - means) ** 2, 0.0)
    return group_sums(squares, groups.starts) / groups.counts()


_REDUCTIONS: dict[str, Callable[[Groups], FloatArray]] = {
    "avg": _avg,
    "count": lambda groups: groups.counts(),
    "group": lambda groups: np.ones((len(groups.labels), groups.series.values.shape[1])),
    "max": lambda groups: np.fmax.reduceat(groups.values(np.nan), groups.starts, axis=0),
    "min": lambda groups: np.fmin.reduceat(groups.values(np.nan), groups.starts, axis=0),
    "stddev": lambda groups: np.sqrt(_stdvar(groups)),
    "stdvar": _stdvar,
    "sum": _sum,
}


def aggregate(evaluator: Evaluator, node: Aggregation, grid: Grid) -> StepVector:
    """Evaluate an aggregation. Raises ExecutionError for parameters that make no sense."""
    if node.op in _SELECTIONS:
        return _select(evaluator, node, grid)
    if node.op == "count_values":
        return _count_values(evaluator, node, grid)
    quantiles = None
    if node.op == "quantile":
        quantiles = evaluator.scalar(_param(node), grid)
    if can_accumulate(node.op) and (slices := evaluator.slices(node.expr, grid)) is not None:
        accumulated = accumulate(node, slices, grid.count)
        if accumulated is not None:
            return accumulated
    vector = evaluator.vector(node.expr, grid)
    # The annotation of an outer quantile comes after that of an inner one.
    for quantile in [] if quantiles is None else _outside(quantiles, 0.0, 1.0):
        evaluator.annotations.invalid_quantile(quantile, _param(node).position)
    if not vector.labels:
        return StepVector.empty(grid.count)
    groups = make_groups(vector, node.labels, without=node.without)
    present = groups.counts() > 0
    values = _REDUCTIONS[node.op](groups) if quantiles is None else _quantile(groups, quantiles)
    return StepVector(groups.labels, values, present, groups.drop_name)


def _param(node: Aggregation) -> Node:
    if node.param is None:
        raise ExecutionError(f"{node.op} needs a parameter")
    return node.param


def _quantile(groups: Groups, quantiles: FloatArray) -> FloatArray:
    values, present = groups.values(np.nan), groups.series.present
    results = [
        quantile_sorted(np.sort(values[run].T, axis=-1), present[run].sum(axis=0), quantiles) for run in groups.runs()
    ]
    return np.stack(results)


def _outside(numbers: FloatArray, low: float, high: float) -> list[float]:
    """The worst of what is outside of the bounds, NaN included."""
    known = numbers[~np.isnan(numbers)]
    worst = [known.max()] if (known > high).any() else []
    worst += [known.min()] if (known < low).any() else []
    return [float(number) for number in worst] + ([math.nan] if len(known) < len(numbers) else [])


def _count_values(evaluator: Evaluator, node: Aggregation, grid: Grid) -> StepVector:
    name = evaluator.text(_param(node))
    if not name or not is_utf8(name):
        raise ExecutionError(f"invalid label name {quote(name)}")
    vector = evaluator.vector(node.expr, grid)
    if not vector.labels:
        return StepVector.empty(grid.count)
    # The label that tells the value takes the place of one that was there before.
    names = (*node.labels, name) if node.without else tuple(label for label in node.labels if label != name)
    groups = make_groups(vector, names, without=node.without)
    labels: list[Labels] = []
    counts: list[FloatArray] = []
    for group, run in zip(groups.labels, groups.runs(), strict=True):
        texts, counted = _counted(groups.series.values[run], groups.series.present[run])
        counts.append(counted)
        labels += [Labels.of({**dict(group), name: text}) for text in texts]
    values = np.concatenate(counts)
    return StepVector.of(labels, values, values > 0)


def _counted(values: FloatArray, present: BoolArray) -> tuple[list[str], FloatArray]:
    """The texts of all values, and how often each occurs at each step, float64[texts, K]."""
    steps = present.shape[1]
    rows: dict[str, int] = {}
    found: list[tuple[IntArray, IntArray]] = []
    size = max(1, _COUNTED_AT_ONCE // max(1, len(values)))
    for start in range(0, steps, size):
        limits.check()
        row, step = np.nonzero(present[:, start : start + size])
        # By bits, since 0 and -0 are different texts.
        bits = values[row, start + step].view(np.int64)
        distinct, which = np.unique(bits, return_inverse=True)
        texts = map(format_fixed, distinct.view(np.float64).tolist())
        own = np.array([rows.setdefault(text, len(rows)) for text in texts], dtype=np.int64)
        limits.check_samples(len(rows) * steps)
        found.append((own[which], start + step))
    counted = np.zeros((len(rows), steps))
    for row, step in found:
        np.add.at(counted, (row, step), 1)
    return list(rows), counted


def _limits(evaluator: Evaluator, node: Aggregation, grid: Grid) -> IntArray:
    limits = evaluator.scalar(_param(node), grid)
    if np.isnan(limits).any():
        raise ExecutionError("Parameter value is NaN")
    large = limits[np.abs(limits) >= _INT64_LIMIT]
    if len(large):
        raise ExecutionError(f"Scalar value {format_general(float(large[0]))} overflows int64")
    return np.maximum(limits.astype(np.int64), 0)


def _ratios(evaluator: Evaluator, node: Aggregation, grid: Grid) -> FloatArray:
    ratios = evaluator.scalar(_param(node), grid)
    if np.isnan(ratios).any():
        raise ExecutionError("Ratio value is NaN")
    for ratio in _outside(ratios, -1.0, 1.0):
        evaluator.annotations.invalid_ratio(ratio, math.copysign(1.0, ratio), _param(node).position)
    return np.clip(ratios, -1.0, 1.0)


def _select(evaluator: Evaluator, node: Aggregation, grid: Grid) -> StepVector:
    """topk and its like: samples stay as they are, or go."""
    read_param, select = _SELECTIONS[node.op]
    param = read_param(evaluator, node, grid)
    vector = evaluator.vector(node.expr, grid)
    if not vector.labels:
        return StepVector.empty(grid.count)
    # Which of equals go on is not to depend on the order of a store.
    ordered = np.array(sorted(range(len(vector.labels)), key=vector.labels.__getitem__), dtype=np.int64)
    groups = make_groups(vector.rows(ordered), node.labels, without=node.without)
    selected = np.concatenate([select(groups.series, run, param) for run in groups.runs()])
    result = groups.series.where(selected)
    if node.op in ("topk", "bottomk") and grid.count == 1 and evaluator.query.count == 1:
        keys = result.values[:, 0] if node.op == "bottomk" else -result.values[:, 0]
        group_of = np.repeat(np.arange(len(groups.labels)), groups.sizes())
        result = result.rows(np.lexsort((keys, group_of)))
    return result.compact()


_Selection = tuple[
    Callable[[Evaluator, Aggregation, Grid], Any],
    Callable[[StepVector, slice, Any], BoolArray],
]
_SELECTIONS: dict[str, _Selection] = {
    "topk": (_limits, lambda series, run, k: select_greatest(series.values[run], series.present[run], k)),
    "bottomk": (_limits, lambda series, run, k: select_greatest(-series.values[run], series.present[run], k)),
    "limitk": (_limits, lambda series, run, k: select_first(series.present[run], k)),
    "limit_ratio": (_ratios, lambda series, run, r: select_ratio(series.labels[run], series.present[run], r)),
}
"""How each reads its parameter, for each step, and what it lets through of a run of rows."""
