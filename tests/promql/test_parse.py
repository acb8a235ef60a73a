"""From PromQL text to the expression tree: translation, positions, error texts, and what would kill the parser."""

import pytest

from common.matchers import Matcher, MatchType
from promql.errors import ParseError
from promql.lower import QueryTimes
from promql.nodes import (
    Aggregation,
    AtBound,
    Binary,
    Call,
    Cardinality,
    MatrixSelector,
    Negation,
    Node,
    Number,
    Subquery,
    Text,
    VectorSelector,
    is_step_invariant,
)
from promql.parse import parse
from promql.syntax.errors import line_and_column


def test_selectors_carry_their_matchers_in_order() -> None:
    node = parse('node_load1{job!="a", instance=~"b.*"}')
    assert isinstance(node, VectorSelector)
    assert node.matchers == (
        Matcher.equal("__name__", "node_load1"),
        Matcher("job", MatchType.NOT_EQUAL, "a"),
        Matcher("instance", MatchType.REGEX, "b.*"),
    )


@pytest.mark.parametrize(
    ("modifiers", "offset_ms", "at"),
    [
        ("", 0, None),
        (" offset 5m", 300_000, None),
        (" offset -1m30s", -90_000, None),
        (" @ 1.5", 0, 1500),
        (" @ 1609746000.0004", 0, 1_609_746_000_000),
        (" @ -1.5 offset 1s", 1000, -1500),
        (" @ 1e12", 0, 10**15),
        (" @ start()", 0, AtBound.START),
        (" offset 1m @ end()", 60_000, AtBound.END),
    ],
)
def test_times_become_milliseconds(modifiers: str, offset_ms: int, at: int | AtBound | None) -> None:
    selector = parse("x" + modifiers)
    assert isinstance(selector, VectorSelector)
    assert (selector.offset_ms, selector.at) == (offset_ms, at)
    matrix = parse("x[90s]" + modifiers)
    assert isinstance(matrix, MatrixSelector)
    assert (matrix.range_ms, matrix.selector.offset_ms, matrix.selector.at) == (90_000, offset_ms, at)
    subquery = parse(f"(x @ 7)[5m:250ms]{modifiers}")
    assert isinstance(subquery, Subquery)
    assert (subquery.range_ms, subquery.step_ms) == (300_000, 250)
    assert (subquery.offset_ms, subquery.at) == (offset_ms, at)


def test_subqueries_may_leave_their_step_open() -> None:
    node = parse("x[1h:]")
    assert isinstance(node, Subquery)
    assert node.step_ms is None


def test_matching_clauses() -> None:
    node = parse("a * on (x, y) group_left (z) fill_right (2) b")
    assert isinstance(node, Binary)
    matching = node.matching
    assert (matching.cardinality, matching.on, matching.labels) == (Cardinality.MANY_TO_ONE, True, ("x", "y"))
    assert (matching.include, matching.fill_lhs, matching.fill_rhs) == (("z",), None, 2.0)
    node = parse("a unless ignoring (x) b")
    assert isinstance(node, Binary)
    assert (node.matching.cardinality, node.matching.on) == (Cardinality.MANY_TO_MANY, False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"a\"b\n"', 'a"b\n'),
        (r"'\u00e9'", "é"),
        (r'"\xc3\xa9"', "é"),
        (r'"\303\251 \\xff"', r"é \xff"),
        ("`\\xff`", r"\xff"),
    ],
)
def test_strings_have_the_escapes_of_go(text: str, value: str) -> None:
    node = parse(text)
    assert isinstance(node, Text)
    assert node.value == value


def positions(node: Node, source: str) -> list[str]:
    """Each node's kind and place, in the order of evaluation."""
    found = [f"{type(node).__name__} {line_and_column(source, node.position)}"]
    match node:
        case Call():
            children: list[Node] = list(node.args)
        case Aggregation():
            children = [node.expr] if node.param is None else [node.param, node.expr]
        case Binary():
            children = [node.lhs, node.rhs]
        case Negation() | Subquery():
            children = [node.expr]
        case MatrixSelector():
            children = [node.selector]
        case _:
            children = []
    return found + [line for child in children for line in positions(child, source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("rate(x[5m])", ["Call 1:1", "MatrixSelector 1:6", "VectorSelector 1:6"]),
        ("quantile by (a) ( -1 , x{b='c'} )", ["Aggregation 1:1", "Number 1:19", "VectorSelector 1:24"]),
        ("sum(x) by (a)\n + (y @ start() offset 1m)", [
            "Binary 1:1", "Aggregation 1:1", "VectorSelector 1:5", "VectorSelector 2:5",
        ]),
        ("# a comment: rate(x)\n-(2 * x)", ["Negation 2:1", "Binary 2:3", "Number 2:3", "VectorSelector 2:7"]),
        ("max_over_time(rate(x[5m] offset 1m)[10m:30s] @ 5)", [
            "Call 1:1", "Subquery 1:15", "Call 1:15", "MatrixSelector 1:20", "VectorSelector 1:20",
        ]),
        ('a / on (b, c) group_left () d + fill(0) fill', [
            "Binary 1:1", "Binary 1:1", "VectorSelector 1:1", "VectorSelector 1:29", "VectorSelector 1:41",
        ]),
        ('label_replace({"x.y", a="b"}, "c", `d`, \'e\', "")', [
            "Call 1:1", "VectorSelector 1:15", "Text 1:31", "Text 1:36", "Text 1:41", "Text 1:46",
        ]),
        ("+x + +1h", ["Binary 1:1", "VectorSelector 1:2", "Number 1:6"]),
    ],
)  # fmt: skip
def test_nodes_know_where_they_start(source: str, expected: list[str]) -> None:
    assert positions(parse(source), source) == expected


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("sum(x", "1:6: parse error: unclosed left parenthesis"),
        ("rate(x)", '1:6: parse error: expected type range vector in call to function "rate", got instant vector'),
        ("x[5m] @ end() offset 1h + 1", "1:1: parse error: binary expression must contain only scalar and instant "),
        ("x[5m-10m]", "2:8: duration must be greater than 0"),
        ("sum(rate(x[1h:2 - 1m]))", "14:20: duration must be greater than 0"),
        ("x offset (2^200)", "10:15: duration is out of range"),
        ("x[1/(1-1)]", "2:8: division by zero"),
        ("\n x[5m % (1m-1m)]", "4:15: modulo by zero"),
    ],
)
def test_errors_speak_as_prometheus_does(source: str, text: str) -> None:
    with pytest.raises(ParseError) as failure:
        parse(source)
    assert str(failure.value).startswith(text)


@pytest.mark.parametrize(
    "source",
    [
        "(" * 100_000 + "1" + ")" * 100_000,
        "-" * 100_000 + "x",
        "+".join(["x"] * 100_000),
        " or ".join(["x"] * 100_000),
        "abs(" * 1500 + "x" + ")" * 1500,
        "sum(sum(" * 150 + "x" + "))" * 150,
        "x" + "[1m:]" * 1500,
    ],
    ids=["parentheses", "minus", "plus", "or", "calls", "aggregations", "subqueries"],
)
def test_deep_expressions_are_refused_instead_of_ending_the_process(source: str) -> None:
    with pytest.raises(ParseError):
        parse(source)


def test_what_only_looks_deep_is_not_refused() -> None:
    node = parse('x{a="' + "(" * 5000 + '"} # ' + "((" * 5000)
    assert isinstance(node, VectorSelector)
    assert isinstance(parse("+".join(["1"] * 150)), Binary)


@pytest.mark.parametrize(
    ("source", "invariant"),
    [
        ("x @ 1", True),
        ("x", False),
        ("sum(rate(x[5m] @ end())) + 1", True),
        ("x @ 1 + x", False),
        ("timestamp(x @ 1)", False),
        ("rate(x[5m])[1h:] @ 1", True),
        ("topk(scalar(x), x @ 1)", False),
        ("hour()", False),
    ],
)
def test_step_invariance(source: str, invariant: bool) -> None:
    assert is_step_invariant(parse(source)) is invariant


def test_numbers() -> None:
    for source, value in {"1e3": 1000.0, "0x1F": 31.0, "-.5": -0.5, "1h30m": 5400.0, "+Inf": float("inf")}.items():
        node = parse(source)
        assert isinstance(node, Number)
        assert node.value == value


def test_trees_are_shared_unless_they_speak_of_the_query() -> None:
    assert parse("rate(x[5m])", QueryTimes(1000, 5000)) is parse("rate(x[5m])")
    ten, twenty = (parse("x offset (step() * 2)", QueryTimes(step_ms, 0)) for step_ms in (10_000, 20_000))
    assert isinstance(ten, VectorSelector)
    assert isinstance(twenty, VectorSelector)
    assert (ten.offset_ms, twenty.offset_ms) == (20_000, 40_000)
    assert parse("x offset (step() * 2)", QueryTimes(10_000, 0)) is ten


def test_info_series_are_looked_for_where_the_base_is() -> None:
    node = parse("info(rate(x[5m] offset 1h @ 7), {a='b'})")
    assert isinstance(node, Call)
    selector = node.args[1]
    assert isinstance(selector, VectorSelector)
    assert selector.matchers == (Matcher.equal("__name__", "target_info"), Matcher.equal("a", "b"))
    assert (selector.offset_ms, selector.at) == (3_600_000, 7000)


def test_long_texts_are_not_remembered() -> None:
    source = "x # " + "long " * 5000
    first = parse(source)
    assert isinstance(first, VectorSelector)
    assert parse(source) is not first
