"""Read counts in SQLite: written about once a minute and at the end, as they may be lost where samples may not.

Since when they are counted stands in `meta`: without it nobody could tell a metric that nobody needs from a new store.
"""

import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.labels import METRIC_NAME
from tsdb.embedded import series_rows
from tsdb.embedded.database import DATABASE_FILE
from tsdb.embedded.migrations import COUNTED_SINCE, check_schema
from tsdb.embedded.tools.inspection import inspected
from tsdb.usage import MetricReads, ReadCounts, Usage, metric_usage

_WRITE_EVERY_MS = 60 * 1000


class UsageRows:
    """Keeps the table in step with the counts. `write` and `committed` are for the writer thread."""

    def __init__(self, counts: ReadCounts) -> None:
        self._counts = counts
        self._taken: Mapping[str, MetricReads] = {}
        self._written_ms: int | None = None

    def load(self, connection: sqlite3.Connection) -> None:
        """Fill new counts."""
        self._counts.load(_counted_since_ms(connection), _reads(connection))

    def due(self, now_ms: int) -> bool:
        """Whether it is time to write."""
        if self._written_ms is not None and now_ms < self._written_ms + _WRITE_EVERY_MS:
            return False
        self._written_ms = now_ms
        return True

    def write(self, connection: sqlite3.Connection) -> None:
        """Write what changed; it counts once `committed` was called."""
        self._counts.give_back(self._taken)
        self._taken = self._counts.take_changed()
        connection.executemany(
            "INSERT OR REPLACE INTO metric_reads (name, reads, last_read_ms) VALUES (?, ?, ?)",
            [(name, read.reads, read.last_read_ms) for name, read in self._taken.items()],
        )

    def committed(self) -> None:
        """What the last `write` wrote is durable."""
        self._taken = {}


def read_usage(directory: Path) -> Usage:
    """The usage of a store's metrics, beside whoever writes to it. Raises StoreOpenError, StoreError."""
    with inspected(directory) as connection:
        check_schema(connection, directory / DATABASE_FILE)
        series = _series_by_metric(connection)
        return Usage(_counted_since_ms(connection), metric_usage(series.items(), _reads(connection)))


def _series_by_metric(connection: sqlite3.Connection) -> Counter[str]:
    series: Counter[str] = Counter()
    for group in series_rows.read(connection):
        names = [value for name, value in group.labels.pairs if name == METRIC_NAME]
        metrics = np.array([name == METRIC_NAME for name, _ in group.labels.pairs])
        counts = np.bincount(group.labels.flat, minlength=len(metrics))[metrics].tolist()
        series.update(dict(zip(names, counts, strict=True)))
    return +series


def _counted_since_ms(connection: sqlite3.Connection) -> int:
    (since_ms,) = connection.execute("SELECT value FROM meta WHERE key = ?", (COUNTED_SINCE,)).fetchone()
    return int(since_ms)


def _reads(connection: sqlite3.Connection) -> dict[str, MetricReads]:
    rows = connection.execute("SELECT name, reads, last_read_ms FROM metric_reads")
    return {name: MetricReads(reads, last_read_ms) for name, reads, last_read_ms in rows}
