"""Snapshots of a store that may be in use, and the way back.

A snapshot is a directory with the database in one file and a manifest that says how large it is and what its
checksum is. It is written under another name and renamed at the end, so that what has the name is whole.

    {"format": "fleetwatch-backup", "version": 1, "created": "2026-11-24T10:00:00Z", "schema_version": 2,
     "file": "fleetwatch.db", "bytes": 123, "sha256": "..."}
"""

import hashlib
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tsdb.backup_directories import BackupError, made_whole, refuse_unless_empty, sync
from tsdb.embedded.database import DATABASE_FILE
from tsdb.embedded.migrations import SCHEMA_VERSION
from tsdb.embedded.tools.inspection import inspected, live_bytes, schema_version

MANIFEST_FILE = "manifest.json"
_FORMAT = "fleetwatch-backup"
_VERSION = 1
_BYTES_AT_ONCE = 1 << 20
# Steps of SQLite's virtual machine between two looks at the size of the copy.
_STEPS_BETWEEN_LOOKS = 100_000

Report = Callable[[int, int], None]
"""Is told how many bytes are done, of how many."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a snapshot says of itself."""

    format: str = _FORMAT
    version: int = _VERSION
    created: datetime
    schema_version: int
    file: str = DATABASE_FILE
    bytes: int
    sha256: str


def back_up(directory: Path, destination: Path, report: Report) -> Manifest:
    """Copy the store in `directory`, as it is at this moment, to a new directory. Others may write meanwhile.

    Raises BackupError, StoreOpenError or StoreError; then there is no `destination`.
    """
    with inspected(directory) as connection, made_whole(destination) as part:
        copy = part / DATABASE_FILE
        total = live_bytes(connection)
        version = schema_version(connection)
        # VACUUM INTO reads in a transaction of its own.
        connection.execute("COMMIT")
        connection.set_progress_handler(lambda: report(_size(copy), 2 * total), _STEPS_BETWEEN_LOOKS)
        try:
            connection.execute("VACUUM INTO ?", (str(copy),))
        except sqlite3.Error as error:
            raise BackupError(f"cannot copy the store to {destination}: {error}") from error
        size = _size(copy)
        manifest = Manifest(
            created=datetime.now(UTC).replace(microsecond=0),
            schema_version=version,
            bytes=size,
            sha256=_checksum(copy, lambda done: report(size + done, 2 * size)),
        )
        sync(copy)
        (part / MANIFEST_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        sync(part / MANIFEST_FILE)
    return manifest


def restore(source: Path, directory: Path, report: Report) -> Manifest:
    """Make a store of a snapshot in a new or empty directory. Raises BackupError; then there is no store in it."""
    manifest = _read_manifest(source)
    copied = source / manifest.file
    part = directory / f"{DATABASE_FILE}.part"
    refuse_unless_empty(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            checksum = _copy(copied, part, lambda done: report(done, manifest.bytes))
            if checksum != manifest.sha256:
                raise BackupError(
                    f"{copied} is damaged: its checksum is another than the manifest's; nothing was restored"
                )
            sync(part)
            part.rename(directory / DATABASE_FILE)
        finally:
            part.unlink(missing_ok=True)
        sync(directory)
    except OSError as error:
        raise BackupError(f"cannot restore {copied} to {directory}: {error.strerror}") from error
    return manifest


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read_manifest(source: Path) -> Manifest:
    path = source / MANIFEST_FILE
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise BackupError(f"{source} is no backup, or one that was interrupted: there is no {path}") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise BackupError(f"{path} cannot be read: {error}") from error
    if (manifest.format, manifest.version) != (_FORMAT, _VERSION):
        raise BackupError(
            f"{path} is of format {manifest.format} {manifest.version}: this Fleetwatch knows {_FORMAT} {_VERSION}"
        )
    if manifest.schema_version > SCHEMA_VERSION:
        raise BackupError(
            f"{source} was made by a newer Fleetwatch: its schema version is {manifest.schema_version}, this one "
            f"knows up to {SCHEMA_VERSION}; upgrade Fleetwatch"
        )
    return manifest


def _copy(source: Path, target: Path, report: Callable[[int], None]) -> str:
    """Copy a file; its checksum."""
    with target.open("xb") as file:
        return _read_through(source, file.write, report)


def _checksum(path: Path, report: Callable[[int], None]) -> str:
    return _read_through(path, lambda _part: None, report)


def _read_through(path: Path, take: Callable[[bytes], object], report: Callable[[int], None]) -> str:
    """Hand a file over part by part; the SHA-256 of all."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while part := file.read(_BYTES_AT_ONCE):
            digest.update(part)
            take(part)
            done += len(part)
            report(done)
    return digest.hexdigest()
