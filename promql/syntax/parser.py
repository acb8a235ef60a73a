"""Tokens to the syntax tree.

A recursive descent with precedences. Where Prometheus's grammar has a rule of its own for errors, the context of the
message is that rule's; that is why UnexpectedTokenError is caught here and there.
"""

from dataclasses import replace

from promql.nodes import Cardinality, Matching, ValueType
from promql.syntax.check import check, check_depth
from promql.syntax.durations import parse_literal
from promql.syntax.literals import is_utf8, quote, unquote
from promql.syntax.modifiers import parse_modifiers
from promql.syntax.nodes import (
    Aggregation,
    Binary,
    Call,
    Expr,
    NumberLiteral,
    Paren,
    StringLiteral,
    Unary,
    VectorSelector,
)
from promql.syntax.selectors import parse_selector
from promql.syntax.signatures import FUNCTIONS
from promql.syntax.stream import TokenStream, UnexpectedTokenError
from promql.syntax.tokens import (
    AGGREGATORS,
    AGGREGATORS_WITH_PARAMETER,
    COMPARISONS,
    DURATION,
    END,
    IDENTIFIER,
    LABEL_NAMES,
    METRIC_NAMES,
    NUMBER,
    PREPROCESSORS,
    SET_OPERATORS,
    STRING,
    Token,
)

_PRECEDENCE = {
    "or": 1,
    "and": 2,
    "unless": 2,
    **dict.fromkeys(COMPARISONS | {"</", ">/"}, 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%", "atan2"), 5),
    "^": 7,
}
_SIGNED = 6
_RIGHT_ASSOCIATIVE = "^"
_EXPRESSION_STARTS = METRIC_NAMES | {NUMBER, DURATION, STRING, "(", "{", "+", "-"}
# A parenthesis there begins the labels to include.
_RIGHT_SIDE_STARTS = _EXPRESSION_STARTS - {"("}


def parse_expr(source: str) -> Expr:
    """The tree of an expression whose types fit. Raises ParseError."""
    stream = TokenStream(source)
    try:
        if stream.kind == END:
            raise stream.error(0, "no expression found in input")
        expr = _parse_binary(stream, 0)
        stream.take(END)
    except UnexpectedTokenError:
        raise stream.unexpected() from None
    check(expr, stream)
    return expr


def parse_metric_selector(source: str) -> VectorSelector:
    """A selector and nothing else, which may match everything. Raises ParseError."""
    stream = TokenStream(source)
    try:
        if stream.kind not in METRIC_NAMES and stream.kind != "{":
            raise UnexpectedTokenError
        selector = parse_selector(stream)
        stream.take(END)
    except UnexpectedTokenError:
        raise stream.unexpected() from None
    return selector


def _parse_binary(stream: TokenStream, least: int) -> Expr:
    """An operand and the operators behind it that bind at least so strongly."""
    stream.enter()
    lhs = _parse_operand(stream)
    depth = 0
    while (precedence := _PRECEDENCE.get(stream.kind, -1)) >= least:
        depth += 1
        check_depth(depth, lhs, stream)
        operator = stream.take(stream.kind)
        return_bool, matching = _parse_matching(stream, operator.kind)
        right = precedence if operator.kind == _RIGHT_ASSOCIATIVE else precedence + 1
        rhs = _parse_binary(stream, right)
        scalars = lhs.type is ValueType.SCALAR and rhs.type is ValueType.SCALAR
        type_ = ValueType.SCALAR if scalars else ValueType.VECTOR
        lhs = Binary(operator.kind, lhs, rhs, return_bool, matching, type_, lhs.start, rhs.end)
    stream.leave()
    return lhs


def _parse_operand(stream: TokenStream) -> Expr:
    if stream.kind not in ("+", "-"):
        return parse_modifiers(stream, _parse_primary(stream))
    sign = stream.take("+", "-")
    expr = _parse_binary(stream, _SIGNED)
    if isinstance(expr, NumberLiteral):
        return replace(expr, value=-expr.value if sign.kind == "-" else expr.value, start=sign.start)
    return Unary(sign.kind, expr, expr.type, sign.start, expr.end)


def _parse_primary(stream: TokenStream) -> Expr:
    kind = stream.kind
    if kind in METRIC_NAMES:
        return _parse_word(stream)
    if kind == "{":
        return parse_selector(stream)
    if kind == "(":
        opening = stream.take("(")
        inner = _parse_binary(stream, 0)
        return Paren(inner, inner.type, opening.start, stream.take(")").end)
    if kind == STRING:
        token = stream.take(STRING)
        return StringLiteral(unquote(token.text), token.start, token.end)
    return parse_literal(stream)


def _parse_word(stream: TokenStream) -> Expr:
    """A word may be a metric, a function or an aggregation; what follows tells."""
    kind, follows = stream.kind, stream.following_kind
    if kind in AGGREGATORS and follows in ("(", "by", "without"):
        return _parse_aggregation(stream)
    if follows == "(" and (kind == IDENTIFIER or kind in PREPROCESSORS):
        return _parse_call(stream)
    return parse_selector(stream)


def _parse_call(stream: TokenStream) -> Call:
    name = stream.take(stream.kind)
    args, closing = _parse_args(stream)
    function = FUNCTIONS.get(name.text)
    if function is None:
        raise stream.error(name.start, f"unknown function with name {quote(name.text)}")
    return Call(function, args, name.start, closing.end)


def _parse_args(stream: TokenStream) -> tuple[tuple[Expr, ...], Token]:
    """The arguments and the closing parenthesis."""
    stream.take("(")
    args: list[Expr] = []
    if stream.kind != ")":
        args.append(_parse_binary(stream, 0))
    while args and stream.kind == ",":
        comma = stream.take(",")
        if stream.kind not in _EXPRESSION_STARTS:
            raise stream.error(comma.start, "trailing commas not allowed in function call args")
        args.append(_parse_binary(stream, 0))
    return tuple(args), stream.take(")")


def _parse_aggregation(stream: TokenStream) -> Aggregation:
    operator = stream.take(stream.kind)
    try:
        without, labels = _parse_grouping_clause(stream)
        args, closing = _parse_args(stream)
        if labels is None:
            without, labels = _parse_grouping_clause(stream)
            closing = closing if labels is None else stream.last
    except UnexpectedTokenError:
        raise stream.unexpected("aggregation") from None
    if not args:
        raise stream.error(operator.start, "no arguments for aggregate expression provided")
    wanted = 2 if operator.kind in AGGREGATORS_WITH_PARAMETER else 1
    if len(args) != wanted:
        message = "wrong number of arguments for aggregate expression provided"
        raise stream.error(operator.start, f"{message}, expected {wanted}, got {len(args)}")
    param = args[0] if wanted == 2 else None
    return Aggregation(operator.kind, args[-1], param, labels or (), without, operator.start, closing.end)


def _parse_grouping_clause(stream: TokenStream) -> tuple[bool, tuple[str, ...] | None]:
    """Whether it is `without`, and its labels; None where there is no clause."""
    if stream.kind not in ("by", "without"):
        return False, None
    return stream.take("by", "without").kind == "without", _parse_labels(stream)


def _parse_labels(stream: TokenStream) -> tuple[str, ...]:
    """Names of labels in parentheses. Raises ParseError."""
    if stream.kind != "(":
        raise stream.unexpected("grouping opts", '"("')
    stream.take("(")
    labels: list[str] = []
    while stream.kind != ")":
        labels.append(_parse_label(stream))
        if stream.kind == ",":
            stream.take(",")
        elif stream.kind != ")":
            raise stream.unexpected("grouping opts", '"," or ")"')
    stream.take(")")
    return tuple(labels)


def _parse_label(stream: TokenStream) -> str:
    if stream.kind not in LABEL_NAMES and stream.kind != STRING:
        raise stream.unexpected("grouping opts", "label")
    token = stream.take(stream.kind)
    name = unquote(token.text) if token.kind == STRING else token.text
    if not name or not is_utf8(name):
        raise stream.error(token.start, f"invalid label name for grouping: {quote(name)}")
    return name


def _parse_matching(stream: TokenStream, operator: str) -> tuple[bool, Matching]:
    """What is between an operator and its right side: `bool`, the labels that match, grouping and fill values."""
    return_bool = stream.accept("bool")
    cardinality = Cardinality.MANY_TO_MANY if operator in SET_OPERATORS else Cardinality.ONE_TO_ONE
    on = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    if stream.kind in ("on", "ignoring"):
        on = stream.take("on", "ignoring").kind == "on"
        labels = _parse_labels(stream)
        if stream.kind in ("group_left", "group_right"):
            to_left = stream.take("group_left", "group_right").kind == "group_left"
            cardinality = Cardinality.MANY_TO_ONE if to_left else Cardinality.ONE_TO_MANY
            if stream.kind not in _RIGHT_SIDE_STARTS:
                include = _parse_labels(stream)
    fills: dict[str, float] = {}
    while stream.kind in ("fill", "fill_left", "fill_right") and stream.kind not in fills and "fill" not in fills:
        side = stream.take(stream.kind).kind
        fills[side] = _parse_fill_value(stream)
    both = fills.get("fill")
    return return_bool, Matching(
        cardinality, on, labels, include, fills.get("fill_left", both), fills.get("fill_right", both)
    )


def _parse_fill_value(stream: TokenStream) -> float:
    stream.take("(")
    negative = stream.kind == "-"
    if stream.kind in ("+", "-"):
        stream.take("+", "-")
    value = parse_literal(stream).value
    stream.take(")")
    return -value if negative else value
