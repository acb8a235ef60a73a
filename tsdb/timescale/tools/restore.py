"""A database made of a backup: an empty one is filled by pg_restore, and its rows are counted.

TimescaleDB has to be of the version that the backup was made with; it is upgraded afterwards. Its own functions have to
be called before and after, and its catalog does not allow several jobs.
"""

import os
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Literal

from tsdb.backup_directories import BackupError
from tsdb.dsn import shown_dsn
from tsdb.timescale import roles
from tsdb.timescale.migrate import SCHEMA_VERSION, schema_version
from tsdb.timescale.tools.backup import (
    DUMP_DIRECTORY,
    Manifest,
    Report,
    check_files,
    count_rows,
    read_manifest,
)
from tsdb.timescale.tools.inspection import connected, inspected, row_of
from tsdb.timescale.tools.postgres_programs import ProgramError, find_program, run_program

_TARGET = """
SELECT current_setting('server_version_num')::int / 10000,
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       ARRAY(SELECT version FROM pg_available_extension_versions WHERE name = 'timescaledb')
"""


def restore(source: Path, dsn: str, report: Report) -> Manifest:
    """Fill an empty database from a backup. Raises BackupError, ProgramError, StoreOpenError, StoreError."""
    manifest = read_manifest(source)
    if manifest.schema_version > SCHEMA_VERSION:
        raise BackupError(
            f"{source} was made by a newer Fleetwatch: its schema version is {manifest.schema_version}, this one "
            f"knows up to {SCHEMA_VERSION}; upgrade Fleetwatch"
        )
    check_files(source, manifest, report)
    with connected(dsn) as connection:
        program = find_program("pg_restore", _make_ready(connection, manifest, source, dsn))
        with_roles = not roles.missing_roles(connection)
    command = [program, "--exit-on-error", *([] if with_roles else ["--no-owner", "--no-acl"])]
    if manifest.timescaledb is None:
        command.append(f"--jobs={os.cpu_count() or 1}")
    try:
        run_program([*command, str(source / DUMP_DIRECTORY)], dsn, lambda: None)
    except ProgramError as error:
        raise BackupError(f"{error}; drop the database, make a new one and try again") from error
    finally:
        if manifest.timescaledb is not None:
            with connected(dsn) as connection:
                connection.execute("SELECT timescaledb_post_restore()")
    with connected(dsn) as connection:
        connection.execute("ANALYZE")
    with inspected(dsn) as connection:
        _compare(count_rows(connection), manifest.rows)
    return manifest


def _make_ready(connection: psycopg.Connection, manifest: Manifest, source: Path, dsn: str) -> int:
    """Refuse what cannot take the backup, and prepare what can; the server's version."""
    if schema_version(connection) is not None:
        raise BackupError(f"{shown_dsn(dsn)} has a store already: make a new database with `createdb`")
    server, timescaledb, available = row_of(connection, _TARGET)
    if server < manifest.postgresql:
        raise BackupError(f"{source} is of PostgreSQL {manifest.postgresql}, which PostgreSQL {server} does not read")
    if timescaledb not in (None, manifest.timescaledb):
        raise BackupError(
            f"{source} is of {_named(manifest.timescaledb)}, {shown_dsn(dsn)} has {_named(timescaledb)}: make a new "
            "database and leave the extension to `db restore`"
        )
    roles.make_roles(connection)
    if manifest.timescaledb is None:
        return int(server)
    if manifest.timescaledb not in available:
        raise BackupError(
            f"{source} is of TimescaleDB {manifest.timescaledb}, which the server has not: install that version, "
            "restore, then upgrade"
        )
    if timescaledb is None:
        create = SQL("CREATE EXTENSION timescaledb VERSION {}")
        connection.execute(create.format(Literal(manifest.timescaledb)))
    connection.execute("SELECT timescaledb_pre_restore()")
    return int(server)


def _compare(found: dict[str, int], expected: dict[str, int]) -> None:
    for table, rows in expected.items():
        if found.get(table) != rows:
            raise BackupError(f"table {table} has {found.get(table, 0):,} rows after the restore, the backup {rows:,}")


def _named(timescaledb: str | None) -> str:
    return "plain PostgreSQL" if timescaledb is None else f"TimescaleDB {timescaledb}"
