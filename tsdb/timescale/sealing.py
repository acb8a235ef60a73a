"""Sealing: the journal's rows of a target become rows of blocks, one for each series and window that has ended.

Rows leave the journal in the transaction that writes their samples to blocks, so that every snapshot, and every crash,
finds each sample once. Any number of processes may seal at once: what there is to do is found by a query, and a target
is locked while it is done. Late samples are sealed together with the next window of their target, as further rows
of the window they are of; where those become many, they are merged.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tsdb.errors import StoreError
from tsdb.model import BoolArray, IntArray, is_absent
from tsdb.pieces import Piece, group_samples, join
from tsdb.timescale import binary, block_rows, deletes, meta, rollup_rows
from tsdb.timescale.binary import at_least, at_most
from tsdb.timescale.block_rows import WINDOW_MS, BlockRows
from tsdb.timescale.class_retention import ClassRetention
from tsdb.timescale.connections import Connection, Connections
from tsdb.timescale.layouts import LayoutSids
from tsdb.timescale.locks import Lock, share, try_target
from tsdb.timescale.narrow import NarrowTable
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.windows import last_start_ms, shares, windows
from tsdb.tombstones import Tombstone, hide

# Of one transaction, which holds some 40 bytes for each: half an hour of 30,000 series.
_MOST_SAMPLES = 4_000_000
# Which are merged with the rows that there are: a window of one has 6 kB as it is sent.
_SERIES_AT_ONCE = 4000
# A window with so many rows of a series has them merged when the next late one comes.
_MOST_STRAYS = 3

# The oldest row of each target, by a jump in the index from one to the next.
_TARGETS = """
WITH RECURSIVE oldest AS (
    (SELECT target_id, time FROM fleetwatch_data.journal ORDER BY target_id, time LIMIT 1)
    UNION ALL
    SELECT next.target_id, next.time FROM oldest CROSS JOIN LATERAL (
        SELECT target_id, time FROM fleetwatch_data.journal
        WHERE target_id > oldest.target_id ORDER BY target_id, time LIMIT 1
    ) AS next
)
SELECT target_id, (extract(epoch FROM time) * 1000)::bigint, (extract(epoch FROM sealed_until) * 1000)::bigint
FROM oldest LEFT JOIN fleetwatch_data.targets USING (target_id)
"""

# Rows whose samples bring their times may be about any window: so that the numbers of rows that stay are greater than
# of those that go, none of them stays.
_DUE = """
target_id = %s AND (time < %s::timestamptz OR times IS NOT NULL) AND written_at <= now() - %s * interval '1 second'
"""

_SIZES = f"SELECT seq, layout_id FROM fleetwatch_data.journal WHERE {_DUE} ORDER BY seq"

_TAKE = f"""
DELETE FROM fleetwatch_data.journal WHERE {_DUE} AND seq <= %s RETURNING seq, time, layout_id, v, times
"""

_SEALED_UNTIL = """
SELECT (extract(epoch FROM sealed_until) * 1000)::bigint FROM fleetwatch_data.targets WHERE target_id = %s
"""

_SEALED = "UPDATE fleetwatch_data.targets SET sealed_until = %s::timestamptz WHERE target_id = %s"

_CROWDED = """
SELECT sid FROM fleetwatch_data.block WHERE sid = ANY(%s) AND ts >= %s::timestamptz AND ts < %s::timestamptz
GROUP BY sid HAVING count(*) >= %s
"""

_TAKE_STRAYS = f"""
DELETE FROM fleetwatch_data.block WHERE sid = ANY(%s) AND ts >= %s::timestamptz AND ts < %s::timestamptz
RETURNING {block_rows.COLUMNS}
"""


@dataclass(frozen=True, slots=True)
class DueTarget:
    """A target with rows to be sealed: those before a time. `waiting_ms` is for how long they could have been."""

    target_id: int
    before_ms: int
    waiting_ms: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a transaction did, and whether rows of the target are left."""

    scrapes: int = 0
    samples: int = 0
    rows: int = 0
    more: bool = False


class Sealing:
    """Seals targets. A window is sealed `delay_ms` after its end.

    Rows that were written within `settle_s` stay: a write that was numbered before them may not be committed yet, and a
    block has the number of its last write.
    """

    def __init__(
        self,
        connections: Connections,
        partitions: Partitions,
        delay_ms: int,
        settle_s: float,
        classes: ClassRetention | None = None,
        narrow: NarrowTable | None = None,
    ) -> None:
        self._connections = connections
        self._partitions = partitions
        self._delay_ms = delay_ms
        self._settle_s = settle_s
        self._classes = classes
        self._narrow = narrow

    def due(self, now_ms: int) -> list[DueTarget]:
        """The targets of which a window has ended and is not sealed."""
        found = []
        with self._connections.transaction() as connection:
            rows = binary.fetch(connection, _TARGETS)
        sealed_until = [None if size is None else int.from_bytes(size, signed=True) for size in rows.raw(2)]
        for target_id, oldest_ms, sealed_until_ms in zip(
            rows.int4(0).tolist(), rows.int8(1).tolist(), sealed_until, strict=True
        ):
            before_ms = last_start_ms(target_id, now_ms - self._delay_ms)
            if oldest_ms < before_ms and (sealed_until_ms is None or sealed_until_ms < before_ms):
                # A late sample does not wait for its own window, which was sealed before.
                since_ms = last_start_ms(target_id, max(oldest_ms, sealed_until_ms or oldest_ms)) + WINDOW_MS
                found.append(DueTarget(target_id, before_ms, now_ms - self._delay_ms - since_ms))
        return sorted(found, key=lambda target: -target.waiting_ms)

    def seal(self, target_id: int, before_ms: int) -> Sealed:
        """Move the target's rows from before a time into blocks; the first of them, if there are many.

        Does nothing while another process has the target. Raises psycopg.Error, and StoreError for what is damaged.
        """
        with self._connections.transaction() as connection:
            share(connection, Lock.MAINTENANCE)
            if not try_target(connection, target_id):
                return Sealed()
            # Of this transaction: after a failover that lost commits a number may mean another layout.
            layouts = LayoutSids()
            due = target_id, at_most(before_ms), self._settle_s
            last_seq, more = _last_that_fits(connection, layouts, due)
            taken = binary.fetch(connection, _TAKE, (*due, last_seq))
            if not len(taken):
                return Sealed()
            tombstones = deletes.load(connection)
            pieces = self._kept(connection, _left(_pieces(connection, layouts, taken, tombstones), tombstones))
            sealed = self._write(connection, target_id, before_ms, pieces, tombstones)
            if not more:
                connection.execute(_SEALED, (at_most(before_ms), target_id))
            return Sealed(len(taken), sum(map(_samples, pieces)), sealed, more)

    def _kept(self, connection: Connection, pieces: list[Piece]) -> list[Piece]:
        """The samples that are not too old to be kept."""
        kept_from_ms = meta.read_ms(connection, meta.EXPIRED_UNTIL)
        kept = [piece.within(kept_from_ms, meta.FOR_EVER_MS) for piece in pieces]
        if self._classes is not None and kept:
            of_series = [self._classes.kept_from_ms(connection, piece.series_ids) for piece in kept]
            kept = [
                part
                for piece, some_ms in zip(kept, of_series, strict=True)
                for part in ([piece] if some_ms is None else _since(piece, some_ms))
            ]
        return [piece for piece in kept if len(piece.times_ms)]

    def _write(
        self,
        connection: Connection,
        target_id: int,
        before_ms: int,
        pieces: list[Piece],
        tombstones: Sequence[Tombstone],
    ) -> int:
        """Write block rows of samples, those of windows that have ended with the many that are there; how many rows."""
        upto_seqs = _upto_seqs(tombstones)
        written = 0
        for start_ms, some in windows(pieces, target_id).items():
            if start_ms >= before_ms:
                # Of a window that has not ended the journal keeps rows with other numbers, lower and greater.
                written += self._copy(connection, _by_write(some))
                continue
            for part in _by_series(some):
                strays = _taken_strays(connection, part, start_ms)
                divided = shares([*part, *strays], target_id, upto_seqs)
                written += self._copy(connection, divided.values())
        rollup_rows.outdate(connection, pieces)
        if self._narrow is not None:
            self._narrow.write(connection, pieces, _one(connection, _SEALED_UNTIL, target_id))
        return written

    def _copy(self, connection: Connection, groups: Iterable[list[Piece]]) -> int:
        """Write block rows of groups of pieces of a window, of which the last write counts for all; how many rows."""
        rows: list[BlockRows] = []
        for group in groups:
            seq = max(int(piece.seqs.max()) for piece in group)
            for piece in join(group):
                rows += block_rows.rows_of(piece, seq)
        for from_ms in sorted({some.ts_ms // WINDOW_MS * WINDOW_MS for some in rows}):
            self._partitions.ensure(connection, "block", from_ms, from_ms + WINDOW_MS - 1)
        block_rows.copy(connection, rows)
        return sum(len(some.sids) for some in rows)


def _last_that_fits(connection: Connection, layouts: LayoutSids, due: tuple[int, str, float]) -> tuple[int, bool]:
    """The number of the last row of those that can be taken at once, and whether others are left."""
    rows = binary.fetch(connection, _SIZES, due)
    layout_ids = rows.int4(1).tolist()
    known = _known(connection, layouts, layout_ids)
    samples = np.cumsum([len(known[number]) for number in layout_ids])
    fitting = max(1, int(np.searchsorted(samples, _MOST_SAMPLES, side="right")))
    return int(rows.int8(0)[:fitting].max(initial=0)), fitting < len(samples)


def _known(connection: Connection, layouts: LayoutSids, layout_ids: Sequence[int]) -> dict[int, IntArray]:
    """The sids of layouts. Raises StoreError where one is missing."""
    known = layouts.get(connection, layout_ids)
    if missing := set(layout_ids) - known.keys():
        raise StoreError(f"the journal has rows of layout {min(missing)}, which is not in the table layouts")
    return known


def _pieces(
    connection: Connection, layouts: LayoutSids, taken: binary.Rows, tombstones: Sequence[Tombstone]
) -> list[Piece]:
    """What rows of the journal hold, in pieces with sids and with rising times."""
    seqs, times_ms, arrays, own_times = taken.int8(0), taken.times_ms(1), taken.whole(3), taken.raw(4)
    layout_ids = taken.int4(2).tolist()
    known = _known(connection, layouts, layout_ids)
    of_layout: defaultdict[int, list[int]] = defaultdict(list)
    loose: list[tuple[IntArray, IntArray, IntArray, IntArray]] = []
    for row in np.lexsort((seqs, times_ms)).tolist():
        number, own = layout_ids[row], own_times[row]
        if own is None:
            of_layout[number].append(row)
        else:
            bits = binary.float8_arrays([arrays[row]]).view(np.int64)
            loose.append((known[number], binary.times_array_ms([own]), np.full(len(bits), seqs[row]), bits))
    pieces: list[Piece] = []
    for number, rows in of_layout.items():
        sids = known[number]
        matrix = binary.float8_arrays([arrays[row] for row in rows]).reshape(len(rows), len(sids))
        whole = Piece(times_ms[rows], seqs[rows], sids, np.ascontiguousarray(matrix.T))
        pieces += _rising(whole)
    if loose:
        pieces += _grouped(loose, _upto_seqs(tombstones))
    return pieces


def _left(pieces: list[Piece], tombstones: Collection[Tombstone]) -> list[Piece]:
    """The samples that are not being removed."""
    return hide(pieces, [tombstone for tombstone in tombstones if tombstone.deletion.expires_ms == 0])


def _since(piece: Piece, from_ms: IntArray) -> Iterator[Piece]:
    """What a piece has of each series from a time on."""
    for time_ms in np.unique(from_ms).tolist():
        rows = from_ms == time_ms
        some = piece if rows.all() else Piece(piece.times_ms, piece.seqs, piece.series_ids[rows], piece.values[rows])
        yield some.within(time_ms, meta.FOR_EVER_MS)


def _upto_seqs(tombstones: Collection[Tombstone]) -> IntArray:
    return np.array(sorted({tombstone.upto_seq for tombstone in tombstones}), dtype=np.int64)


def _rising(piece: Piece) -> Iterator[Piece]:
    """Columns that are sorted by time and write, in pieces that have each time once."""
    times_ms = piece.times_ms
    if (times_ms[1:] > times_ms[:-1]).all():
        yield piece
        return
    _, starts, counts = np.unique(times_ms, return_index=True, return_counts=True)
    for nth in range(int(counts.max())):
        chosen = starts[counts > nth] + nth
        yield Piece(times_ms[chosen], piece.seqs[chosen], piece.series_ids, piece.values[:, chosen])


def _by_write(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """The same samples, those of each write apart."""
    for piece in pieces:
        for seq in np.unique(piece.seqs).tolist():
            chosen = piece.seqs == seq
            yield [Piece(piece.times_ms[chosen], piece.seqs[chosen], piece.series_ids, piece.values[:, chosen])]


def _grouped(loose: Sequence[tuple[IntArray, IntArray, IntArray, IntArray]], upto_seqs: IntArray) -> Iterator[Piece]:
    """Pieces of single samples, of which there are series, times, writes and bits of values."""
    sids, times_ms, seqs, bits = (np.concatenate(vectors) for vectors in zip(*loose, strict=True))
    values = bits.view(np.float64)
    there = ~is_absent(values)
    since = np.searchsorted(upto_seqs, seqs)
    for number in np.unique(since).tolist():
        some: BoolArray = there & (since == number)
        yield from group_samples(sids[some], times_ms[some], seqs[some], values[some])


def _by_series(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """The same samples, as many series at once as can be merged with what there is of them."""
    sids = np.unique(np.concatenate([piece.series_ids for piece in pieces]))
    if len(sids) <= _SERIES_AT_ONCE:
        yield pieces
        return
    for first in range(0, len(sids), _SERIES_AT_ONCE):
        chosen = [np.isin(piece.series_ids, sids[first : first + _SERIES_AT_ONCE]) for piece in pieces]
        yield [
            Piece(piece.times_ms, piece.seqs, piece.series_ids[rows], piece.values[rows])
            for piece, rows in zip(pieces, chosen, strict=True)
            if rows.any()
        ]


def _taken_strays(connection: Connection, pieces: list[Piece], start_ms: int) -> list[Piece]:
    """The block rows of a window, taken out, of those of the series of pieces that have many."""
    sids = np.unique(np.concatenate([piece.series_ids for piece in pieces])).tolist()
    span = at_least(start_ms), at_most(start_ms + WINDOW_MS)
    crowded = binary.fetch(connection, _CROWDED, (sids, *span, _MOST_STRAYS)).int8(0).tolist()
    if not crowded:
        return []
    return block_rows.pieces_of(binary.fetch(connection, _TAKE_STRAYS, (crowded, *span)))


def _samples(piece: Piece) -> int:
    return int((~is_absent(piece.values)).sum())


def _one(connection: Connection, query: str, target_id: int) -> int | None:
    row = connection.execute(query.encode(), (target_id,)).fetchone()
    return None if row is None or not isinstance(row[0], int) else row[0]
