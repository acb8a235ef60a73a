"""A syntax tree as text, as prometheus promql/parser/printer.go and prettier.go write it."""

from common.durations import format_duration
from common.labels import METRIC_NAME, is_legacy_label_name
from common.matchers import Matcher
from promql.nodes import Anchoring, AtBound, Cardinality, Matching
from promql.numbers import format_fixed, format_general
from promql.syntax.literals import quote
from promql.syntax.modifiers import milliseconds
from promql.syntax.nodes import (
    Aggregation,
    Binary,
    Call,
    Duration,
    Expr,
    MatrixSelector,
    Modifiers,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
)

_LONGEST_LINE = 100
_INDENT = "  "


def print_expr(node: Expr) -> str:
    """On one line."""
    match node:
        case NumberLiteral():
            return _number(node)
        case StringLiteral():
            return quote(node.value)
        case VectorSelector():
            return f"{_selector(node)}{_at(node.modifiers)}{_anchoring(node.anchoring)}{_offset(node.modifiers)}"
        case MatrixSelector():
            selector = node.selector
            behind = f"{_anchoring(selector.anchoring)}{_at(selector.modifiers)}{_offset(selector.modifiers)}"
            return f"{_selector(selector)}[{_range(node.range)}]{behind}"
        case Subquery():
            return f"{print_expr(node.expr)}{_subquery_range(node)}"
        case Call():
            return f"{node.function.name}({', '.join(map(print_expr, node.args))})"
        case Aggregation():
            args = [node.expr] if node.param is None else [node.param, node.expr]
            return f"{_aggregation_head(node)}({', '.join(map(print_expr, args))})"
        case Unary():
            return f"{node.op}{print_expr(node.expr)}"
        case Binary():
            return f"{print_expr(node.lhs)} {_operator(node)} {print_expr(node.rhs)}"
        case Paren():
            return f"({print_expr(node.expr)})"


def pretty(node: Expr, level: int = 0) -> str:
    """Over as many lines as it takes that none is long, where the grammar lets break them."""
    indent, one_line = _INDENT * level, print_expr(node)
    if isinstance(node, Unary):
        return f"{indent}{node.op}{pretty(node.expr, level).strip(' ')}"
    fits = len(one_line.encode("utf-8", "surrogateescape")) <= _LONGEST_LINE
    if fits and isinstance(node, Subquery):
        return one_line
    if fits:
        return indent + one_line
    match node:
        case Subquery():
            return f"{pretty(node.expr, level)}{_subquery_range(node)}"
        case Call():
            return f"{indent}{node.function.name}(\n{_lines(node.args, level + 1)}\n{indent})"
        case Aggregation():
            args = (node.expr,) if node.param is None else (node.param, node.expr)
            return f"{indent}{_aggregation_head(node)}(\n{_lines(args, level + 1)}\n{indent})"
        case Binary():
            lhs, rhs = pretty(node.lhs, level + 1), pretty(node.rhs, level + 1)
            return f"{lhs}\n{indent}{_operator(node)}\n{rhs}"
        case Paren():
            return f"{indent}(\n{pretty(node.expr, level + 1)}\n{indent})"
        case _:
            return indent + one_line


def _lines(args: tuple[Expr, ...], level: int) -> str:
    return ",\n".join(pretty(arg, level) for arg in args)


def _number(node: NumberLiteral) -> str:
    if not node.is_duration:
        return format_fixed(node.value)
    return format_duration(milliseconds(node))


def _range(duration: Duration) -> str:
    if isinstance(duration, NumberLiteral):
        return format_duration(milliseconds(duration))
    return _duration(duration)


def _duration(duration: Duration) -> str:
    """Arithmetic with durations as it was written."""
    if isinstance(duration, NumberLiteral):
        return _number(duration)
    lhs, rhs = ("" if side is None else _duration(side) for side in (duration.lhs, duration.rhs))
    match duration.op:
        case "step" | "range":
            text = f"{duration.op}()"
        case "min" | "max":
            text = f"{duration.op}({lhs}, {rhs})"
        case op if duration.lhs is None:
            text = f"{op}{rhs}"
        case op:
            text = f"{lhs} {op} {rhs}"
    return f"({text})" if duration.in_parentheses else text


def _selector(node: VectorSelector) -> str:
    matchers = sorted(
        _matcher(matcher)
        for matcher in node.matchers
        if not node.name or matcher != Matcher.equal(METRIC_NAME, node.name)
    )
    return f"{node.name}{{{','.join(matchers)}}}" if matchers else node.name


def _matcher(matcher: Matcher) -> str:
    name = matcher.name if is_legacy_label_name(matcher.name) else quote(matcher.name)
    return f"{name}{matcher.type.value}{quote(matcher.value)}"


def _at(modifiers: Modifiers) -> str:
    match modifiers.at:
        case None:
            return ""
        case AtBound() as bound:
            return f" @ {bound.value}()"
        case time_ms:
            return f" @ {time_ms / 1000:.3f}"


def _offset(modifiers: Modifiers) -> str:
    if modifiers.offset_expr is not None:
        return f" offset {_duration(modifiers.offset_expr)}"
    return f" offset {format_duration(modifiers.offset_ms)}" if modifiers.offset_ms else ""


def _anchoring(anchoring: Anchoring | None) -> str:
    return f" {anchoring.value}" if anchoring is not None else ""


def _subquery_range(node: Subquery) -> str:
    step = "" if node.step is None else _range(node.step)
    return f"[{_range(node.range)}:{step}]{_at(node.modifiers)}{_offset(node.modifiers)}"


def _aggregation_head(node: Aggregation) -> str:
    if node.without:
        return f"{node.op} without ({_labels(node.labels)}) "
    return f"{node.op} by ({_labels(node.labels)}) " if node.labels else node.op


def _labels(names: tuple[str, ...]) -> str:
    return ", ".join(name if is_legacy_label_name(name) else quote(name) for name in names)


def _operator(node: Binary) -> str:
    """The operator with all that belongs to it."""
    text = f"{node.op} bool" if node.return_bool else node.op
    return text + _matching(node.matching) if node.matches_vectors else text


def _matching(matching: Matching) -> str:
    text = ""
    is_grouped = matching.cardinality in (Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_MANY)
    if matching.labels or matching.on or is_grouped:
        text += f" {'on' if matching.on else 'ignoring'} ({_labels(matching.labels)})"
    if is_grouped:
        side = "left" if matching.cardinality is Cardinality.MANY_TO_ONE else "right"
        text += f" group_{side} ({_labels(matching.include)})"
    lhs, rhs = matching.fill_lhs, matching.fill_rhs
    if lhs is not None and lhs == rhs:
        return f"{text} fill ({format_general(lhs)})"
    if lhs is not None:
        text += f" fill_left ({format_general(lhs)})"
    if rhs is not None:
        text += f" fill_right ({format_general(rhs)})"
    return text
