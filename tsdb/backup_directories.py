"""Directories of backups: they have their name once all in them is on disk, and are not there before."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tsdb.errors import StoreError


class BackupError(StoreError):
    """A backup cannot be made, or is not whole; says why."""


@contextlib.contextmanager
def made_whole(destination: Path) -> Iterator[Path]:
    """A directory to fill, which has the name `destination` once it is full and on disk, or is gone.

    Raises BackupError where `destination` is there and not an empty directory, or where the file system refuses.
    """
    refuse_unless_empty(destination)
    destination = destination.absolute()
    part = destination.with_name(f".{destination.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        try:
            yield part
            sync(part)
            part.rename(destination)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        sync(destination.parent)
    except OSError as error:
        raise BackupError(f"cannot write {destination}: {error.strerror}") from error


def refuse_unless_empty(directory: Path) -> None:
    """Raises BackupError where something is in the way of a new directory."""
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise BackupError(f"{directory} is there already and not an empty directory: choose a new one")


def sync(path: Path) -> None:
    """Have a file or directory on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
