"""/api/v1/query and /api/v1/query_range."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import orjson
from aiohttp import web

from common.errors import FleetwatchError
from promql.memory import shown_bytes
from promql.result import Result
from server.active_queries import ActiveQueries
from server.active_query import ActiveQuery
from server.answers import TRUNCATED_WARNING, Answer
from server.deps import Dependencies
from server.errors import BadDataError, ExecutionFailedError
from server.jsonout import is_truncated, write_result
from server.params import Params, parse_seconds
from server.points import Part
from server.query_stats import samples_per_step, shown_stats
from server.workers import Workers
from tsdb.cancellation import Cancellation
from tsdb.model import IntArray

MAX_POINTS = 11_000


class QueryApi:
    """Evaluates PromQL; the evaluation and the writing of its JSON happen on one of the workers' threads."""

    def __init__(self, deps: Dependencies, workers: Workers, active: ActiveQueries) -> None:
        self._engine = deps.engine
        self._cache = deps.range_cache
        self._workers = workers
        self._active = active
        self._max_timeout_s = deps.query_timeout_s
        self._max_response_bytes = deps.max_response_bytes
        self._log = deps.query_log

    async def query(self, request: web.Request, params: Params) -> Answer:
        """GET, POST /api/v1/query."""
        limit = params.limit()
        at_ms = params.time_ms_or("time", _now_ms())
        timeout_s = self._timeout_s(params)
        lookback_ms = _lookback_ms(params)
        expr = params.get("query")

        def evaluate(query: ActiveQuery) -> Result:
            return self._engine.instant(
                expr, at_ms, lookback_ms=lookback_ms, cancellation=query.cancellation, memory=query.memory
            )

        with ExitStack() as stack:
            query = stack.enter_context(self._active.query(request, expr, at_ms, at_ms, 0))
            times_ms = np.array([at_ms])
            answer = await self._answer(query, evaluate, params, limit, timeout_s, times_ms)
            return replace(answer, held=stack.pop_all())

    async def query_range(self, request: web.Request, params: Params) -> Answer:
        """GET, POST /api/v1/query_range; `nocache=1` leaves the cache of results alone."""
        limit = params.limit()
        start_ms = params.time_ms("start")
        end_ms = params.time_ms("end")
        if end_ms < start_ms:
            raise BadDataError.of_parameter("end", "end timestamp must not be before start time")
        step_ms = _step_ms(params, end_ms - start_ms)
        timeout_s = self._timeout_s(params)
        lookback_ms = _lookback_ms(params)
        expr = params.get("query")
        cached = params.get("nocache") in ("", "0", "false")
        times_ms = np.arange(start_ms, end_ms + 1, step_ms)

        def evaluate(query: ActiveQuery) -> Result:
            evaluator = self._engine if self._cache is None or not cached else self._cache
            return evaluator.range(
                expr,
                start_ms,
                end_ms,
                step_ms,
                lookback_ms=lookback_ms,
                cancellation=query.cancellation,
                memory=query.memory,
            )

        with ExitStack() as stack:
            query = stack.enter_context(self._active.query(request, expr, start_ms, end_ms, step_ms))
            answer = await self._answer(query, evaluate, params, limit, timeout_s, times_ms)
            return replace(answer, held=stack.pop_all())

    async def explain(self, request: web.Request, params: Params) -> Answer:
        """GET, POST /api/v1/fleetwatch/explain: what a query does, with the parameters of either kind of query."""
        expr = params.get("query")
        if params.get("step"):
            start_ms, end_ms = params.time_ms("start"), params.time_ms("end")
            if end_ms < start_ms:
                raise BadDataError.of_parameter("end", "end timestamp must not be before start time")
            step_ms = _step_ms(params, end_ms - start_ms)
        else:
            start_ms = end_ms = params.time_ms_or("time", _now_ms())
            step_ms = 0
        with self._active.query(request, expr, start_ms, end_ms, step_ms) as query:

            def work(_: Cancellation) -> Answer:
                query.begin()
                explained = self._engine.explain(
                    expr, start_ms, end_ms, step_ms, cancellation=query.cancellation, memory=query.memory
                )
                plan = [
                    {
                        "depth": line.depth,
                        "node": line.text,
                        "series": line.series,
                        "seconds": line.seconds,
                        "notes": line.notes,
                    }
                    for line in explained.lines
                ]
                stats = shown_stats(explained.stats, query.queued_s)
                return Answer.of({"plan": plan, "stats": stats, "estimatedBytes": query.memory.taken_bytes})

            return await self._workers.run(work, self._timeout_s(params), query.cancellation)

    async def _answer(
        self,
        query: ActiveQuery,
        evaluate: Callable[[ActiveQuery], Result],
        params: Params,
        limit: int,
        timeout_s: float,
        times_ms: IntArray,
    ) -> Answer:
        wants_stats = params.get("stats")

        def work(_: Cancellation) -> Answer:
            query.begin()
            try:
                result = evaluate(query)
            except FleetwatchError as error:
                if self._log is not None:
                    self._log.write(query, None, str(error))
                raise
            stats = shown_stats(result.stats, query.queued_s)
            if self._log is not None:
                self._log.write(query, stats, None)
            if wants_stats == "all":
                stats["samples"]["totalQueryableSamplesPerStep"] = samples_per_step(result.stats, times_ms)
            truncated = is_truncated(result.value, limit)
            warnings = [*result.warnings, TRUNCATED_WARNING] if truncated else result.warnings
            shown = orjson.dumps(stats) if wants_stats else None
            return Answer(self._written(result, limit, shown, query.cancellation), warnings, result.infos)

        return await self._workers.run(work, timeout_s, query.cancellation)

    def _written(self, result: Result, limit: int, stats: bytes | None, cancellation: Cancellation) -> list[Part]:
        """Raises ExecutionFailedError where the answer is too large; ends early where nobody waits for it."""
        parts: list[Part] = []
        size = 0
        for part in write_result(result.value, limit, stats):
            size += len(part)
            if 0 < self._max_response_bytes < size:
                raise ExecutionFailedError(
                    f"the answer is larger than the {shown_bytes(self._max_response_bytes)} that"
                    " query.max_response_size allows; ask for fewer series or steps"
                )
            if cancellation.canceled:
                break
            parts.append(part)
        return parts

    def _timeout_s(self, params: Params) -> float:
        return min(params.duration_s_or("timeout", self._max_timeout_s), self._max_timeout_s)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _lookback_ms(params: Params) -> int | None:
    """The query's own lookback; None for the engine's, as with zero or less in Prometheus."""
    text = params.get("lookback_delta")
    if not text:
        return None
    try:
        lookback_s = parse_seconds(text)
    except ValueError as error:
        raise BadDataError(f"error parsing lookback delta duration: {error}") from None
    return int(lookback_s * 1000) if lookback_s >= 0.001 else None


def _step_ms(params: Params, span_ms: int) -> int:
    """The step of a range query over `span_ms`, cut to whole milliseconds."""
    step_s = params.duration_s("step")
    if step_s > 0 and span_ms / 1000 / step_s >= MAX_POINTS + 1:
        raise BadDataError(
            "exceeded maximum resolution of 11,000 points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )
    step_ms = int(step_s * 1000 + 1e-6)  # 1.001 s is 1001 ms, though 1.001 * 1000 is a little less
    if step_ms <= 0:
        raise BadDataError.of_parameter(
            "step", "zero or negative query resolution step widths are not accepted. Try a positive integer"
        )
    return step_ms
