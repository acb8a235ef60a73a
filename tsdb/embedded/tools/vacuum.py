"""The free pages of a store given back to the disk, by whoever holds the store's lock."""

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from tsdb.embedded.database import DATABASE_FILE
from tsdb.embedded.tools.inspection import live_bytes
from tsdb.errors import StoreError

# SQLite writes what is to stay into a file beside the database, and from there through the WAL over the old pages.
_COPIES = 2
# Steps of SQLite's virtual machine between two looks at the disk.
_STEPS_BETWEEN_LOOKS = 100_000


class NoRoomError(StoreError):
    """The disk has not the room that the work takes on the way; nothing was changed."""


def vacuum(directory: Path, report: Callable[[int, int], None]) -> None:
    """Write the database anew, without free pages; `report` is told how many bytes are done, of how many.

    Nobody may write meanwhile: the process must hold the store's lock. Raises NoRoomError, StoreError.
    """
    path = directory / DATABASE_FILE
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            needed = _COPIES * live_bytes(connection)
            free = shutil.disk_usage(directory).free
            if needed > free:
                raise NoRoomError(
                    f"{path} cannot be shrunk: that takes {needed:,} bytes on the way, and its disk has {free:,} free"
                )

            def look() -> None:
                # The files on the way have no names: what others take of the disk counts in.
                report(min(needed, max(0, free - shutil.disk_usage(directory).free)), needed)

            # By default the copy goes to /var/tmp, which may be a smaller disk.
            quoted = str(directory.absolute()).replace("'", "''")
            connection.execute(f"PRAGMA temp_store_directory = '{quoted}'")
            connection.set_progress_handler(look, _STEPS_BETWEEN_LOOKS)
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise StoreError(f"cannot shrink {path}: {error}") from error
