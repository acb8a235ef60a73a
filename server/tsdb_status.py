"""/api/v1/status/tsdb, what series the store has; and /api/v1/fleetwatch/usage, which metrics are read."""

import time
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from scraper.drop_rules import drop_rule
from server.answers import Answer
from server.deps import Dependencies
from server.errors import BadDataError
from server.params import Params, integer
from server.targets import rfc3339
from server.workers import Workers
from tsdb.cancellation import Cancellation
from tsdb.cardinality import Cardinality, Count
from tsdb.usage import Usage, is_unread

DEFAULT_LIMIT = 10

DEFAULT_UNUSED_FOR_S = 30 * 24 * 3600.0

# The times of a Prometheus without samples: a minimum and a maximum of nothing.
_NO_FIRST_MS, _NO_LAST_MS = 2**63 - 1, -(2**63)


class TsdbStatusApi:
    """What is in the store, and what of it is read."""

    def __init__(self, deps: Dependencies, workers: Workers) -> None:
        self._store = deps.store
        self._workers = workers
        self._timeout_s = deps.query_timeout_s

    async def tsdb(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/status/tsdb: the `limit` greatest counts of each kind; in `fleetwatch`, those by target."""
        text = params.get("limit")
        limit = integer(text) if text else DEFAULT_LIMIT
        if limit is None or limit < 1:
            raise BadDataError("limit must be a positive number")

        def work(_: Cancellation) -> Answer:
            return Answer.of(_cardinality(self._store.cardinality(limit)))

        return await self._workers.run(work, self._timeout_s)

    async def usage(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/fleetwatch/usage: metrics by series, those not read for `unused_for` first; `limit` of them."""
        limit = params.limit()
        unused_for_s = params.duration_s_or("unused_for", DEFAULT_UNUSED_FOR_S)
        before_ms = time.time_ns() // 1_000_000 - round(unused_for_s * 1000)

        def work(_: Cancellation) -> Answer:
            return Answer.of(_usage(self._store.usage().unread_first(before_ms, limit), before_ms))

        return await self._workers.run(work, self._timeout_s)


def _cardinality(counted: Cardinality) -> dict[str, Any]:
    return {
        "headStats": {
            "numSeries": counted.series,
            "numLabelPairs": counted.label_pairs,
            "chunkCount": counted.chunks,
            "minTime": _NO_FIRST_MS if counted.first_ms is None else counted.first_ms,
            "maxTime": _NO_LAST_MS if counted.last_ms is None else counted.last_ms,
        },
        "seriesCountByMetricName": _counts(counted.metric_series),
        "labelValueCountByLabelName": _counts(counted.label_values),
        "memoryInBytesByLabelName": _counts(counted.label_bytes),
        "seriesCountByLabelValuePair": _counts(counted.pair_series),
        "fleetwatch": {
            "seriesCountByTarget": [
                {"name": str(target.labels), "labels": dict(target.labels), "value": target.series, "new": target.new}
                for target in counted.target_series
            ],
            "newSince": None if counted.new_since_ms is None else rfc3339(counted.new_since_ms),
        },
    }


def _counts(counts: Sequence[Count]) -> list[dict[str, Any]]:
    return [{"name": count.name, "value": count.value} for count in counts]


def _usage(usage: Usage, before_ms: int) -> dict[str, Any]:
    return {
        "countedSince": rfc3339(usage.counted_since_ms),
        "metrics": [
            {
                "name": metric.name,
                "series": metric.series,
                "reads": metric.reads,
                "lastRead": None if metric.last_read_ms is None else rfc3339(metric.last_read_ms),
                "unused": is_unread(metric, before_ms),
            }
            for metric in usage.metrics
        ],
        "dropRule": drop_rule(metric.name for metric in usage.metrics if is_unread(metric, before_ms)),
    }
