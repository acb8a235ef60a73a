"""Deletes in the database carried out: their samples are removed from blocks and roll-ups, then they are forgotten.

Once the samples of a delete are being removed, which cannot be undone, sealing leaves them out of what it makes, and
the blocks from before are rewritten. Until the row of `tombstones` goes, readers hide them: a crash at any moment
changes nothing that can be read.
"""

import numpy as np

from tsdb.model import IntArray
from tsdb.timescale import binary, block_rows, locks, meta
from tsdb.timescale.binary import at_least, at_most
from tsdb.timescale.block_rows import WINDOW_MS
from tsdb.timescale.connections import Connection, Connections
from tsdb.timescale.locks import Lock
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.rollup_rows import day_of
from tsdb.tombstones import Deleted, Deletion, Tombstone, hide

# Of a part of a table in one transaction: a day of one series has 50 kB as it is sent.
_SERIES_AT_ONCE = 500
_TIMEOUT_S = 600.0

# The series only of those that are being carried out: they may be many.
_ALL = """
SELECT tombstone_id, start_ms, end_ms, upto_seq, expires_ms, CASE WHEN expires_ms = 0 THEN sids ELSE '{}' END
FROM fleetwatch_data.tombstones ORDER BY tombstone_id
"""

_DOOM = "UPDATE fleetwatch_data.tombstones SET expires_ms = 0 WHERE expires_ms BETWEEN 1 AND %s"

_IN_PART = """
sid = ANY(%s) AND seq <= %s AND ts >= %s::timestamptz AND ts <= %s::timestamptz
"""

_DELETE = f"DELETE FROM fleetwatch_data.block WHERE {_IN_PART}"

_TAKE = f"DELETE FROM fleetwatch_data.block WHERE {_IN_PART} RETURNING {block_rows.COLUMNS}"

_UNSEALED = "SELECT EXISTS (SELECT FROM fleetwatch_data.journal WHERE seq <= %s)"

# Roll-ups are kept by day: what is left of those days is rolled up again.
_OUTDATE = """
WITH gone AS (
    DELETE FROM fleetwatch_data.rollup WHERE sid = ANY(%s) AND ts >= %s::timestamptz AND ts <= %s::timestamptz
    RETURNING ts, sid
)
INSERT INTO fleetwatch_data.rollup_due
SELECT DISTINCT ts, target_id FROM gone JOIN fleetwatch_data.series USING (sid)
WHERE target_id IS NOT NULL AND ts >= %s::timestamptz ORDER BY ts, target_id ON CONFLICT DO NOTHING
"""

_FORGET = "DELETE FROM fleetwatch_data.tombstones WHERE tombstone_id = %s"

Share = tuple[Tombstone, int, int, IntArray]
"""A delete, times from which and to which the rows of `block` begin, and series."""


class Deletes:
    """Carries deletes out. All of it raises psycopg.Error."""

    def __init__(self, connections: Connections, partitions: Partitions) -> None:
        self._connections = connections
        self._partitions = partitions
        # Those of which no block has samples any more.
        self._removed: set[int] = set()

    def doom(self, expired_at_ms: int) -> list[Tombstone]:
        """Say that deletes whose time to be undone ended at a time, or before, are carried out; all such deletes."""
        with self._connections.transaction() as connection:
            connection.execute(_DOOM, (expired_at_ms,))
            return [tombstone for tombstone in load(connection) if tombstone.deletion.expires_ms == 0]

    def parts(self, tombstone: Tombstone) -> list[Share]:
        """A delete in the parts that `remove` takes, none where all are removed."""
        deletion, sids = tombstone.deletion, tombstone.series_ids
        if deletion.deletion_id in self._removed or tombstone.upto_seq < 0:
            return []
        with self._connections.transaction() as connection:
            parts = [part for part in self._partitions.parts(connection) if part.relation == "block"]
        return [
            (tombstone, low_ms, high_ms, sids[first : first + _SERIES_AT_ONCE])
            for part in parts
            if (low_ms := max(part.from_ms, deletion.start_ms - WINDOW_MS))
            <= (high_ms := min(part.to_ms - 1, deletion.end_ms))
            for first in range(0, len(sids), _SERIES_AT_ONCE)
        ]

    def remove(self, tombstone: Tombstone, low_ms: int, high_ms: int, sids: IntArray) -> int:
        """Remove the samples from the rows of some series that begin from one time to another; how many rows."""
        deletion, series, upto_seq = tombstone.deletion, sids.tolist(), tombstone.upto_seq
        with self._connections.transaction() as connection:
            locks.take(connection, Lock.MAINTENANCE)
            # Rows that lie wholly in the range of the delete need not be looked at.
            whole = max(low_ms, deletion.start_ms), min(high_ms, deletion.end_ms - WINDOW_MS)
            gone = connection.execute(_DELETE, (series, upto_seq, at_least(whole[0]), at_most(whole[1]))).rowcount
            taken = binary.fetch(connection, _TAKE, (series, upto_seq, at_least(low_ms), at_most(high_ms)))
            left = [
                rows
                for piece in block_rows.pieces_of(taken)
                for part in hide([piece], [tombstone])
                for rows in block_rows.rows_of(part, int(part.seqs[0]))
            ]
            block_rows.copy(connection, left)
            return gone + len(taken)

    def forget(self, tombstone: Tombstone) -> bool:
        """Forget a delete whose samples were removed, unless the journal still has some; whether it was forgotten."""
        deletion = tombstone.deletion
        self._removed.add(deletion.deletion_id)
        with self._connections.transaction(timeout_s=_TIMEOUT_S) as connection:
            locks.take(connection, Lock.MAINTENANCE)
            unsealed = connection.execute(_UNSEALED, (tombstone.upto_seq,)).fetchone()
            if unsealed is None or unsealed[0]:
                return False
            if tombstone.upto_seq >= 0:
                days = at_least(day_of(deletion.start_ms)), at_most(day_of(deletion.end_ms))
                kept_from = at_least(meta.read_ms(connection, meta.EXPIRED_UNTIL))
                connection.execute(_OUTDATE, (tombstone.series_ids.tolist(), *days, kept_from))
            connection.execute(_FORGET, (deletion.deletion_id,))
        self._removed.discard(deletion.deletion_id)
        return True


def load(connection: Connection) -> list[Tombstone]:
    """The deletes there are, with series, by sids, only of those whose samples are being removed."""
    rows = binary.fetch(connection, _ALL)
    numbers = zip(rows.int4(0).tolist(), *[rows.int8(column).tolist() for column in range(1, 5)], strict=True)
    return [
        Tombstone(
            Deletion(number, (), start_ms, end_ms, 0, expires_ms, Deleted(0, 0)),
            upto_seq,
            np.sort(binary.int8_array(sids)),
        )
        for (number, start_ms, end_ms, upto_seq, expires_ms), sids in zip(numbers, rows.whole(5), strict=True)
    ]
