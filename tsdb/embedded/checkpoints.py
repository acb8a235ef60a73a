"""Checkpoints: what was committed moves from the WAL file into the database file, in a thread of its own.

SQLite would do it in the commit that finds the WAL long enough, which then waits for two syncs of the disk. Here a
commit never does. A checkpoint beside a writer can leave a rest, because commits go on; the WAL starts again from its
beginning once one left none. Where that does not happen by itself, the writer is held off for a last, short one.
"""

import logging
import sqlite3
import threading
import time
from pathlib import Path

log = logging.getLogger(__name__)

# After a commit, at the latest.
_INTERVAL_S = 5.0
# How often to look whether the WAL has grown, and by how much it must have for a checkpoint before that.
_LOOK_S = 0.25
_GROWTH_BYTES = 4 * 1024 * 1024
# Each pass leaves less to the next, until one takes no longer than it is to the next commit.
_PASSES = 8
# If passes beside the writer leave a rest, it is held off for one from this length of the WAL on.
_MOST_BYTES = 64 * 1024 * 1024
# That pass waits so long for the commit before it, and for readers; what it does not get it gets at the next look.
_LOCK_WAIT_MS = 20


class Checkpoints:
    """The thread that does them, for as long as a database is open."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.wanted = False
        """Set by whoever commits."""
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._connection = connection
        connection.execute(f"PRAGMA busy_timeout={_LOCK_WAIT_MS}")
        (self._page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        self._failed = False
        self._short_of_room = False
        self._stopping = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tsdb-checkpoints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; whoever closes the last connection does the last checkpoint."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._connection.close()

    def make_room(self) -> None:
        """Say that the disk is full: the WAL is emptied soon, if the database file has room for what it holds."""
        self._short_of_room = True
        self._wake.set()

    def _run(self) -> None:
        last_s, last_bytes = time.monotonic(), 0
        while True:
            self._wake.wait(_LOOK_S)
            self._wake.clear()
            if self._stopping:
                return
            grown = self._wal_bytes() - last_bytes >= _GROWTH_BYTES
            overdue = grown or time.monotonic() - last_s >= _INTERVAL_S
            if self._short_of_room or (self.wanted and overdue):
                self.wanted = False
                self._checkpoint()
                last_s, last_bytes = time.monotonic(), self._wal_bytes()

    def _checkpoint(self) -> None:
        connection = self._connection
        try:
            if self._short_of_room:
                busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self._short_of_room = bool(busy)
            pages = -1
            for _ in range(_PASSES):
                before, (_, pages, _) = pages, connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if pages == before:
                    break  # Nobody has committed meanwhile: the next commit starts the WAL again.
            else:
                if pages * self._page_bytes >= _MOST_BYTES:
                    connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
            self._failed = False
        except sqlite3.Error as error:
            # As on a full disk; the WAL keeps everything meanwhile.
            if not self._failed:
                log.warning("cannot move commits from the WAL into %s, it is tried again: %s", self._path, error)
            self._failed = True
            self.wanted = True

    def _wal_bytes(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0
