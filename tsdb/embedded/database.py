"""The directory of an embedded store: who may use it, its SQLite file, and its connections.

The file is in WAL mode with synchronous=NORMAL: a commit survives the death of the process, and reads go on beside
it. One thread writes, on one connection; each reader borrows a read-only connection of its own.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tsdb.errors import StoreError, StoreLockedError, StoreOpenError, WriteRefusedError

SCHEMA_VERSION = 1
"""Of the tables in tsdb.schema."""

T = TypeVar("T")

_FILE = "fleetwatch.db"
_LOCK_FILE = "lock"

# A journal row of a usual host fits in a page, and so do the chunks of several series.
_PAGE_BYTES = 8192
# What a burst made of the WAL file is given back beyond this.
_WAL_KEPT_BYTES = 64 * 1024 * 1024


class Database:
    """An open, locked directory. Raises StoreOpenError, of it StoreLockedError where another process has it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / _FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock_fd = _lock(directory)
        except OSError as error:
            raise StoreOpenError(f"cannot use {directory} as data directory: {error.strerror}") from error
        try:
            self._connection = self._connect_writer()
        except BaseException:
            os.close(self._lock_fd)
            raise
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tsdb-writer")
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()
        self._closed = False

    def in_writer(self, call: Callable[[], T]) -> Future[T]:
        """Run a call in the writer thread, after those given before."""
        return self._thread.submit(call)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction, for the writer thread alone: committed at the end, or nothing of it is kept.

        Raises WriteRefusedError where SQLite cannot write.
        """
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise WriteRefusedError(self._refusal(error)) from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def reader(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading: what it sees does not change until it is given back. Raises StoreError."""
        with self._idle_lock:
            connection = self._idle.pop() if self._idle else None
        try:
            connection = connection or self._connect_reader()
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"cannot read {self.path}: {error}") from error
        finally:
            if connection is not None:
                self._give_back(connection)

    def size_bytes(self) -> int:
        """What the store takes on disk."""
        return sum(entry.stat().st_size for entry in self.path.parent.glob(f"{_FILE}*"))

    def close(self) -> None:
        """Finish what the writer thread was given, then close and unlock."""
        self._thread.shutdown(wait=True)
        with self._idle_lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()
        self._connection.close()
        os.close(self._lock_fd)

    def _connect_writer(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise StoreOpenError(f"cannot open {self.path}: {error}") from error
        try:
            connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(f"PRAGMA journal_size_limit={_WAL_KEPT_BYTES}")
            _ensure_schema(connection, self.path)
        except sqlite3.Error as error:
            connection.close()
            raise StoreOpenError(f"cannot open {self.path}: {error}") from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect_reader(self) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        with self._idle_lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _refusal(self, error: sqlite3.Error) -> str:
        # Python's own errors of the sqlite3 module have no code.
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return f"nothing was stored: the disk of {self.path} is full; writing goes on once there is room"
        return f"nothing was stored: cannot write to {self.path}: {error}"


def _lock(directory: Path) -> int:
    """A descriptor that holds the directory's lock for as long as it is open, or the process lives."""
    descriptor = os.open(directory / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreLockedError(
            f"the data directory {directory} is in use by process {holder}: stop it, or choose another directory"
        ) from error
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _ensure_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in a new file; refuse a file of a newer version, or of something else."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables:
        from tsdb import schema  # late: it takes long to import, and an existing store does not need it

        connection.execute("BEGIN IMMEDIATE")
        for statement in schema.sqlite_statements():
            connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
        connection.execute("COMMIT")
        return
    found = "meta" in tables and connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    if not found:
        raise StoreOpenError(f"{path} is an SQLite file, but not a Fleetwatch store")
    if int(found[0]) > SCHEMA_VERSION:
        raise StoreOpenError(
            f"{path} was written by a newer Fleetwatch: its schema version is {found[0]}, this one knows up to "
            f"{SCHEMA_VERSION}; upgrade Fleetwatch, or choose another directory"
        )
