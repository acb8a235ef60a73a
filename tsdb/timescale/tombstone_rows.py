"""Tombstones in the database: a row hides its samples, from the moment it is committed, in every process.

The row names its series by sids: what another process learns of a series later is then hidden at once.
"""

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import orjson

from common.matchers import Matcher, MatchType
from tsdb.model import IntArray
from tsdb.timescale import binary, locks
from tsdb.timescale.connections import Connection
from tsdb.timescale.ids import UNKNOWN, Ids
from tsdb.timescale.locks import Lock
from tsdb.tombstones import Deleted, Deletion, Tombstone, Tombstones

_LAST_SEQ = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM fleetwatch_data.journal_seq"

# Rises with each delete, also of those that are made and carried out between two looks.
_LAST_NUMBER = """
SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM fleetwatch_data.tombstones_tombstone_id_seq
"""

_INSERT = """
INSERT INTO fleetwatch_data.tombstones
    (matchers, sids, start_ms, end_ms, upto_seq, created_ms, expires_ms, series, samples)
VALUES (%s::jsonb, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING tombstone_id
"""

_ALL = """
SELECT tombstone_id, expires_ms, matchers::text, start_ms, end_ms, upto_seq, created_ms, series, samples,
    CASE WHEN tombstone_id = ANY(%s) THEN NULL ELSE sids END
FROM fleetwatch_data.tombstones ORDER BY tombstone_id
"""

# The row stays for a while: others have to tell an undone delete from one that was carried out.
_UNDO = """
UPDATE fleetwatch_data.tombstones SET upto_seq = -1, expires_ms = %s
WHERE tombstone_id = %s AND expires_ms > 0 AND upto_seq >= 0
"""

_DOOM = "UPDATE fleetwatch_data.tombstones SET expires_ms = 0"


# How long an undone delete is told from one that was carried out.
_UNDONE_MS = 10 * 60 * 1000

_NO_SERIES = np.empty(0, dtype=np.int64)


class SharedTombstones(Tombstones):
    """The tombstones of all processes, as of the last `refresh`. Thread-safe."""

    def __init__(self, ids: Ids) -> None:
        super().__init__()
        self._ids = ids
        self._refreshing = threading.Lock()
        self._last_number = 0
        self._sids: dict[int, IntArray] = {}
        # Deletes that were carried out in the database: (when, tombstone, its sids). The head has their samples still.
        self._ghosts: list[tuple[int, Tombstone, IntArray]] = []

    def active(self) -> tuple[Tombstone, ...]:
        """See Tombstones.active. Series that have become known since a delete was made are among its own."""
        listed = [self._local(one, self._sids.get(one.deletion.deletion_id, _NO_SERIES)) for one in super().active()]
        return tuple(listed + [self._local(one, sids) for _, one, sids in self._ghosts])

    def listed(self) -> list[Deletion]:
        """The deletes that are not carried out."""
        return [one.deletion for one in super().active()]

    def bury(self, connection: Connection, tombstone: Tombstone) -> Tombstone:
        """Add a row: the tombstone with its number, which `refresh` shows once that is committed.

        What was written until now is hidden: no block is made meanwhile of samples from before and after.
        """
        locks.take(connection, Lock.MAINTENANCE)
        (upto_seq,) = binary.fetch(connection, _LAST_SEQ).int8(0).tolist()
        deletion, sids = tombstone.deletion, self._ids.sids(tombstone.series_ids)
        matchers = [[(one.name, one.type.value, one.value) for one in some] for some in deletion.selectors]
        values = (
            orjson.dumps(matchers).decode(),
            sids[sids != UNKNOWN].tolist(),
            deletion.start_ms,
            deletion.end_ms,
            upto_seq,
            deletion.created_ms,
            deletion.expires_ms,
            deletion.deleted.series,
            deletion.deleted.samples,
        )
        (number,) = binary.fetch(connection, _INSERT, values).int4(0).tolist()
        return replace(tombstone.numbered(number), upto_seq=upto_seq)

    def dig_up(self, connection: Connection, deletion_id: int, now_ms: int) -> bool:
        """Let a row hide nothing, unless its samples are being removed; whether there was one."""
        return connection.execute(_UNDO, (now_ms + _UNDONE_MS, deletion_id)).rowcount > 0

    def doom_all(self, connection: Connection) -> None:
        """Say of all deletes that their samples are to be removed."""
        connection.execute(_DOOM)

    def refresh(self, connection: Connection, now_ms: int, floor_ms: int | None) -> None:
        """Take in the rows as they are now. What is carried out hides on in a head that begins at `floor_ms`."""
        with self._refreshing:
            rows = binary.fetch(connection, _ALL, (list(self._sids),))
            (last_number,) = binary.fetch(connection, _LAST_NUMBER).int8(0).tolist()
            if last_number != self._last_number:
                self._last_number = last_number
                self.renew()
            known = {one.deletion.deletion_id: one for one in super().active()}
            for deletion, upto_seq, sids in _decoded(rows):
                number = deletion.deletion_id
                if sids is not None:
                    self._sids[number] = sids
                if upto_seq >= 0:
                    self.put(Tombstone(deletion, upto_seq, _NO_SERIES))
                elif number in known:
                    self.remove(number)
            for number in self._sids.keys() - set(rows.int4(0).tolist()):
                sids = self._sids.pop(number)
                if number in known:
                    if floor_ms is not None:
                        self._ghosts = [*self._ghosts, (now_ms, known[number], sids)]
                    self.remove(number)
            if floor_ms is not None:
                self._ghosts = [one for one in self._ghosts if floor_ms <= min(one[0], one[1].deletion.end_ms)]

    def _local(self, tombstone: Tombstone, sids: IntArray) -> Tombstone:
        local = self._ids.locals(sids)
        return replace(tombstone, series_ids=np.sort(local[local != UNKNOWN]))


def _decoded(rows: binary.Rows) -> Iterator[tuple[Deletion, int, IntArray | None]]:
    """Deletions, up to which write they count, and their sids where those were fetched."""
    numbers = zip(rows.int4(0).tolist(), *[rows.int8(column).tolist() for column in (1, *range(3, 9))], strict=True)
    for columns, matchers, sids in zip(numbers, rows.whole(2), rows.raw(9), strict=True):
        number, expires_ms, start_ms, end_ms, upto_seq, created_ms, series, samples = columns
        selectors = [
            [Matcher(name, MatchType(kind), text) for name, kind, text in one] for one in orjson.loads(matchers)
        ]
        deletion = Deletion(number, selectors, start_ms, end_ms, created_ms, expires_ms, Deleted(series, samples))
        yield deletion, upto_seq, None if sids is None else binary.int8_array(sids)
