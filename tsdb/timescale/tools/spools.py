"""The spools of this host: what waits on disk for a database, and which process has it."""

from dataclasses import dataclass
from pathlib import Path

from tsdb.embedded.tools.inspection import lock_holder
from tsdb.errors import StoreError
from tsdb.timescale.spool import inspect


@dataclass(frozen=True, slots=True)
class SpoolFound:
    """`locked_by` is the process that has it, None where nobody has; `oldest_ms` the earliest time that waits."""

    directory: str
    bytes: int
    records: int
    oldest_ms: int | None
    locked_by: int | None


def find_spools(base: Path) -> list[SpoolFound]:
    """The spools in the directories of a directory; none where there is no such directory. Raises StoreError."""
    try:
        return [_look(directory) for directory in sorted(base.iterdir()) if directory.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"cannot look into {base}: {error.strerror}") from error


def _look(directory: Path) -> SpoolFound:
    found = inspect(directory)
    return SpoolFound(str(directory), found.bytes, found.records, found.oldest_ms, lock_holder(directory))
