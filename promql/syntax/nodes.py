"""The syntax tree: an expression as it was written.

Every node knows its place, `start` and `end` in characters of the text, and its `type`. What the evaluator walks is
another tree, promql.nodes, made of this one by promql.lower.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from common.matchers import Matcher
from promql.nodes import Anchoring, AtBound, Matching, ValueType
from promql.syntax.signatures import Signature


@dataclass(frozen=True, slots=True, eq=False)
class NumberLiteral:
    """A number, with its sign; or a duration, then in seconds."""

    value: float
    is_duration: bool
    start: int
    end: int

    @property
    def type(self) -> ValueType:
        """The PromQL type."""
        return ValueType.SCALAR


@dataclass(frozen=True, slots=True, eq=False)
class StringLiteral:
    """A string, without its quotes."""

    value: str
    start: int
    end: int

    @property
    def type(self) -> ValueType:
        """The PromQL type."""
        return ValueType.STRING


@dataclass(frozen=True, slots=True, eq=False)
class DurationExpr:
    """Arithmetic with durations. `op` is an arithmetic operator, `min`, `max`, `step` or `range`.

    Signs have no left side, `step()` and `range()` neither side.
    """

    op: str
    lhs: "Duration | None"
    rhs: "Duration | None"
    in_parentheses: bool
    start: int
    end: int


Duration = NumberLiteral | DurationExpr


@dataclass(frozen=True, slots=True, eq=False)
class Modifiers:
    """What is behind a selector or subquery: an offset, as a number of milliseconds or as arithmetic, and `@`."""

    offset_ms: int = 0
    offset_expr: DurationExpr | None = None
    at: int | AtBound | None = None


NO_MODIFIERS = Modifiers()


@dataclass(frozen=True, slots=True, eq=False)
class VectorSelector:
    """`name{...}`. A name in front of the braces is the last of the matchers, too."""

    name: str
    matchers: tuple[Matcher, ...]
    modifiers: Modifiers
    anchoring: Anchoring | None
    start: int
    end: int

    @property
    def type(self) -> ValueType:
        """The PromQL type."""
        return ValueType.VECTOR


@dataclass(frozen=True, slots=True, eq=False)
class MatrixSelector:
    """`selector[range]`; its modifiers are the selector's."""

    selector: VectorSelector
    range: Duration
    start: int
    end: int

    @property
    def type(self) -> ValueType:
        """The PromQL type."""
        return ValueType.MATRIX


@dataclass(frozen=True, slots=True, eq=False)
class Subquery:
    """`expr[range:step]`."""

    expr: "Expr"
    range: Duration
    step: Duration | None
    modifiers: Modifiers
    start: int
    end: int

    @property
    def type(self) -> ValueType:
        """The PromQL type."""
        return ValueType.MATRIX


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function call."""

    function: Signature
    args: tuple["Expr", ...]
    start: int
    end: int

    @property
    def type(self) -> ValueType:
        """The PromQL type."""
        return self.function.returns


@dataclass(frozen=True, slots=True, eq=False)
class Aggregation:
    """`op by|without (labels) (param, expr)`."""

    op: str
    expr: "Expr"
    param: "Expr | None"
    labels: tuple[str, ...]
    without: bool
    start: int
    end: int

    @property
    def type(self) -> ValueType:
        """The PromQL type."""
        return ValueType.VECTOR


@dataclass(frozen=True, slots=True, eq=False)
class Paren:
    """An expression in parentheses."""

    expr: "Expr"
    type: ValueType
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Unary:
    """A sign before what is no number."""

    op: str
    expr: "Expr"
    type: ValueType
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Binary:
    """An operator and its two sides. `matching` is as written, whether or not both sides are vectors."""

    op: str
    lhs: "Expr"
    rhs: "Expr"
    return_bool: bool
    matching: Matching
    type: ValueType
    start: int
    end: int

    @property
    def matches_vectors(self) -> bool:
        """Whether the matching means anything."""
        return self.lhs.type is ValueType.VECTOR and self.rhs.type is ValueType.VECTOR


Expr = (
    NumberLiteral
    | StringLiteral
    | VectorSelector
    | MatrixSelector
    | Subquery
    | Call
    | Aggregation
    | Paren
    | Unary
    | Binary
)


def children(node: Expr) -> Iterator[Expr]:
    """The expressions right below a node."""
    match node:
        case Call():
            yield from node.args
        case Aggregation():
            if node.param is not None:
                yield node.param
            yield node.expr
        case Binary():
            yield node.lhs
            yield node.rhs
        case Paren() | Unary() | Subquery():
            yield node.expr
        case MatrixSelector():
            yield node.selector
