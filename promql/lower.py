"""From the syntax tree to the one the evaluator walks.

Parentheses and unary plus vanish, and arithmetic with durations becomes milliseconds. Where that speaks of the query,
`step()` and `range()`, the tree belongs to a query with that step and range; all others fit any query.
"""

import math
from dataclasses import dataclass

from common.labels import METRIC_NAME
from common.matchers import Matcher, MatchType
from promql.errors import ExecutionError, ParseError
from promql.functions.anchored import SAFE_FUNCTIONS
from promql.functions.info import INFO_METRICS, TARGET_INFO
from promql.nodes import (
    Aggregation,
    Binary,
    Call,
    MatrixSelector,
    Negation,
    Node,
    Number,
    Subquery,
    Text,
    VectorSelector,
    selectors,
)
from promql.syntax import nodes as syntax
from promql.syntax.modifiers import milliseconds

_INT64_LIMIT = 2.0**63


@dataclass(frozen=True, slots=True)
class QueryTimes:
    """What durations can speak of: the step of a query, and from its start to its end. Both 0 in instant queries."""

    step_ms: int = 0
    range_ms: int = 0


def depends_on_query(node: syntax.Expr) -> bool:
    """Whether a duration in an expression speaks of the query."""
    durations: list[syntax.Duration | None] = []
    match node:
        case syntax.VectorSelector():
            durations = [node.modifiers.offset_expr]
        case syntax.MatrixSelector():
            durations = [node.range]
        case syntax.Subquery():
            durations = [node.range, node.step, node.modifiers.offset_expr]
    return any(map(_speaks_of_query, durations)) or any(map(depends_on_query, syntax.children(node)))


def _speaks_of_query(duration: syntax.Duration | None) -> bool:
    if not isinstance(duration, syntax.DurationExpr):
        return False
    return duration.op in ("step", "range") or _speaks_of_query(duration.lhs) or _speaks_of_query(duration.rhs)


def lower(node: syntax.Expr, source: str, times: QueryTimes) -> Node:
    """The evaluator's tree of an expression.

    Raises ParseError for durations that are none, ExecutionError for functions that take no anchored selectors.
    """
    return _Lowering(_Durations(source, times)).node(node)


def ordered(matchers: tuple[Matcher, ...]) -> tuple[Matcher, ...]:
    """The metric's name comes first: stores look at matchers in order, and names select best."""
    return tuple(sorted(matchers, key=lambda matcher: matcher.name != METRIC_NAME))


class _Lowering:
    def __init__(self, durations: "_Durations") -> None:
        self._durations = durations

    def node(self, node: syntax.Expr) -> Node:
        match node:
            case syntax.NumberLiteral():
                return Number(node.value, node.start)
            case syntax.StringLiteral():
                return Text(node.value, node.start)
            case syntax.VectorSelector():
                return self._vector_selector(node)
            case syntax.MatrixSelector():
                selector = self._vector_selector(node.selector)
                return MatrixSelector(selector, self._durations.positive_ms(node.range), node.start)
            case syntax.Subquery():
                return self._subquery(node)
            case syntax.Call():
                _check_anchoring(node)
                args = tuple(map(self.node, node.args))
                if node.function.name == "info":
                    args = (args[0], _info_selector(args, node.end))
                return Call(node.function.name, args, node.type, node.start)
            case syntax.Aggregation():
                param = None if node.param is None else self.node(node.param)
                return Aggregation(node.op, self.node(node.expr), param, node.labels, node.without, node.start)
            case syntax.Unary():
                operand = self.node(node.expr)
                return Negation(operand, node.start) if node.op == "-" else operand
            case syntax.Binary():
                lhs, rhs = self.node(node.lhs), self.node(node.rhs)
                return Binary(node.op, lhs, rhs, node.return_bool, node.matching, node.start)
            case syntax.Paren():
                return self.node(node.expr)

    def _vector_selector(self, node: syntax.VectorSelector) -> VectorSelector:
        offset_ms = self._durations.offset_ms(node.modifiers)
        return VectorSelector(ordered(node.matchers), offset_ms, node.modifiers.at, node.start, node.anchoring)

    def _subquery(self, node: syntax.Subquery) -> Subquery:
        expr = self.node(node.expr)
        range_ms = self._durations.positive_ms(node.range)
        step_ms = None if node.step is None else self._durations.positive_ms(node.step)
        offset_ms = self._durations.offset_ms(node.modifiers)
        return Subquery(expr, range_ms, step_ms, offset_ms, node.modifiers.at, node.start)


def _info_selector(args: tuple[Node, ...], position: int) -> VectorSelector:
    """What selects the info series, at the time of the first selector of the base.

    They are those of target_info, unless a metric is named, or those of all info metrics but some.
    """
    matchers: tuple[Matcher, ...] = ()
    if len(args) > 1 and isinstance(args[1], VectorSelector):
        matchers, position = args[1].matchers, args[1].position
    of_name = [matcher.type for matcher in matchers if matcher.name == METRIC_NAME]
    if not of_name:
        matchers = (Matcher.equal(METRIC_NAME, TARGET_INFO), *matchers)
    elif MatchType.EQUAL not in of_name and MatchType.REGEX not in of_name:
        matchers = (Matcher(METRIC_NAME, MatchType.REGEX, INFO_METRICS), *matchers)
    base = next(selectors(args[0]), None)
    if base is None:
        return VectorSelector(matchers, 0, None, position)
    return VectorSelector(matchers, base.offset_ms, base.at, position)


def _check_anchoring(call: syntax.Call) -> None:
    for arg in call.args:
        while isinstance(arg, syntax.Paren):
            arg = arg.expr
        anchoring = arg.selector.anchoring if isinstance(arg, syntax.MatrixSelector) else None
        if anchoring is not None and call.function.name not in SAFE_FUNCTIONS[anchoring]:
            only = ", ".join(SAFE_FUNCTIONS[anchoring])
            message = f"{anchoring.value} modifier can only be used with: {only} - not with {call.function.name}"
            raise ExecutionError(message)


class _Durations:
    """Works out durations (prometheus promql/durations.go)."""

    def __init__(self, source: str, times: QueryTimes) -> None:
        self._source = source
        self._times = times

    def positive_ms(self, duration: syntax.Duration) -> int:
        """A range or step in milliseconds."""
        if isinstance(duration, syntax.NumberLiteral):
            return milliseconds(duration)
        seconds = self._seconds(duration)
        if seconds <= 0:
            raise self._error(duration, "duration must be greater than 0")
        return self._as_ms(seconds, duration)

    def offset_ms(self, modifiers: syntax.Modifiers) -> int:
        """An offset in milliseconds."""
        if modifiers.offset_expr is None:
            return modifiers.offset_ms
        return self._as_ms(self._seconds(modifiers.offset_expr), modifiers.offset_expr)

    def _as_ms(self, seconds: float, duration: syntax.Duration) -> int:
        # Not more than an int64 of nanoseconds, for times are no longer than that anywhere.
        if not abs(seconds) <= _INT64_LIMIT / 1e9:
            raise self._error(duration, "duration is out of range")
        return int(seconds * 1000)

    def _seconds(self, duration: syntax.Duration | None) -> float:
        if duration is None:
            return 0.0
        if isinstance(duration, syntax.NumberLiteral):
            return duration.value
        lhs, rhs = self._seconds(duration.lhs), self._seconds(duration.rhs)
        match duration.op:
            case "step":
                return self._times.step_ms / 1000
            case "range":
                return self._times.range_ms / 1000
            case "min":
                return min(lhs, rhs)
            case "max":
                return max(lhs, rhs)
            case "+":
                return lhs + rhs
            case "-":
                return lhs - rhs
            case "*":
                return lhs * rhs
            case "^":
                return _power(lhs, rhs)
        if rhs == 0:
            raise self._error(duration, "division by zero" if duration.op == "/" else "modulo by zero")
        return lhs / rhs if duration.op == "/" else math.fmod(lhs, rhs)

    def _error(self, duration: syntax.Duration, message: str) -> ParseError:
        start, end = (len(self._source[:at].encode("utf-8", "replace")) for at in (duration.start, duration.end))
        return ParseError(f"{start}:{end}: {message}")


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan
