"""Aggregations: series to groups by labels, then every group reduced over all its series and steps at once.

Rows are brought into the order of their groups, so that each group is a run of rows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.labels import EMPTY_LABELS, METRIC_NAME, Labels, quote
from promql.errors import ExecutionError
from promql.evaluator import Evaluator
from promql.nodes import Aggregation, Node
from promql.numbers import format_fixed, format_general
from promql.quantiles import quantile_sorted
from promql.ranking import select_first, select_greatest, select_ratio
from promql.summation import group_sums
from promql.vector import Grid, StepVector, group_ids
from tsdb.model import BoolArray, FloatArray, IntArray

_INT64_LIMIT = 2.0**63


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The series of a vector in runs by group: group g has the rows starts[g] : starts[g + 1].

    `series` are the labels of each row; within a group they are in the order of the vector.
    """

    labels: list[Labels]
    drop_name: BoolArray
    starts: IntArray
    series: StepVector

    def runs(self) -> list[slice]:
        """The rows of each group."""
        ends = [*self.starts[1:].tolist(), len(self.series.labels)]
        return [slice(start, end) for start, end in zip(self.starts.tolist(), ends, strict=True)]

    def sizes(self) -> IntArray:
        """Series in each group, int64[G]."""
        return np.diff(self.starts, append=len(self.series.labels))

    def counts(self) -> FloatArray:
        """Samples in each group and step, float64[G, K]."""
        present = self.series.present
        if present.all():
            shape = (len(self.labels), present.shape[1])
            return np.broadcast_to(self.sizes()[:, np.newaxis].astype(np.float64), shape)
        return np.add.reduceat(present, self.starts, axis=0, dtype=np.float64)

    def values(self, absent: float) -> FloatArray:
        """The samples, float64[S, K], with a number in the places where there is none."""
        present = self.series.present
        return self.series.values if present.all() else np.where(present, self.series.values, absent)


def make_groups(vector: StepVector, names: tuple[str, ...], *, without: bool) -> Groups:
    """The groups of a `by` or `without` clause, in order of first appearance; the vector is not empty."""
    if not names and not without:
        return Groups([EMPTY_LABELS], vector.drop_name[:1], np.zeros(1, np.int64), vector)
    chosen = {*names, METRIC_NAME} if without else set(names)
    if without:
        group_of, keys = group_ids([tuple([p for p in series if p[0] not in chosen]) for series in vector.labels])
    else:
        group_of, keys = group_ids([tuple([p for p in series if p[0] in chosen]) for series in vector.labels])
    labels = [Labels(key) for key in keys]
    rows = np.argsort(group_of, kind="stable")
    starts = np.searchsorted(group_of[rows], np.arange(len(labels)))
    return Groups(labels, vector.drop_name[rows[starts]], starts, vector.rows(rows))


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
        for quantile in _outside(quantiles, 0.0, 1.0):
            evaluator.annotations.invalid_quantile(quantile, _param(node).position)
    vector = evaluator.vector(node.expr, grid)
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
    if not name:
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
        row, step = np.nonzero(groups.series.present[run])
        # By bits, since 0 and -0 are different texts.
        bits = groups.series.values[run][row, step].view(np.int64)
        distinct, which = np.unique(bits, return_inverse=True)
        text_of, texts = group_ids(map(format_fixed, distinct.view(np.float64).tolist()))
        cells = text_of[which] * grid.count + step
        counted = np.bincount(cells, minlength=len(texts) * grid.count)
        counts.append(counted.reshape(len(texts), grid.count).astype(np.float64))
        labels += [Labels.of({**dict(group), name: text}) for text in texts]
    values = np.concatenate(counts)
    return StepVector.of(labels, values, values > 0)


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
