"""What leaves the store: sealed journal rows, blocks past the retention, series without samples, and free pages.

All of it goes in steps of a few milliseconds, so that appends do not wait for it.
"""

import functools
import itertools
import sqlite3
import time
from collections import Counter

import numpy as np

from tsdb.catalog import Catalog
from tsdb.embedded import blocks, logs
from tsdb.embedded.catalog_rows import CatalogRows
from tsdb.embedded.codec.vectors import unpack_ints
from tsdb.embedded.database import Database
from tsdb.embedded.journal import Journal
from tsdb.embedded.regrouping import regroup
from tsdb.embedded.retention_classes import DEFAULT, RetentionClasses
from tsdb.embedded.sealing import Sealing
from tsdb.embedded.writer import STEP_S, Writer
from tsdb.head import Head
from tsdb.model import IntArray

_JOURNAL_ROWS_AT_ONCE = 32
_BLOCKS_AT_ONCE = 20
_CHUNKS_AT_ONCE = 32
_DELETE_SOME_CHUNKS = (
    "DELETE FROM chunks WHERE chunk_id IN (SELECT chunk_id FROM chunks WHERE chunk_id BETWEEN ? AND ? LIMIT ?)"
)
_LOGS_AT_ONCE = 500
_PAGES_AT_ONCE = 32
# Free pages that stay for what is written next: this share of the used ones, or as many as this.
_FREE_SHARE = 1 / 32
_FREE_PAGES = 8
# Of `PRAGMA auto_vacuum`; files of a first version may lack it.
_INCREMENTAL = 2

_EXPIRED = "expired_until_ms"
"""The row of `meta` that keeps what was removed from coming back after a restart, where a block still has it."""

NEVER_MS = -(2**63)
"""Before all times."""

FOR_EVER_MS = 2**62


class Retention:
    """Removes what is no longer needed. One call at a time, from a thread that may wait."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        head: Head,
        journal: Journal,
        catalog: Catalog,
        catalog_rows: CatalogRows,
    ) -> None:
        self._database = database
        self._writer = writer
        self._head = head
        self._journal = journal
        self._catalog = catalog
        self._catalog_rows = catalog_rows
        # Series that are no longer in the catalog, and still in the file.
        self._dropped = catalog_rows.superseded

    def trim_journal(self) -> None:
        """Remove sealed rows, those of all targets together as they lie in the file, and layouts without rows."""
        sealed = self._journal.sealed
        sealed.sort()
        while sealed:
            count, _ = self._writer.step(self._delete_rows, lambda deleted: self._journal.deleted(deleted[1]))
            del sealed[:count]

    def forget_before(self, before_ms: int) -> None:
        """Remember the time before which nothing is read; it does not go back from call to call."""

        def remember(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_EXPIRED, str(before_ms)))

        self._writer.step(remember)

    def expire_all(self, before_ms: int) -> None:
        """Remove all blocks from before a time."""
        self._expire_blocks("end_ms < ?", before_ms)

    def expire_classes(self, now_ms: int) -> None:
        """Remove the blocks of retention classes whose time is over."""
        self._expire_blocks("keep_ms != ? AND end_ms < ? - keep_ms", DEFAULT, now_ms)

    def expire_default(self, before_ms: int) -> None:
        """Remove the blocks of no retention class and the logs from before a time."""

        def remove_logs(connection: sqlite3.Connection, end: float) -> bool:
            while gone := logs.delete_before(connection, before_ms * 1_000_000, _LOGS_AT_ONCE):
                if time.perf_counter() > end:
                    return True
            return gone > 0

        self._expire_blocks("keep_ms = ? AND end_ms < ?", DEFAULT, before_ms)
        self._writer.steps(remove_logs)

    def _expire_blocks(self, condition: str, *arguments: int) -> None:
        def remove(connection: sqlite3.Connection, end: float) -> bool:
            rows = connection.execute(
                f"SELECT block_id FROM blocks WHERE {condition} LIMIT ?", (*arguments, _BLOCKS_AT_ONCE)
            )
            found = [block_id for (block_id,) in rows]
            blocks.unlink(connection, found)
            return bool(found)

        self._writer.steps(remove)

    def classify(self, classes: RetentionClasses, sealing: Sealing) -> None:
        """Put the series of all blocks into their retention classes, where those have changed."""
        with self._database.reader() as connection:
            if classes.are_stored(connection):
                return
            wrong: list[tuple[int, IntArray]] = []
            for block_id, keep_ms, packed in connection.execute("SELECT block_id, keep_ms, series_ids FROM blocks"):
                ids = unpack_ints(packed)
                keeps_ms = np.unique(classes.keeps_ms(ids[ids != blocks.REMOVED]))
                if len(keeps_ms) and not (len(keeps_ms) == 1 and keeps_ms[0] == keep_ms):
                    wrong.append((block_id, keeps_ms))
        for block_id, keeps_ms in wrong:
            if len(keeps_ms) > 1:
                sealing.rewrite(block_id)
            else:
                self._writer.step(functools.partial(blocks.keep, block_id=block_id, keep_ms=int(keeps_ms[0])))
        self._writer.step(classes.store)

    def shrink(self, most_bytes: int, window_ms: int, default_keep_ms: int | None = None) -> None:
        """Remove the oldest blocks until the used pages fit; those that reach into the newest window stay.

        With `default_keep_ms`, how long what is of no class is kept, those of the shortest class go first.
        """
        order = "end_ms" if default_keep_ms is None else "iif(keep_ms, keep_ms, :default), end_ms"

        def remove(connection: sqlite3.Connection) -> bool:
            count, end_ms = connection.execute("SELECT count(*), coalesce(max(end_ms), 0) FROM blocks").fetchone()
            # About half of what is to go, so that not much more goes.
            share = 1 - most_bytes / used_bytes
            at_once = max(1, min(_BLOCKS_AT_ONCE, int(count * share / 2)))
            rows = connection.execute(
                f"SELECT block_id FROM blocks WHERE end_ms < :end ORDER BY {order} LIMIT :count",
                {"end": end_ms // window_ms * window_ms, "default": default_keep_ms, "count": at_once},
            )
            found = [block_id for (block_id,) in rows]
            blocks.unlink(connection, found)
            return bool(found)

        while (used_bytes := self._used_bytes()) > most_bytes and self._writer.step(remove):
            self.sweep()

    def make_room(self, excess_bytes: int, window_ms: int, default_keep_ms: int | None) -> None:
        """Remove blocks as `shrink` does, so that the files get shorter by some bytes; no free page is left."""
        self.give_back(all_pages=True)
        with self._database.reader() as connection:
            (pages,), (size,) = (
                connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
            )
        # What was given back, and a checkpoint has not cut off yet, goes without anything being removed.
        wanted_bytes = max(0, self._database.size_bytes() - max(0, excess_bytes))
        if wanted_bytes < pages * size:
            keep_ms = FOR_EVER_MS if default_keep_ms is None else default_keep_ms
            self.shrink(wanted_bytes, window_ms, keep_ms)
            self.sweep()
            self.give_back(all_pages=True)
        self._database.cut()

    def sweep(self) -> None:
        """Remove the chunks of blocks that nobody sees, those a crash has left too."""

        def remove(connection: sqlite3.Connection, end: float) -> bool:
            while (row := connection.execute("SELECT block_id FROM unlinked LIMIT 1").fetchone()) is not None:
                first, last = blocks.first_chunk_id(row[0]), blocks.first_chunk_id(row[0] + 1) - 1
                while connection.execute(_DELETE_SOME_CHUNKS, (first, last, _CHUNKS_AT_ONCE)).rowcount:
                    if time.perf_counter() > end:
                        return True
                connection.execute("DELETE FROM unlinked WHERE block_id = ?", row)
                if time.perf_counter() > end:
                    return True
            return False

        self._writer.steps(remove)

    def drop_series(self) -> None:
        """Drop the series of which no block, roll-up, journal row or layout in use knows, unless they are new."""
        unseen = np.ones(self._catalog.index.next_id, dtype=np.bool_)
        with self._database.reader() as connection:
            packed = itertools.chain(
                connection.execute("SELECT series_ids FROM blocks"),
                connection.execute("SELECT series_ids FROM layouts"),
                connection.execute("SELECT series_ids FROM rollup_days"),
            )
            for (series_ids,) in packed:
                ids = unpack_ints(series_ids)
                # Series made since the count are not there to be dropped.
                unseen[ids[(ids != blocks.REMOVED) & (ids < len(unseen))]] = False

        def drop() -> IntArray:
            # In the writer thread, where batches become visible: none slips through.
            loose = self._head.loose_series()
            unseen[loose[loose < len(unseen)]] = False
            return self._catalog.drop_series(np.flatnonzero(unseen))

        self._dropped = np.union1d(self._dropped, self._writer.submit(drop).result())
        self._catalog.index.purge()
        self.regroup_series()

    def regroup_series(self) -> None:
        """Take the rows of dropped series out of the file, and join small groups of series."""
        if len(self._dropped):
            self._writer.step(self._catalog_rows.remember_next_id)
        regroup(self._database, self._writer, self._dropped)
        self._dropped = self._dropped[:0]

    def give_back(self, *, all_pages: bool = False) -> None:
        """Cut free pages off the file, but for some."""

        def vacuum(connection: sqlite3.Connection, end: float) -> bool:
            while self._free_pages(connection, all_pages):
                connection.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
                if time.perf_counter() > end:
                    return True
            return False

        with self._database.reader() as connection:
            (mode,) = connection.execute("PRAGMA auto_vacuum").fetchone()
            due = mode == _INCREMENTAL and self._free_pages(connection, all_pages)
        if due:
            self._writer.steps(vacuum)

    def _delete_rows(self, connection: sqlite3.Connection) -> tuple[int, Counter[int]]:
        """Delete the first of the sealed journal rows: how many, and of which layouts."""
        end = time.perf_counter() + STEP_S
        sealed, count = self._journal.sealed, 0
        layouts: Counter[int] = Counter()
        while count < len(sealed) and (not count or time.perf_counter() < end):
            layouts += self._journal.delete(connection, sealed[count : count + _JOURNAL_ROWS_AT_ONCE])
            count = min(count + _JOURNAL_ROWS_AT_ONCE, len(sealed))
        self._catalog_rows.forget_layouts(connection, self._journal.unused(layouts))
        return count, layouts

    def _used_bytes(self) -> int:
        with self._database.reader() as connection:
            (pages,), (free,), (size,) = (
                connection.execute(f"PRAGMA {name}").fetchone()
                for name in ("page_count", "freelist_count", "page_size")
            )
        return int((pages - free) * size)

    @staticmethod
    def _free_pages(connection: sqlite3.Connection, all_pages: bool) -> bool:
        """Whether pages are free, more than are likely to be used soon unless all of them count."""
        (pages,), (free,) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count")
        )
        return bool(free > (0 if all_pages else max(_FREE_PAGES, (pages - free) * _FREE_SHARE)))


def expired_until_ms(connection: sqlite3.Connection) -> int:
    """The time up to which `Retention.expire_all` has removed samples."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_EXPIRED,)).fetchone()
    return NEVER_MS if row is None else int(row[0])
