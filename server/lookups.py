"""/api/v1/labels, /api/v1/label/<name>/values and /api/v1/series."""

from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from aiohttp import web

from common.labels import Labels, quote
from server.answers import TRUNCATED_WARNING, Answer
from server.deps import Dependencies
from server.errors import BadDataError
from server.jsonout import write_labels
from server.params import MAX_TIME_MS, MIN_TIME_MS, Params
from server.selectors import parse_selectors, unescape_label_name
from server.workers import Workers
from tsdb.cancellation import Cancellation

T = TypeVar("T")


class LookupApi:
    """Which labels and series there are."""

    def __init__(self, deps: Dependencies, workers: Workers) -> None:
        self._store = deps.store
        self._workers = workers
        self._timeout_s = deps.query_timeout_s

    async def labels(self, request: web.Request, params: Params) -> Answer:
        """GET, POST /api/v1/labels."""
        limit = params.limit()
        start_ms, end_ms = _time_range(params)
        selectors = parse_selectors(params.all("match[]"))
        if start_ms > end_ms:
            return Answer.of([])
        return await self._answer(
            lambda ask: self._store.label_names(selectors, start_ms, end_ms, ask), limit, Answer.of
        )

    async def label_values(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/label/<name>/values."""
        name = _label_name(request)
        limit = params.limit()
        start_ms, end_ms = _time_range(params)
        selectors = parse_selectors(params.all("match[]"))
        if start_ms > end_ms:
            return Answer.of([])
        return await self._answer(
            lambda ask: self._store.label_values(name, selectors, start_ms, end_ms, ask), limit, Answer.of
        )

    async def series(self, request: web.Request, params: Params) -> Answer:
        """GET, POST /api/v1/series."""
        selectors_texts = params.all("match[]")
        if not selectors_texts:
            raise BadDataError("no match[] parameter provided")
        limit = params.limit()
        start_ms, end_ms = _time_range(params)
        try:
            selectors = parse_selectors(selectors_texts)
        except BadDataError as error:
            raise BadDataError.of_parameter("match[]", error) from None
        if start_ms > end_ms:
            return Answer.of([])
        return await self._answer(
            lambda ask: self._store.series(selectors, start_ms, end_ms, ask), limit, _series_answer
        )

    async def _answer(
        self,
        look_up: Callable[[int | None], Sequence[T]],
        limit: int,
        write: Callable[[Sequence[T], Sequence[str]], Answer],
    ) -> Answer:
        """Look up one more than the limit, so as to know whether there are more."""

        def work(_: Cancellation) -> Answer:
            found = look_up(limit + 1 if limit else None)
            if limit and len(found) > limit:
                return write(found[:limit], [TRUNCATED_WARNING])
            return write(found, [])

        return await self._workers.run(work, self._timeout_s)


def _series_answer(series: Sequence[Labels], warnings: Sequence[str]) -> Answer:
    return Answer((b"[%s]" % b",".join(map(write_labels, series)),), warnings)


def _time_range(params: Params) -> tuple[int, int]:
    return params.time_ms_or("start", MIN_TIME_MS), params.time_ms_or("end", MAX_TIME_MS)


def _label_name(request: web.Request) -> str:
    raw = request.match_info["name"]
    try:
        # the router leaves escapes alone that are not UTF-8
        name = unescape_label_name(unquote_to_bytes(raw).decode())
    except UnicodeDecodeError:
        raise BadDataError(f"invalid label name: {quote(raw)}") from None
    if not name:
        raise BadDataError(f"invalid label name: {quote(name)}")
    return name
