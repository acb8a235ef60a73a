"""Prometheus's query log: a line of JSON for each query that was evaluated (global.query_log_file)."""

import logging
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from server.active_query import ActiveQuery

log = logging.getLogger(__name__)


class QueryLog:
    """Appends to a file. Thread-safe; a file that cannot be written costs no query its answer, it is said once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._failed = False

    def write(self, query: ActiveQuery, stats: dict[str, Any] | None, error: str | None) -> None:
        """Take down a query that is over, with its stats or the text of its error."""
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "level": "INFO",
            "msg": "promql query logged",
            "params": {
                "end": _time(query.end_ms),
                "query": query.expr,
                "start": _time(query.start_ms),
                "step": query.step_ms // 1000,
            },
        }
        if error is not None:
            line["error"] = error
        if stats is not None:
            line["stats"] = stats
        line["httpRequest"] = {"clientIP": query.client, "method": query.method, "path": query.path}
        try:
            # Opened each time, so that logrotate needs no signal.
            with self._lock, self._path.open("ab") as file:
                file.write(orjson.dumps(line) + b"\n")
            self._failed = False
        except OSError as failure:
            if not self._failed:
                log.error("the query log cannot be written", extra={"file": self._path, "error": str(failure)})
            self._failed = True


def _time(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return f"{time_ms / 1000}"  # no calendar reaches there
