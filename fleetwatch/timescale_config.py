"""`storage.timescaledb`: how a process uses the database that `storage.path` names by a DSN."""

from collections.abc import Iterator

import msgspec

from common.yamlfile import Duration, Problem
from scraper.config import ByteSize
from tsdb.dsn import is_dsn, shown_dsn
from tsdb.timescale import options

_PATH = "storage.timescaledb"
_SMALLEST_SPOOL = 1 << 20


class SpoolConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`storage.timescaledb.spool`: what is written while the database is away waits there."""

    path: str = "spool"
    size: ByteSize = ByteSize(options.SPOOL_BYTES)


class TimescaleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`storage.timescaledb`."""

    password_file: str = ""
    read_replicas: tuple[str, ...] = ()
    narrow: bool = False
    head: Duration = Duration(options.HEAD_MS)
    spool: SpoolConfig = SpoolConfig()
    pool: int = 0
    statement_timeout: Duration = Duration(int(options.STATEMENT_TIMEOUT_S * 1000))
    commit_delay: Duration = Duration(int(options.COMMIT_DELAY_S * 1000))

    def problems(self) -> Iterator[Problem]:
        """What is wrong beyond the types of the fields."""
        for index, dsn in enumerate(self.read_replicas):
            yield from dsn_problems(dsn, f"{_PATH}.read_replicas[{index}]")
        if not self.spool.path:
            yield Problem(f"{_PATH}.spool.path", "is empty: name a directory")
        if self.spool.size < _SMALLEST_SPOOL:
            yield Problem(f"{_PATH}.spool.size", "must be 1MiB at least")
        if self.pool < 0:
            yield Problem(f"{_PATH}.pool", "is negative: 0 means two connections for each core")
        if self.statement_timeout <= 0:
            yield Problem(f"{_PATH}.statement_timeout", "must be longer than 0")


def dsn_problems(dsn: str, path: str) -> Iterator[Problem]:
    """What is wrong with a DSN at a key path; passwords are not in the message."""
    if not is_dsn(dsn):
        yield Problem(path, "must begin with postgresql://")
        return
    # Imported here as most files name a directory.
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(shown_dsn(dsn))
    except psycopg.ProgrammingError as error:
        yield Problem(path, f"is not a URL of a database: {str(error).strip()}")
