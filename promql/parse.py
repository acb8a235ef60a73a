"""PromQL text to the tree the evaluator walks; what was parsed before is remembered."""

from functools import lru_cache

from common.matchers import Matcher
from promql.lower import QueryTimes, depends_on_query, lower, ordered
from promql.nodes import Node
from promql.syntax import nodes as syntax
from promql.syntax.parser import parse_expr, parse_metric_selector

_REMEMBERED = 1000
# So that texts of clients do not fill the memory.
_LONGEST_REMEMBERED = 10_000
_ANY_QUERY = QueryTimes()


def parse(source: str, times: QueryTimes = _ANY_QUERY) -> Node:
    """The expression tree of a query. It is shared: nothing may change it.

    Raises ParseError, and ExecutionError for functions that take no anchored selectors.
    """
    if len(source) > _LONGEST_REMEMBERED:
        return lower(parse_expr(source), source, times)
    _, fits_any_query = _parse(source)
    return _lower(source, _ANY_QUERY if fits_any_query else times)


def parse_selector(source: str) -> tuple[Matcher, ...]:
    """The matchers of a series selector such as `up{job="node"}`, which may all match nothing. Raises ParseError."""
    return ordered(parse_metric_selector(source).matchers)


@lru_cache(_REMEMBERED)
def _parse(source: str) -> tuple[syntax.Expr, bool]:
    tree = parse_expr(source)
    return tree, not depends_on_query(tree)


@lru_cache(_REMEMBERED)
def _lower(source: str, times: QueryTimes) -> Node:
    return lower(_parse(source)[0], source, times)
