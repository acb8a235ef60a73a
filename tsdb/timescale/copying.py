"""Rows of the journal in PostgreSQL's binary format, straight from numpy.

A row is a small header, packed at once, and the array of values: for each element its length and its bytes, of all rows
of a write together made by four operations of numpy. https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4
The layout of arrays is that of array_send in PostgreSQL's sources.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.model import Batch, IntArray
from tsdb.timescale.connections import Connection

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"

_FLOAT8, _TIMESTAMPTZ = 701, 1184
_ELEMENT = np.dtype([("length", ">i4"), ("bits", ">u8")])
_ROWS_AT_ONCE = 32
_EPOCH_MS = 946_684_800_000  # 2000-01-01, from which PostgreSQL counts

# Dimensions, whether there are nulls, type of the elements; length, first index.
_ARRAY = struct.Struct(">5i")
_EMPTY_ARRAY = struct.Struct(">3i")
# Eight columns; each has its length before it.
_ROW = struct.Struct(">h iq ii iq ii iq ii")
_LENGTH = struct.Struct(">i")

_COPY = """
COPY fleetwatch_data.journal (seq, writer_id, write_no, target_id, time, layout_id, v, times) FROM STDIN (FORMAT binary)
"""


@dataclass(frozen=True, slots=True, eq=False)
class JournalRow:
    """A batch with the database's numbers."""

    seq: int
    writer_id: int
    write_no: int
    target_id: int
    layout_id: int
    batch: Batch


def copy_journal(connection: Connection, rows: Sequence[JournalRow]) -> None:
    """Write rows by COPY. Raises psycopg.Error."""
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        # By and by: the server takes in one part while the next is made.
        for part in parts(rows):
            copy.write(part)


def encode(rows: Sequence[JournalRow]) -> bytes:
    """What COPY is sent."""
    return b"".join(parts(rows))


def parts(rows: Sequence[JournalRow]) -> Iterator[bytes]:
    """The same piece by piece."""
    yield _SIGNATURE
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        yield _encoded(rows[first : first + _ROWS_AT_ONCE])
    yield _END


def _encoded(rows: Sequence[JournalRow]) -> bytes:
    pieces: list[bytes | memoryview] = []
    for row, (values, times) in zip(rows, _arrays(rows), strict=True):
        time_us = (row.batch.time_ms - _EPOCH_MS) * 1000
        pieces.append(
            _ROW.pack(8, 8, row.seq, 4, row.writer_id, 8, row.write_no, 4, row.target_id, 8, time_us, 4, row.layout_id)
        )
        pieces += _LENGTH.pack(sum(map(len, values))), *values
        pieces += (_NULL,) if times is None else (_LENGTH.pack(sum(map(len, times))), *times)
    return b"".join(pieces)


Sent = Sequence[bytes | memoryview]


def _arrays(rows: Sequence[JournalRow]) -> Iterator[tuple[Sent, Sent | None]]:
    """Of each row the values and, where samples bring their own, the times: as parts to be joined."""
    # By their bits: a conversion may change what a NaN carries.
    values = _elements(np.concatenate([row.batch.values for row in rows]).view(np.uint64))
    start = 0
    for row in rows:
        end = start + len(row.batch.layout) * _ELEMENT.itemsize
        times = None if row.batch.times_ms is None else _times(row.batch.times_ms)
        yield _array(_FLOAT8, values[start:end]), times
        start = end


def _times(times_ms: IntArray) -> Sent:
    return _array(_TIMESTAMPTZ, _elements(((times_ms - _EPOCH_MS) * 1000).view(np.uint64)))


def _array(element_type: int, elements: memoryview) -> Sent:
    length = len(elements) // _ELEMENT.itemsize
    if not length:
        return (_EMPTY_ARRAY.pack(0, 0, element_type),)
    return _ARRAY.pack(1, 0, element_type, length, 1), elements


def _elements(bits: npt.NDArray[np.uint64]) -> memoryview:
    elements = np.empty(len(bits), dtype=_ELEMENT)
    elements["length"] = 8
    elements["bits"] = bits
    return elements.view(np.uint8).data
