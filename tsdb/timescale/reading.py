"""Reading samples: blocks and journal rows of one snapshot, as pieces.

A journal row leaves in the transaction that writes its blocks, so that a snapshot has every sample once. Series are
read in parts, so that a long read takes a bounded amount of memory and can be stopped between them.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from tsdb.errors import StoreError
from tsdb.model import FloatArray, IntArray, is_absent
from tsdb.pieces import Piece, group_samples
from tsdb.timescale import binary, journal_rows
from tsdb.timescale.binary import Int8s, at_least, at_most
from tsdb.timescale.cancelling import raise_if_cancelled
from tsdb.timescale.connections import Connection
from tsdb.timescale.ids import UNKNOWN, Ids
from tsdb.timescale.layouts import LayoutSids

MOST_SAMPLES = 100_000_000
"""Of one read. An evaluation is refused at half of it, if not told otherwise."""

# Block rows that are fetched at once, 4 kB each.
_ROWS_AT_ONCE = 20_000

# The planner looks at every element of an array that it knows, for every chunk.
_BLOCKS = """
SELECT sid, ts, seq, step, dt, v FROM fleetwatch_data.block
WHERE sid = ANY((SELECT %s::bigint[])::bigint[]) AND ts > %s::timestamptz AND ts <= %s::timestamptz AND seq > %s
"""


# Of a row of `block`: the group of its series, and all but the series and the values.
_BlockKey = tuple[int, int, int, int, int, bytes | None]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Series that are read together: `sids` int64[N], rising, their `local` ids, and the `group` that each is of."""

    sids: IntArray
    local: IntArray
    group: IntArray

    def places(self, sids: IntArray) -> IntArray:
        """Where some series are in the part, -1 for those that are not."""
        places = np.searchsorted(self.sids, sids)
        places[places == len(self.sids)] = 0
        found: IntArray = np.where(self.sids[places] == sids, places, -1) if len(self.sids) else places - 1
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Series in groups that are wanted together: local ids int64[N], their sids, -1 where the database has none, and
    where in them each group ends.
    """

    local: IntArray
    sids: IntArray
    ends: IntArray

    @classmethod
    def by_home(cls, series_ids: IntArray, homes: npt.NDArray[np.integer], ids: Ids) -> Self:
        """A group for each home, in their order."""
        order = np.argsort(homes, kind="stable")
        local = series_ids[order]
        ends = np.flatnonzero(np.diff(homes[order], append=-1))
        return cls(local, ids.sids(local), ends + 1)

    @classmethod
    def one(cls, series_ids: IntArray, ids: Ids) -> Self:
        """All in one."""
        return cls(series_ids, ids.sids(series_ids), np.array([len(series_ids)]))

    def __len__(self) -> int:
        return len(self.ends)

    def parts(self, most_series: int) -> Iterator[tuple[range, Part]]:
        """Groups taken together until they have enough series, with their numbers."""
        group = np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))
        first = start = 0
        while first < len(self.ends):
            last = min(int(np.searchsorted(self.ends, start + most_series)), len(self.ends) - 1)
            end = int(self.ends[last])
            sids = self.sids[start:end]
            order = np.argsort(sids, kind="stable")
            order = order[sids[order] != UNKNOWN]
            yield range(first, last + 1), Part(sids[order], self.local[start:end][order], group[start:end][order])
            first, start = last + 1, end


class Reading:
    """Reads within one transaction, up to a number of samples. With `after_seq`, blocks alone of later writes."""

    def __init__(
        self,
        connection: Connection,
        layouts: LayoutSids,
        window_ms: int,
        most_samples: int = MOST_SAMPLES,
        after_seq: int | None = None,
    ) -> None:
        self._connection = connection
        self._layouts = layouts
        self._window_ms = window_ms
        self._most_samples = most_samples
        self._after_seq = after_seq
        self._samples = 0

    def pieces(self, groups: Groups, start_ms: int, end_ms: int) -> Iterator[list[Piece]]:
        """For each group of series its pieces, in the order of the groups."""
        rows_of_series = max(1, (end_ms - start_ms) // self._window_ms + 2)
        for taken, part in groups.parts(max(1, _ROWS_AT_ONCE // rows_of_series)):
            raise_if_cancelled()
            found: defaultdict[int, list[Piece]] = defaultdict(list)
            if len(part.sids):
                self._read_blocks(part, start_ms, end_ms, found)
                if self._after_seq is None:
                    self._read_journal(part, start_ms, end_ms, found)
            for number in taken:
                yield found[number]

    def _read_blocks(self, part: Part, start_ms: int, end_ms: int, found: dict[int, list[Piece]]) -> None:
        bounds = at_least(start_ms - self._window_ms), at_most(end_ms)
        rows = binary.fetch(
            self._connection, _BLOCKS, (Int8s(part.sids), *bounds, -1 if self._after_seq is None else self._after_seq)
        )
        if not len(rows):
            return
        arrays = rows.whole(5)
        self._count(sum(map(len, arrays)) // binary.ELEMENT_BYTES)
        place = part.places(rows.int8(0))
        grouped: defaultdict[_BlockKey, list[int]] = defaultdict(list)
        keys = zip(
            part.group[place].tolist(),
            rows.times_ms(1).tolist(),
            rows.int8(2).tolist(),
            rows.int4(3).tolist(),
            map(binary.length_of, arrays),
            rows.raw(4),
            strict=True,
        )
        for row, key in enumerate(keys):
            grouped[key].append(row)
        # Values in the order of the pieces: those are then views.
        local = part.local[place]
        ordered = [_by_id(members, local) for members in grouped.values()]
        values = binary.float8_arrays([arrays[row] for members in ordered for row in members])
        absent = is_absent(values)
        all_there = not absent.any()
        end = 0
        for key, members in zip(grouped, ordered, strict=True):
            group, first_ms, seq, step_ms, length, dt = key
            start, end = end, end + length * len(members)
            matrix = values[start:end].reshape(len(members), length)
            if all_there and step_ms and dt is None:
                low = max(0, -((first_ms - start_ms) // step_ms))
                high = min(length, (end_ms - first_ms) // step_ms + 1)
                if low < high:
                    times_ms = first_ms + step_ms * np.arange(low, high)
                    piece = Piece(times_ms, np.full(high - low, seq), local[members], matrix[:, low:high])
                    found[group].append(piece)
                continue
            times_ms = first_ms + step_ms * np.arange(length) + (0 if dt is None else binary.int4_array(dt))
            piece = Piece(times_ms, np.full(length, seq), local[members], matrix)
            found[group] += _without_gaps(piece, start_ms, end_ms)

    def _read_journal(self, part: Part, start_ms: int, end_ms: int, found: dict[int, list[Piece]]) -> None:
        rows = journal_rows.read(self._connection, self._layouts, part.sids, start_ms, end_ms)
        self._count(rows.samples)
        for run in rows.runs:
            place = part.places(run.sids)
            for group, columns in _columns_of_groups(part, place):
                ids = part.local[place[columns]]
                for piece in _rising(run.times_ms, run.seqs, ids, run.values[:, columns].T):
                    found[group] += _without_gaps(piece, start_ms, end_ms)
        loose: defaultdict[int, list[tuple[IntArray, IntArray, IntArray, FloatArray]]] = defaultdict(list)
        for row in rows.own_timed:
            place = part.places(row.sids)
            chosen = (place >= 0) & (row.times_ms >= start_ms) & (row.times_ms <= end_ms) & ~is_absent(row.values)
            place = place[chosen]
            for group in np.unique(part.group[place]).tolist():
                some = part.group[place] == group
                ids, times_ms = part.local[place[some]], row.times_ms[chosen][some]
                loose[group].append((ids, times_ms, np.full(len(ids), row.seq), row.values[chosen][some]))
        for group, samples in loose.items():
            ids, times_ms, seqs, values = (np.concatenate(vectors) for vectors in zip(*samples, strict=True))
            found[group] += group_samples(ids, times_ms, seqs, values)

    def _count(self, samples: int) -> None:
        self._samples += samples
        if self._samples > self._most_samples:
            raise StoreError(
                f"the query reads more than {self._most_samples} samples: ask for fewer series, for a shorter time or, "
                "where there are roll-ups, for a step of five minutes or more"
            )


def _by_id(rows: list[int], local: IntArray) -> list[int]:
    """Rows in the order of their series' local ids: pieces with the same vector of ids are joined quickly."""
    if len(rows) == 1:
        return rows
    numbers = np.array(rows)
    ordered: list[int] = numbers[np.argsort(local[numbers], kind="stable")].tolist()
    return ordered


def _columns_of_groups(part: Part, place: IntArray) -> Iterator[tuple[int, IntArray]]:
    """The groups that some series are of, and which they are, in the order of their local ids."""
    (columns,) = (place >= 0).nonzero()
    columns = columns[np.argsort(part.local[place[columns]], kind="stable")]
    groups = part.group[place[columns]]
    for group in np.unique(groups).tolist():
        yield group, columns[groups == group]


def _rising(times_ms: IntArray, seqs: IntArray, ids: IntArray, values: FloatArray) -> Iterator[Piece]:
    """Pieces of columns in any order of times, some maybe several times."""
    order = np.lexsort((seqs, times_ms))
    times_ms, seqs = times_ms[order], seqs[order]
    if len(order) < 2 or (times_ms[1:] > times_ms[:-1]).all():
        yield Piece(times_ms, seqs, ids, values if (order[1:] > order[:-1]).all() else values[:, order])
        return
    first = np.r_[True, times_ms[1:] > times_ms[:-1]]
    rank = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    for nth in range(int(rank.max()) + 1):
        (chosen,) = (rank == nth).nonzero()
        yield Piece(times_ms[chosen], seqs[chosen], ids, values[:, order[chosen]])


def _without_gaps(piece: Piece, start_ms: int, end_ms: int) -> list[Piece]:
    """What there is from start to end: the series without a gap, which are quicker to evaluate, and the others.

    Where no series has a sample, the piece may have any time.
    """
    absent = is_absent(piece.values)
    there = ~absent.all(axis=0)
    if not there.all():
        piece = Piece(piece.times_ms[there], piece.seqs[there], piece.series_ids, piece.values[:, there])
    piece = piece.within(start_ms, end_ms)
    absent = is_absent(piece.values)
    gaps, empty = absent.any(axis=1), absent.all(axis=1)
    if not gaps.any():
        return [piece] if len(piece.times_ms) else []
    return [
        Piece(piece.times_ms, piece.seqs, piece.series_ids[chosen], piece.values[chosen])
        for chosen in (~gaps, gaps & ~empty)
        if chosen.any()
    ]
