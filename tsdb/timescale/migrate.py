"""The schema of a database: made on first start, brought up to date, refused where a newer Fleetwatch made it."""

import logging
import re
import time

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tsdb.errors import StoreOpenError
from tsdb.timescale import roles
from tsdb.timescale.editions import Server, detect
from tsdb.timescale.partitions import Partitions

log = logging.getLogger(__name__)

SCHEMA_VERSION = "0004"
"""Of the newest module in migrations/versions."""

# What the server says to somebody whom it knows not, or has no such database for; libpq gives no code with it.
_REFUSED = {
    r'database "(?P<name>.+)" does not exist': "run CREATE DATABASE {name}, or name another one in the DSN",
    r'role "(?P<name>.+)" does not exist': "run CREATE ROLE {name} LOGIN, or name another user in the DSN",
    r"password authentication failed": "check user and password of the DSN",
    r"no password supplied": "give a password in the DSN, or in the file that PGPASSFILE names",
    r"no pg_hba.conf entry": "add a line for this user and address to pg_hba.conf and reload the server",
    r"is not permitted to log in": "name a user with LOGIN in the DSN, and grant it the role",
}


class SchemaOutdatedError(StoreOpenError):
    """A database without our tables, or with those of an older version."""


def migrate(dsn: str) -> Server:
    """Bring the schema up to date; does nothing where it is. Returns what is known of the server.

    Raises StoreOpenError with the remedy where that is not possible, and psycopg.OperationalError where the database
    cannot be reached.
    """
    with connect(dsn) as connection:
        server = current(connection)
        if server is None:
            # Before it is imported, as it tells what it imports.
            logging.getLogger("alembic").setLevel(logging.WARNING)
            from tsdb.timescale import upgrading  # late: alembic takes long to import, and most starts do not need it

            log.info("the schema is brought to version %s", SCHEMA_VERSION)
            server = upgrading.upgrade(connection)
        else:
            Partitions().ensure_ahead(connection, time.time_ns() // 1_000_000)
            connection.commit()
        log.info("the database is on %s", server.described())
        for sentence in shortcomings(connection, server):
            log.info("%s", sentence)
        return server


def check_schema(connection: psycopg.Connection) -> Server:
    """Raise StoreOpenError unless the schema is of the current version and made for this server.

    Of it SchemaOutdatedError where it is older.
    """
    server = current(connection)
    if server is None:
        raise SchemaOutdatedError(
            f"database {connection.info.dbname} has not the schema version {SCHEMA_VERSION}: "
            "run `fleetwatch db migrate`"
        )
    return server


def current(connection: psycopg.Connection) -> Server | None:
    """The server, where nothing is to be done to the database. Raises StoreOpenError where it cannot be used."""
    version = schema_version(connection)
    if version is None:
        return None
    server = detect(connection)
    if version > SCHEMA_VERSION:
        raise StoreOpenError(
            f"database {server.database} was written by a newer Fleetwatch: its schema version is {version}, this one "
            f"knows up to {SCHEMA_VERSION}; upgrade Fleetwatch, or use another database"
        )
    row = connection.execute("SELECT value FROM fleetwatch_data.meta WHERE key = 'edition'").fetchone()
    made_for = server.edition if row is None else row[0]
    _check_edition(made_for, server)
    up_to_date = version == SCHEMA_VERSION and made_for == server.edition
    return server if up_to_date and not roles.can_make_missing(connection) else None


def schema_version(connection: psycopg.Connection) -> str | None:
    """The version of a database's schema; None where there is none. Raises StoreOpenError without rights."""
    there = connection.execute(
        "SELECT current_user FROM pg_class WHERE relname = 'schema_version' AND relnamespace = "
        "(SELECT oid FROM pg_namespace WHERE nspname = 'fleetwatch_data')"
    ).fetchone()
    if there is None:
        return None
    try:
        found = connection.execute("SELECT version_num FROM fleetwatch_data.schema_version").fetchone()
    except errors.InsufficientPrivilege as error:
        raise StoreOpenError(
            f"user {there[0]} may not use the tables of Fleetwatch in database {connection.info.dbname}: run "
            f"GRANT {roles.WRITER} TO {there[0]} as a superuser"
        ) from error
    return None if found is None else str(found[0])


def shortcomings(connection: psycopg.Connection, server: Server) -> list[str]:
    """What server and database lack, and what that means, a sentence each."""
    return [*server.missing(), *roles.missing_rights(connection)]


def connect(dsn: str) -> psycopg.Connection:
    """Connect. Raises StoreOpenError where the server refuses, psycopg.OperationalError where it is away."""
    try:
        # Of several hosts, the one that takes writes, unless the DSN says otherwise.
        parameters = {"target_session_attrs": "read-write", "application_name": "fleetwatch", **conninfo_to_dict(dsn)}
        connection = psycopg.connect(make_conninfo("", **parameters), prepare_threshold=None)
    except psycopg.ProgrammingError as error:
        raise StoreOpenError(f"the DSN of the database cannot be read: {str(error).strip()}") from error
    except psycopg.OperationalError as error:
        for pattern, remedy in _REFUSED.items():
            if found := re.search(pattern, str(error)):
                message = f"the database cannot be opened: {str(error).strip()}: {remedy.format(**found.groupdict())}"
                raise StoreOpenError(message) from error
        raise
    # So that what others did is seen once a lock is had.
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    return connection


def _check_edition(made_for: str, server: Server) -> None:
    if made_for == server.edition or (made_for, server.edition) == ("apache", "community"):
        return
    if made_for == "postgresql":
        remedy = (
            "run DROP EXTENSION timescaledb in it, or copy it with `fleetwatch db backup` and `restore` to a new one"
        )
    elif server.edition == "apache":
        remedy = "set timescaledb.license = 'timescale' in postgresql.conf and restart the server"
    else:
        remedy = "run CREATE EXTENSION timescaledb in it, or restore a backup into a new database"
    names = {"postgresql": "PostgreSQL without TimescaleDB", "apache": "TimescaleDB", "community": "TimescaleDB"}
    edition = "" if made_for == "postgresql" else f" ({made_for} edition)"
    raise StoreOpenError(
        f"database {server.database} was made on {names[made_for]}{edition}, "
        f"and is now on {server.described()}: {remedy}"
    )
