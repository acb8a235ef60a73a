"""Pieces of samples, and how they become frames.

A piece is a matrix of series by times as one source holds it: a head segment, a block, late samples. Every time of
a piece carries the sequence number of the write it came from, so that pieces merge in any order: for one series and
time the highest number is read.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.labels import Labels
from tsdb.model import ABSENT, ABSENT_BITS, BoolArray, FloatArray, Frame, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """`times_ms` int64[T] strictly rising, `seqs` int64[T], `series_ids` int64[S], `values` float64[S, T].

    Values are ABSENT where there is no sample.
    """

    times_ms: IntArray
    seqs: IntArray
    series_ids: IntArray
    values: FloatArray

    def within(self, start_ms: int, end_ms: int) -> "Piece":
        """The times from start to end, both included."""
        low = int(np.searchsorted(self.times_ms, start_ms, side="left"))
        high = int(np.searchsorted(self.times_ms, end_ms, side="right"))
        if high - low == len(self.times_ms):
            return self
        return Piece(self.times_ms[low:high], self.seqs[low:high], self.series_ids, self.values[:, low:high])


class Wanted:
    """Which series a read wants, for picking columns out of layouts without a search.

    With `homes`, int32[N], a series is wanted of that target only; without, of any.
    """

    def __init__(self, series_ids: IntArray, homes: npt.NDArray[np.int32] | None = None) -> None:
        self.series_ids = series_ids
        self.homes = homes
        size = int(series_ids.max()) + 1 if len(series_ids) else 0
        # One more, unwanted: layouts made after this clip to it.
        self._home = np.full(size + 1, -1, dtype=np.int32)
        self._home[series_ids] = 0 if homes is None else homes

    def columns(self, target_id: int, series_ids: IntArray) -> IntArray:
        """Positions in a vector of ids of those that are wanted."""
        (columns,) = self.includes(target_id, series_ids).nonzero()
        return columns

    def includes(self, target_id: int, series_ids: IntArray) -> BoolArray:
        """Which ids of a vector are wanted."""
        home = self._home.take(series_ids, mode="clip")
        included: BoolArray = home >= 0 if self.homes is None else home == target_id
        return included


def group_samples(series_ids: IntArray, times_ms: IntArray, seqs: IntArray, values: FloatArray) -> list[Piece]:
    """Pieces of loose samples, in any order: series with the same times and writes share one."""
    order = np.lexsort((seqs, times_ms, series_ids))
    ids, times = series_ids[order], times_ms[order]
    last = np.ones(len(order), dtype=np.bool_)
    last[:-1] = (ids[1:] != ids[:-1]) | (times[1:] != times[:-1])
    ids, times, seqs, values = ids[last], times[last], seqs[order][last], values[order][last]
    starts = np.flatnonzero(np.diff(ids, prepend=-1)).tolist()
    groups: dict[tuple[bytes, bytes], list[int]] = {}
    ends = [*starts[1:], len(ids)]
    for start, end in zip(starts, ends, strict=False):
        groups.setdefault((times[start:end].tobytes(), seqs[start:end].tobytes()), []).append(start)
    pieces = []
    for (times_bytes, seqs_bytes), rows in groups.items():
        group_times = np.frombuffer(times_bytes, dtype=np.int64)
        first = np.array(rows, dtype=np.int64)
        matrix = values[first[:, None] + np.arange(len(group_times))]
        pieces.append(Piece(group_times, np.frombuffer(seqs_bytes, dtype=np.int64), ids[first], matrix))
    return pieces


def join(pieces: Sequence[Piece]) -> list[Piece]:
    """Pieces with every series in one only: those that occur in the same pieces are joined along time.

    The result's `seqs` mean something only where the times of the pieces did not overlap.
    """
    pieces = [piece for piece in pieces if len(piece.times_ms)]
    if len(pieces) < 2:
        return pieces
    return [_along_time(group) for group in by_membership(pieces)]


def to_frames(groups: Iterable[Sequence[Piece]], labels_of: Callable[[IntArray], list[Labels]]) -> list[Frame]:
    """Frames of groups of pieces, no series of which is in two groups; in one they overlap in any way.

    Series without a sample are left out.
    """
    found = [seen for pieces in groups for piece in join(pieces) if (seen := _seen(piece))]
    if not found:
        return []
    # One look at the index for all: frames may be thousands.
    labels = labels_of(np.concatenate([piece.series_ids for piece, _ in found]))
    frames = []
    end = 0
    for piece, present in found:
        start, end = end, end + len(piece.series_ids)
        frames.append(Frame(piece.times_ms, piece.values, piece.series_ids, labels[start:end], present))
    return frames


def _seen(piece: Piece) -> tuple[Piece, BoolArray | None] | None:
    """The series of a piece that have samples, and where, None for everywhere; None where there are no such series."""
    if not piece.values.flags.c_contiguous:
        piece = Piece(piece.times_ms, piece.seqs, piece.series_ids, np.ascontiguousarray(piece.values))
    values = piece.values
    present = values.view(np.uint64) != ABSENT_BITS
    if np.count_nonzero(present) == present.size:
        return (piece, None) if len(values) else None
    seen = present.any(axis=1)
    if not seen.any():
        return None
    return Piece(piece.times_ms, piece.seqs, piece.series_ids[seen], values[seen]), present[seen]


def by_membership(pieces: list[Piece]) -> list[list[Piece]]:
    """Groups of pieces over the same series each, cut so that every series is in one group."""
    if not pieces:
        return []
    first = pieces[0].series_ids
    if all(piece.series_ids is first or np.array_equal(piece.series_ids, first) for piece in pieces[1:]):
        return [pieces]
    all_ids = np.unique(np.concatenate([piece.series_ids for piece in pieces]))
    # rows[p, u]: where series u is in piece p, -1 where it is not.
    rows = np.full((len(pieces), len(all_ids)), -1, dtype=np.int64)
    for number, piece in enumerate(pieces):
        rows[number, np.searchsorted(all_ids, piece.series_ids)] = np.arange(len(piece.series_ids))
    signatures = np.packbits(rows >= 0, axis=0)
    _, group_of = np.unique(signatures, axis=1, return_inverse=True)
    group_of = group_of.reshape(-1)
    groups = []
    for group in range(int(group_of.max()) + 1):
        members = np.flatnonzero(group_of == group)
        ids = all_ids[members]
        groups.append(
            [
                Piece(piece.times_ms, piece.seqs, ids, piece.values[piece_rows[members]])
                for piece, piece_rows in zip(pieces, rows, strict=True)
                if piece_rows[members[0]] >= 0
            ]
        )
    return groups


def _along_time(pieces: list[Piece]) -> Piece:
    """One piece of several over the same series."""
    if len(pieces) == 1:
        return pieces[0]
    pieces = sorted(pieces, key=lambda piece: int(piece.times_ms[0]))
    times = np.concatenate([piece.times_ms for piece in pieces])
    seqs = np.concatenate([piece.seqs for piece in pieces])
    values = np.concatenate([piece.values for piece in pieces], axis=1)
    ids = pieces[0].series_ids
    if (times[1:] > times[:-1]).all():
        return Piece(times, seqs, ids, values)
    order = np.lexsort((seqs, times))
    return _last_writes(times[order], seqs[order], ids, values[:, order])


def _last_writes(times: IntArray, seqs: IntArray, ids: IntArray, values: FloatArray) -> Piece:
    """The last sample of each series for each time; columns come sorted by time and sequence number."""
    merged_times, starts, counts = np.unique(times, return_index=True, return_counts=True)
    merged = np.full((len(ids), len(merged_times)), ABSENT)
    for nth in range(int(counts.max())):
        repeated = np.flatnonzero(counts > nth)
        column = values[:, starts[repeated] + nth]
        present = column.view(np.uint64) != ABSENT_BITS
        merged[:, repeated] = np.where(present, column, merged[:, repeated])
    return Piece(merged_times, seqs[starts + counts - 1], ids, merged)
