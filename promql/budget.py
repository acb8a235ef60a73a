"""How much memory a query will take, told before it is evaluated: from its plan, its series, its samples and its steps.

A query is at its peak while it is evaluated, while its rows are put in order, or while its answer is written. Of each
node is known what its value takes (9 bytes for a series and step) and what is made on the way to it. The factors are
measured: `python -m benchmarks.query_memory` compares estimates and peaks.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from common.labels import METRIC_NAME, Labels
from common.matchers import Matcher
from promql.accumulate import can_accumulate
from promql.blocks import step_blocks
from promql.nodes import (
    Aggregation,
    Binary,
    Call,
    MatrixSelector,
    Negation,
    Node,
    Number,
    Subquery,
    ValueType,
    VectorSelector,
    is_step_invariant,
    value_type,
)
from promql.plan import Plan
from promql.selection import Selection, Times
from promql.slices import Leaf, find_leaf
from promql.vector import Grid
from tsdb.model import FloatArray

# Of a value and whether it is there.
_CELL_BYTES = 9
# Of a series in lists of labels and in the text of an answer, beside its samples.
_SERIES_BYTES = 250
# What writing an answer takes: of a sample, of a series, and how many samples are written at once.
_WRITING_BYTES = 95
_WRITING_SERIES_BYTES = 4200
_WRITTEN_AT_ONCE = 1 << 15
# The text of a number: computed, or counted; stored ones are looked at.
_COMPUTED_TEXT_BYTES = 19.0
_COUNTED_TEXT_BYTES = 3.0
_SAMPLED_VALUES = 64
# What is made of a slice, in arrays of a number for each step and each sample.
_SLICE_ELEMENTS = 1 << 16
_SLICE_ARRAYS = {
    "": (3.4, 0.2),
    "last_over_time": (3.0, 0.2),
    "changes": (3.3, 0.8),
    "resets": (3.3, 0.8),
    "deriv": (3.1, 1.2),
    "quantile_over_time": (3.1, 2.3),
    "max_over_time": (6.8, 1.4),
    "min_over_time": (6.8, 1.4),
    "sum_over_time": (7.7, 4.6),
    "avg_over_time": (7.7, 4.6),
    "stddev_over_time": (7.7, 4.6),
    "stdvar_over_time": (7.7, 4.6),
}
_USUAL_SLICE_ARRAYS = (6.3, 0.5)
# What is made on the way to an aggregation: of the operand where it is there as a whole, in its own size, or else
# arrays of a number for each group and step.
_AGGREGATION_FACTORS = {
    "bottomk": 5.9,
    "topk": 5.0,
    "limitk": 4.35,
    "limit_ratio": 3.3,
    "stddev": 4.3,
    "stdvar": 4.3,
    "quantile": 2.15,
}
_USUAL_AGGREGATION_FACTOR = 2.5
_GROUP_ARRAYS = {"sum": 4.0, "avg": 4.0, "max": 2.2, "min": 2.2, "count": 1.5, "group": 2.1}
# Between vectors, bytes of each pair and step beside the operands.
_PAIR_BYTES = 43
_COUNTING = {"count", "group", "count_over_time", "changes", "resets", "present_over_time", "absent", "count_values"}
_STORED = {
    "last_over_time",
    "max_over_time",
    "min_over_time",
    "first_over_time",
    "topk",
    "bottomk",
    "limitk",
    "max",
    "min",
}
_SELECTED_IN_TURN = 4
_SELECTIONS = {"bottomk", "limit_ratio", "limitk", "topk"}
# Of rows of which groups are counted to tell how many there are.
_SAMPLED_LABELS = 512
_BASE_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class _Size:
    """Of a node's value: its series and steps, and the greatest number of bytes until it is there, itself included.

    `labels` are those of some of its series.
    """

    series: int
    steps: int
    peak_bytes: int
    labels: list[Labels]

    @property
    def value_bytes(self) -> int:
        return self.series * self.steps * _CELL_BYTES


def estimate_bytes(plan: Plan, selection: Selection, times: Times) -> int:
    """Bytes at the peak of a query whose samples are fetched, its answer as text included."""
    estimate = _Estimate(plan, selection, times)
    size = estimate.size(plan.root, times.query)
    blocks = step_blocks(plan, selection, times)
    if len(blocks) > 1:
        peak_bytes = size.value_bytes + estimate.size(plan.root, blocks[0]).peak_bytes
        size = _Size(size.series, size.steps, peak_bytes, size.labels)
    held = selection.held_bytes
    evaluating = held + size.peak_bytes
    ordering = held + 2 * size.value_bytes
    writing = size.value_bytes + _writing_bytes(size, times.query, _number_bytes(plan.root, selection))
    return _BASE_BYTES + max(evaluating, ordering, writing)


class _Estimate:
    def __init__(self, plan: Plan, selection: Selection, times: Times) -> None:
        self._plan = plan
        self._selection = selection
        self._times = times
        self._known: dict[tuple[Matcher, ...], list[Labels]] = {}

    def size(self, node: Node, grid: Grid) -> _Size:
        """Of the value of a node at the steps of a grid."""
        if grid.count > 1 and is_step_invariant(node):
            once = self.size(node, grid.first_step())
            return _Size(once.series, grid.count, once.peak_bytes, once.labels)
        if value_type(node) is ValueType.SCALAR:
            return _Size(1, grid.count, 3 * 8 * grid.count, [])
        leaf = find_leaf(node, grid, self._times, self._plan)
        if leaf is not None:
            labels = self._labels(leaf.selector)
            value = len(labels) * grid.count * _CELL_BYTES
            return _Size(len(labels), grid.count, value + self._slice_bytes(node, leaf), labels)
        match node:
            case Aggregation():
                return self._aggregation(node, grid)
            case Binary() if ValueType.SCALAR not in (value_type(node.lhs), value_type(node.rhs)):
                return self._between_vectors(node, grid)
            case Call() | Binary() | Negation():
                return self._of_operand(node, grid)
            case _:
                return _Size(0, grid.count, 0, [])

    def _aggregation(self, node: Aggregation, grid: Grid) -> _Size:
        leaf = None if self._plan.is_shared(node.expr) else find_leaf(node.expr, grid, self._times, self._plan)
        if leaf is not None and can_accumulate(node.op):
            labels = self._labels(leaf.selector)
            groups = _groups(node, labels, len(labels))
            arrays = int(groups * grid.count * 8 * _GROUP_ARRAYS[node.op])
            peak = arrays + self._slice_bytes(node.expr, leaf)
            return _Size(groups, grid.count, peak, labels[:groups])
        operand = self.size(node.expr, grid)
        groups = _groups(node, operand.labels, operand.series)
        if node.op in _SELECTIONS:
            # Not the same series at every step, but mostly.
            limit = node.param.value if isinstance(node.param, Number) and node.op != "limit_ratio" else math.inf
            groups = int(min(operand.series, groups * max(limit, 1.0) * _SELECTED_IN_TURN))
        made = int(operand.value_bytes * _AGGREGATION_FACTORS.get(node.op, _USUAL_AGGREGATION_FACTOR))
        value = groups * grid.count * _CELL_BYTES
        return _Size(groups, grid.count, max(operand.peak_bytes, made + value), operand.labels[:groups])

    def _between_vectors(self, node: Binary, grid: Grid) -> _Size:
        lhs, rhs = self.size(node.lhs, grid), self.size(node.rhs, grid)
        operands = lhs.value_bytes if node.lhs is node.rhs else lhs.value_bytes + rhs.value_bytes
        if node.op in ("and", "unless"):
            made = int(2.5 * lhs.value_bytes) + max(rhs.peak_bytes, rhs.value_bytes)
            return _Size(lhs.series, grid.count, max(lhs.peak_bytes, made), lhs.labels)
        if node.op == "or":
            series = lhs.series + rhs.series
            made = 2 * operands
        else:
            series = (
                max(lhs.series, rhs.series)
                if node.matching.cardinality.value != "one-to-one"
                else min(lhs.series, rhs.series)
            )
            made = operands + series * grid.count * _PAIR_BYTES
        peak = max(lhs.peak_bytes, lhs.value_bytes + rhs.peak_bytes, made)
        return _Size(series, grid.count, peak, lhs.labels if len(lhs.labels) >= len(rhs.labels) else rhs.labels)

    def _of_operand(self, node: Call | Binary | Negation, grid: Grid) -> _Size:
        """A function or operator that takes the whole of its operands: the largest tells."""
        sizes = [self._argument(child, grid) for child in _children(node)]
        largest = max(sizes, key=lambda size: size.series * size.steps, default=_Size(1, grid.count, 0, []))
        value = largest.series * grid.count * _CELL_BYTES
        peak = max(max((size.peak_bytes for size in sizes), default=0), largest.value_bytes + 2 * value)
        return _Size(largest.series, grid.count, peak, largest.labels)

    def _argument(self, node: Node, grid: Grid) -> _Size:
        match node:
            case Subquery():
                inner = self._times.subquery_grid(node, grid)
                return self.size(node.expr, inner) if inner.count else _Size(0, 0, 0, [])
            case MatrixSelector():
                labels = self._labels(node)
                return _Size(len(labels), grid.count, 0, labels)
            case _ if value_type(node) in (ValueType.VECTOR, ValueType.SCALAR):
                return self.size(node, grid)
            case _:
                return _Size(0, grid.count, 0, [])

    def _labels(self, selector: VectorSelector | MatrixSelector) -> list[Labels]:
        matchers = _matchers(selector)
        if matchers not in self._known:
            self._known[matchers] = self._selection.labels(matchers)
        return self._known[matchers]

    def _slice_bytes(self, node: Node, leaf: Leaf) -> int:
        """What is made of a slice, which has fewer rows where the series have many samples or the grid many steps."""
        series = len(self._labels(leaf.selector))
        samples, steps = self._selection.samples // max(1, series), leaf.grid.count
        matchers = _matchers(leaf.selector)
        rows = min(series, max(1, _SLICE_ELEMENTS // max(samples, steps, 1)), self._selection.rows_together(matchers))
        of_step, of_sample = _SLICE_ARRAYS.get(_window_function(node), _USUAL_SLICE_ARRAYS)
        return int(rows * 8 * (steps * of_step + samples * of_sample))


def _matchers(selector: VectorSelector | MatrixSelector) -> tuple[Matcher, ...]:
    return (selector.selector if isinstance(selector, MatrixSelector) else selector).matchers


def _window_function(node: Node) -> str:
    """The function that an expression applies to windows of samples; empty where it takes the latest ones."""
    match node:
        case Call() if any(isinstance(argument, MatrixSelector | Subquery) for argument in node.args):
            return node.name
        case Call() | Binary() | Negation():
            return next(filter(None, map(_window_function, _children(node))), "")
        case _:
            return ""


def _writing_bytes(size: _Size, grid: Grid, number_bytes: float) -> int:
    """The text of an answer, and what is made to write it."""
    samples = size.series * size.steps
    opening = len(b'"],[1700000000,"') + (0 if grid.start_ms % 1000 == 0 == grid.step_ms % 1000 else len(b".000"))
    text = samples * (opening + number_bytes) + size.series * _SERIES_BYTES
    at_once = min(samples, _WRITTEN_AT_ONCE)
    rows = min(size.series, max(1, _WRITTEN_AT_ONCE // max(1, size.steps)))
    return int(text + at_once * _WRITING_BYTES + rows * _WRITING_SERIES_BYTES)


def _number_bytes(node: Node, selection: Selection) -> float:
    """Of the text of a number in the value of a node."""
    match node:
        case VectorSelector():
            return _text_bytes(selection.some_values(node.matchers, _SAMPLED_VALUES))
        case MatrixSelector():
            return _number_bytes(node.selector, selection)
        case Call() if node.name in _COUNTING:
            return _COUNTED_TEXT_BYTES
        case Aggregation() if node.op in _COUNTING:
            return _COUNTED_TEXT_BYTES
        case Aggregation() if node.op in _STORED:
            return _number_bytes(node.expr, selection)
        case Call() if node.name == "sum_over_time":
            return _number_bytes(node.args[0], selection) + 1
        case Call() if node.name == "avg_over_time":
            return (_number_bytes(node.args[0], selection) + _COMPUTED_TEXT_BYTES) / 2
        case Call() if node.name in _STORED or node.name.startswith("label_"):
            return _number_bytes(node.args[0], selection)
        case Subquery() | Negation():
            return _number_bytes(node.expr, selection)
        case Binary() if value_type(node.rhs) is ValueType.SCALAR or node.op in ("and", "or", "unless"):
            return _number_bytes(node.lhs, selection)
        case _:
            return _COMPUTED_TEXT_BYTES


def _text_bytes(values: FloatArray) -> float:
    """The mean length of the shortest texts of numbers."""
    return sum(len(repr(value).removesuffix(".0")) for value in values.tolist()) / max(1, len(values))


def _children(node: Call | Binary | Negation) -> Iterable[Node]:
    match node:
        case Call():
            return node.args
        case Binary():
            return (node.lhs, node.rhs)
        case Negation():
            return (node.expr,)


def _groups(node: Aggregation, labels: list[Labels], series: int) -> int:
    """How many groups an aggregation will have, by some of the series: all different, or few that come again."""
    if not node.labels and not node.without:
        return min(1, series)
    chosen = {*node.labels, METRIC_NAME} if node.without else set(node.labels)
    # Neighbours, as the series of a target are, so that those of a group are seen together.
    some = labels[:_SAMPLED_LABELS]
    seen: set[tuple[tuple[str, str], ...]] = set()
    half = 0
    for number, each in enumerate(some):
        seen.add(tuple([pair for pair in each if (pair[0] in chosen) != node.without]))
        if number == len(some) // 2:
            half = len(seen)
    # Where the second half of them brought as many as the first, others will bring more.
    growing = len(some) < series and len(seen) - half > 0.25 * len(seen)
    return max(1, series * len(seen) // len(some)) if growing else min(series, len(seen))
