"""Making roll-ups of what is older than a limit: a day of a target at a time, from its blocks.

What there is to do is a list in the database, `rollup_due`. A day is put on it, with every target that has blocks of
it, once it is old enough; and again by whoever changes blocks of a day that was rolled up. A day on the list gets rows
for those series that have none: others still say what their blocks say, or what these said before they were removed.
"""

from collections.abc import Iterator

import numpy as np

from tsdb.model import ABSENT, FloatArray, IntArray
from tsdb.pieces import Piece, join
from tsdb.rollups import RESOLUTIONS_MS, Column, roll_up
from tsdb.timescale import binary, block_rows, locks, meta, rollup_rows
from tsdb.timescale.binary import at_least, at_most
from tsdb.timescale.block_rows import WINDOW_MS
from tsdb.timescale.connections import Connection, Connections
from tsdb.timescale.locks import Lock
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.rollup_rows import DAY_MS, day_of

# Series that are in memory at once: a day of one has 6000 samples.
_SERIES_AT_ONCE = 200
# For all statements of a day of a target together.
_TIMEOUT_S = 600.0

_OLDEST_DAYS = """
SELECT (extract(epoch FROM from_time) * 1000)::bigint, (extract(epoch FROM to_time) * 1000)::bigint
FROM fleetwatch_data.parts WHERE relation = 'block' AND to_time > %s::timestamptz AND from_time < %s::timestamptz
"""

_LIST = """
INSERT INTO fleetwatch_data.rollup_due
SELECT DISTINCT timestamptz 'epoch' + %s * interval '1 millisecond', target_id FROM fleetwatch_data.series
WHERE target_id IS NOT NULL AND sid IN (
    SELECT DISTINCT sid FROM fleetwatch_data.block WHERE ts > %s::timestamptz AND ts <= %s::timestamptz
) ORDER BY target_id ON CONFLICT DO NOTHING
"""

_DUE = """
SELECT (extract(epoch FROM ts) * 1000)::bigint, target_id FROM fleetwatch_data.rollup_due ORDER BY ts, target_id
"""

_DONE = """
DELETE FROM fleetwatch_data.rollup_due
WHERE ts = timestamptz 'epoch' + %s * interval '1 millisecond' AND target_id = %s
"""

_MISSING = """
SELECT sid FROM fleetwatch_data.series WHERE target_id = %s AND NOT EXISTS (
    SELECT FROM fleetwatch_data.rollup WHERE rollup.sid = series.sid AND resolution = %s
    AND ts = timestamptz 'epoch' + %s * interval '1 millisecond'
) ORDER BY sid
"""

_BLOCKS = f"""
SELECT {block_rows.COLUMNS} FROM fleetwatch_data.block
WHERE sid = ANY(%s) AND ts > %s::timestamptz AND ts <= %s::timestamptz
"""


class RollupMaking:
    """Makes roll-ups. Every call is one transaction, which nothing else of the maintenance goes on beside."""

    def __init__(self, connections: Connections, partitions: Partitions) -> None:
        self._connections = connections
        self._partitions = partitions

    def days_to_list(self, before_ms: int) -> list[int]:
        """The starts of days that have ended before a time and were not put on the list, in order."""
        with self._connections.transaction() as connection:
            listed_ms = max(meta.read_ms(connection, meta.ROLLED_UNTIL), meta.read_ms(connection, meta.EXPIRED_UNTIL))
            # A block of the day before may have samples of it.
            bounds = at_least(listed_ms - WINDOW_MS), at_most(before_ms)
            parts = binary.fetch(connection, _OLDEST_DAYS, bounds)
        days = set()
        for from_ms, to_ms in zip(parts.int8(0).tolist(), parts.int8(1).tolist(), strict=True):
            days |= set(_days(max(from_ms, listed_ms), min(to_ms + WINDOW_MS, before_ms)))
        return sorted(day_ms for day_ms in days if listed_ms <= day_ms and day_ms + DAY_MS <= before_ms)

    def list_day(self, day_ms: int) -> None:
        """Put a day on the list, with the targets that have blocks of it. Raises psycopg.Error."""
        with self._connections.transaction(timeout_s=_TIMEOUT_S) as connection:
            locks.take(connection, Lock.MAINTENANCE)
            if meta.read_ms(connection, meta.ROLLED_UNTIL) <= day_ms:
                connection.execute(_LIST, (day_ms, at_least(day_ms - WINDOW_MS), at_most(day_ms + DAY_MS)))
                meta.raise_ms(connection, meta.ROLLED_UNTIL, day_ms + DAY_MS)

    def due(self) -> list[tuple[int, int]]:
        """The list: starts of days and targets."""
        with self._connections.transaction() as connection:
            rows = binary.fetch(connection, _DUE)
            return list(zip(rows.int8(0).tolist(), rows.int4(1).tolist(), strict=True))

    def make(self, day_ms: int, target_id: int) -> int:
        """Roll up what is missing of a day of a target; for how many series. Raises psycopg.Error."""
        with self._connections.transaction(timeout_s=_TIMEOUT_S) as connection:
            locks.take(connection, Lock.MAINTENANCE)
            if not connection.execute(_DONE, (day_ms, target_id)).rowcount:
                return 0
            if day_ms < meta.read_ms(connection, meta.EXPIRED_UNTIL):
                return 0
            missing = binary.fetch(connection, _MISSING, (target_id, RESOLUTIONS_MS[0], day_ms)).int8(0)
            self._partitions.ensure(connection, "rollup", day_ms, day_ms)
            return sum(
                self._make(connection, day_ms, missing[first : first + _SERIES_AT_ONCE])
                for first in range(0, len(missing), _SERIES_AT_ONCE)
            )

    def _make(self, connection: Connection, day_ms: int, sids: IntArray) -> int:
        bounds = at_least(day_ms - WINDOW_MS), at_most(day_ms + DAY_MS)
        rows = binary.fetch(connection, _BLOCKS, (sids.tolist(), *bounds))
        pieces = join([piece.within(day_ms + 1, day_ms + DAY_MS) for piece in block_rows.pieces_of(rows)])
        for resolution_ms in RESOLUTIONS_MS:
            for piece in pieces:
                values = on_grid(piece, day_ms, resolution_ms)
                rollup_rows.copy(connection, day_ms, resolution_ms, piece.series_ids, values)
        return sum(len(piece.series_ids) for piece in pieces)


def on_grid(piece: Piece, day_ms: int, resolution_ms: int) -> FloatArray:
    """float64[S, B, C]: all columns of a piece that lies in a day, at all buckets of it; ABSENT without a sample."""
    values = np.full((len(piece.series_ids), DAY_MS // resolution_ms, len(Column)), ABSENT)
    ends_ms, rolled = roll_up(piece, resolution_ms)
    values[:, (ends_ms - day_ms) // resolution_ms - 1] = rolled
    return values


def _days(first_ms: int, last_ms: int) -> Iterator[int]:
    yield from range(day_of(first_ms), day_of(last_ms) + 1, DAY_MS)
