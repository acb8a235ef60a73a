"""Operators: arithmetic, comparisons and sets, between scalars and vectors.

Between two vectors, series are matched once, by labels, into pairs; the arithmetic is then on whole rows. Where
series of the same match group take turns over the steps, a group has a pair for each, and the rows of equal labels
are merged in the end. The rules and texts are those of prometheus promql/engine.go VectorBinop.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from common.labels import METRIC_NAME, Labels, quote
from promql import limits
from promql.errors import ExecutionError
from promql.evaluator import Evaluator
from promql.nodes import Binary, Cardinality, Matching, ValueType, value_type
from promql.vector import Grid, StepVector, concatenate, drop_metric_name, group_ids, merge_same_labels
from tsdb.model import BoolArray, FloatArray, IntArray

_ARITHMETIC: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
_COMPARISONS: dict[str, Callable[[FloatArray, FloatArray], BoolArray]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}


_TRIMS = ("</", ">/")


def evaluate_binary(evaluator: Evaluator, node: Binary, grid: Grid) -> StepVector:
    """An operator of which at least one side is a vector. Raises ExecutionError."""
    if node.op in _TRIMS:
        return _trim(evaluator, node, grid)
    if value_type(node.lhs) is ValueType.SCALAR:
        scalar, vector = evaluator.scalar(node.lhs, grid), evaluator.vector(node.rhs, grid)
        return _with_scalar(node, vector, scalar, vector.values)
    if value_type(node.rhs) is ValueType.SCALAR:
        vector, scalar = evaluator.vector(node.lhs, grid), evaluator.scalar(node.rhs, grid)
        return _with_scalar(node, vector, vector.values, scalar)
    lhs, rhs = evaluator.vector(node.lhs, grid), evaluator.vector(node.rhs, grid)
    if node.op in _SET_OPERATORS:
        return _SET_OPERATORS[node.op](lhs, rhs, node.matching)
    return _between_vectors(node, lhs, rhs)


def evaluate_scalar_binary(evaluator: Evaluator, node: Binary, grid: Grid) -> FloatArray:
    """An operator between scalars; comparisons give 0 or 1."""
    return between_scalars(node.op, evaluator.scalar(node.lhs, grid), evaluator.scalar(node.rhs, grid))


def between_scalars(op: str, lhs: FloatArray, rhs: FloatArray) -> FloatArray:
    """An operator between numbers; comparisons give 0 or 1."""
    if op in _ARITHMETIC:
        return _ARITHMETIC[op](lhs, rhs)
    if op in _TRIMS:
        raise ExecutionError(f"operator {quote(op)} not allowed for Scalar operations")
    return _COMPARISONS[op](lhs, rhs).astype(np.float64)


def _trim(evaluator: Evaluator, node: Binary, grid: Grid) -> StepVector:
    """Only histograms can be trimmed; of floats, in the pairs that other operators work on, nothing is left."""
    if evaluate_binary(evaluator, replace(node, op="*"), grid).present.any():
        evaluator.annotations.incompatible_types("float", node.op, "float", node.position)
    return StepVector.empty(grid.count)


def _with_scalar(node: Binary, vector: StepVector, lhs: FloatArray, rhs: FloatArray) -> StepVector:
    if node.op in _ARITHMETIC:
        return vector.with_values(_ARITHMETIC[node.op](lhs, rhs))
    holds = _COMPARISONS[node.op](lhs, rhs)
    if node.return_bool:
        return vector.with_values(holds.astype(np.float64))
    return vector.where(vector.present & holds).compact()


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """The match groups of two vectors: `lhs` and `rhs` are the group of each of their rows, int64[S]."""

    lhs: IntArray
    rhs: IntArray
    signatures: list[Labels]


def _match(lhs: StepVector, rhs: StepVector, matching: Matching) -> _Groups:
    both = lhs.labels + rhs.labels
    if matching.on:
        wanted = set(matching.labels)
        group_of, keys = group_ids(tuple([p for p in labels if p[0] in wanted]) for labels in both)
    else:
        ignored = {*matching.labels, METRIC_NAME}
        group_of, keys = group_ids(tuple([p for p in labels if p[0] not in ignored]) for labels in both)
    return _Groups(group_of[: len(lhs.labels)], group_of[len(lhs.labels) :], [Labels(key) for key in keys])


def _count_present(group_of: IntArray, present: BoolArray, groups: int) -> IntArray:
    """How many rows of each group have a sample at each step, int64[G, K]."""
    limits.check()
    counts = np.zeros((groups, present.shape[1]), np.int64)
    if len(np.unique(group_of)) == len(group_of):
        counts[group_of] = present
    else:
        np.add.at(counts, group_of, present)
    return counts


def _and(lhs: StepVector, rhs: StepVector, matching: Matching) -> StepVector:
    groups = _match(lhs, rhs, matching)
    there = _count_present(groups.rhs, rhs.present, len(groups.signatures)) > 0
    return lhs.where(lhs.present & there[groups.lhs]).compact()


def _unless(lhs: StepVector, rhs: StepVector, matching: Matching) -> StepVector:
    groups = _match(lhs, rhs, matching)
    there = _count_present(groups.rhs, rhs.present, len(groups.signatures)) > 0
    return lhs.where(lhs.present & ~there[groups.lhs]).compact()


def _or(lhs: StepVector, rhs: StepVector, matching: Matching) -> StepVector:
    groups = _match(lhs, rhs, matching)
    there = _count_present(groups.lhs, lhs.present, len(groups.signatures)) > 0
    limits.check()
    rest = rhs.where(rhs.present & ~there[groups.rhs]).compact()
    return merge_same_labels(concatenate([lhs, rest], lhs.values.shape[1]))


_SET_OPERATORS = {"and": _and, "or": _or, "unless": _unless}


def _between_vectors(node: Binary, lhs: StepVector, rhs: StepVector) -> StepVector:
    """Matched pairs. In what follows the "many" side is the left one, except for group_right."""
    matching = node.matching
    groups = _match(lhs, rhs, matching)
    swapped = matching.cardinality is Cardinality.ONE_TO_MANY
    many, one = _Side(lhs, groups.lhs, groups.signatures), _Side(rhs, groups.rhs, groups.signatures)
    if swapped:
        many, one = one, many
    many_counts, one_counts = many.counts(), one.counts()
    _check_unique(many, one, many_counts, one_counts, matching, "left" if swapped else "right")
    # Fill values go by sides as Prometheus has them after its swap: the left one is the "many" side's.
    if matching.fill_lhs is not None:
        many = many.filled(matching.fill_lhs, (one_counts > 0) & (many_counts == 0))
    if matching.fill_rhs is not None:
        one = one.filled(matching.fill_rhs, (many_counts > 0) & (one_counts == 0))
    many_rows, one_rows = _pairs(many.group_of, one.group_of)
    return _evaluate_pairs(node, _Pairs(many.vector.rows(many_rows), one.vector.rows(one_rows), swapped))


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One of two vectors, with the match group of each row, int64[S]."""

    vector: StepVector
    group_of: IntArray
    signatures: list[Labels]

    def counts(self) -> IntArray:
        """Samples of each group and step, int64[G, K]."""
        return _count_present(self.group_of, self.vector.present, len(self.signatures))

    def filled(self, value: float, where: BoolArray) -> "_Side":
        """With a stand-in for groups and steps without a sample, bool[G, K], that has the labels of the match."""
        groups = np.flatnonzero(where.any(axis=1))
        stand_ins = StepVector.of(
            [self.signatures[group] for group in groups.tolist()],
            np.full((len(groups), where.shape[1]), value),
            where[groups],
        )
        vector = concatenate([self.vector, stand_ins], where.shape[1])
        return _Side(vector, np.concatenate([self.group_of, groups]), self.signatures)


def _check_unique(
    many: _Side, one: _Side, many_counts: IntArray, one_counts: IntArray, matching: Matching, one_name: str
) -> None:
    """Raises ExecutionError for the first step with too many samples in a match group."""
    twice = one_counts > 1
    ambiguous = np.zeros_like(twice)
    if matching.cardinality is Cardinality.ONE_TO_ONE:
        ambiguous = (many_counts > 1) & (one_counts > 0)
    if matching.fill_lhs is None and matching.fill_rhs is None:
        # Where a side is empty there is no result and nothing to complain of.
        twice &= many.vector.present.any(axis=0) & one.vector.present.any(axis=0)
    bad_steps = np.flatnonzero((twice | ambiguous).any(axis=0))
    if not len(bad_steps):
        return
    step = int(bad_steps[0])
    if not twice[:, step].any():
        raise ExecutionError(
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
        )
    group = int(twice[:, step].argmax())
    rows = np.flatnonzero((one.group_of == group) & one.vector.present[:, step]).tolist()
    labels = one.vector.labels
    raise ExecutionError(
        f"found duplicate series for the match group {_braces(one.signatures[group])} on the {one_name} hand-side"
        f" of the operation: [{_braces(labels[rows[1]])}, {_braces(labels[rows[0]])}];many-to-many matching not"
        " allowed: matching labels must be unique on one side"
    )


def _pairs(many_groups: IntArray, one_groups: IntArray) -> tuple[IntArray, IntArray]:
    """Every row of the many side with every row of the one side in its group, in the order of the many side."""
    order = np.argsort(one_groups, kind="stable")
    ordered = one_groups[order]
    first = np.searchsorted(ordered, many_groups, side="left")
    partners = np.searchsorted(ordered, many_groups, side="right") - first
    many_rows = np.repeat(np.arange(len(many_groups)), partners)
    within = np.arange(len(many_rows)) - np.repeat(np.cumsum(partners) - partners, partners)
    return many_rows, order[np.repeat(first, partners) + within]


def _braces(labels: Labels) -> str:
    """Go's labels.String: the metric name is a label among others."""
    return "{" + ", ".join(f"{name}={quote(value)}" for name, value in labels) + "}"


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Rows of two vectors that belong together, one by one."""

    many: StepVector
    one: StepVector
    swapped: bool

    @property
    def in_order(self) -> tuple[StepVector, StepVector]:
        """The sides as they were written."""
        return (self.one, self.many) if self.swapped else (self.many, self.one)


def _evaluate_pairs(node: Binary, pairs: _Pairs) -> StepVector:
    lhs, rhs = pairs.in_order
    limits.check()
    present = lhs.present & rhs.present
    both = limits.checked(zip(pairs.many.labels, pairs.one.labels, strict=True))
    labels = [_result_labels(node, many, one) for many, one in both]
    if node.op in _ARITHMETIC:
        values, drop_name = _ARITHMETIC[node.op](lhs.values, rhs.values), np.zeros(len(labels), np.bool_)
        keep = present
    else:
        holds = _COMPARISONS[node.op](lhs.values, rhs.values)
        values = holds.astype(np.float64) if node.return_bool else lhs.values
        drop_name = np.ones(len(labels), np.bool_) if node.return_bool else pairs.many.drop_name
        keep = present if node.return_bool else present & holds
    limits.check()
    # Matches have to be unique even where a comparison then leaves none of them.
    error = "multiple matches for labels: grouping labels must ensure unique matches"
    group_of, distinct = group_ids(labels)
    if len(distinct) < len(labels) and (_count_present(group_of, present, len(distinct)) > 1).any():
        raise ExecutionError(error)
    return merge_same_labels(StepVector(labels, values, keep, drop_name), error).compact()


def _result_labels(node: Binary, many: Labels, one: Labels) -> Labels:
    """The labels of a pair's result: the "many" side's, less what was not matched, plus what is included."""
    matching = node.matching
    labels = drop_metric_name(many) if node.op in _ARITHMETIC else many
    if matching.cardinality is Cardinality.ONE_TO_ONE:
        labels = labels.only(*matching.labels) if matching.on else labels.without(*matching.labels)
    if matching.include:
        included = dict(one)
        labels = Labels.of({**dict(labels), **{name: included.get(name, "") for name in matching.include}})
    return labels
