"""What a store reads: snapshots of the database, with the newest samples from memory, and errors that say what to do.

A read replica serves where its snapshot has every write that this process knows of: its own, and those that it has
followed. Otherwise, and in processes that follow nothing, the server that is written to does.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping

import psycopg

from tsdb.catalog import Holders
from tsdb.dsn import shown_dsn
from tsdb.errors import StoreError, WriteRefusedError
from tsdb.model import FloatArray, IntArray
from tsdb.pieces import Piece, Wanted
from tsdb.timescale import binary, rollup_reading
from tsdb.timescale.block_rows import WINDOW_MS
from tsdb.timescale.cancelling import ended_when_cancelled, raise_if_cancelled
from tsdb.timescale.connections import Connection, Connections, is_away
from tsdb.timescale.ids import Ids
from tsdb.timescale.layouts import LayoutSids
from tsdb.timescale.reading import Groups, Reading
from tsdb.timescale.recent import Recent
from tsdb.timescale.rollup_reading import Asked
from tsdb.tombstones import Tombstone

_WRITES = "SELECT writer_id, last_write FROM fleetwatch_data.writers WHERE writer_id = ANY(%s)"


class Reads:
    """The reads of one store. Thread-safe. `known_writes`, by writer, are to be found in a replica that serves."""

    def __init__(
        self,
        dsn: str,
        connections: Connections,
        ids: Ids,
        layouts: LayoutSids,
        recent: Recent | None,
        statement_timeout_s: float,
        known_writes: Callable[[], Mapping[int, int]] | None = None,
    ) -> None:
        self._where = shown_dsn(dsn)
        self._connections = connections
        self._ids = ids
        self._layouts = layouts
        self._recent = recent
        self._statement_timeout_s = statement_timeout_s
        self._known_writes = known_writes

    def pieces(self, targets: list[int], wanted: Wanted, start_ms: int, end_ms: int) -> Iterator[list[Piece]]:
        """See LocalStore._pieces. Raises StoreError."""
        if wanted.homes is None:
            groups, holders = Groups.one(wanted.series_ids, self._ids), [targets]
        else:
            groups = Groups.by_home(wanted.series_ids, wanted.homes, self._ids)
            holders = [[target_id] for target_id in targets]
        heads: list[list[Piece]] = [[] for _ in holders]
        database_end_ms = end_ms
        if self._recent is not None:
            for head, holding in zip(heads, holders, strict=True):
                for target_id in holding:
                    head += self._recent.pieces(target_id, wanted, start_ms, end_ms)
            # Only now: what was trimmed meanwhile is in the database.
            database_end_ms = min(end_ms, self._recent.complete_from_ms - 1)
        if not targets or start_ms > database_end_ms:
            yield from heads
            return
        with self.snapshot() as connection:
            reading = Reading(connection, self._layouts, WINDOW_MS)
            for pieces, head in zip(reading.pieces(groups, start_ms, database_end_ms), heads, strict=True):
                yield pieces + head

    def rollups(
        self, held: Holders, asked: Asked, tombstones: Collection[Tombstone]
    ) -> list[tuple[IntArray, FloatArray]] | None:
        """Series ids int64[S] and float64[S, B, C]; None where too little is rolled up. Raises StoreError."""
        found = []
        with self.snapshot() as connection:
            reading = Reading(connection, self._layouts, WINDOW_MS)
            groups = [Groups.by_home(held.own, held.homes, self._ids), Groups.one(held.shared, self._ids)]
            for some in groups:
                if not len(some.local):
                    continue
                values = rollup_reading.read(connection, reading, asked, some, tombstones)
                if values is None:
                    return None
                found.append((some.local, values))
        return found

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction that reads one state; the caller's cancellation ends its statement. Raises StoreError."""
        try:
            with contextlib.ExitStack() as stack:
                connection = self._replica(stack)
                if connection is None:
                    connection = stack.enter_context(self._connections.transaction(snapshot=True))
                stack.enter_context(ended_when_cancelled(connection))
                yield connection
        except psycopg.Error as error:
            raise self.error_of(error) from error

    @contextlib.contextmanager
    def changing(self) -> Iterator[Connection]:
        """A transaction that does not go through the journal. Raises WriteRefusedError where it cannot be done now."""
        try:
            with self._connections.transaction() as connection:
                yield connection
        except psycopg.Error as error:
            raise self.refusal_of(error) from error

    def error_of(self, error: psycopg.Error) -> StoreError:
        """What failed, for who asked. Raises StoreError where nobody waits for it any more."""
        if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable):
            raise_if_cancelled()
            return StoreError(
                f"the database took longer than {self._statement_timeout_s:g} s for a part of the query: ask for fewer "
                "series or a shorter time, or raise storage.timescaledb.statement_timeout"
            )
        if is_away(error):
            return StoreError(f"the database {self._where} is away: {first_line(error)}")
        return StoreError(f"the database {self._where} refused to be read: {first_line(error)}")

    def refusal_of(self, error: psycopg.Error) -> WriteRefusedError:
        """What failed, for who wanted something changed."""
        return WriteRefusedError(f"the database {self._where} did not take it: {first_line(error)}")

    def _replica(self, stack: contextlib.ExitStack) -> Connection | None:
        """A snapshot of a replica, until the stack is left; None where none has all that it must have."""
        known = {} if self._known_writes is None else self._known_writes()
        if not known:
            return None
        # One that fails is as good as one that is behind.
        with contextlib.suppress(psycopg.Error), contextlib.ExitStack() as own:
            connection = own.enter_context(self._connections.transaction(snapshot=True, reader=True))
            rows = binary.fetch(connection, _WRITES, (list(known),))
            found = dict(zip(rows.int4(0).tolist(), rows.int8(1).tolist(), strict=True))
            if all(found.get(writer, 0) >= write for writer, write in known.items()):
                stack.push(own.pop_all())
                return connection
        return None


def first_line(error: Exception) -> str:
    """What a database said, in a line."""
    return str(error).strip().partition("\n")[0]
