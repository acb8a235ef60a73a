"""`fleetwatch db export` and `db import`."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from common.errors import FleetwatchError
from fleetwatch.db.arguments import read_range, read_selectors
from fleetwatch.db.places import Place
from fleetwatch.db.progress import bytes_bar, count_bar
from fleetwatch.db.stores import store_to_read
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.tools.exports import write_openmetrics
from tsdb.embedded.tools.imports import Importer, ImportRefusedError, Samples
from tsdb.embedded.tools.openmetrics_reader import OpenMetricsReader
from tsdb.embedded.tools.parquet import read_parquet, write_parquet
from tsdb.embedded.tools.series_walk import SeriesWalk

STANDARD_STREAM = "-"
_WRITERS = {"openmetrics": write_openmetrics, "parquet": write_parquet}
_PARQUET_MAGIC = b"PAR1"
_NOT_FROM_A_PIPE = "Parquet is read from its end, which a pipe does not allow: import a file"


class TransferError(FleetwatchError):
    """The format is unknown, or a file cannot be read or written."""


def run_export(
    place: Place, out: str, file_format: str, match: Sequence[str], start: str | None, end: str | None
) -> None:
    """Write samples. Raises FleetwatchError; then the file is as it was."""
    if file_format not in _WRITERS:
        raise TransferError(f"there is no format {file_format}: --format is one of {', '.join(_WRITERS)}")
    selectors = read_selectors(match)
    start_ms, end_ms = read_range(start, end)
    with (
        store_to_read(place) as store,
        _written(out) as file,
        count_bar("Exporting series") as report,
    ):
        walk = SeriesWalk(store, selectors, start_ms, end_ms)
        _WRITERS[file_format](walk.samples(report), file)


def run_import(place: Place, name: str) -> dict[str, Any]:
    """Read samples into a store; how many. Raises FleetwatchError, once what came before the fault is stored."""
    started = time.monotonic()
    directory = place.directory("import into a directory, and `fleetwatch db move` that")
    with _read(name) as file, contextlib.closing(EmbeddedStore(directory)) as store:
        importer = Importer(store, lambda: store.seal(_now_ms()))
        with bytes_bar("Importing") as report:
            try:
                for samples in _samples(file, name, importer, report):
                    importer.add(samples)
            except ImportRefusedError as error:
                importer.flush()
                raise TransferError(f"{error} (the {importer.appended} samples before it are in the store)") from error
            importer.flush()
        with count_bar("Merging"):
            store.compact(_now_ms())
    return {"store": str(directory), "samples": importer.appended, "seconds": round(time.monotonic() - started, 1)}


def _samples(
    file: BufferedReader, name: str, importer: Importer, report: Callable[[int, int | None], None]
) -> Iterator[Samples]:
    """The samples of a file in whichever format it is."""
    size = os.fstat(file.fileno()).st_size if file.seekable() else None
    if not file.peek(len(_PARQUET_MAGIC)).startswith(_PARQUET_MAGIC):
        reader = OpenMetricsReader(file, name, importer.series_ids)
        return reader.samples(lambda done: report(done, size))
    if size is None:
        raise TransferError(_NOT_FROM_A_PIPE)
    return read_parquet(file, name, importer.series_ids, lambda rows, total: report(size * rows // total, size))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@contextlib.contextmanager
def _read(name: str) -> Iterator[BufferedReader]:
    """A file, or standard input. Raises TransferError."""
    try:
        with Path("/dev/stdin" if name == STANDARD_STREAM else name).open("rb") as file:
            yield file
    except OSError as error:
        raise TransferError(f"cannot read {name}: {error.strerror}") from error


@contextlib.contextmanager
def _written(out: str) -> Iterator[BinaryIO]:
    """A file that has its name once it is whole, or a pipe, a device, standard output. Raises TransferError."""
    path = Path(out)
    try:
        if out == STANDARD_STREAM:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
            return
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                yield file
            return
        path = path.resolve()  # what a link leads to is replaced, not the link
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with part.open("xb") as file:
                yield file
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise TransferError(f"cannot write {out}: {error.strerror}") from error
