"""Retention classes: series that fulfil a class's matchers are kept as long as it says, all others as the store does.

Parts of tables go once the longest class has ended. Of the others' series the rows are deleted from older parts, and
how far that has gone is remembered for each length. What class a series is of depends on its labels alone, and is
found once by each process.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from common.labels import Labels
from common.matchers import Matcher, matches_all
from tsdb.model import IntArray
from tsdb.timescale import binary, locks, meta
from tsdb.timescale.binary import at_least, at_most
from tsdb.timescale.block_rows import WINDOW_MS
from tsdb.timescale.canonical import labels_of
from tsdb.timescale.connections import Connection, Connections
from tsdb.timescale.locks import Lock
from tsdb.timescale.partitions import Part, Partitions

Classes = Sequence[tuple[Sequence[Matcher], int]]
"""Matchers, and how many milliseconds is kept what fulfils all of them; the first that fits counts."""

# Of a transaction.
SERIES_AT_ONCE = 2000
# What is deleted at once of a series: less often, and in longer runs.
_STEP_MS = 3600 * 1000
_PAGE = 20_000
_TIMEOUT_S = 600.0

_CLASSES = "retention_classes"
_PROGRESS = "expired_until_ms of "

_SERIES = """
SELECT sid, labels::text, raw FROM fleetwatch_data.series WHERE sid > %s ORDER BY sid LIMIT %s
"""

_STORED = "SELECT value FROM fleetwatch_data.meta WHERE key = %s"
_STORE = """
INSERT INTO fleetwatch_data.meta VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
_FORGET = "DELETE FROM fleetwatch_data.meta WHERE starts_with(key, %s)"

_DELETE = """
DELETE FROM fleetwatch_data.block WHERE sid = ANY(%s) AND ts >= %s::timestamptz AND ts < %s::timestamptz
"""


@dataclass(frozen=True, slots=True, eq=False)
class Expired:
    """Series of which the rows from one time to another, not included, are to be deleted."""

    keep_ms: int
    from_ms: int
    before_ms: int
    sids: IntArray


class ClassRetention:
    """Deletes what is past a class that is not the longest. All of it raises psycopg.Error."""

    def __init__(
        self, connections: Connections, partitions: Partitions, classes: Classes, default_ms: int | None
    ) -> None:
        self._connections = connections
        self._partitions = partitions
        self._matchers = [tuple(matchers) for matchers, _ in classes]
        # For ever counts as the longest.
        default_ms = meta.FOR_EVER_MS if default_ms is None else default_ms
        self._keeps_ms = np.array([*[keep_ms for _, keep_ms in classes], default_ms], dtype=np.int64)
        self._text = json.dumps(
            [
                *[
                    ([(one.name, one.type.value, one.value) for one in matchers], keep_ms)
                    for matchers, keep_ms in classes
                ],
                default_ms,
            ]
        )
        # Of each series that is known, and the class that it is of.
        self._sids = np.empty(0, dtype=np.int64)
        self._class_of = np.empty(0, dtype=np.int8)

    @property
    def longest_ms(self) -> int | None:
        """How long anything is kept, None for ever."""
        longest_ms = int(self._keeps_ms.max())
        return None if longest_ms == meta.FOR_EVER_MS else longest_ms

    def due(self, now_ms: int) -> list[Expired]:
        """What is to be deleted, by how long it is kept."""
        shorter_ms = np.unique(self._keeps_ms[self._keeps_ms < self._keeps_ms.max()]).tolist()
        if not shorter_ms:
            return []
        with self._connections.transaction(timeout_s=_TIMEOUT_S) as connection:
            self._start_over_where_changed(connection)
            due = []
            for keep_ms in shorter_ms:
                done_ms = meta.read_ms(connection, f"{_PROGRESS}{keep_ms}")
                before_ms = (now_ms - keep_ms - WINDOW_MS) // _STEP_MS * _STEP_MS
                if before_ms > done_ms:
                    self._learn(connection)
                    sids = self._sids[self._keeps_ms[self._class_of] == keep_ms]
                    due.append(Expired(keep_ms, done_ms, before_ms, sids))
            return due

    def delete(self, expired: Expired, first: int) -> int:
        """Delete the rows of the next series from one on; how many rows."""
        with self._connections.transaction() as connection:
            locks.take(connection, Lock.MAINTENANCE)
            sids = expired.sids[first : first + SERIES_AT_ONCE].tolist()
            return connection.execute(_DELETE, (sids, at_least(expired.from_ms), at_most(expired.before_ms))).rowcount

    def kept_from_ms(self, connection: Connection, sids: IntArray) -> IntArray | None:
        """int64[N]: what of series is older was deleted and is not to be taken in again; None where there are none.

        Under the shared lock of MAINTENANCE that stays so until the transaction ends.
        """
        classes, number_of = np.unique(self._keeps_ms, return_inverse=True)
        if len(classes) == 1:
            return None
        progress_ms = [meta.read_ms(connection, f"{_PROGRESS}{keep_ms}") for keep_ms in classes.tolist()]
        self._learn(connection)
        places = np.minimum(np.searchsorted(self._sids, sids), len(self._sids) - 1)
        # One that is not known was made just now.
        found = np.where(self._sids[places] == sids, number_of[self._class_of[places]], len(classes) - 1)
        kept: IntArray = np.array(progress_ms)[found] + WINDOW_MS
        return kept

    def finish(self, expired: Expired) -> None:
        """Remember that everything was deleted."""
        with self._connections.transaction() as connection:
            locks.take(connection, Lock.MAINTENANCE)
            meta.raise_ms(connection, f"{_PROGRESS}{expired.keep_ms}", expired.before_ms)

    def emptied(self, expired: Expired) -> list[Part]:
        """The parts of which the last rows of a class were deleted with this: what is left takes less space."""
        with self._connections.transaction() as connection:
            parts = self._partitions.parts(connection)
        return [
            part for part in parts if part.relation == "block" and expired.from_ms < part.to_ms <= expired.before_ms
        ]

    def rewrite(self, part: Part) -> bool:
        """Give the space of deleted rows back; False where others hold the part for long."""
        with self._connections.transaction(timeout_s=_TIMEOUT_S) as connection:
            locks.take(connection, Lock.MAINTENANCE)
            return self._partitions.rewrite(connection, "block", part.name)

    def _start_over_where_changed(self, connection: Connection) -> None:
        stored = connection.execute(_STORED, (_CLASSES,)).fetchone()
        if stored is None or stored[0] != self._text:
            locks.take(connection, Lock.MAINTENANCE)
            connection.execute(_FORGET, (_PROGRESS,))
            connection.execute(_STORE, (_CLASSES, self._text))

    def _learn(self, connection: Connection) -> None:
        """Find the classes of series that were made since the last time."""
        while True:
            last = int(self._sids[-1]) if len(self._sids) else 0
            rows = binary.fetch(connection, _SERIES, (last, _PAGE))
            if not len(rows):
                return
            found = [
                self._find(Labels(sorted(orjson.loads(text).items())) if raw is None else labels_of(raw))
                for text, raw in zip(rows.whole(1), rows.raw(2), strict=True)
            ]
            self._sids = np.concatenate([self._sids, rows.int8(0)])
            self._class_of = np.concatenate([self._class_of, np.array(found, dtype=np.int8)])

    def _find(self, labels: Labels) -> int:
        for number, matchers in enumerate(self._matchers):
            if matches_all(matchers, labels):
                return number
        return len(self._matchers)
