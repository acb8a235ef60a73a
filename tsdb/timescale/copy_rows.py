"""Rows for COPY in PostgreSQL's binary format, column by column from vectors and matrices, many at once.

https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4; a row is the number of its columns, then of each
its size and its bytes. Arrays are as array_send in PostgreSQL's sources writes them. All rows of a table have the same
sizes, so that numpy lays them out.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from tsdb.model import FloatArray, IntArray
from tsdb.timescale.connections import Connection

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_EPOCH_MS = 946_684_800_000  # 2000-01-01, from which PostgreSQL counts
_INT4, _FLOAT8 = 23, 701

_Field = tuple[str, object] | tuple[str, object, tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """A column of numbers: a vector, or one number for all rows. `kind` is their type on the wire."""

    kind: str
    values: npt.NDArray[np.generic] | int

    @classmethod
    def int4(cls, values: IntArray | int) -> Self:
        """A column of type int."""
        return cls(">i4", values)

    @classmethod
    def int8(cls, values: IntArray | int) -> Self:
        """A column of type bigint."""
        return cls(">i8", values)

    @classmethod
    def times(cls, times_ms: IntArray | int) -> Self:
        """A column of type timestamptz, of milliseconds since 1970."""
        return cls(">i8", (times_ms - _EPOCH_MS) * 1000)

    @classmethod
    def float8(cls, values: FloatArray) -> Self:
        """A column of type float8, bit for bit."""
        return cls(">u8", values.view(np.uint64))

    def fields(self, name: str) -> list[_Field]:
        """What a row has of the column."""
        return [(f"{name} size", ">i4"), (name, self.kind)]

    def fill(self, table: npt.NDArray[np.void], name: str) -> None:
        """Write the column into the rows."""
        table[f"{name} size"] = np.dtype(self.kind).itemsize
        table[name] = self.values


@dataclass(frozen=True, slots=True, eq=False)
class Arrays:
    """A column of arrays of one shape: the first axis of `values` is for rows, of length 1 where all are equal."""

    element: int
    kind: str
    values: npt.NDArray[np.generic]

    @classmethod
    def int4(cls, values: npt.NDArray[np.int32]) -> Self:
        """A column of type int[]."""
        return cls(_INT4, ">i4", values)

    @classmethod
    def float8(cls, values: FloatArray) -> Self:
        """A column of type float8[], bit for bit: a conversion may change what a NaN carries."""
        return cls(_FLOAT8, ">u8", values.view(np.uint64))

    def fields(self, name: str) -> list[_Field]:
        """See Numbers.fields."""
        shape = self.values.shape[1:]
        element = np.dtype([("size", ">i4"), ("value", self.kind)])
        return [(f"{name} size", ">i4"), (f"{name} head", f"V{len(self._head())}"), (name, element, shape)]

    def fill(self, table: npt.NDArray[np.void], name: str) -> None:
        """See Numbers.fill."""
        elements = table[name]
        table[f"{name} size"] = len(self._head()) + elements.dtype.itemsize * self.values[0].size
        table[f"{name} head"] = np.void(self._head())
        elements["size"] = np.dtype(self.kind).itemsize
        elements["value"] = self.values

    def _head(self) -> bytes:
        """Dimensions, whether there are nulls, type of the elements; length and first index of each dimension."""
        shape = self.values.shape[1:]
        bounds = [number for length in shape for number in (length, 1)]
        return struct.pack(f">{3 + len(bounds)}i", len(shape), 0, self.element, *bounds)


class Null:
    """A column of nothing but NULL."""

    def fields(self, name: str) -> list[_Field]:
        """See Numbers.fields."""
        return [(f"{name} size", ">i4")]

    def fill(self, table: npt.NDArray[np.void], name: str) -> None:
        """See Numbers.fill."""
        table[f"{name} size"] = -1


Column = Numbers | Arrays | Null


def encode(count: int, columns: Sequence[Column]) -> memoryview:
    """So many rows of some columns."""
    named = [(f"column {number}", column) for number, column in enumerate(columns)]
    fields: list[_Field] = [("columns", ">i2")]
    for name, column in named:
        fields += column.fields(name)
    table = np.empty(count, dtype=np.dtype(fields))
    table["columns"] = len(columns)
    for name, column in named:
        column.fill(table, name)
    return table.view(np.uint8).data


def copy(connection: Connection, statement: str, tables: Iterable[memoryview]) -> None:
    """Send encoded rows. Raises psycopg.Error."""
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as stream:
        stream.write(_SIGNATURE)
        for table in tables:
            stream.write(table)
        stream.write(_END)
