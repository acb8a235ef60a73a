"""Rows of one layout, as the head holds them: first as they came, then frozen. Their times are kept beside them.

A target's newest rows stand in open segments of a few rows each. A run of those that is long enough is frozen into
one segment, series by series: a series that did not change within it is one value, which for an exporter are two
thirds of them. Frozen segments are never changed, and of an open one only rows that no reader was given.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.model import FloatArray, IntArray, Layout
from tsdb.pieces import Piece

OPEN_ROWS = 8
"""Of an open segment: what is allocated ahead is less."""

FROZEN_ROWS = 32
"""Rows that are frozen together; at most, as a layout that changes ends a segment."""

# Columns that are quicker copied one by one.
_FEW = 8


class OpenSegment:
    """Rows as they come: only `count` of them are valid, and those never change."""

    __slots__ = ("count", "layout", "values")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.count = 0
        self.values = np.empty((OPEN_ROWS, len(layout)), dtype=np.float64)

    @property
    def full(self) -> bool:
        """Whether another row has no place."""
        return self.count == OPEN_ROWS

    @property
    def nbytes(self) -> int:
        """What the samples take, those to come included."""
        return self.values.nbytes

    def add(self, values: FloatArray) -> None:
        """Take a batch of the layout as the next row."""
        self.values[self.count] = values
        self.count += 1

    def put(self, columns: IntArray | None, low: int, high: int, into: FloatArray) -> None:
        """Write the rows from `low` up to `high` of some columns, None for all, to `into` float64[S, T]."""
        rows = self.values[low:high]
        into[:] = (rows if columns is None else rows[:, columns]).T

    def samples(self, column: int, low: int, high: int) -> FloatArray:
        """float64[T] of one column of the rows from `low` up to `high`."""
        return self.values[low:high, column]


@dataclass(frozen=True, slots=True, eq=False)
class FrozenRows:
    """`constants` float64[N], and `values` float64[C, T] of the C series that changed in `count` rows.

    `places` is int32[N]: where a series is in `values`, -1 for one that did not change.
    """

    layout: Layout
    count: int
    constants: FloatArray
    places: npt.NDArray[np.int32]
    values: FloatArray

    @property
    def nbytes(self) -> int:
        """What the samples take."""
        return self.constants.nbytes + self.places.nbytes + self.values.nbytes

    def without_first(self, count: int) -> "FrozenRows":
        """A copy that lacks the first rows."""
        return FrozenRows(self.layout, self.count - count, self.constants, self.places, self.values[:, count:].copy())

    def put(self, columns: IntArray | None, low: int, high: int, into: FloatArray) -> None:
        """Write the rows from `low` up to `high` of some columns, None for all, to `into` float64[S, T]."""
        if columns is None:
            into[:] = self.constants[:, None]
            into[self.places >= 0] = self.values[:, low:high]
            return
        into[:] = self.constants[columns, None]
        places = self.places[columns]
        (changed,) = (places >= 0).nonzero()
        if len(changed):
            into[changed] = self.values[places[changed], low:high]

    def samples(self, column: int, low: int, high: int) -> FloatArray:
        """float64[T] of one column of the rows from `low` up to `high`."""
        place = self.places.item(column)
        if place < 0:
            return self.constants[column : column + 1].repeat(high - low)
        return self.values[place, low:high]


Segment = OpenSegment | FrozenRows

Span = tuple[Segment, int, int]
"""Rows of a segment, from one up to another."""


def spans(segments: Iterable[Segment], low: int, high: int) -> list[Span]:
    """Where the rows from `low` up to `high` are, of all rows of segments, one after the other."""
    found = []
    start = 0
    for segment in segments:
        end = start + segment.count
        first, last = max(start, low), min(end, high)
        if first < last:
            found.append((segment, first - start, last - start))
        start = end
    return found


def freeze(segments: Sequence[OpenSegment]) -> FrozenRows:
    """The rows of segments of one layout."""
    values = np.concatenate([segment.values[: segment.count] for segment in segments])
    bits = values.view(np.uint64)
    changed = np.flatnonzero((bits[1:] != bits[0]).any(axis=0))
    places = np.full(values.shape[1], -1, dtype=np.int32)
    places[changed] = np.arange(len(changed))
    changing = np.ascontiguousarray(values[:, changed].T)
    return FrozenRows(segments[0].layout, len(values), values[0].copy(), places, changing)


def transposed(
    times_ms: IntArray,
    seqs: IntArray,
    rows: Iterable[Span],
    columns_of: Callable[[IntArray], IntArray] | None = None,
) -> list[Piece]:
    """Pieces of rows: a new matrix `[S, T]` for every run of rows of the same layout, of all columns or of some.

    `times_ms` and `seqs`, int64[T], are those of the rows, of which pieces have views.
    """
    pieces = []
    end = 0
    for layout, run in itertools.groupby(rows, key=lambda span: span[0].layout):
        of_layout = list(run)
        start, end = end, end + sum([high - low for _, low, high in of_layout])
        ids = layout.series_ids
        columns = None if columns_of is None else columns_of(ids)
        if columns is not None and len(columns) == len(ids):
            columns = None
        elif columns is not None:
            ids = ids[columns]
        if not len(ids):
            continue
        values = np.empty((len(ids), end - start))
        if columns is not None and len(columns) <= _FEW:
            for row, column in enumerate(columns.tolist()):
                np.concatenate([part.samples(column, low, high) for part, low, high in of_layout], out=values[row])
        else:
            place = 0
            for part, low, high in of_layout:
                part.put(columns, low, high, values[:, place : place + high - low])
                place += high - low
        pieces.append(Piece(times_ms[start:end], seqs[start:end], ids, values))
    return pieces
