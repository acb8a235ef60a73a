"""Queries formatted and taken apart, without being run. What the parser itself answers is tested in tests/promql."""

import pytest

from tests.server.conftest import Server

LONG = (
    "sum by (job) (rate(http_requests_total{code=~'5..', handler='/api'}[5m])) / ignoring (code) group_left " + "x" * 50
)


async def test_a_query_is_formatted(server: Server) -> None:
    assert await server.data("format_query", query="SUM(up)by(job)") == "sum by (job) (up)"
    assert (await server.data("format_query", query=LONG)).splitlines() == [
        '  sum by (job) (rate(http_requests_total{code=~"5..",handler="/api"}[5m]))',
        "/ ignoring (code) group_left ()",
        f"  {'x' * 50}",
    ]
    assert await server.data("format_query", query=r'"\xff é"') == r'"\xff é"'


async def test_a_query_is_a_tree(server: Server) -> None:
    tree = await server.data("parse_query", query='-rate(up{job="a"}[5m] offset 1m @ end())')
    assert (tree["type"], tree["op"]) == ("unaryExpr", "-")
    assert tree["expr"]["func"] == {"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"}
    assert tree["expr"]["args"] == [
        {
            "type": "matrixSelector",
            "name": "up",
            "matchers": [
                {"name": "job", "type": "=", "value": "a"},
                {"name": "__name__", "type": "=", "value": "up"},
            ],
            "range": 300_000,
            "offset": 60_000,
            "timestamp": None,
            "startOrEnd": "end",
            "anchored": False,
            "smoothed": False,
        }
    ]
    # JSON has no bytes: they are shown as replacement characters.
    assert await server.data("parse_query", query=r'"\xff"') == {"type": "stringLiteral", "val": "\ufffd"}


@pytest.mark.parametrize("endpoint", ["format_query", "parse_query"])
async def test_queries_come_in_forms_too(server: Server, endpoint: str) -> None:
    async with server.session.post(f"/api/v1/{endpoint}", data={"query": "up"}) as response:
        assert (await response.json())["status"] == "success"


@pytest.mark.parametrize("endpoint", ["format_query", "parse_query", "query"])
@pytest.mark.parametrize(
    ("query", "error"),
    [
        (
            "sum(\n  up[5m])",
            "2:3: parse error: expected type instant vector in aggregation expression, got range vector",
        ),
        ("up{job=~'('}", "1:4: parse error: error parsing regexp: missing closing ): `(`"),
        ("", "unknown position: parse error: no expression found in input"),
    ],
)
async def test_errors_say_where(server: Server, endpoint: str, query: str, error: str) -> None:
    status, answer = await server.get(endpoint, query=query)
    assert (status, answer["errorType"], answer["error"]) == (400, "bad_data", f'invalid parameter "query": {error}')


async def test_deep_trees_are_written(server: Server) -> None:
    tree = await server.data("parse_query", query="max_over_time(" * 95 + "up" + "[5m:1m])" * 95)
    depth = 0
    while tree["type"] != "vectorSelector":
        tree = tree["args"][0]["expr"]
        depth += 1
    assert depth == 95
    fill = await server.data("parse_query", query="up + fill_left (NaN) fill_right (2) up")
    assert fill["matching"]["fillValues"] == {"lhs": None, "rhs": 2}
