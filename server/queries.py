"""/api/v1/query and /api/v1/query_range."""

import time
from collections.abc import Callable

from aiohttp import web

from promql.result import Result
from server.answers import TRUNCATED_WARNING, Answer
from server.deps import Dependencies
from server.errors import BadDataError
from server.jsonout import write_result
from server.params import Params, parse_seconds
from server.workers import IsGivenUp, Workers

MAX_POINTS = 11_000


class QueryApi:
    """Evaluates PromQL; the evaluation and the writing of its JSON happen on one of the workers' threads."""

    def __init__(self, deps: Dependencies, workers: Workers) -> None:
        self._engine = deps.engine
        self._workers = workers
        self._max_timeout_s = deps.query_timeout_s

    async def query(self, request: web.Request, params: Params) -> Answer:
        """GET, POST /api/v1/query."""
        limit = params.limit()
        at_ms = params.time_ms_or("time", _now_ms())
        timeout_s = self._timeout_s(params)
        lookback_ms = _lookback_ms(params)
        expr = params.get("query")
        return await self._evaluate(
            lambda is_given_up: self._engine.instant(expr, at_ms, lookback_ms=lookback_ms, is_canceled=is_given_up),
            limit,
            timeout_s,
        )

    async def query_range(self, request: web.Request, params: Params) -> Answer:
        """GET, POST /api/v1/query_range."""
        limit = params.limit()
        start_ms = params.time_ms("start")
        end_ms = params.time_ms("end")
        if end_ms < start_ms:
            raise BadDataError.of_parameter("end", "end timestamp must not be before start time")
        step_ms = _step_ms(params, end_ms - start_ms)
        timeout_s = self._timeout_s(params)
        lookback_ms = _lookback_ms(params)
        expr = params.get("query")
        return await self._evaluate(
            lambda is_given_up: self._engine.range(
                expr, start_ms, end_ms, step_ms, lookback_ms=lookback_ms, is_canceled=is_given_up
            ),
            limit,
            timeout_s,
        )

    async def _evaluate(self, evaluate: Callable[[IsGivenUp], Result], limit: int, timeout_s: float) -> Answer:
        def work(is_given_up: IsGivenUp) -> Answer:
            result = evaluate(is_given_up)
            data, truncated = write_result(result.value, limit)
            warnings = [*result.warnings, TRUNCATED_WARNING] if truncated else result.warnings
            return Answer(data, warnings, result.infos)

        return await self._workers.run(work, timeout_s)

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
