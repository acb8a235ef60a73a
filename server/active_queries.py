"""The queries that wait or run, to be seen and killed: /api/v1/status/queries.

    GET    /api/v1/status/queries       what waits and runs, oldest first, and the memory that it takes
    DELETE /api/v1/status/queries/ID    end one: its client is answered `canceled`

There is nothing like it in Prometheus, whose list of active queries is a file for the time after a crash.
"""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from promql.memory import MemoryBudget
from server.active_query import ActiveQuery
from server.answers import Answer
from server.errors import NotFoundError
from server.params import Params
from server.targets import rfc3339


class ActiveQueries:
    """All of them. Used on the event loop, but for what a query itself changes in its thread."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._numbers = itertools.count(1)
        self._queries: dict[int, ActiveQuery] = {}

    @contextmanager
    def query(self, request: web.Request, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Iterator[ActiveQuery]:
        """Within: a query is answered. It is over with the last byte of its answer at the latest."""
        with self._budget.claim() as memory:
            query = ActiveQuery(
                next(self._numbers),
                expr,
                start_ms,
                end_ms,
                step_ms,
                request.path,
                request.method,
                request.remote or "",
                memory,
            )
            self._queries[query.number] = query
            try:
                yield query
            finally:
                query.cancellation.cancel()
                del self._queries[query.number]

    async def list(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/status/queries."""
        return Answer.of(
            {
                "queries": [_shown(query) for query in self._queries.values()],
                "memory": {
                    "takenBytes": self._budget.taken_bytes,
                    "maxQueryBytes": self._budget.max_query_bytes,
                    "maxTotalBytes": self._budget.max_total_bytes,
                },
            }
        )

    async def kill(self, request: web.Request, params: Params) -> Answer:
        """DELETE /api/v1/status/queries/{id}."""
        number = request.match_info["id"]
        query = self._queries.get(int(number)) if number.isdecimal() and len(number) < 20 else None
        if query is None:
            raise NotFoundError(f'no query "{number}" waits or runs; /api/v1/status/queries lists those that do')
        query.cancellation.cancel()
        return Answer.of({"killed": _shown(query)})


def _shown(query: ActiveQuery) -> dict[str, Any]:
    return {
        "id": str(query.number),
        "query": query.expr,
        "start": rfc3339(query.start_ms),
        "end": rfc3339(query.end_ms),
        "step": query.step_ms / 1000,
        "path": query.path,
        "client": query.client,
        "state": "queued" if query.begun_s is None else "running",
        "accepted": rfc3339(query.accepted_ms),
        "seconds": round(time.monotonic() - query.accepted_s, 3),
        "memoryBytes": query.memory.taken_bytes,
    }
