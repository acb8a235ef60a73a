"""/api/v1/format_query and /api/v1/parse_query: a query as text over several lines, and as a tree."""

import json

from aiohttp import web

from promql.syntax.parser import parse_expr
from promql.syntax.printer import pretty
from promql.syntax.treejson import tree_json
from server.answers import Answer
from server.params import Params


async def format_query(request: web.Request, params: Params) -> Answer:
    """GET, POST /api/v1/format_query."""
    return Answer.of(pretty(parse_expr(params.get("query"))))


async def parse_query(request: web.Request, params: Params) -> Answer:
    """GET, POST /api/v1/parse_query."""
    tree = tree_json(parse_expr(params.get("query")))
    # orjson does not write trees as deep as expressions may be.
    return Answer((json.dumps(tree, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(),))
