"""Text to syntax tree and back: against recorded answers, a live Prometheus, and another parser.

expressions/ holds one expression a line with its formatted text or its error: `right` and `wrong` are what Prometheus
3.5 answers, `newer` is syntax it does not know yet and errors that mention it. `python -m tests.promql.test_syntax`
records the first two anew, from the Prometheus on the path.
"""

import contextlib
import http.client
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import promql_parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promql.errors import ParseError
from promql.nodes import AtBound
from promql.syntax import nodes as syntax
from promql.syntax.nodes import Expr, MatrixSelector, children
from promql.syntax.parser import parse_expr, parse_metric_selector
from promql.syntax.printer import pretty, print_expr
from promql.syntax.treejson import tree_json
from tests.components import require
from tests.fleetwatch_process import free_port

EXPRESSIONS = Path(__file__).parent / "expressions"
START_TIMEOUT_S = 30
MATCH_OPERATORS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
# What the trees of Prometheus 3.5 do not have.
NEWER_KEYS = {"anchored", "smoothed", "fillValues"}


def recorded(name: str) -> list[tuple[str, str]]:
    lines = (EXPRESSIONS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [tuple(json.loads(line)) for line in lines]


RIGHT, WRONG, NEWER = map(recorded, ("right", "wrong", "newer"))


def answer(query: str) -> str:
    try:
        return pretty(parse_expr(query))
    except ParseError as error:
        return str(error)


@pytest.mark.parametrize("name", ["right", "wrong", "newer"])
def test_answers_are_as_recorded(name: str) -> None:
    cases = recorded(name)
    assert len(cases) > 100
    assert [(query, answer(query)) for query, _ in cases] == cases


@contextlib.contextmanager
def prometheus() -> Iterator[http.client.HTTPConnection]:
    """A connection to a Prometheus of version 3.5 or later that has just been started."""
    executable = require("prometheus")
    version = subprocess.run([executable, "--version"], check=True, capture_output=True, text=True).stdout
    match = re.search(r"version (\d+)\.(\d+)", version)
    if match is None or (int(match[1]), int(match[2])) < (3, 5):
        pytest.skip("the expressions are those of Prometheus 3.5")
    port = free_port()
    with TemporaryDirectory() as directory:
        (Path(directory) / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
        flags = ["--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
        features = "--enable-feature=promql-experimental-functions,promql-duration-expr"
        process = subprocess.Popen([executable, *flags, features], cwd=directory, stderr=subprocess.DEVNULL)
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            deadline = time.monotonic() + START_TIMEOUT_S
            while ask(connection, "format_query", "1") is None:
                assert process.poll() is None, "Prometheus ended"
                assert time.monotonic() < deadline, "Prometheus did not start"
                time.sleep(0.1)
            yield connection
            connection.close()
        finally:
            process.terminate()
            process.wait()


def ask(connection: http.client.HTTPConnection, endpoint: str, query: str) -> Any:
    """The data of an answer, or the text of its error; None where nobody answers yet."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        connection.request("POST", f"/api/v1/{endpoint}", urlencode({"query": query}), form)
        response = connection.getresponse()
    except ConnectionRefusedError:
        connection.close()
        return None
    body = response.read()
    if response.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        return None
    told = json.loads(body)
    return told["data"] if told["status"] == "success" else told["error"].removeprefix('invalid parameter "query": ')


def without_newer(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: without_newer(value) for key, value in tree.items() if key not in NEWER_KEYS}
    return [without_newer(item) for item in tree] if isinstance(tree, list) else tree


def test_prometheus_answers_the_same() -> None:
    with prometheus() as connection:
        asked = [(query, ask(connection, "format_query", query)) for query, _ in RIGHT + WRONG]
        trees = [ask(connection, "parse_query", query) for query, _ in RIGHT]
    assert asked == RIGHT + WRONG
    assert [without_newer(tree_json(parse_expr(query))) for query, _ in RIGHT] == trees


def test_what_is_printed_is_read_back_the_same() -> None:
    # Prometheus prints nothing for `{}`.
    queries = [query for query, text in RIGHT if text != "info(x, )"]
    queries += [query for query, text in NEWER if "parse error" not in text]
    for query in queries:
        tree = parse_expr(query)
        for text in (print_expr(tree), pretty(tree)):
            assert print_expr(parse_expr(text)) == print_expr(tree)


def nodes(node: Expr) -> Iterator[Expr]:
    yield node
    if not isinstance(node, MatrixSelector):  # its selector has its modifiers, which are elsewhere
        for child in children(node):
            yield from nodes(child)


def test_nodes_know_where_they_are() -> None:
    """What is at a node's place, read by itself, is that node again."""
    seen = 0
    for query, _ in RIGHT:
        for node in nodes(parse_expr(query)):
            text = query[node.start : node.end]
            if text == "{}" or "#" in text:
                continue
            assert print_expr(parse_expr(text)) == print_expr(node), query
            seen += 1
    assert seen > 1000


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("", "unknown position: parse error: unexpected end of input"),
        ("x offset 5m", "1:3: parse error: unexpected <offset>"),
        ("x[5m]", '1:2: parse error: unexpected "["'),
        ("(x)", '1:1: parse error: unexpected "("'),
        ("sum(x)", '1:4: parse error: unexpected "("'),
        ("1", '1:1: parse error: unexpected number "1"'),
    ],
)
def test_selectors_alone(source: str, error: str) -> None:
    with pytest.raises(ParseError, match=re.escape(error)):
        parse_metric_selector(source)
    assert parse_metric_selector("{}").matchers == ()


def oracle_tree(node: Any) -> Any:
    """A tree of promql-parser in a form that `our_tree` has, too."""
    match node:
        case promql_parser.NumberLiteral():
            return ("number", node.val)
        case promql_parser.VectorSelector():
            matchers = {(m.name, MATCH_OPERATORS[str(m.op)], m.value) for m in node.matchers.matchers}
            return ("selector", node.name, matchers, oracle_ms(node.offset), oracle_at(node))
        case promql_parser.MatrixSelector():
            return ("matrix", oracle_tree(node.vector_selector), oracle_ms(node.range))
        case promql_parser.SubqueryExpr():
            times = [oracle_ms(duration) for duration in (node.range, node.step, node.offset)]
            return ("subquery", oracle_tree(node.expr), times, oracle_at(node))
        case promql_parser.Call():
            return ("call", node.func.name, [oracle_tree(arg) for arg in node.args])
        case promql_parser.AggregateExpr():
            param = None if node.param is None else oracle_tree(node.param)
            modifier = node.modifier
            without = modifier is not None and modifier.type == promql_parser.AggModifierType.Without
            labels = [] if modifier is None else modifier.labels
            return ("aggregation", str(node.op), oracle_tree(node.expr), param, labels, without)
        case promql_parser.UnaryExpr():
            return ("negation", oracle_tree(node.expr))
        case promql_parser.BinaryExpr():
            return ("binary", str(node.op), oracle_tree(node.lhs), oracle_tree(node.rhs), oracle_matching(node))
        case promql_parser.ParenExpr():
            return ("parentheses", oracle_tree(node.expr))


def oracle_matching(node: Any) -> Any:
    modifier = node.modifier
    if modifier is None:
        return (False, None, [], [])
    labels = modifier.matching
    on = None if labels is None else labels.type == promql_parser.LabelModifierType.Include
    return (modifier.return_bool, on, [] if labels is None else labels.labels, modifier.group_labels or [])


def oracle_ms(duration: Any) -> int:
    return 0 if duration is None else round(duration.total_seconds() * 1000)


def oracle_at(node: Any) -> str | None:
    return None if node.at is None else str(node.at.type).rpartition(".")[2].lower()


def our_tree(node: Any) -> Any:
    match node:
        case syntax.NumberLiteral():
            return ("number", node.value)
        case syntax.VectorSelector():
            matchers = {(m.name, m.type.value, m.value) for m in node.matchers if m.name != "__name__"}
            return ("selector", node.name, matchers, node.modifiers.offset_ms, our_at(node.modifiers))
        case syntax.MatrixSelector():
            return ("matrix", our_tree(node.selector), round(our_tree(node.range)[1] * 1000))
        case syntax.Subquery():
            range_ms, step_ms = (round(our_tree(duration)[1] * 1000) for duration in (node.range, node.step))
            times = [range_ms, step_ms, node.modifiers.offset_ms]
            return ("subquery", our_tree(node.expr), times, our_at(node.modifiers))
        case syntax.Call():
            return ("call", node.function.name, [our_tree(arg) for arg in node.args])
        case syntax.Aggregation():
            param = None if node.param is None else our_tree(node.param)
            return ("aggregation", node.op, our_tree(node.expr), param, list(node.labels), node.without)
        case syntax.Unary():
            return ("negation", our_tree(node.expr))
        case syntax.Binary():
            matching = node.matching
            on = matching.on if matching.on or matching.labels else None
            told = (node.return_bool, on, list(matching.labels), list(matching.include))
            return ("binary", node.op, our_tree(node.lhs), our_tree(node.rhs), told)
        case syntax.Paren():
            return ("parentheses", our_tree(node.expr))


def our_at(modifiers: syntax.Modifiers) -> str | None:
    return modifiers.at.value if isinstance(modifiers.at, AtBound) else None if modifiers.at is None else "at"


names = st.sampled_from(["x", "up", "a:b", "node_load1", "sum", "offset", "by", "start"])
labels = st.sampled_from(["a", "job", "le", "on", "bool"])
durations = st.sampled_from(["5m", "1h30m", "90", "1s", "500ms"])
spaces = st.sampled_from(["", " ", "\n  ", " # c\n"])


@st.composite
def selectors(draw: st.DrawFn) -> str:
    matchers = draw(st.lists(st.tuples(labels, st.sampled_from(["=", "!=", "=~", "!~"])), max_size=2, unique=True))
    inside = ",".join(f'{label}{op}"{draw(st.sampled_from(["b", "c.*|d", "é"]))}"' for label, op in matchers)
    return f"{draw(names)}{{{inside}}}" if inside else draw(names)


@st.composite
def modifiers(draw: st.DrawFn) -> str:
    offset = draw(st.sampled_from(["", " offset 5m", " offset -1h"]))
    at = draw(st.sampled_from(["", " @ 1609746000", " @ start()", " @ end()"]))
    return draw(st.sampled_from([offset + at, at + offset]))


@st.composite
def ranges(draw: st.DrawFn, vectors: st.SearchStrategy[str]) -> str:
    if draw(st.booleans()):
        return f"{draw(selectors())}[{draw(durations)}]{draw(modifiers())}"
    return f"({draw(vectors)})[{draw(durations)}:{draw(durations)}]{draw(modifiers())}"


@st.composite
def composed(draw: st.DrawFn, vectors: st.SearchStrategy[str]) -> str:
    """A vector made of other vectors."""
    label, space = draw(labels), draw(spaces)
    match draw(st.integers(0, 6)):
        case 0:
            return f"rate({draw(ranges(vectors))})"
        case 1:
            return f"abs({space}{draw(vectors)})"
        case 2:
            clause = draw(st.sampled_from(["", f" by ({label})", f" without ({label}, b)"]))
            return f"sum{clause} ({draw(vectors)})" if draw(st.booleans()) else f"sum({draw(vectors)}){clause}"
        case 3:
            return f"topk(3, {draw(vectors)}) by ({label})"
        case 4:
            return f"-{draw(vectors)}"
        case 5:
            return f"({draw(vectors)}{space})"
        case _:
            op = draw(st.sampled_from(["+", "-", "*", "/", "%", "^", "atan2", "==", "> bool", "<="]))
            matching = draw(st.sampled_from(["", f" on ({label})", f" ignoring ({label}) group_left (b)"]))
            if draw(st.integers(0, 3)) == 0:
                op, matching = draw(st.sampled_from(["and", "or", "unless"])), ""
            return f"{draw(vectors)} {op}{matching}{space} {draw(vectors)}"


vectors = st.recursive(
    st.builds(lambda selector, behind: selector + behind, selectors(), modifiers()), composed, max_leaves=6
)


operators = st.sampled_from(["+", "-", "*", "/", "%", "^", "atan2", "==", "> bool", "<=", "and", "or", "unless"])
chains = st.lists(st.tuples(operators, st.sampled_from(["x", "-y", "(-z)"])), min_size=2, max_size=5).map(
    lambda links: "x" + "".join(f" {operator} {operand}" for operator, operand in links)
)


@given(vectors | chains)
@settings(max_examples=400, deadline=None)
def test_two_parsers_read_the_same(query: str) -> None:
    tree = oracle_tree(promql_parser.parse(query))
    assert our_tree(parse_expr(query)) == tree
    assert our_tree(parse_expr(pretty(parse_expr(query)))) == tree


if __name__ == "__main__":
    with prometheus() as peer:
        for file, cases in (("right", RIGHT), ("wrong", WRONG)):
            with (EXPRESSIONS / f"{file}.jsonl").open("w", encoding="utf-8") as lines:
                for query, _ in cases:
                    line = json.dumps([query, ask(peer, "format_query", query)], ensure_ascii=False)
                    lines.write(f"{line}\n")
