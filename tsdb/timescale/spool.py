"""The spool: writes on disk while the database is away, in the order in which they came.

A directory of segments. A segment is records, one for each write: a mark, the length and the CRC-32 of what follows,
and a write as tsdb.timescale.spool_records has it. A record is on disk before its write counts as stored. A segment
goes once all its writes are in the database.

Whoever was killed while writing leaves a record that is not whole, which nobody was told to be stored: it is cut off.
A record that is damaged in any other way is left out, and counted. No segment is continued by another process.
"""

import contextlib
import errno
import fcntl
import logging
import os
import struct
import zlib
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from tsdb.catalog import Catalog
from tsdb.errors import StoreError, StoreLockedError, StoreOpenError, WriteRefusedError
from tsdb.timescale.spool_records import SegmentDecoder, SegmentEncoder, SpoolRecordError, oldest_time_ms
from tsdb.timescale.writes import Write, WriteId

log = logging.getLogger(__name__)

LOCK_FILE = "lock"

_MARK = b"\xf5FW1"
_HEADER = struct.Struct("<4sII")

# Of this process or machine, and not of what lies in the directory.
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES)

# Each segment says anew what the series are.
_SEGMENTS = 8
_LEAST_SEGMENT_BYTES, _MOST_SEGMENT_BYTES = 1 << 20, 128 << 20


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """What lies in a spool: bytes, whole records, and the earliest time of the first one; None where it has none."""

    bytes: int
    records: int
    oldest_ms: int | None


@dataclass(slots=True, eq=False)
class _Segment:
    path: Path
    bytes: int = 0
    # Where records begin, and how long what follows their headers is.
    records: deque[tuple[int, int]] = field(default_factory=deque)


@dataclass(frozen=True, slots=True, eq=False)
class _Writing:
    descriptor: int
    encoder: SegmentEncoder


class Spool:
    """The spool of one process, of at most `most_bytes`. For one thread, but for `empty` and the figures.

    Raises StoreOpenError where the directory cannot be used, of it StoreLockedError where another process does.
    """

    def __init__(self, directory: Path, most_bytes: int) -> None:
        self.directory = directory
        self._most_bytes = most_bytes
        self._segment_bytes = min(max(most_bytes // _SEGMENTS, _LEAST_SEGMENT_BYTES), _MOST_SEGMENT_BYTES)
        self._segments: deque[_Segment] = deque()
        # Of the last segment, where this process began it.
        self._writing: _Writing | None = None
        # Of the first segment, and its first record.
        self._decoder: SegmentDecoder | None = None
        self._first: tuple[WriteId, Write] | None = None
        self._damaged = 0
        self._lock_descriptor: int | None = None
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock_descriptor = _locked(directory)
            self._open()
        except OSError as error:
            self.close()
            raise StoreOpenError(f"cannot use the spool directory {directory}: {error.strerror}") from error

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._segments

    def append(self, write_id: WriteId, write: Write, catalog: Catalog) -> None:
        """Have a write on disk. Raises WriteRefusedError where it is not, as when there is no room."""
        try:
            if self._writing is None or self._segments[-1].bytes >= self._segment_bytes:
                self._begin_segment(catalog)
            writing, segment = self._writing, self._segments[-1]
            if writing is None:
                return
            data = writing.encoder.encode(write_id, write)
            record = _HEADER.pack(_MARK, len(data), zlib.crc32(data)) + data
            if self._bytes() + len(record) > self._most_bytes:
                raise WriteRefusedError(
                    f"nothing was stored: the database is away, and the spool {self.directory} is full with "
                    f"{self._bytes()} bytes (storage.timescaledb.spool.size)"
                )
            _write_all(writing.descriptor, record, segment.bytes)
            os.fdatasync(writing.descriptor)
        except OSError as error:
            self._give_up_segment()
            raise WriteRefusedError(
                f"nothing was stored: the database is away, and the spool {self.directory} cannot be written: "
                f"{error.strerror}"
            ) from error
        segment.records.append((segment.bytes + _HEADER.size, len(data)))
        segment.bytes += len(record)
        writing.encoder.written(write)

    def first(self, catalog: Catalog) -> tuple[WriteId, Write] | None:
        """The write that came first, None where nothing waits. Damaged ones are passed over.

        Raises StoreError where it cannot be read now, and may be later.
        """
        while self._first is None and self._segments:
            segment = self._segments[0]
            if not segment.records:
                self._remove_segment()
                continue
            if self._decoder is None:
                self._decoder = SegmentDecoder(catalog)
            try:
                self._first = self._decoder.decode(_read(segment.path, *segment.records[0]))
            except (OSError, SpoolRecordError) as error:
                if isinstance(error, OSError) and error.errno in _PASSING:
                    raise StoreError(f"the spool {segment.path} cannot be read now: {error.strerror}") from error
                self._damaged += 1
                log.error("a record of the spool %s is lost: %s", segment.path, error)
                segment.records.popleft()
        return self._first

    def remove_first(self) -> None:
        """Forget the write that `first` gave: it is in the database."""
        self._first = None
        self._segments[0].records.popleft()
        if not self._segments[0].records:
            self._remove_segment()

    def figures(self) -> dict[str, float]:
        """For the stats of a store."""
        segments = tuple(self._segments)
        return {
            "spool_bytes": float(self._bytes()),
            "spool_limit_bytes": float(self._most_bytes),
            "spool_records": float(sum([len(segment.records) for segment in segments])),
            "spool_records_damaged_total": float(self._damaged),
        }

    def close(self) -> None:
        """Unlock the directory; what waits stays in it. Idempotent."""
        if self._writing is not None:
            os.close(self._writing.descriptor)
            self._writing = None
        if self._lock_descriptor is not None:
            os.close(self._lock_descriptor)
            self._lock_descriptor = None

    def _bytes(self) -> int:
        return sum([segment.bytes for segment in tuple(self._segments)])

    def _open(self) -> None:
        """Find what another run left."""
        paths = _segment_paths(self.directory)
        for path in paths:
            data = path.read_bytes()
            segment, holes = _scan(path, data)
            if holes:
                self._damaged += holes
                log.error("%d places of the spool %s are damaged: the records there are lost", holes, path)
            if segment.bytes < len(data):
                log.warning("the spool %s ends with a record that is not whole: it is cut off", path)
                os.truncate(path, segment.bytes)
            if segment.records:
                self._segments.append(segment)
            else:
                path.unlink()

    def _begin_segment(self, catalog: Catalog) -> None:
        if self._writing is not None:
            os.close(self._writing.descriptor)
            self._writing = None
        last = max([int(path.stem) for path in _segment_paths(self.directory)], default=0)
        path = self.directory / f"{last + 1:012}.spool"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._writing = _Writing(descriptor, SegmentEncoder(catalog))
        self._segments.append(_Segment(path))
        _sync_directory(self.directory)

    def _give_up_segment(self) -> None:
        """Leave a segment behind in which something could not be written, without that."""
        if self._writing is None:
            return
        segment = self._segments[-1]
        with contextlib.suppress(OSError):
            os.ftruncate(self._writing.descriptor, segment.bytes)
        os.close(self._writing.descriptor)
        self._writing = None
        if not segment.records:
            self._segments.pop()
            with contextlib.suppress(OSError):
                segment.path.unlink()

    def _remove_segment(self) -> None:
        segment = self._segments[0]
        if len(self._segments) == 1 and self._writing is not None:
            os.close(self._writing.descriptor)
            self._writing = None
        self._decoder = None
        self._segments.popleft()
        with contextlib.suppress(OSError):
            segment.path.unlink()


def inspect(directory: Path) -> SpoolStatus:
    """Look at a spool, also one that a process has. Raises OSError, and FileNotFoundError where there is none."""
    segments = []
    first: bytes | None = None
    paths = _segment_paths(directory)
    if not paths:
        directory.stat()
    for path in paths:
        # Its process may have done with it meanwhile.
        with contextlib.suppress(FileNotFoundError):
            data = path.read_bytes()
            segment, _ = _scan(path, data)
            segments.append(segment)
            if first is None and segment.records:
                offset, length = segment.records[0]
                first = data[offset : offset + length]
    oldest_ms = None if first is None else oldest_time_ms(first)
    return SpoolStatus(
        sum([segment.bytes for segment in segments]), sum([len(segment.records) for segment in segments]), oldest_ms
    )


def _scan(path: Path, data: bytes) -> tuple[_Segment, int]:
    """The whole records of a segment, and in how many places before the last of them there is something else."""
    segment = _Segment(path)
    holes = 0
    at = 0
    while (found := data.find(_MARK, at)) >= 0:
        start = found + _HEADER.size
        if start <= len(data):
            _, length, crc = _HEADER.unpack_from(data, found)
            if start + length <= len(data) and zlib.crc32(data[start : start + length]) == crc:
                holes += found != segment.bytes
                segment.records.append((start, length))
                at = segment.bytes = start + length
                continue
        at = found + 1
    return segment, holes


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset - _HEADER.size)
        _, _, crc = _HEADER.unpack(file.read(_HEADER.size))
        data = file.read(length)
    if len(data) != length or zlib.crc32(data) != crc:
        raise SpoolRecordError("its checksum is wrong")
    return data


def _segment_paths(directory: Path) -> list[Path]:
    return sorted(directory.glob("[0-9]*.spool"))


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locked(directory: Path) -> int:
    """A descriptor that holds the lock of a directory for as long as it is open, or the process lives."""
    descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreLockedError(
            f"the spool directory {directory} is in use by process {holder}: stop it, or choose another directory "
            "(storage.timescaledb.spool.path)"
        ) from error
    with contextlib.suppress(OSError):  # on a full disk nobody knows who it is
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor
