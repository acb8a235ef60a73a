"""What an embedded store has beside samples, copied into a database: servers, log entries, exemplars.

Log entries are there once by their ids; for exemplars a time says what was copied before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import psycopg

from tsdb.model import LogEntry, SeriesExemplar, Server
from tsdb.timescale import meta, writes
from tsdb.timescale.binary import at_least, at_most
from tsdb.timescale.connections import Connections
from tsdb.timescale.ids import Ids
from tsdb.timescale.inserts import insert_exemplars, insert_logs, insert_servers
from tsdb.timescale.locks import Lock, share
from tsdb.timescale.partitions import Partitions, Relation
from tsdb.timescale.resolving import Resolver
from tsdb.timescale.tools.inspection import row_of
from tsdb.timescale.tools.move import MoveError
from tsdb.timescale.tools.move_source import MoveSource

_ENTRIES_AT_ONCE = 5000
_TIMEOUT_S = 600.0

_NOTED = "SELECT coalesce(max(value::bigint), %s) FROM fleetwatch_data.meta WHERE key = %s"

_NOTE = """
INSERT INTO fleetwatch_data.meta VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""

_PRESENT = """
SELECT count(*) FROM fleetwatch_data.logs
WHERE entry_id = ANY(%s) AND time >= %s::timestamptz AND time <= %s::timestamptz
"""

_TOUCHED = "SELECT server_id FROM fleetwatch_data.servers WHERE description <> '' OR labels <> '{}'"


@dataclass(frozen=True, slots=True)
class MovedRest:
    """What the database has of a store, copied now or before."""

    servers: int
    logs: int
    exemplars: int


def move_rest(source: MoveSource, connections: Connections, report: Callable[[int, int], None]) -> MovedRest:
    """Copy what is not there yet; `report` is told how many log entries are done, of how many.

    Raises MoveError, psycopg.Error.
    """
    return MovedRest(
        _move_servers(source, connections),
        _move_logs(source, connections, report),
        _move_exemplars(source, connections),
    )


def _move_servers(source: MoveSource, connections: Connections) -> int:
    """Those that somebody described in the database stay as they are."""
    servers: Sequence[Server] = writes.of_servers(source.servers(), replace=True).servers
    with connections.transaction() as connection:
        described = {server_id for (server_id,) in connection.execute(_TOUCHED)}
        insert_servers(connection, [server for server in servers if server.server_id not in described], [])
    return len(servers)


def _move_logs(source: MoveSource, connections: Connections, report: Callable[[int, int], None]) -> int:
    total, done, last = source.count_logs(), 0, 0
    while numbered := source.logs(last, _ENTRIES_AT_ONCE):
        entries: list[LogEntry] = writes.of_logs([entry for _, entry in numbered]).logs
        with connections.transaction(timeout_s=_TIMEOUT_S) as connection:
            times_ms = [entry.time_ns // 1_000_000 for entry in entries]
            _make_parts(connection, "logs", times_ms)
            insert_logs(connection, entries)
            bounds = at_least(min(times_ms)), at_most(max(times_ms) + 1)
            (there,) = row_of(connection, _PRESENT, [entry.entry_id for entry in entries], *bounds)
            if there != len(entries):
                raise MoveError(f"of {len(entries):,} log entries the database has {there:,}: none of them was kept")
        done, last = done + len(entries), numbered[-1][0]
        report(done, total)
    return done


def _move_exemplars(source: MoveSource, connections: Connections) -> int:
    exemplars: list[SeriesExemplar] = writes.of_exemplars(source.exemplars()).exemplars
    key = f"moved exemplars {source.identity()}"
    resolver = Resolver(source.catalog, Ids())
    with connections.transaction(timeout_s=_TIMEOUT_S) as connection:
        share(connection, Lock.MAINTENANCE)
        share(connection, Lock.SERIES)
        (until_ms,) = row_of(connection, _NOTED, meta.NEVER_MS, key)
        new = [exemplar for exemplar in exemplars if exemplar.time_ms > until_ms]
        if new:
            resolved = resolver.resolve(connection, writes.Write(exemplars=new))
            _make_parts(connection, "exemplars", [exemplar.time_ms for exemplar in new])
            local = np.array([exemplar.series_id for exemplar in new])
            insert_exemplars(connection, new, resolved.sids[np.searchsorted(resolved.local, local)])
            connection.execute(_NOTE, (key, str(max([exemplar.time_ms for exemplar in new]))))
    return len(exemplars)


def _make_parts(connection: psycopg.Connection, relation: Relation, times_ms: Sequence[int]) -> None:
    Partitions().ensure(connection, relation, min(times_ms), max(times_ms))
