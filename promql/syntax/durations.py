"""The grammar of durations: what is in brackets and behind `offset`.

A number is a number of seconds. Behind `offset`, an operator ends the duration unless there are parentheses before
it: `x offset 2 * 3` is `(x offset 2) * 3`.
"""

from dataclasses import replace

from promql.syntax.literals import LiteralError, parse_duration_ms, parse_number
from promql.syntax.nodes import Duration, DurationExpr, NumberLiteral
from promql.syntax.stream import TokenStream, UnexpectedTokenError
from promql.syntax.tokens import DURATION, NUMBER, Token

_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 4}
_SIGNED = 3
_RIGHT_ASSOCIATIVE = "^"
# An int64 of nanoseconds.
_GREATEST_S = 2**63 / 1e9


def parse_literal(stream: TokenStream) -> NumberLiteral:
    """A number or duration. Raises UnexpectedTokenError."""
    token = stream.take(NUMBER, DURATION)
    is_duration = token.kind == DURATION
    try:
        value = parse_duration_ms(token.text) / 1000 if is_duration else parse_number(token.text)
    except LiteralError as error:
        message = str(error) if is_duration else f"error parsing number: {error}"
        raise stream.error(token.start, message) from None
    return NumberLiteral(value, is_duration, token.start, token.end)


def parse_offset(stream: TokenStream) -> Duration:
    """The duration behind `offset`. Raises UnexpectedTokenError, ParseError."""
    if stream.kind == "(":
        return _parse(stream, 0)
    if stream.kind not in ("+", "-"):
        return _checked(stream, _parse_operand(stream))
    sign = stream.take("+", "-")
    if stream.kind in ("+", "-"):
        return _continued(stream, _signed(stream, sign, _parse(stream, _SIGNED)), 0)
    return _signed(stream, sign, _parse_operand(stream))


def parse_positive(stream: TokenStream) -> Duration:
    """A range or step, which is more than 0 as far as can be told. Raises UnexpectedTokenError, ParseError."""
    duration = _parse(stream, 0)
    if isinstance(duration, NumberLiteral) and duration.value <= 0:
        raise stream.error(duration.start, "duration must be greater than 0")
    return duration


def _parse(stream: TokenStream, least: int) -> Duration:
    """An operand and the operators behind it that bind at least so strongly."""
    stream.enter()
    if stream.kind in ("+", "-"):
        sign = stream.take("+", "-")
        operand = _signed(stream, sign, _parse(stream, _SIGNED))
    else:
        operand = _checked(stream, _parse_operand(stream))
    duration = _continued(stream, operand, least)
    stream.leave()
    return duration


def _continued(stream: TokenStream, lhs: Duration, least: int) -> Duration:
    while (precedence := _PRECEDENCE.get(stream.kind, -1)) >= max(least, 1):
        operator = stream.take(stream.kind)
        right = precedence if operator.kind == _RIGHT_ASSOCIATIVE else precedence + 1
        rhs = _parse(stream, right)
        if operator.kind in ("/", "%") and isinstance(rhs, NumberLiteral) and rhs.value == 0:
            raise stream.error(operator.start, "division by zero" if operator.kind == "/" else "modulo by zero")
        lhs = DurationExpr(operator.kind, lhs, rhs, False, lhs.start, rhs.end)
    return lhs


def _parse_operand(stream: TokenStream) -> Duration:
    match stream.kind:
        case "step" | "range":
            word = stream.take(stream.kind)
            stream.take("(")
            return DurationExpr(word.kind, None, None, False, word.start, stream.take(")").end)
        case "min" | "max":
            word = stream.take(stream.kind)
            stream.take("(")
            lhs = _parse(stream, 0)
            stream.take(",")
            rhs = _parse(stream, 0)
            return DurationExpr(word.kind, lhs, rhs, False, word.start, stream.take(")").end)
        case "(":
            stream.take("(")
            inner = _parse(stream, 0)
            stream.take(")")
            return replace(inner, in_parentheses=True) if isinstance(inner, DurationExpr) else inner
        case "number" | "duration":
            return parse_literal(stream)
        case _:
            raise UnexpectedTokenError


def _signed(stream: TokenStream, sign: Token, operand: Duration) -> Duration:
    if isinstance(operand, NumberLiteral):
        value = -operand.value if sign.kind == "-" else operand.value
        return _checked(stream, replace(operand, value=value, start=sign.start))
    if sign.kind == "+":
        return operand
    return DurationExpr("-", None, operand, False, sign.start, operand.end)


def _checked(stream: TokenStream, duration: Duration) -> Duration:
    if isinstance(duration, NumberLiteral) and not abs(duration.value) <= _GREATEST_S:
        raise stream.error(duration.start, "duration out of range")
    return duration
