"""Runs the migrations: alembic keeps the version and walks from one to the next.

All of it is one transaction under an advisory lock: whatever happens, and however many processes start at once, the
database is wholly of one version.
"""

import time

import psycopg
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import errors
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from tsdb.errors import StoreOpenError
from tsdb.timescale import roles
from tsdb.timescale.editions import Server, detect, make_extension
from tsdb.timescale.migrate import current, schema_version
from tsdb.timescale.partitions import Partitions

_LOCK = 0x666C6565
"""Of the transaction that migrates; "flee"."""

# For others that migrate, and for statements on the tables that are to change.
_BEGIN = "SET LOCAL lock_timeout = '5min'; SET LOCAL statement_timeout = 0"

_MADE_FOR = """
INSERT INTO fleetwatch_data.meta VALUES ('edition', %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""


def upgrade(connection: psycopg.Connection) -> Server:
    """Bring the schema up to date and commit. Raises StoreOpenError where the user may not, psycopg.Error."""
    try:
        return _upgrade(connection)
    except DBAPIError as error:
        raise error.orig or error from None
    except errors.InsufficientPrivilege as error:
        raise StoreOpenError(
            f"nothing was migrated: {error.diag.message_primary}: grant it to {roles.OWNER} and the user, or migrate "
            "as the owner of the database"
        ) from error


def _upgrade(connection: psycopg.Connection) -> Server:
    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
    # The first thing it does is to roll back what was begun before.
    with engine.connect() as alchemy, alchemy.begin():
        connection.execute(_BEGIN)
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        if schema_version(connection) is None:
            make_extension(connection)
        server = current(connection)
        if server is None:
            server = detect(connection)
            roles.make_roles(connection)
            roles.make_schemas(connection)
            connection.execute("SET LOCAL search_path = fleetwatch_data, public")
            script = ScriptDirectory.from_config(_config())
            context = MigrationContext.configure(
                alchemy,
                opts={
                    "fn": lambda revision, _: script._upgrade_revs("head", revision),
                    "version_table": "schema_version",
                    "version_table_schema": roles.DATA,
                },
            )
            context.run_migrations(connection=connection, server=server)
            connection.execute(_MADE_FOR, [server.edition])
            roles.grant_rights(connection)
            Partitions().ensure_ahead(connection, time.time_ns() // 1_000_000)
    return server


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "tsdb.timescale:migrations")
    config.set_main_option("path_separator", "newline")
    return config
