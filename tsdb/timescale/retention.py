"""What leaves the database: parts of tables past the retention, empty parts of the journal, and what nobody names.

Each call is one transaction, which nothing else of the maintenance goes on beside.
"""

import numpy as np

from tsdb.model import IntArray
from tsdb.timescale import binary, locks, meta
from tsdb.timescale.block_rows import WINDOW_MS
from tsdb.timescale.connections import Connection, Connections
from tsdb.timescale.locks import Lock
from tsdb.timescale.partitions import Partitions, Relation
from tsdb.timescale.rollup_rows import DAY_MS

# For all statements of a look at all series.
_TIMEOUT_S = 900.0
_SERIES_AT_ONCE = 20_000

# A write is under way for less.
_WRITTEN_BEFORE = "SELECT ((extract(epoch FROM now()) - 600) * 1000)::bigint"

_OLD_WRITERS = "DELETE FROM fleetwatch_data.writers WHERE seen_at < now() - interval '90 days'"

_WRITES = "SELECT writer_id, last_write FROM fleetwatch_data.writers"

_NAMED_LAYOUTS = "SELECT DISTINCT layout_id FROM fleetwatch_data.journal"

_NEW_LAYOUTS = """
SELECT DISTINCT layout_id FROM fleetwatch_data.writers
LEFT JOIN unnest(%s::int[], %s::bigint[]) AS seen(writer_id, last_write) USING (writer_id)
JOIN fleetwatch_data.journal ON journal.writer_id = writers.writer_id AND write_no > coalesce(seen.last_write, 0)
"""

_LAYOUTS = "SELECT layout_id FROM fleetwatch_data.layouts"

_SIDS_OF_LAYOUTS = "SELECT DISTINCT unnest(sids) FROM fleetwatch_data.layouts WHERE layout_id = ANY(%s)"

# Those that somebody has just made may not be named yet.
_OLD_SERIES = "SELECT sid FROM fleetwatch_data.series WHERE created_at < now() - interval '1 hour' ORDER BY sid"

_USED = """
SELECT sid FROM unnest(%s::bigint[]) AS sid WHERE EXISTS (SELECT FROM fleetwatch_data.block WHERE block.sid = sid.sid)
OR EXISTS (SELECT FROM fleetwatch_data.rollup WHERE rollup.sid = sid.sid)
OR EXISTS (SELECT FROM fleetwatch_data.exemplars WHERE exemplars.sid = sid.sid)
"""

_DROP_LAYOUTS = "DELETE FROM fleetwatch_data.layouts WHERE layout_id = ANY(%s)"
_DROP_SHARING = "DELETE FROM fleetwatch_data.series_sharing WHERE sid = ANY(%s)"
_DROP_SERIES = "DELETE FROM fleetwatch_data.series WHERE sid = ANY(%s)"

_NEXT_EPOCH = "UPDATE fleetwatch_data.meta SET value = (value::bigint + 1)::text WHERE key = 'series_epoch'"


class Retention:
    """Removes what is no longer needed. All of it raises psycopg.Error."""

    def __init__(self, connections: Connections, partitions: Partitions) -> None:
        self._connections = connections
        self._partitions = partitions

    def expire_samples(self, before_ms: int) -> int:
        """Drop the parts of which all samples are from before a time, and take in no more of such; how many parts."""
        with self._connections.transaction() as connection:
            locks.take(connection, Lock.MAINTENANCE)
            meta.raise_ms(connection, meta.EXPIRED_UNTIL, before_ms)
            dropped = self._partitions.drop_before(connection, "exemplars", before_ms)
            return dropped + self._partitions.drop_before(connection, "block", before_ms - WINDOW_MS)

    def expire(self, relation: Relation, before_ms: int) -> int:
        """Drop the parts of a table from before a time; how many."""
        with self._connections.transaction() as connection:
            locks.take(connection, Lock.MAINTENANCE)
            return self._partitions.drop_before(connection, relation, before_ms)

    def expire_rollups(self, before_ms: int) -> int:
        """Drop the parts of roll-ups of days that have ended before a time; how many."""
        return self.expire("rollup", before_ms - DAY_MS)

    def trim_journal(self) -> int:
        """Drop the parts of the journal that are empty and stay so; how many."""
        with self._connections.transaction() as connection:
            locks.take(connection, Lock.MAINTENANCE)
            (before_ms,) = binary.fetch(connection, _WRITTEN_BEFORE).int8(0).tolist()
            return self._partitions.drop_empty(connection, "journal", before_ms)

    def shrink(self, most_bytes: int, now_ms: int) -> bool:
        """Drop the oldest part of blocks or logs where all parts together have too many bytes; whether one was dropped.

        The parts that reach into the newest window stay.
        """
        with self._connections.transaction() as connection:
            locks.take(connection, Lock.MAINTENANCE)
            parts = self._partitions.parts(connection)
            old = [part for part in parts if part.relation in ("block", "logs") and part.to_ms <= now_ms - WINDOW_MS]
            if not old or sum(part.bytes for part in parts) <= most_bytes:
                return False
            oldest = min(old, key=lambda part: part.to_ms)
            if oldest.relation == "logs":
                return self._partitions.drop_before(connection, "logs", oldest.to_ms) > 0
            # Some samples of the window after it are gone with it.
            meta.raise_ms(connection, meta.EXPIRED_UNTIL, oldest.to_ms + WINDOW_MS)
            return self._partitions.drop_before(connection, "block", oldest.to_ms) > 0

    def drop_unnamed(self) -> tuple[int, int]:
        """Drop the series that nothing has samples of, and layouts that no row names: how many of each.

        Writers wait only for the end of it, and then look up again what they know.
        """
        with self._connections.transaction(timeout_s=_TIMEOUT_S) as connection:
            locks.take(connection, Lock.MAINTENANCE)
            connection.execute(_OLD_WRITERS)
            # First how far the writers are: what they write from now on is looked at in the end.
            writes = binary.fetch(connection, _WRITES)
            # Layouts and series that are made meanwhile are not among them.
            layouts = binary.fetch(connection, _LAYOUTS).int4(0)
            series = binary.fetch(connection, _OLD_SERIES).int8(0)
            unused = _unused(connection, series)
            named = binary.fetch(connection, _NAMED_LAYOUTS).int4(0)
            locks.take(connection, Lock.SERIES)
            seen = writes.int4(0).tolist(), writes.int8(1).tolist()
            named = np.union1d(named, binary.fetch(connection, _NEW_LAYOUTS, seen).int4(0))
            layouts = np.setdiff1d(layouts, named)
            in_layouts = binary.fetch(connection, _SIDS_OF_LAYOUTS, (named.tolist(),)).int8(0)
            unused = np.setdiff1d(unused, in_layouts)
            if len(unused) or len(layouts):
                connection.execute(_DROP_LAYOUTS, (layouts.tolist(),))
                connection.execute(_DROP_SHARING, (unused.tolist(),))
                connection.execute(_DROP_SERIES, (unused.tolist(),))
                connection.execute(_NEXT_EPOCH)
            return len(unused), len(layouts)


def _unused(connection: Connection, sids: IntArray) -> IntArray:
    """Those of some series that have no block, roll-up or exemplar."""
    used = [
        binary.fetch(connection, _USED, (sids[first : first + _SERIES_AT_ONCE].tolist(),)).int8(0)
        for first in range(0, len(sids), _SERIES_AT_ONCE)
    ]
    return np.setdiff1d(sids, np.concatenate(used)) if used else sids
