"""/api/v1/query_exemplars."""

from collections.abc import Iterator, Sequence

from aiohttp import web

from common.labels import Labels
from common.matchers import Matcher
from promql.nodes import (
    Aggregation,
    Binary,
    Call,
    MatrixSelector,
    Negation,
    Node,
    Number,
    Subquery,
    Text,
    VectorSelector,
)
from promql.parse import parse
from server.answers import Answer
from server.deps import Dependencies
from server.errors import BadDataError
from server.jsonout import write_labels
from server.numbertext import format_float, format_time
from server.params import MAX_TIME_MS, MIN_TIME_MS, Params
from server.workers import Workers
from tsdb.model import SeriesExemplar


class ExemplarApi:
    """The exemplars of the series that a query selects."""

    def __init__(self, deps: Dependencies, workers: Workers) -> None:
        self._store = deps.store
        self._workers = workers
        self._timeout_s = deps.query_timeout_s

    async def query_exemplars(self, request: web.Request, params: Params) -> Answer:
        """GET, POST /api/v1/query_exemplars. As in Prometheus a query without any selector has no content."""
        start_ms = params.time_ms_or("start", MIN_TIME_MS)
        end_ms = params.time_ms_or("end", MAX_TIME_MS)
        if end_ms < start_ms:
            raise BadDataError("end timestamp must not be before start timestamp")
        selectors = list(_selectors(parse(params.get("query"))))
        if not selectors:
            raise web.HTTPNoContent
        return await self._workers.run(lambda _: self._answer(selectors, start_ms, end_ms), self._timeout_s)

    def _answer(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> Answer:
        found = self._store.select_exemplars(selectors, start_ms, end_ms)
        return Answer((b"[%b]" % b",".join([_series(labels, exemplars) for labels, exemplars in found]),))


def _selectors(node: Node) -> Iterator[Sequence[Matcher]]:
    """The matchers of every selector in an expression (prometheus promql/parser ExtractSelectors)."""
    match node:
        case VectorSelector():
            yield node.matchers
        case MatrixSelector():
            yield node.selector.matchers
        case Subquery() | Negation():
            yield from _selectors(node.expr)
        case Call():
            for arg in node.args:
                yield from _selectors(arg)
        case Aggregation():
            yield from _selectors(node.expr)
            if node.param is not None:
                yield from _selectors(node.param)
        case Binary():
            yield from _selectors(node.lhs)
            yield from _selectors(node.rhs)
        case Number() | Text():
            pass


def _series(labels: Labels, exemplars: Sequence[SeriesExemplar]) -> bytes:
    written = b",".join(map(_exemplar, exemplars))
    return b'{"seriesLabels":%b,"exemplars":[%b]}' % (write_labels(labels), written)


def _exemplar(exemplar: SeriesExemplar) -> bytes:
    return b'{"labels":%b,"value":"%b","timestamp":%b}' % (
        write_labels(exemplar.labels),
        format_float(exemplar.value).encode(),
        format_time(exemplar.time_ms),
    )
