"""Binary results of PostgreSQL as numpy vectors, a column at a time: no Python object for each element of an array.

Formats: array_send, float8send, int8send and timestamptz_send of PostgreSQL's sources. An array is five int32 for a
vector (dimensions, whether it has nulls, the type of its elements, length, first index), then a length and the bytes
of each element; an empty one ends after the third.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
from psycopg import pq
from psycopg.adapt import Dumper

from tsdb.model import FloatArray, IntArray

ELEMENT_BYTES = 12
"""What an element of 8 bytes takes in an array."""

_HEADER_BYTES = 20
_MATRIX_HEADER_BYTES = 28
_LENGTH_OFFSET = 12
_EPOCH_MS = 946_684_800_000  # 2000-01-01, from which PostgreSQL counts

_EIGHT_BYTES_ELEMENT = np.dtype([("length", ">i4"), ("value", ">i8")])
_INT4_ELEMENT = np.dtype([("length", ">i4"), ("value", ">i4")])

_UNIX_EPOCH = datetime.fromtimestamp(0, UTC)
_FIRST_MS = -62_135_596_800_000  # the year 1
_LAST_MS = 253_402_300_799_999  # the end of the year 9999


class Rows:
    """The rows of a binary result, by column. What a column holds is the caller's to know."""

    def __init__(self, result: pq.abc.PGresult) -> None:
        self._result = result
        self._count = result.ntuples

    def __len__(self) -> int:
        return self._count

    def raw(self, column: int) -> list[bytes | None]:
        """The bytes of each row, None for NULL."""
        value_of = self._result.get_value
        return [value_of(row, column) for row in range(self._count)]

    def whole(self, column: int) -> list[bytes]:
        """The bytes of each row of a column without NULL."""
        return [value for value in self.raw(column) if value is not None]

    def int4(self, column: int) -> IntArray:
        """int64[rows] of a column of int4."""
        return np.frombuffer(b"".join(self.whole(column)), dtype=">i4").astype(np.int64)

    def int8(self, column: int) -> IntArray:
        """int64[rows] of a column of int8."""
        return np.frombuffer(b"".join(self.whole(column)), dtype=">i8").astype(np.int64)

    def float8(self, column: int) -> FloatArray:
        """float64[rows] of a column of float8."""
        bits = np.frombuffer(b"".join(self.whole(column)), dtype=">u8").astype(np.uint64)
        return bits.view(np.float64)

    def times_ms(self, column: int) -> IntArray:
        """int64[rows] of a column of timestamptz."""
        return _milliseconds(self.int8(column))


@dataclass(frozen=True, slots=True, eq=False)
class Int8s:
    """A vector as the parameter of a statement, of type int8[]."""

    values: IntArray


class _Int8sDumper(Dumper):
    format = pq.Format.BINARY
    oid = 1016

    def dump(self, obj: Int8s) -> bytes:
        """See array_send in PostgreSQL's sources."""
        if not len(obj.values):
            return struct.pack(">3i", 0, 0, 20)
        elements = np.empty(len(obj.values), dtype=_EIGHT_BYTES_ELEMENT)
        elements["length"], elements["value"] = 8, obj.values
        return struct.pack(">5i", 1, 0, 20, len(obj.values), 1) + elements.tobytes()


psycopg.adapters.register_dumper(Int8s, _Int8sDumper)


def at_least(time_ms: int) -> str:
    """A lower bound for times as text: a lower one where Python's calendar does not reach."""
    return "-infinity" if time_ms < _FIRST_MS else _text(min(time_ms, _LAST_MS))


def at_most(time_ms: int) -> str:
    """An upper bound for times as text: a higher one where Python's calendar does not reach."""
    return "infinity" if time_ms > _LAST_MS else _text(max(time_ms, _FIRST_MS))


def fetch(connection: psycopg.Connection, query: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> Rows:
    """The rows of a query, all in memory."""
    with connection.cursor(binary=True) as cursor:
        cursor.execute(query.encode(), parameters)
        result = cursor.pgresult
        if result is None:
            raise psycopg.ProgrammingError("the statement has no result")
        return Rows(result)


def stream(
    connection: psycopg.Connection, query: str, parameters: Mapping[str, object], at_once: int
) -> Iterator[Rows]:
    """The rows of a query within a transaction, not all in memory."""
    connection.execute(f"DECLARE streamed NO SCROLL CURSOR FOR {query}".encode(), parameters)
    while len(rows := fetch(connection, f"FETCH FORWARD {at_once} FROM streamed")):
        yield rows
    connection.execute("CLOSE streamed")


def length_of(array: bytes) -> int:
    """How many elements an array has."""
    return int.from_bytes(array[_LENGTH_OFFSET : _LENGTH_OFFSET + 4]) if len(array) > _LENGTH_OFFSET else 0


def float8_arrays(arrays: Sequence[bytes]) -> FloatArray:
    """The elements of arrays one after the other, bit for bit."""
    return _values(arrays, _EIGHT_BYTES_ELEMENT, _HEADER_BYTES).view(np.float64)


def float8_matrices(arrays: Sequence[bytes]) -> FloatArray:
    """The elements of two-dimensional arrays one after the other, bit for bit."""
    return _values(arrays, _EIGHT_BYTES_ELEMENT, _MATRIX_HEADER_BYTES).view(np.float64)


def int8_arrays(arrays: Sequence[bytes]) -> IntArray:
    """The elements of vectors of int8 one after the other."""
    return _values(arrays, _EIGHT_BYTES_ELEMENT, _HEADER_BYTES)


def int8_array(array: bytes) -> IntArray:
    """The elements of an int8[]."""
    return int8_arrays([array])


def int4_array(array: bytes) -> IntArray:
    """The elements of an int4[]."""
    return _values([array], _INT4_ELEMENT, _HEADER_BYTES)


def times_array_ms(arrays: Sequence[bytes]) -> IntArray:
    """The elements of arrays of timestamptz one after the other."""
    return _milliseconds(int8_arrays(arrays))


def _values(arrays: Sequence[bytes], element: np.dtype[np.void], header_bytes: int) -> IntArray:
    """Array by array, each of which is in the processor's cache then: four times as fast as all at once."""
    total = sum([max(0, len(array) - header_bytes) for array in arrays]) // element.itemsize
    values = np.empty(total, dtype=np.int64)
    end = 0
    for array in arrays:
        # An empty one ends within the header.
        if len(array) > header_bytes:
            part = np.frombuffer(array, dtype=element, offset=header_bytes)["value"]
            start, end = end, end + len(part)
            values[start:end] = part
    return values


def _milliseconds(microseconds: IntArray) -> IntArray:
    return microseconds // 1000 + _EPOCH_MS


def _text(time_ms: int) -> str:
    return (_UNIX_EPOCH + timedelta(milliseconds=time_ms)).isoformat()
