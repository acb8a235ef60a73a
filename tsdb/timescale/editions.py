"""What kind of server a database is on: its version, TimescaleDB's version and edition, and what it can do.

TimescaleDB's community edition has policies, the columnstore and continuous aggregates; its Apache edition has
hypertables alone; plain PostgreSQL has declarative partitions. What a server lacks, the maintenance of Fleetwatch does.
"""

import contextlib
from dataclasses import dataclass
from typing import Literal, NamedTuple

import psycopg
from psycopg import errors

from tsdb.errors import StoreOpenError

Edition = Literal["community", "apache", "postgresql"]

OLDEST_POSTGRESQL = 15
OLDEST_TIMESCALEDB = (2, 13)
"""The first with by_range()."""

_FACTS = """
SELECT current_setting('server_version_num')::int,
       current_database(),
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'),
       -- Not by current_setting(), which also knows what only stands in a file. The first one is there where the server
       -- has loaded TimescaleDB, the other one where this session has, as it does in a database with the extension.
       EXISTS (SELECT FROM pg_settings WHERE name = 'timescaledb.max_background_workers'),
       (SELECT setting FROM pg_settings WHERE name = 'timescaledb.license'),
       'lz4' = ANY (SELECT unnest(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'),
       (SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'timescaledb'),
       current_setting('jit') = 'on' AND pg_jit_available()
"""


class _Facts(NamedTuple):
    """The row of _FACTS."""

    version: int
    database: str
    created: str | None
    available: str | None
    preloaded: bool
    licence: str | None
    has_lz4: bool
    extension_schema: str | None
    jit: bool


@dataclass(frozen=True, slots=True)
class Server:
    """Facts about a server and one database on it."""

    postgresql: int
    """The major version."""
    database: str
    edition: Edition
    timescaledb: str | None
    """Its version; None on plain PostgreSQL."""
    has_lz4: bool
    """Whether values can be compressed with lz4; pglz otherwise."""
    extension_schema: str
    """Where TimescaleDB's functions are, as SQL has it; empty without."""
    jit: bool
    """Whether queries that seem long are compiled."""
    unused: str | None
    """The version of TimescaleDB that is installed, but that the server has not loaded."""

    @property
    def has_hypertables(self) -> bool:
        """Whether tables are hypertables, or else partitioned ones."""
        return self.edition != "postgresql"

    @property
    def compression(self) -> str:
        """What long columns are compressed with."""
        return "lz4" if self.has_lz4 else "pglz"

    def described(self) -> str:
        """Like `TimescaleDB 2.19.3 (apache edition) on PostgreSQL 17`."""
        if self.timescaledb is None:
            return f"PostgreSQL {self.postgresql} without TimescaleDB"
        return f"TimescaleDB {self.timescaledb} ({self.edition} edition) on PostgreSQL {self.postgresql}"

    def missing(self) -> list[str]:
        """What this server lacks, a sentence each; none where it has all."""
        sentences = []
        if self.edition == "postgresql":
            sentences.append("Without TimescaleDB tables are divided into partitions by Fleetwatch itself.")
        if self.unused is not None:
            sentences.append(
                f"TimescaleDB {self.unused} is installed, but not loaded: to use it for a new database, set "
                "shared_preload_libraries = 'timescaledb' in postgresql.conf and restart the server."
            )
        if self.edition != "community":
            sentences.append(
                f"{self.described()} has no policies: the maintenance of Fleetwatch drops what is too old."
            )
            sentences.append(
                f"{self.described()} has no columnstore and no continuous aggregates: "
                "`storage.timescaledb.narrow` cannot be used, and logs are not compressed."
            )
        if not self.has_lz4:
            sentences.append("The server is built without lz4: values are compressed with pglz, which is slower.")
        if self.jit:
            sentences.append(
                "Just-in-time compilation is on, and takes seconds before SQL over many series begins: run "
                f"ALTER DATABASE {self.database} SET jit = off."
            )
        return sentences


def make_extension(connection: psycopg.Connection) -> None:
    """Make TimescaleDB's extension in a new database, where the server has it and the user may."""
    facts = _facts(connection)
    if facts.created is None and facts.available is not None and facts.preloaded:
        with contextlib.suppress(errors.InsufficientPrivilege), connection.transaction():
            connection.execute("CREATE EXTENSION timescaledb")


def detect(connection: psycopg.Connection) -> Server:
    """Look at the server. Raises StoreOpenError where it cannot be used, with the remedy."""
    facts = _facts(connection)
    major = facts.version // 10_000
    if major < OLDEST_POSTGRESQL:
        raise StoreOpenError(
            f"the server is PostgreSQL {major}, and {OLDEST_POSTGRESQL} or later is needed: upgrade it"
        )
    if facts.created is not None and facts.licence is None:
        raise StoreOpenError(
            f"database {facts.database} has the extension timescaledb, but the server has not loaded it: set "
            "shared_preload_libraries = 'timescaledb' in postgresql.conf and restart the server"
        )
    if facts.created is None and facts.available is not None and facts.preloaded:
        raise StoreOpenError(
            f"TimescaleDB {facts.available} is on the server, but not in database {facts.database}: run "
            "CREATE EXTENSION timescaledb in it, as a superuser"
        )
    if facts.created is not None and _numbers(facts.created) < OLDEST_TIMESCALEDB:
        oldest = ".".join(map(str, OLDEST_TIMESCALEDB))
        raise StoreOpenError(
            f"database {facts.database} has TimescaleDB {facts.created}, and {oldest} or later is needed: run "
            "ALTER EXTENSION timescaledb UPDATE in it, as a superuser, when the newer package is installed"
        )
    edition: Edition = "apache" if facts.licence == "apache" else "community"
    return Server(
        postgresql=major,
        database=facts.database,
        edition="postgresql" if facts.created is None else edition,
        timescaledb=facts.created,
        has_lz4=facts.has_lz4,
        extension_schema=facts.extension_schema or "",
        jit=facts.jit,
        unused=facts.available if facts.created is None else None,
    )


def _facts(connection: psycopg.Connection) -> _Facts:
    row = connection.execute(_FACTS).fetchone()
    if row is None:
        raise StoreOpenError("the server answered nothing when asked for its version")
    return _Facts(*row)


def _numbers(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split("-")[0].split(".")
    return int(major), int(minor)
