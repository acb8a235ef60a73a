"""PromQL text to the expression tree.

promql-parser reads and type-checks; this module translates its AST into `promql.nodes`, resolves its units to
milliseconds, compiles the matchers, and guards the parser, whose recursion would overflow the stack of the process
on expressions nested thousands deep.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import promql_parser

from common.labels import METRIC_NAME
from common.matchers import Matcher, MatcherError, MatchType
from promql.errors import ParseError
from promql.nodes import (
    Aggregation,
    AtBound,
    Binary,
    Call,
    Cardinality,
    Matching,
    MatrixSelector,
    Negation,
    Node,
    Number,
    Subquery,
    Text,
    ValueType,
    VectorSelector,
)
from promql.positions import Cursor

# Each of these can deepen the tree by one. The Rust parser survives several thousand levels, Python's own
# recursion in the evaluator far fewer.
_DEEPENING = re.compile(r"[-+*/%^(<>=!\[]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_QUOTED_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`|#[^\n]*', re.DOTALL)
_MAX_DEEPENING_TOKENS = 2000
_MAX_DEPTH = 200

# The parser's enumerations are not hashable: they go by their names.
_MATCH_TYPES = {
    "MatchOp.Equal": MatchType.EQUAL,
    "MatchOp.NotEqual": MatchType.NOT_EQUAL,
    "MatchOp.Re": MatchType.REGEX,
    "MatchOp.NotRe": MatchType.NOT_REGEX,
}
_CARDINALITIES = {
    "VectorMatchCardinality.OneToOne": Cardinality.ONE_TO_ONE,
    "VectorMatchCardinality.ManyToOne": Cardinality.MANY_TO_ONE,
    "VectorMatchCardinality.OneToMany": Cardinality.ONE_TO_MANY,
    "VectorMatchCardinality.ManyToMany": Cardinality.MANY_TO_MANY,
}
_VALUE_TYPES = {
    "ValueType.Scalar": ValueType.SCALAR,
    "ValueType.Vector": ValueType.VECTOR,
    "ValueType.Matrix": ValueType.MATRIX,
    "ValueType.String": ValueType.STRING,
}
_HIGH_BYTE = re.compile(r"\\(?:x[89a-fA-F]|[23][0-7][0-7])")
_ESCAPE = re.compile(r"\\(?:x(?P<hex>[0-9a-fA-F]{2})|(?P<octal>[0-7]{3})|.)", re.DOTALL)
_SET_OPERATORS = frozenset({"and", "or", "unless"})
# The only place where the bindings show the whole range of `@` times is the debug form of the AST.
_AT_TIME = re.compile(r"SystemTime \{\s*tv_sec: (-?\d+),\s*tv_nsec: (\d+),?\s*\}")


def parse(source: str) -> Node:
    """The expression tree of a query. Raises ParseError."""
    if len(_DEEPENING.findall(_QUOTED_OR_COMMENT.sub('""', source))) > _MAX_DEEPENING_TOKENS:
        raise ParseError(f"parse error: expression has more than {_MAX_DEEPENING_TOKENS} operators")
    try:
        return _Translator(source).node(promql_parser.parse(source), 0)
    except ParseError:
        raise
    except (ValueError, OverflowError) as error:
        raise ParseError(f"parse error: {_as_prometheus_says(str(error))}") from error


def _as_prometheus_says(message: str) -> str:
    """The words of the Go parser where those of the Rust parser differ."""
    if message.startswith("unexpected character"):
        return message
    message = re.sub(r"'([^']*)'", r'"\1"', message)
    message = re.sub(r"^(expected type (?:scalar|string) in aggregation) expression", r"\1 parameter", message)
    return re.sub(r"(expected type|got:?|scalar or|allowed on) (vector|matrix)\b", _documented_type, message)


def _documented_type(match: re.Match[str]) -> str:
    return f"{match[1]} {'instant' if match[2] == 'vector' else 'range'} vector"


class _Translator:
    """Walks the AST in the order of the source, so that the cursor can tell where each node starts."""

    def __init__(self, source: str) -> None:
        self._cursor = Cursor(source)
        self._translate: dict[type, Callable[[Any, int], Node]] = {
            promql_parser.NumberLiteral: self._number,
            promql_parser.StringLiteral: self._text,
            promql_parser.VectorSelector: self._vector_selector,
            promql_parser.MatrixSelector: self._matrix_selector,
            promql_parser.SubqueryExpr: self._subquery,
            promql_parser.Call: self._call,
            promql_parser.AggregateExpr: self._aggregation,
            promql_parser.UnaryExpr: self._negation,
            promql_parser.BinaryExpr: self._binary,
            promql_parser.ParenExpr: self._parentheses,
        }

    def node(self, expr: Any, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise ParseError(f"parse error: expression is nested more than {_MAX_DEPTH} levels deep")
        return self._translate[type(expr)](expr, depth + 1)

    def _number(self, expr: Any, depth: int) -> Node:
        return Number(expr.val, self._cursor.number())

    def _text(self, expr: Any, depth: int) -> Node:
        position, literal = self._cursor.string()
        has_bytes = not literal.startswith("`") and _HIGH_BYTE.search(literal) is not None
        return Text(_with_bytes(literal) if has_bytes else expr.val, position)

    def _vector_selector(self, expr: Any, depth: int) -> VectorSelector:
        position = self._cursor.selector()
        if expr.matchers.or_matchers:
            raise ParseError('parse error: "or" between matchers is not supported; use one regular expression')
        matchers = [Matcher.equal(METRIC_NAME, expr.name)] if expr.name else []
        try:
            matchers += [Matcher(m.name, _MATCH_TYPES[str(m.op)], m.value) for m in expr.matchers.matchers]
        except MatcherError as error:
            raise ParseError(f"parse error: {error}") from error
        offset_ms = _milliseconds(expr.offset) if expr.offset is not None else 0
        return VectorSelector(tuple(matchers), offset_ms, _at(expr), position)

    def _matrix_selector(self, expr: Any, depth: int) -> Node:
        selector = self._vector_selector(expr.vector_selector, depth)
        return MatrixSelector(selector, _milliseconds(expr.range), selector.position)

    def _subquery(self, expr: Any, depth: int) -> Node:
        inner = self.node(expr.expr, depth)
        self._cursor.subquery_range()
        offset_ms = _milliseconds(expr.offset) if expr.offset is not None else 0
        step_ms = _milliseconds(expr.step) if expr.step is not None else None
        return Subquery(inner, _milliseconds(expr.range), step_ms, offset_ms, _at(expr), inner.position)

    def _call(self, expr: Any, depth: int) -> Node:
        position = self._cursor.call()
        args = tuple(self._arguments(expr.args, depth))
        return Call(expr.func.name, args, _VALUE_TYPES[str(expr.func.return_type)], position)

    def _arguments(self, args: list[Any], depth: int) -> list[Node]:
        nodes: list[Node] = []
        for index, arg in enumerate(args):
            if index:
                self._cursor.punctuation(",")
            nodes.append(self.node(arg, depth))
        self._cursor.punctuation(")")
        return nodes

    def _aggregation(self, expr: Any, depth: int) -> Node:
        position = self._cursor.aggregation()
        arguments = [expr.expr] if expr.param is None else [expr.param, expr.expr]
        nodes = self._arguments(arguments, depth)
        self._cursor.grouping()
        modifier = expr.modifier
        return Aggregation(
            str(expr.op),
            nodes[-1],
            nodes[0] if len(nodes) == 2 else None,
            tuple(modifier.labels) if modifier else (),
            modifier is not None and modifier.type == promql_parser.AggModifierType.Without,
            position,
        )

    def _negation(self, expr: Any, depth: int) -> Node:
        position = self._cursor.punctuation("-")
        return Negation(self.node(expr.expr, depth), position)

    def _parentheses(self, expr: Any, depth: int) -> Node:
        self._cursor.punctuation("(")
        inner = self.node(expr.expr, depth)
        self._cursor.punctuation(")")
        return inner

    def _binary(self, expr: Any, depth: int) -> Node:
        op = str(expr.op)
        lhs = self.node(expr.lhs, depth)
        self._cursor.operator()
        rhs = self.node(expr.rhs, depth)
        return_bool = expr.modifier is not None and expr.modifier.return_bool
        return Binary(op, lhs, rhs, return_bool, _matching(op, expr.modifier), lhs.position)


def _with_bytes(literal: str) -> str:
    """The text of a literal with escaped bytes beyond ASCII, which together are UTF-8; Rust has them as characters."""
    parts: list[bytes] = []
    end = 0
    for match in _ESCAPE.finditer(literal):
        parts.append(literal[end : match.start()].encode())
        byte = int(match["hex"], 16) if match["hex"] else int(match["octal"] or "0", 8)
        parts.append(bytes([byte]) if 0x80 <= byte <= 0xFF else match[0].encode())
        end = match.end()
    parts.append(literal[end:].encode())
    try:
        expr: Any = promql_parser.parse(b"".join(parts).decode())
    except UnicodeDecodeError as error:
        raise ParseError(f"parse error: the string {literal} is not valid UTF-8") from error
    return str(expr.val)


def _matching(op: str, modifier: Any) -> Matching:
    default = Cardinality.MANY_TO_MANY if op in _SET_OPERATORS else Cardinality.ONE_TO_ONE
    if modifier is None:
        return Matching(default)
    labels = modifier.matching
    return Matching(
        default if op in _SET_OPERATORS else _CARDINALITIES[str(modifier.card)],
        labels is not None and labels.type == promql_parser.LabelModifierType.Include,
        tuple(labels.labels) if labels is not None else (),
        tuple(modifier.group_labels or ()),
        modifier.fill_values.lhs,
        modifier.fill_values.rhs,
    )


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _at(expr: Any) -> int | AtBound | None:
    """The `@` time of a selector or subquery, rounded to milliseconds as Prometheus does."""
    if expr.at is None:
        return None
    if expr.at.type == promql_parser.AtModifierType.Start:
        return AtBound.START
    if expr.at.type == promql_parser.AtModifierType.End:
        return AtBound.END
    seconds, nanoseconds = _AT_TIME.findall(repr(expr))[-1]
    return int(seconds) * 1000 + (int(nanoseconds) + 500_000) // 1_000_000
