"""Rows of one layout with rising times, as the head holds them: first as they came, then frozen.

A target's newest rows stand in open segments of a few rows each. A run of those that is long enough is frozen into
one segment, series by series: a series that did not change within it is one value, which for an exporter are two
thirds of them. Frozen segments are never changed, and of an open one only rows that no reader was given.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.model import Batch, FloatArray, IntArray, Layout
from tsdb.pieces import Piece

OPEN_ROWS = 8
"""Of an open segment: what is allocated ahead is less."""

FROZEN_ROWS = 32
"""Rows that are frozen together; at most, as a layout that changes ends a segment."""


class OpenSegment:
    """Rows as they come: only `count` of them are valid, and those never change."""

    __slots__ = ("count", "layout", "seqs", "times_ms", "values")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.count = 0
        self.times_ms = np.empty(OPEN_ROWS, dtype=np.int64)
        self.seqs = np.empty(OPEN_ROWS, dtype=np.int64)
        self.values = np.empty((OPEN_ROWS, len(layout)), dtype=np.float64)

    @property
    def full(self) -> bool:
        """Whether another row has no place."""
        return self.count == OPEN_ROWS

    @property
    def nbytes(self) -> int:
        """What the samples take, those to come included."""
        return self.values.nbytes

    def add(self, seq: int, batch: Batch) -> None:
        """Take a batch of the layout as the next row."""
        row = self.count
        self.times_ms[row] = batch.time_ms
        self.seqs[row] = seq
        self.values[row] = batch.values
        self.count = row + 1

    def rows(self) -> "OpenRows":
        """The valid rows, without a copy."""
        end = self.count
        return OpenRows(self.layout, self.times_ms[:end], self.seqs[:end], self.values[:end])


@dataclass(frozen=True, slots=True, eq=False)
class OpenRows:
    """Rows of an open segment: `times_ms` int64[T], `seqs` int64[T], `values` float64[T, N]."""

    layout: Layout
    times_ms: IntArray
    seqs: IntArray
    values: FloatArray

    def only(self, low: int, high: int) -> "OpenRows":
        """The rows from `low` up to `high`, without a copy."""
        return OpenRows(self.layout, self.times_ms[low:high], self.seqs[low:high], self.values[low:high])

    def put(self, columns: IntArray | None, into: FloatArray) -> None:
        """Write the samples of some columns, None for all, to `into` float64[S, T]."""
        into[:] = (self.values if columns is None else self.values[:, columns]).T


@dataclass(frozen=True, slots=True, eq=False)
class FrozenRows:
    """`times_ms` int64[T], `seqs` int64[T], `constants` float64[N], `values` float64[C, T] of the C that changed.

    `places` is int32[N]: where a series is in `values`, -1 for one that did not change.
    """

    layout: Layout
    times_ms: IntArray
    seqs: IntArray
    constants: FloatArray
    places: npt.NDArray[np.int32]
    values: FloatArray

    @property
    def nbytes(self) -> int:
        """What the samples take."""
        return self.constants.nbytes + self.places.nbytes + self.values.nbytes

    def only(self, low: int, high: int) -> "FrozenRows":
        """The rows from `low` up to `high`, without a copy."""
        times_ms, seqs, values = self.times_ms[low:high], self.seqs[low:high], self.values[:, low:high]
        return FrozenRows(self.layout, times_ms, seqs, self.constants, self.places, values)

    def copy(self) -> "FrozenRows":
        """The same, less what `only` left out."""
        times_ms, seqs, values = self.times_ms.copy(), self.seqs.copy(), self.values.copy()
        return FrozenRows(self.layout, times_ms, seqs, self.constants, self.places, values)

    def put(self, columns: IntArray | None, into: FloatArray) -> None:
        """Write the samples of some columns, None for all, to `into` float64[S, T]."""
        if columns is None:
            into[:] = self.constants[:, None]
            into[self.places >= 0] = self.values
            return
        into[:] = self.constants[columns, None]
        places = self.places[columns]
        (changed,) = (places >= 0).nonzero()
        if len(changed):
            into[changed] = self.values[places[changed]]


SegmentRows = OpenRows | FrozenRows


def freeze(segments: Sequence[OpenSegment]) -> FrozenRows:
    """The rows of segments of one layout."""
    parts = [segment.rows() for segment in segments]
    values = np.concatenate([part.values for part in parts])
    bits = values.view(np.uint64)
    changed = np.flatnonzero((bits[1:] != bits[0]).any(axis=0))
    places = np.full(values.shape[1], -1, dtype=np.int32)
    places[changed] = np.arange(len(changed))
    return FrozenRows(
        parts[0].layout,
        np.concatenate([part.times_ms for part in parts]),
        np.concatenate([part.seqs for part in parts]),
        values[0].copy(),
        places,
        np.ascontiguousarray(values[:, changed].T),
    )


def transposed(parts: Sequence[SegmentRows], columns_of: Callable[[IntArray], IntArray] | None = None) -> list[Piece]:
    """Pieces of rows: a new matrix `[S, T]` for every run of rows of the same layout, of all columns or of some."""
    pieces = []
    for layout, run in itertools.groupby(parts, key=lambda part: part.layout):
        ids = layout.series_ids
        columns = None if columns_of is None else columns_of(ids)
        if columns is not None and len(columns) == len(ids):
            columns = None
        elif columns is not None:
            ids = ids[columns]
        if not len(ids):
            continue
        rows = list(run)
        values = np.empty((len(ids), sum([len(part.times_ms) for part in rows])))
        end = 0
        for part in rows:
            start, end = end, end + len(part.times_ms)
            part.put(columns, values[:, start:end])
        times = np.concatenate([part.times_ms for part in rows])
        pieces.append(Piece(times, np.concatenate([part.seqs for part in rows]), ids, values))
    return pieces
