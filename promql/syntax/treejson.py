"""A syntax tree as /api/v1/parse_query shows it (prometheus web/api/v1/translate_ast.go)."""

import math
from typing import Any

from common.matchers import Matcher
from promql.nodes import Anchoring, AtBound, Matching
from promql.numbers import format_fixed
from promql.syntax.literals import as_utf8
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
from promql.syntax.signatures import TYPE_NAMES, Signature

Json = dict[str, Any]


def tree_json(node: Expr) -> Json:
    """What JSON is made of. Arithmetic with durations shows as 0, for it is worked out when a query is run."""
    match node:
        case NumberLiteral():
            return {"type": "numberLiteral", "val": format_fixed(node.value)}
        case StringLiteral():
            return {"type": "stringLiteral", "val": as_utf8(node.value)}
        case VectorSelector():
            return {"type": "vectorSelector", **_selector(node)}
        case MatrixSelector():
            return {"type": "matrixSelector", **_selector(node.selector), "range": _milliseconds(node.range)}
        case Subquery():
            step = 0 if node.step is None else _milliseconds(node.step)
            times = {"range": _milliseconds(node.range), "step": step, **_modifiers(node.modifiers)}
            return {"type": "subquery", "expr": tree_json(node.expr), **times}
        case Call():
            return {"type": "call", "func": _function(node.function), "args": [tree_json(arg) for arg in node.args]}
        case Aggregation():
            return _aggregation(node)
        case Unary():
            return {"type": "unaryExpr", "op": node.op, "expr": tree_json(node.expr)}
        case Binary():
            return _binary(node)
        case Paren():
            return {"type": "parenExpr", "expr": tree_json(node.expr)}


def _aggregation(node: Aggregation) -> Json:
    return {
        "type": "aggregation",
        "op": node.op,
        "expr": tree_json(node.expr),
        "param": None if node.param is None else tree_json(node.param),
        "grouping": list(node.labels),
        "without": node.without,
    }


def _binary(node: Binary) -> Json:
    return {
        "type": "binaryExpr",
        "op": node.op,
        "lhs": tree_json(node.lhs),
        "rhs": tree_json(node.rhs),
        "matching": _matching(node.matching) if node.matches_vectors else None,
        "bool": node.return_bool,
    }


def _matching(matching: Matching) -> Json:
    return {
        "card": matching.cardinality.value,
        "labels": list(matching.labels),
        "on": matching.on,
        "include": list(matching.include),
        "fillValues": {"lhs": _finite(matching.fill_lhs), "rhs": _finite(matching.fill_rhs)},
    }


def _finite(value: float | None) -> float | None:
    """JSON has no other numbers."""
    return value if value is not None and math.isfinite(value) else None


def _function(function: Signature) -> Json:
    return {
        "name": function.name,
        "argTypes": [TYPE_NAMES[arg] for arg in function.args],
        "variadic": function.variadic,
        "returnType": TYPE_NAMES[function.returns],
    }


def _selector(node: VectorSelector) -> Json:
    return {
        "name": node.name,
        "matchers": [_matcher(matcher) for matcher in node.matchers],
        **_modifiers(node.modifiers),
        "anchored": node.anchoring is Anchoring.ANCHORED,
        "smoothed": node.anchoring is Anchoring.SMOOTHED,
    }


def _matcher(matcher: Matcher) -> Json:
    return {"name": as_utf8(matcher.name), "type": matcher.type.value, "value": as_utf8(matcher.value)}


def _modifiers(modifiers: Modifiers) -> Json:
    at = modifiers.at
    return {
        "offset": modifiers.offset_ms,
        "timestamp": None if isinstance(at, AtBound) else at,
        "startOrEnd": at.value if isinstance(at, AtBound) else None,
    }


def _milliseconds(duration: Duration) -> int:
    return milliseconds(duration) if isinstance(duration, NumberLiteral) else 0
