"""The directory of an embedded store: who may use it, its SQLite file, and its connections.

The file is in WAL mode. With synchronous=NORMAL a commit survives the death of the process, with FULL that of the
machine too. One thread writes, on one connection; each reader borrows a read-only connection of its own, and goes on
beside the writer. A third thread moves what was committed from the WAL into the file (tsdb.embedded.checkpoints).
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

from tsdb.embedded.checkpoints import Checkpoints
from tsdb.embedded.migrations import check_schema, ensure_schema
from tsdb.errors import StoreError, StoreLockedError, StoreOpenError, WriteRefusedError

Durability = Literal["normal", "full"]
"""What an acknowledged write outlives: the process (normal), or the power too (full: synced before it)."""

Ending = Literal["closed", "killed", "machine stopped"]
"""How the last process that had a store left it."""

T = TypeVar("T")

DATABASE_FILE = "fleetwatch.db"
LOCK_FILE = "lock"
_HOLDER_BYTES = 64

# Every table and index has a page at least: larger ones make a small store large.
_PAGE_BYTES = 4096
# What a burst made of the WAL file is given back beyond this.
_WAL_KEPT_BYTES = 64 * 1024 * 1024


class Database:
    """An open directory, locked unless it is only to be read.

    Raises StoreOpenError, of it StoreLockedError where another process has it.
    """

    def __init__(self, directory: Path, durability: Durability = "normal", read_only: bool = False) -> None:
        self.path = directory / DATABASE_FILE
        self._lock_fd: int | None = None
        self.last_ending: Ending = "closed"
        if not read_only:
            self._lock_fd, self.last_ending = _locked(directory)
        try:
            self._connection = self._open_to_read() if read_only else self._open_to_write(durability)
            self._checkpoints = None if read_only else self._open_checkpoints()
        except BaseException:
            self._unlock()
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
            if self._checkpoints is not None:
                self._checkpoints.wanted = True
        except sqlite3.Error as error:
            if _is_full(error) and self._checkpoints is not None:
                self._checkpoints.make_room()
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
        return sum(entry.stat().st_size for entry in self.path.parent.glob(f"{DATABASE_FILE}*"))

    def cut(self) -> None:
        """Have pages that were given back cut off the file, and the WAL emptied, soon."""
        if self._checkpoints is not None:
            self._checkpoints.make_room()

    def close(self) -> None:
        """Finish what the writer thread was given, then close and unlock."""
        self._thread.shutdown(wait=True)
        if self._checkpoints is not None:
            self._checkpoints.close()
        with self._idle_lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()
        self._connection.close()
        if self._lock_fd is not None:
            os.pwrite(self._lock_fd, b" " * _HOLDER_BYTES, 0)
        self._unlock()

    def _open_to_read(self) -> sqlite3.Connection:
        if not self.path.exists():
            raise StoreOpenError(f"there is no store in {self.path.parent}: {self.path} does not exist")
        with self._opening(self._connect_reader) as connection:
            check_schema(connection, self.path)
        return connection

    def _open_to_write(self, durability: Durability) -> sqlite3.Connection:
        with self._opening(self._connect_writer) as connection:
            # Both count for a new file only, and before anything else is written to it.
            connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={durability}")
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute(f"PRAGMA journal_size_limit={_WAL_KEPT_BYTES}")
            ensure_schema(connection, self.path)
        return connection

    def _open_checkpoints(self) -> Checkpoints:
        with self._opening(self._connect_writer) as connection:
            return Checkpoints(self.path, connection)

    @contextlib.contextmanager
    def _opening(self, connect: Callable[[], sqlite3.Connection]) -> Iterator[sqlite3.Connection]:
        """A new connection, closed again where the block fails. Raises StoreOpenError."""
        connection = None
        try:
            connection = connect()
            yield connection
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error) and _is_full(error):
                raise StoreOpenError(f"cannot open {self.path}: its disk is full; make room and start again") from error
            if isinstance(error, sqlite3.Error):
                raise StoreOpenError(f"cannot open {self.path}: {error}") from error
            raise

    def _connect_writer(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)

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

    def _unlock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)

    def _refusal(self, error: sqlite3.Error) -> str:
        if _is_full(error):
            return f"nothing was stored: the disk of {self.path} is full; writing goes on once there is room"
        return f"nothing was stored: cannot write to {self.path}: {error}"


def _is_full(error: sqlite3.Error) -> bool:
    # Python's own errors of the sqlite3 module have no code. The second is for the memory map beside the WAL.
    return getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


def _locked(directory: Path) -> tuple[int, Ending]:
    """The lock of a directory, made where it is missing, and how its last holder ended. Raises StoreOpenError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return _lock(directory)
    except OSError as error:
        raise StoreOpenError(f"cannot use {directory} as data directory: {error.strerror}") from error


def _lock(directory: Path) -> tuple[int, Ending]:
    """A descriptor that holds the lock for as long as it is open, or the process lives; how the last holder ended.

    The file says who holds it: process id and boot id. It is blanked when the store is closed, and keeps its length,
    so that a full disk has room for the next holder.
    """
    descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        last_boot_id = (_holder(descriptor).split()[1:] or [""])[0]
        boot_id = _boot_id()
        os.pwrite(descriptor, f"{os.getpid()} {boot_id}".ljust(_HOLDER_BYTES).encode(), 0)
        os.fsync(descriptor)
    except BlockingIOError as error:
        holder = (_holder(descriptor).split() or ["unknown"])[0]
        os.close(descriptor)
        raise StoreLockedError(
            f"the data directory {directory} is in use by process {holder}: stop it, or choose another directory"
        ) from error
    except OSError:
        os.close(descriptor)
        raise
    if not last_boot_id:
        return descriptor, "closed"
    return descriptor, "killed" if last_boot_id == boot_id else "machine stopped"


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, _HOLDER_BYTES, 0).decode(errors="replace")


def _boot_id() -> str:
    """Another after each start of the machine; Linux has it, elsewhere no stop of the machine is noticed."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
