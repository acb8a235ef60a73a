"""A look at a store from outside, beside the process that writes to it: nothing is locked, nothing is written."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tsdb.embedded.database import DATABASE_FILE, LOCK_FILE
from tsdb.errors import StoreError, StoreOpenError


@contextlib.contextmanager
def inspected(directory: Path) -> Iterator[sqlite3.Connection]:
    """A connection in a read transaction: what it sees does not change until it is given back.

    Raises StoreOpenError where there is no store, of whatever schema version; StoreError where it cannot be read.
    """
    refuse_without_store(directory)
    path = directory / DATABASE_FILE
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        ) as connection:
            connection.execute("BEGIN")
            if not schema_version(connection):
                raise StoreOpenError(f"{path} is an SQLite file, but not a Fleetwatch store")
            yield connection
    except sqlite3.Error as error:
        raise StoreError(f"cannot read {path}: {error}") from error


def refuse_without_store(directory: Path) -> None:
    """Raise StoreOpenError where a directory has no store in it: opening it would make one."""
    try:
        found = (directory / DATABASE_FILE).is_file()
    except OSError as error:
        raise StoreOpenError(f"cannot look into {directory}: {error.strerror}") from error
    if not found:
        raise StoreOpenError(f"there is no store in {directory}: it has no file {DATABASE_FILE}; set --storage.path")


def schema_version(connection: sqlite3.Connection) -> int:
    """The schema version of a store; 0 where the file holds something else."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta'").fetchone():
        return 0
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    return 0 if row is None else int(row[0])


def lock_holder(directory: Path) -> int | None:
    """The id of the process that has the store open for writing, as that process sees it; None where nobody has.

    The lock is taken for a moment to find out: a process that starts in just that moment is refused.
    """
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder, *_ = os.pread(descriptor, 64, 0).decode(errors="replace").split() or ["0"]
        return int(holder) if holder.isdigit() else 0
    finally:
        os.close(descriptor)
    return None


def live_bytes(connection: sqlite3.Connection) -> int:
    """What the database would take without free pages."""
    counts = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count")]
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    return int((counts[0] - counts[1]) * page_bytes)


def bytes_on_disk(directory: Path) -> int:
    """What SQLite's files take."""
    size = 0
    for path in directory.glob(f"{DATABASE_FILE}*"):
        with contextlib.suppress(FileNotFoundError):  # the process that writes may just have finished
            size += path.stat().st_size
    return size
