"""Backups of a database that is in use: pg_dump's directory format and a manifest, and the way back.

All of a backup is of one moment: the rows that the manifest counts and those that pg_dump writes are of one snapshot.

    {"format": "fleetwatch-database-backup", "version": 1, "created": "...", "schema_version": "0002",
     "edition": "apache", "postgresql": 17, "timescaledb": "2.19.3", "rows": {"series": 123, ...},
     "files": {"toc.dat": {"bytes": 123, "sha256": "..."}, ...}}
"""

import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg

from tsdb.backup_directories import BackupError, made_whole, sync
from tsdb.dsn import shown_dsn
from tsdb.timescale.editions import detect
from tsdb.timescale.migrate import schema_version
from tsdb.timescale.tools.inspection import inspected, row_of
from tsdb.timescale.tools.postgres_programs import find_program, run_program

MANIFEST_FILE = "manifest.json"
DUMP_DIRECTORY = "dump"
FORMAT = "fleetwatch-database-backup"
VERSION = 1

_TABLES = """
SELECT relname::text FROM pg_class
WHERE relnamespace = 'fleetwatch_data'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
ORDER BY relname
"""

Report = Callable[[int, int | None], None]
"""Is told how many bytes are done, of how many."""


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a dump."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a backup says of itself; `rows` of each table."""

    format: str = FORMAT
    version: int = VERSION
    created: datetime
    schema_version: str
    edition: str
    postgresql: int
    timescaledb: str | None
    rows: dict[str, int]
    files: dict[str, File]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum([file.bytes for file in self.files.values()])


def back_up(dsn: str, destination: Path, report: Report) -> Manifest:
    """Copy a database, as it is at this moment, to a new directory. Others may write meanwhile; it may be of an older
    schema version, as before an upgrade.

    Raises BackupError, ProgramError, StoreOpenError, StoreError; then there is no `destination`.
    """
    with inspected(dsn) as connection, made_whole(destination) as part:
        server = detect(connection)
        version = schema_version(connection)
        if version is None:
            raise BackupError(f"there is no store in {shown_dsn(dsn)}")
        # Of this transaction alone: it is idle for as long as pg_dump takes.
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        (snapshot,) = row_of(connection, "SELECT pg_export_snapshot()")
        dump = part / DUMP_DIRECTORY
        command = [find_program("pg_dump", server.postgresql), "--format=directory", f"--file={dump}"]
        jobs = f"--jobs={os.cpu_count() or 1}"
        run_program([*command, jobs, f"--snapshot={snapshot}"], dsn, lambda: report(_size(dump), None))
        manifest = Manifest(
            created=datetime.now(UTC).replace(microsecond=0),
            schema_version=version,
            edition=server.edition,
            postgresql=server.postgresql,
            timescaledb=server.timescaledb,
            rows=count_rows(connection),
            files=_files(dump, report),
        )
        (part / MANIFEST_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        sync(part / MANIFEST_FILE)
    return manifest


def read_manifest(source: Path) -> Manifest:
    """What a backup says of itself. Raises BackupError."""
    path = source / MANIFEST_FILE
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise BackupError(f"{source} is no backup, or one that was interrupted: there is no {path}") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise BackupError(f"{path} cannot be read: {error}") from error
    if (manifest.format, manifest.version) != (FORMAT, VERSION):
        raise BackupError(
            f"{path} is of format {manifest.format} {manifest.version}: a database takes {FORMAT} {VERSION}"
        )
    return manifest


def check_files(source: Path, manifest: Manifest, report: Report) -> None:
    """Raise BackupError unless the files of a backup are those that were written."""
    found = _files(source / DUMP_DIRECTORY, report)
    for name, file in manifest.files.items():
        if found.get(name) != file:
            raise BackupError(f"{source / DUMP_DIRECTORY / name} is damaged or missing; nothing was restored")


def count_rows(connection: psycopg.Connection) -> dict[str, int]:
    """The rows of each table of ours."""
    tables = [name for (name,) in connection.execute(_TABLES).fetchall()]
    return {name: int(row_of(connection, f"SELECT count(*) FROM fleetwatch_data.{name}")[0]) for name in tables}


def _size(dump: Path) -> int:
    return sum([path.stat().st_size for path in dump.iterdir()]) if dump.exists() else 0


def _files(dump: Path, report: Report) -> dict[str, File]:
    """The files of a dump, on disk."""
    if not dump.is_dir():
        return {}
    found: dict[str, File] = {}
    done, total = 0, _size(dump)
    for path in sorted(dump.iterdir()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        sync(path)
        found[path.name] = File(path.stat().st_size, digest)
        done += found[path.name].bytes
        report(done, total)
    return found
