"""The head: samples in memory that no block holds yet, per target.

A target's batches come with rising times and mostly the same layout: they are rows `[T, N]` of a segment, which
grows by doubling up to a limit and is followed by another. What is late, repeated or brings times of its own goes
to a side buffer of loose samples. Both are append-only under the lock, so that readers take views and copy outside.

Samples leave by whole batches (see `Head.before` and `Head.drop`), which is what a journal row holds.
"""

import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from tsdb.model import Batch, BoolArray, FloatArray, IntArray, Layout, is_absent
from tsdb.pieces import Piece, Wanted, group_samples

# Rows of a new segment, and of the largest: what is allocated ahead is at most half of a segment.
_FIRST_ROWS = 8
_MOST_ROWS = 128


def last_time_ms(batch: Batch) -> int:
    """The latest time of a batch: it lies wholly before whatever is later."""
    if batch.times_ms is None:
        return batch.time_ms
    return int(batch.times_ms[~is_absent(batch.values)].max(initial=batch.time_ms))


class _Segment:
    """Rows of one layout with rising times. Only `count` rows are valid; valid rows never change."""

    __slots__ = ("count", "layout", "seqs", "times_ms", "values")

    def __init__(self, layout: Layout, capacity: int) -> None:
        self.layout = layout
        self.count = 0
        self.times_ms = np.empty(capacity, dtype=np.int64)
        self.seqs = np.empty(capacity, dtype=np.int64)
        self.values = np.empty((capacity, len(layout)), dtype=np.float64)

    @property
    def full(self) -> bool:
        return self.count == len(self.times_ms)

    def add(self, seq: int, batch: Batch) -> None:
        row = self.count
        self.times_ms[row] = batch.time_ms
        self.seqs[row] = seq
        self.values[row] = batch.values
        self.count = row + 1

    def resized(self, capacity: int, first_row: int = 0) -> "_Segment":
        """A copy of the rows from `first_row` on; readers may still look at the old arrays."""
        copy = _Segment(self.layout, capacity)
        copy.count = self.count - first_row
        copy.times_ms[: copy.count] = self.times_ms[first_row : self.count]
        copy.seqs[: copy.count] = self.seqs[first_row : self.count]
        copy.values[: copy.count] = self.values[first_row : self.count]
        return copy

    def rows(self) -> "_Rows":
        """The valid rows, without a copy."""
        end = self.count
        return _Rows(self.layout, self.times_ms[:end], self.seqs[:end], self.values[:end])


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows of a segment as a reader sees them: times `[T]`, seqs `[T]`, values `[T, N]`."""

    layout: Layout
    times_ms: IntArray
    seqs: IntArray
    values: FloatArray

    def between(self, start_ms: int, end_ms: int) -> "_Rows":
        low = int(np.searchsorted(self.times_ms, start_ms, side="left"))
        high = int(np.searchsorted(self.times_ms, end_ms, side="right"))
        return _Rows(self.layout, self.times_ms[low:high], self.seqs[low:high], self.values[low:high])


@dataclass(frozen=True, slots=True, eq=False)
class _Loose:
    """Single samples in the order they were written: four vectors of the same length."""

    series_ids: IntArray
    times_ms: IntArray
    seqs: IntArray
    values: FloatArray

    def __len__(self) -> int:
        return len(self.times_ms)

    def only(self, chosen: BoolArray) -> "_Loose":
        return _Loose(self.series_ids[chosen], self.times_ms[chosen], self.seqs[chosen], self.values[chosen])

    def pieces(self) -> list[Piece]:
        return group_samples(self.series_ids, self.times_ms, self.seqs, self.values)


class _SideBuffer:
    """Loose samples of late, repeated and self-timed batches, in vectors that grow by doubling."""

    def __init__(self) -> None:
        self._count = 0
        self._ints = np.empty((3, 0), dtype=np.int64)
        self._values = np.empty(0, dtype=np.float64)
        # The latest time of each batch, by its sequence number.
        self.last_times_ms: dict[int, int] = {}

    def __len__(self) -> int:
        return self._count

    def add(self, seq: int, batch: Batch) -> None:
        present = ~is_absent(batch.values)
        ids = batch.layout.series_ids[present]
        start, end = self._count, self._count + len(ids)
        if end > len(self._values):
            capacity = max(64, 2 * end)
            ints, values = np.empty((3, capacity), dtype=np.int64), np.empty(capacity, dtype=np.float64)
            ints[:, :start], values[:start] = self._ints[:, :start], self._values[:start]
            self._ints, self._values = ints, values
        self._ints[0, start:end] = ids
        self._ints[1, start:end] = batch.time_ms if batch.times_ms is None else batch.times_ms[present]
        self._ints[2, start:end] = seq
        self._values[start:end] = batch.values[present]
        self._count = end
        self.last_times_ms[seq] = last_time_ms(batch)

    def samples(self) -> _Loose:
        """All of them, without a copy."""
        end = self._count
        return _Loose(self._ints[0, :end], self._ints[1, :end], self._ints[2, :end], self._values[:end])

    def due(self, before_ms: int, upto_seq: int) -> list[int]:
        """Sequence numbers of batches that lie wholly before a time."""
        return [seq for seq, last in self.last_times_ms.items() if last < before_ms and seq <= upto_seq]

    def drop(self, seqs: Iterable[int]) -> None:
        """Forget whole batches."""
        dropped = list(seqs)
        samples = self.samples()
        kept = samples.only(~np.isin(samples.seqs, dropped))
        self._ints = np.array([kept.series_ids, kept.times_ms, kept.seqs])
        self._values, self._count = kept.values, len(kept)
        for seq in dropped:
            del self.last_times_ms[seq]


@dataclass(slots=True)
class _TargetHead:
    segments: list[_Segment] = field(default_factory=list)
    side: _SideBuffer = field(default_factory=_SideBuffer)
    last_time_ms: int | None = None

    def append(self, seq: int, batch: Batch) -> None:
        late = self.last_time_ms is not None and batch.time_ms <= self.last_time_ms
        if late or batch.times_ms is not None:
            self.side.add(seq, batch)
            return
        self.last_time_ms = batch.time_ms
        segment = self.segments[-1] if self.segments else None
        if segment is None or segment.layout is not batch.layout or segment.count == _MOST_ROWS:
            segment = _Segment(batch.layout, _FIRST_ROWS)
            self.segments.append(segment)
        elif segment.full:
            segment = self.segments[-1] = segment.resized(min(2 * segment.count, _MOST_ROWS))
        segment.add(seq, batch)

    def drop(self, before_ms: int, upto_seq: int) -> None:
        kept = []
        for segment in self.segments:
            rows = segment.rows()
            count = _due(rows, before_ms, upto_seq)
            if count == 0:
                kept.append(segment)
            elif count < segment.count:
                kept.append(segment.resized(max(segment.count - count, _FIRST_ROWS), count))
        self.segments = kept
        due = self.side.due(before_ms, upto_seq)
        if due:
            self.side.drop(due)


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """Whole batches of a target that are to leave the head: their sequence numbers and their samples.

    `rows` do not overlap in time; `loose` may overlap anything.
    """

    seqs: list[int]
    rows: list[Piece]
    loose: list[Piece]


class Head:
    """The samples of all targets that no block holds yet. Safe for concurrent readers and one writer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._targets: dict[int, _TargetHead] = {}

    def append(self, seq: int, batch: Batch) -> None:
        """Take a batch in; sequence numbers rise from call to call."""
        with self._lock:
            target = self._targets.get(batch.target_id)
            if target is None:
                target = self._targets[batch.target_id] = _TargetHead()
            target.append(seq, batch)

    def pieces(self, target_id: int, wanted: Wanted, start_ms: int, end_ms: int) -> list[Piece]:
        """The target's samples of the wanted series from start to end, both included."""
        rows, loose = self._view(target_id)
        pieces = _transposed(
            [cut for part in rows if len((cut := part.between(start_ms, end_ms)).times_ms)],
            lambda series_ids: wanted.columns(target_id, series_ids),
        )
        if len(loose):
            chosen = (loose.times_ms >= start_ms) & (loose.times_ms <= end_ms)
            chosen[chosen] = wanted.includes(target_id, loose.series_ids[chosen])
            pieces += loose.only(chosen).pieces()
        return pieces

    def targets(self) -> list[int]:
        """The targets that have samples here."""
        with self._lock:
            return [number for number, target in self._targets.items() if target.segments or len(target.side)]

    def before(self, target_id: int, before_ms: int, upto_seq: int) -> Outgoing:
        """The target's batches up to a sequence number that lie wholly before a time."""
        rows, loose = self._view(target_id)
        with self._lock:
            loose_seqs = self._targets[target_id].side.due(before_ms, upto_seq)
        cut = []
        for part in rows:
            count = _due(part, before_ms, upto_seq)
            if count:
                cut.append(_Rows(part.layout, part.times_ms[:count], part.seqs[:count], part.values[:count]))
        leaving = loose.only(np.isin(loose.seqs, loose_seqs))
        seqs = [seq for part in cut for seq in part.seqs.tolist()]
        return Outgoing(seqs + loose_seqs, _transposed(cut), leaving.pieces())

    def drop(self, target_id: int, before_ms: int, upto_seq: int) -> None:
        """Forget the batches that `before` gave for the same arguments."""
        with self._lock:
            self._targets[target_id].drop(before_ms, upto_seq)

    def figures(self) -> dict[str, float]:
        """Counts for `Store.stats`."""
        with self._lock:
            segments = [segment for target in self._targets.values() for segment in target.segments]
            late = sum(len(target.side) for target in self._targets.values())
            return {
                "head_samples": float(sum(part.count * len(part.layout) for part in segments) + late),
                "head_late_samples": float(late),
                "head_bytes": float(sum(part.values.nbytes for part in segments) + 32 * late),
            }

    def _view(self, target_id: int) -> tuple[list[_Rows], _Loose]:
        with self._lock:
            target = self._targets.get(target_id) or _TargetHead()
            return [segment.rows() for segment in target.segments], target.side.samples()


def _due(rows: _Rows, before_ms: int, upto_seq: int) -> int:
    """How many of the rows are before a time and of sequence numbers up to one: always the first ones."""
    return min(
        int(np.searchsorted(rows.times_ms, before_ms, side="left")),
        int(np.searchsorted(rows.seqs, upto_seq, side="right")),
    )


def _transposed(parts: list[_Rows], columns_of: Callable[[IntArray], IntArray] | None = None) -> list[Piece]:
    """Pieces of rows: a new matrix `[S, T]` for every run of rows of the same layout, of all columns or of some."""
    pieces = []
    for _, run in itertools.groupby(parts, key=lambda part: part.layout.layout_id):
        rows = list(run)
        ids = rows[0].layout.series_ids
        columns = None if columns_of is None else columns_of(ids)
        if columns is not None and len(columns) == len(ids):
            columns = None
        elif columns is not None:
            ids = ids[columns]
        if not len(ids):
            continue
        values = np.empty((len(ids), sum(len(part.times_ms) for part in rows)))
        end = 0
        for part in rows:
            start, end = end, end + len(part.times_ms)
            values[:, start:end] = (part.values if columns is None else part.values[:, columns]).T
        times = np.concatenate([part.times_ms for part in rows])
        pieces.append(Piece(times, np.concatenate([part.seqs for part in rows]), ids, values))
    return pieces
