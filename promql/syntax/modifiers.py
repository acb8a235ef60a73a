"""The grammar of what is behind an expression: ranges, subqueries, `offset`, `@`, `anchored` and `smoothed`."""

import math
from dataclasses import replace

from promql.nodes import Anchoring, AtBound
from promql.numbers import format_fixed
from promql.syntax.durations import parse_literal, parse_offset, parse_positive
from promql.syntax.nodes import (
    NO_MODIFIERS,
    Duration,
    DurationExpr,
    Expr,
    MatrixSelector,
    Modifiers,
    NumberLiteral,
    Subquery,
    VectorSelector,
)
from promql.syntax.stream import TokenStream, UnexpectedTokenError
from promql.syntax.tokens import DURATION, NUMBER

_DURATIONS = "number, duration, step(), or range()"
_STEPS = 'number, duration, step(), range(), or "]"'
_INT64_LIMIT = 2.0**63
_Modified = VectorSelector | MatrixSelector | Subquery


def parse_modifiers(stream: TokenStream, expr: Expr) -> Expr:
    """The expression with what follows it. Raises ParseError."""
    while True:
        match stream.kind:
            case "[":
                expr = _parse_brackets(stream, expr)
            case "offset":
                expr = _parse_offset(stream, expr)
            case "@":
                expr = _parse_at(stream, expr)
            case "anchored" | "smoothed":
                expr = _parse_anchoring(stream, expr)
            case _:
                return expr


def _parse_brackets(stream: TokenStream, expr: Expr) -> Expr:
    opening = stream.take("[")
    try:
        range_ = parse_positive(stream)
    except UnexpectedTokenError:
        raise stream.unexpected("subquery or range selector", _DURATIONS) from None
    if stream.kind == "]":
        end = stream.take("]").end
        if not isinstance(expr, VectorSelector):
            raise stream.error(opening.start, "ranges only allowed for vector selectors")
        if expr.modifiers.offset_ms:
            raise stream.error(opening.start, "no offset modifiers allowed before range")
        if isinstance(expr.modifiers.at, int):
            raise stream.error(opening.start, "no @ modifiers allowed before range")
        return MatrixSelector(expr, range_, expr.start, end)
    if stream.kind != ":":
        raise stream.unexpected("subquery or range", '":" or "]"')
    stream.take(":")
    step = None
    if stream.kind != "]":
        try:
            step = parse_positive(stream)
        except UnexpectedTokenError:
            raise stream.unexpected("subquery selector", _STEPS) from None
        if stream.kind != "]":
            raise stream.unexpected("subquery selector", '"]"')
    return Subquery(expr, range_, step, NO_MODIFIERS, expr.start, stream.take("]").end)


def _parse_offset(stream: TokenStream, expr: Expr) -> Expr:
    stream.take("offset")
    try:
        offset = parse_offset(stream)
    except UnexpectedTokenError:
        raise stream.unexpected("offset", _DURATIONS) from None
    modified = _modified(stream, expr, "offset")
    modifiers = _modifiers_of(modified)
    if modifiers.offset_ms or modifiers.offset_expr is not None:
        raise stream.error(expr.start, "offset may not be set multiple times")
    return _with_modifiers(modified, _offset(modifiers, offset), stream.last.end)


def _offset(modifiers: Modifiers, offset: Duration) -> Modifiers:
    if isinstance(offset, DurationExpr):
        return replace(modifiers, offset_expr=offset)
    return replace(modifiers, offset_ms=milliseconds(offset))


def milliseconds(literal: NumberLiteral) -> int:
    """Of a duration without arithmetic: to the nearest nanosecond, then without fractions of milliseconds."""
    return int(_round(literal.value * 1e9) / 1e6)


def _round(number: float) -> float:
    """To the nearest integer, halves away from zero."""
    return math.copysign(math.floor(abs(number) + 0.5), number)


def _parse_at(stream: TokenStream, expr: Expr) -> Expr:
    stream.take("@")
    try:
        at = _parse_time(stream)
    except UnexpectedTokenError:
        raise stream.unexpected("@", "timestamp") from None
    if isinstance(at, float) and not abs(at) < _INT64_LIMIT:
        shown = f"{at:f}" if math.isfinite(at) else format_fixed(at)
        raise stream.error(expr.start, f"timestamp out of bounds for @ modifier: {shown}")
    modified = _modified(stream, expr, "@")
    modifiers = _modifiers_of(modified)
    if modifiers.at is not None:
        raise stream.error(expr.start, "@ <timestamp> may not be set multiple times")
    time = int(_round(at * 1000)) if isinstance(at, float) else at
    return _with_modifiers(modified, replace(modifiers, at=time), stream.last.end)


def _parse_time(stream: TokenStream) -> float | AtBound:
    if stream.kind in ("start", "end"):
        bound = AtBound(stream.take("start", "end").kind)
        stream.take("(")
        stream.take(")")
        return bound
    sign = stream.take("+", "-", NUMBER, DURATION) if stream.kind in ("+", "-") else None
    value = parse_literal(stream).value
    return -value if sign is not None and sign.kind == "-" else value


def _parse_anchoring(stream: TokenStream, expr: Expr) -> Expr:
    token = stream.take("anchored", "smoothed")
    anchoring = Anchoring(token.kind)
    match expr:
        case VectorSelector():
            return replace(expr, anchoring=_one_anchoring(stream, expr, anchoring))
        case MatrixSelector():
            selector = expr.selector
            return replace(expr, selector=replace(selector, anchoring=_one_anchoring(stream, selector, anchoring)))
        case Subquery():
            raise stream.error(expr.start, f"{token.kind} modifier is not supported for subqueries")
        case _:
            raise stream.error(expr.start, f"{token.kind} modifier not implemented")


def _one_anchoring(stream: TokenStream, selector: VectorSelector, anchoring: Anchoring) -> Anchoring:
    if selector.anchoring not in (None, anchoring):
        raise stream.error(selector.start, "anchored and smoothed modifiers cannot be used together")
    return anchoring


def _modified(stream: TokenStream, expr: Expr, name: str) -> _Modified:
    if isinstance(expr, VectorSelector | MatrixSelector | Subquery):
        return expr
    what = "an instant vector selector or range vector selector or a subquery"
    raise stream.error(expr.start, f"{name} modifier must be preceded by {what}")


def _modifiers_of(expr: _Modified) -> Modifiers:
    return expr.selector.modifiers if isinstance(expr, MatrixSelector) else expr.modifiers


def _with_modifiers(expr: _Modified, modifiers: Modifiers, end: int) -> _Modified:
    if isinstance(expr, MatrixSelector):
        return replace(expr, selector=replace(expr.selector, modifiers=modifiers), end=end)
    return replace(expr, modifiers=modifiers, end=end)
