"""Stores in a database of one test module, which each test finds empty: to empty it takes less than to make one."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.tsdb.timescale.scratch import Server
from tsdb.timescale.connections import Connections
from tsdb.timescale.maintenance import Maintenance, Plan
from tsdb.timescale.options import Options
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.store import TimescaleStore

# Of every time of the tests.
EVERYTHING_MS = 10**14

DAY_MS = 24 * 3600 * 1000

_EMPTY = """
TRUNCATE fleetwatch_data.journal, fleetwatch_data.block, fleetwatch_data.rollup, fleetwatch_data.exemplars,
    fleetwatch_data.series, fleetwatch_data.series_sharing, fleetwatch_data.targets, fleetwatch_data.layouts,
    fleetwatch_data.servers, fleetwatch_data.logs, fleetwatch_data.tombstones, fleetwatch_data.metric_reads,
    fleetwatch_data.writers, fleetwatch_data.rollup_due;
DELETE FROM fleetwatch_data.meta WHERE key IN ('expired_until_ms', 'rolled_until_ms', 'reads_counted_since_ms')
"""

_dsns: dict[Server, str] = {}


def emptied(server: Server) -> str:
    """The DSN of a database without anything in it."""
    if server not in _dsns:
        _dsns[server] = server.create_database()
        return _dsns[server]
    with psycopg.connect(_dsns[server], autocommit=True) as connection:
        connection.execute(_EMPTY)
    return _dsns[server]


class Stores:
    """Stores that use a database at the same time, each as a process of its own would."""

    def __init__(self, dsn: str, directory: Path) -> None:
        self.dsn = dsn
        self._directory = directory
        self._opened: list[TimescaleStore] = []

    def open(self, head_ms: int = 0, **options: object) -> TimescaleStore:
        """One more; with a head it has all of it."""
        spool = self._directory / f"spool{len(self._opened)}"
        values: dict[str, object] = {"head_ms": head_ms, "pool_size": 4, "commit_delay_s": 0.0, **options}
        store = TimescaleStore(self.dsn, Options(spool, **values))  # type: ignore[arg-type]  # the test names them
        self._opened.append(store)
        if "start_without" not in options:
            store.catch_up()
        return store

    def maintenance(self, rollup_after_ms: int | None = None) -> contextlib.AbstractContextManager[Maintenance]:
        """That of a further process, which seals even what was written a moment ago."""
        return maintaining(self.dsn, rollup_after_ms)

    def seal(self, now_ms: int) -> None:
        """Seal what is in windows that have ended by a time."""
        with self.maintenance() as maintenance:
            maintenance.seal(now_ms)

    def number(self, query: str) -> int:
        """The one number that a query gives."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute(query.encode()).fetchone()
            assert row is not None
            return int(row[0])

    def close(self) -> None:
        """Close them all."""
        for store in self._opened[::-1]:
            store.close()


@contextlib.contextmanager
def maintaining(dsn: str, rollup_after_ms: int | None = None) -> Iterator[Maintenance]:
    connections = Connections(dsn, size=2)
    plan = Plan(sealing_delay_ms=0, settle_s=0, rollup_after_ms=rollup_after_ms)
    try:
        yield Maintenance(connections, Partitions(), plan)
    finally:
        connections.close()
