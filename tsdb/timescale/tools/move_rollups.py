"""The roll-ups of an embedded store whose samples are gone, copied into a database. Others are made again there.

A day of a target is one transaction. Series that have a row of the day already are left alone: so a copy can be
repeated, and what the database has made itself stays.
"""

from collections.abc import Callable

import numpy as np
import psycopg

from tsdb.model import ABSENT, Batch, IntArray
from tsdb.rollups import RESOLUTIONS_MS, Column
from tsdb.timescale import binary, rollup_rows
from tsdb.timescale.binary import at_least
from tsdb.timescale.connections import Connections
from tsdb.timescale.ids import Ids
from tsdb.timescale.locks import Lock, share
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.resolving import Resolver
from tsdb.timescale.rollup_rows import DAY_MS
from tsdb.timescale.tools.move_source import MoveSource, RolledUp
from tsdb.timescale.writes import Write

# A day of one takes 25 kB.
_SERIES_AT_ONCE = 200
_TIMEOUT_S = 600.0

_THERE = "SELECT DISTINCT sid FROM fleetwatch_data.rollup WHERE sid = ANY(%s) AND ts = %s::timestamptz"


def move_rollups(source: MoveSource, connections: Connections, report: Callable[[int, int], None]) -> int:
    """Copy what is not there yet; how many days of targets there are. `report` is told how many are done, of how many.

    Raises psycopg.Error.
    """
    resolver = Resolver(source.catalog, Ids())
    days = source.rolled_up()
    for number, day in enumerate(days):
        report(number, len(days))
        with connections.transaction(timeout_s=_TIMEOUT_S) as connection:
            share(connection, Lock.MAINTENANCE)
            share(connection, Lock.SERIES)
            layout = source.catalog.layout(day.series_ids)
            named = Batch(day.target_id, layout, 0, np.zeros(len(layout)))
            resolved = resolver.resolve(connection, Write(batches=[named]))
            sids = resolved.sids[np.searchsorted(resolved.local, day.series_ids)]
            Partitions().ensure(connection, "rollup", day.start_ms, day.start_ms)
            _copy_day(connection, source, day, sids)
    report(len(days), len(days))
    return len(days)


def _copy_day(connection: psycopg.Connection, source: MoveSource, day: RolledUp, sids: IntArray) -> None:
    there = binary.fetch(connection, _THERE, (sids.tolist(), at_least(day.start_ms))).int8(0)
    missing = np.flatnonzero(~np.isin(sids, there))
    for first in range(0, len(missing), _SERIES_AT_ONCE):
        some = missing[first : first + _SERIES_AT_ONCE]
        for resolution_ms in RESOLUTIONS_MS:
            ends_ms, rolled = source.rollups(day, resolution_ms, some)
            values = np.full((len(some), DAY_MS // resolution_ms, len(Column)), ABSENT)
            values[:, (ends_ms - day.start_ms) // resolution_ms - 1] = rolled
            rollup_rows.copy(connection, day.start_ms, resolution_ms, sids[some], values)
