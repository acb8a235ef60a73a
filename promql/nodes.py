"""The expression tree the evaluator walks: the syntax tree made literal and free of parentheses.

Durations and times are milliseconds. `position` is the offset of the node's first character in the query; annotations
point to it.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from common.matchers import Matcher


class ValueType(enum.Enum):
    """The four types of PromQL, by the names its error texts use."""

    SCALAR = "scalar"
    VECTOR = "instant vector"
    MATRIX = "range vector"
    STRING = "string"


class AtBound(enum.Enum):
    """`@ start()` and `@ end()`: a bound of the whole query."""

    START = "start"
    END = "end"


class Anchoring(enum.Enum):
    """`anchored` and `smoothed`: what stands at the edges of a window."""

    ANCHORED = "anchored"
    SMOOTHED = "smoothed"


class Cardinality(enum.Enum):
    """How many series of each side share a match group; the "many" side gives the result its labels."""

    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"
    ONE_TO_MANY = "one-to-many"
    MANY_TO_MANY = "many-to-many"


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    """A number; always a scalar."""

    value: float
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A string literal."""

    value: str
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class VectorSelector:
    """`name{...} offset ... @ ...`: the latest sample of each series within the lookback."""

    matchers: tuple[Matcher, ...]
    offset_ms: int
    at: int | AtBound | None
    position: int
    anchoring: Anchoring | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MatrixSelector:
    """`selector[range]`: the samples of each series in (t - range, t]."""

    selector: VectorSelector
    range_ms: int
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Subquery:
    """`expr[range:step]`: an instant vector evaluated on its own grid; no step means the engine's default."""

    expr: "Node"
    range_ms: int
    step_ms: int | None
    offset_ms: int
    at: int | AtBound | None
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function call, checked by the parser for number and types of its arguments."""

    name: str
    args: tuple["Node", ...]
    returns: ValueType
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Aggregation:
    """`op by|without (labels) (param, expr)`; neither clause is `by ()`."""

    op: str
    expr: "Node"
    param: "Node | None"
    labels: tuple[str, ...]
    without: bool
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Negation:
    """Unary minus."""

    expr: "Node"
    position: int


@dataclass(frozen=True, slots=True)
class Matching:
    """How series of two vectors find each other.

    `on` says whether `labels` are the only ones compared or the ones left out. `include` are the labels that
    group_left and group_right copy from the "one" side. Fill values stand in for a missing partner.
    """

    cardinality: Cardinality
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    fill_lhs: float | None = None
    fill_rhs: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Binary:
    """An operator between scalars and vectors; `matching` counts between two vectors only."""

    op: str
    lhs: "Node"
    rhs: "Node"
    return_bool: bool
    matching: Matching
    position: int


Node = Number | Text | VectorSelector | MatrixSelector | Subquery | Call | Aggregation | Negation | Binary

# Their results depend on the evaluation time even where their arguments do not
# (prometheus promql/functions.go AtModifierUnsafeFunctions).
_TIME_DEPENDENT_CALLS = frozenset(
    {"days_in_month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute", "month", "year"}
    | {"predict_linear", "time", "timestamp"}
)


def value_type(node: Node) -> ValueType:
    """The PromQL type of an expression."""
    match node:
        case Number():
            return ValueType.SCALAR
        case Text():
            return ValueType.STRING
        case MatrixSelector() | Subquery():
            return ValueType.MATRIX
        case Call():
            return node.returns
        case Negation():
            return value_type(node.expr)
        case Binary():
            both = (value_type(node.lhs), value_type(node.rhs))
            return ValueType.SCALAR if both == (ValueType.SCALAR, ValueType.SCALAR) else ValueType.VECTOR
        case VectorSelector() | Aggregation():
            return ValueType.VECTOR


def is_step_invariant(node: Node) -> bool:
    """Whether the expression has the same value at every step, because all it selects is pinned with `@`."""
    match node:
        case Number() | Text():
            return True
        case VectorSelector() | Subquery():
            return node.at is not None
        case MatrixSelector():
            return node.selector.at is not None
        case Call():
            return node.name not in _TIME_DEPENDENT_CALLS and all(map(is_step_invariant, node.args))
        case Aggregation():
            return is_step_invariant(node.expr) and (node.param is None or is_step_invariant(node.param))
        case Negation():
            return is_step_invariant(node.expr)
        case Binary():
            return is_step_invariant(node.lhs) and is_step_invariant(node.rhs)


def selectors(node: Node) -> Iterator[VectorSelector]:
    """All selectors of an expression, in the order they are written."""
    match node:
        case VectorSelector():
            yield node
        case MatrixSelector():
            yield node.selector
        case Subquery() | Negation():
            yield from selectors(node.expr)
        case Call():
            for arg in node.args:
                yield from selectors(arg)
        case Aggregation():
            if node.param is not None:
                yield from selectors(node.param)
            yield from selectors(node.expr)
        case Binary():
            yield from selectors(node.lhs)
            yield from selectors(node.rhs)
