"""The head: samples in memory that no block holds yet, per target.

A target's batches come with rising times and mostly the same layout: they are rows of segments (tsdb.segments). What
is late, repeated or brings times of its own goes to a side buffer of loose samples. Both are append-only under the
lock, so that readers take views and copy outside.

Samples leave by whole batches (see `Head.before` and `Head.drop`), which is what a journal row holds.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from tsdb.model import Batch, BoolArray, FloatArray, IntArray, is_absent
from tsdb.pieces import Piece, Wanted, group_samples
from tsdb.segments import FROZEN_ROWS, OPEN_ROWS, FrozenRows, OpenSegment, Segment, freeze, spans, transposed


def last_time_ms(batch: Batch) -> int:
    """The latest time of a batch: it lies wholly before whatever is later."""
    if batch.times_ms is None:
        return batch.time_ms
    return int(batch.times_ms[~is_absent(batch.values)].max(initial=batch.time_ms))


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
    frozen: list[FrozenRows] = field(default_factory=list)
    # Of one layout, all but the last one full.
    open: list[OpenSegment] = field(default_factory=list)
    # Of all rows of these, one after the other, the times and sequence numbers; then what is allocated ahead.
    count: int = 0
    times_and_seqs: IntArray = field(default_factory=lambda: np.empty((2, 0), dtype=np.int64))
    side: _SideBuffer = field(default_factory=_SideBuffer)
    last_time_ms: int | None = None

    def append(self, seq: int, batch: Batch) -> None:
        late = self.last_time_ms is not None and batch.time_ms <= self.last_time_ms
        if late or batch.times_ms is not None:
            self.side.add(seq, batch)
            return
        self.last_time_ms = batch.time_ms
        segments = self.open
        if not segments or segments[-1].full or segments[-1].layout is not batch.layout:
            if segments and (segments[-1].layout is not batch.layout or len(segments) * OPEN_ROWS >= FROZEN_ROWS):
                self.frozen.append(freeze(segments))
                segments.clear()
            segments.append(OpenSegment(batch.layout))
        segments[-1].add(batch.values)
        if self.count == self.times_and_seqs.shape[1]:
            grown = np.empty((2, max(OPEN_ROWS, 2 * self.count)), dtype=np.int64)
            grown[:, : self.count] = self.times_and_seqs
            self.times_and_seqs = grown
        self.times_and_seqs[:, self.count] = batch.time_ms, seq
        self.count += 1

    @property
    def times_ms(self) -> IntArray:
        """Of all rows that are in order."""
        return self.times_and_seqs[0, : self.count]

    @property
    def seqs(self) -> IntArray:
        """Of all rows that are in order."""
        return self.times_and_seqs[1, : self.count]

    def segments(self) -> list[Segment]:
        """All rows that are in order."""
        return [*self.frozen, *self.open]

    def due(self, before_ms: int, upto_seq: int) -> int:
        """How many rows are before a time and of sequence numbers up to one: always the first ones."""
        return min(int(self.times_ms.searchsorted(before_ms)), int(self.seqs.searchsorted(upto_seq, side="right")))

    def drop(self, before_ms: int, upto_seq: int) -> None:
        if due := self.due(before_ms, upto_seq):
            self.times_and_seqs = self.times_and_seqs[:, due : self.count].copy()
            self.count -= due
            self._drop_rows(due)
        if late := self.side.due(before_ms, upto_seq):
            self.side.drop(late)

    def _drop_rows(self, count: int) -> None:
        while self.frozen and self.frozen[0].count <= count:
            count -= self.frozen.pop(0).count
        if self.frozen and count:
            self.frozen[0] = self.frozen[0].without_first(count)
            return
        while self.open and self.open[0].count <= count:
            count -= self.open.pop(0).count
        if count:
            # Readers may look at the segment: what stays of it is frozen.
            self.frozen.append(freeze(self.open).without_first(count))
            self.open.clear()

    def nbytes(self) -> int:
        """What the rows take."""
        return sum([segment.nbytes for segment in self.segments()])


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """Whole batches of a target that are to leave the head: their sequence numbers and their samples.

    `rows` do not overlap in time; `loose` may overlap anything.
    """

    seqs: list[int]
    rows: list[Piece]
    loose: list[Piece]


@dataclass(frozen=True, slots=True)
class Extent:
    """What the head holds: runs of samples of a series, and their first and last time; None where it is empty."""

    chunks: int
    first_ms: int | None
    last_ms: int | None


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
        with self._lock:
            target = self._targets.get(target_id)
            if target is None:
                return []
            times_ms, seqs = target.times_ms, target.seqs
            low, high = int(times_ms.searchsorted(start_ms)), int(times_ms.searchsorted(end_ms, side="right"))
            rows = spans(target.segments(), low, high)
            loose = target.side.samples() if len(target.side) else None
        pieces = transposed(
            times_ms[low:high], seqs[low:high], rows, lambda series_ids: wanted.columns(target_id, series_ids)
        )
        if loose is not None:
            chosen = (loose.times_ms >= start_ms) & (loose.times_ms <= end_ms)
            chosen[chosen] = wanted.includes(target_id, loose.series_ids[chosen])
            pieces += loose.only(chosen).pieces()
        return pieces

    def targets(self) -> list[int]:
        """The targets that have batches here."""
        with self._lock:
            return [
                number
                for number, target in self._targets.items()
                if target.frozen or target.open or target.side.last_times_ms
            ]

    def before(self, target_id: int, before_ms: int, upto_seq: int) -> Outgoing:
        """The target's batches up to a sequence number that lie wholly before a time."""
        with self._lock:
            target = self._targets.get(target_id) or _TargetHead()
            due = target.due(before_ms, upto_seq)
            times_ms, seqs, rows = target.times_ms[:due], target.seqs[:due], spans(target.segments(), 0, due)
            loose, loose_seqs = target.side.samples(), target.side.due(before_ms, upto_seq)
        leaving = loose.only(np.isin(loose.seqs, loose_seqs))
        return Outgoing(seqs.tolist() + loose_seqs, transposed(times_ms, seqs, rows), leaving.pieces())

    def drop(self, target_id: int, before_ms: int, upto_seq: int) -> None:
        """Forget the batches that `before` gave for the same arguments."""
        with self._lock:
            self._targets[target_id].drop(before_ms, upto_seq)

    def figures(self) -> dict[str, float]:
        """Counts for `Store.stats`."""
        with self._lock:
            targets = list(self._targets.values())
            rows = [part for target in targets for part in target.segments()]
            held = sum([target.nbytes() for target in targets])
            late = sum([len(target.side) for target in targets])
            return {
                "head_samples": float(sum([part.count * len(part.layout) for part in rows]) + late),
                "head_late_samples": float(late),
                "head_bytes": float(held + 32 * late),
            }

    def extent(self) -> Extent:
        """How much there is, and of when."""
        with self._lock:
            targets = list(self._targets.values())
            times = [target.times_ms for target in targets if target.count]
            loose = [target.side.samples().times_ms for target in targets if len(target.side)]
            first = [int(some[0]) for some in times] + [int(some.min()) for some in loose]
            last = [int(some[-1]) for some in times] + [int(some.max()) for some in loose]
            chunks = sum([len(segment.layout) for target in targets for segment in target.segments()])
            return Extent(chunks, min(first, default=None), max(last, default=None))

    def loose_series(self) -> IntArray:
        """Rising ids of the series that have late samples here: maybe no layout names them."""
        with self._lock:
            loose = [target.side.samples().series_ids for target in self._targets.values() if len(target.side)]
            return np.unique(np.concatenate(loose)) if loose else np.empty(0, dtype=np.int64)
