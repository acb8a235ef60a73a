"""Following the journal: what every process writes comes into this one's head, each batch once.

Each writer numbers its writes without gaps, so that a look at the dozen rows of `writers` says which ones are new, and
the journal has them by (writer_id, write_no). Nothing is pushed: it works through any pooler, and after any pause.

Rows leave the journal for blocks, but not before they are two minutes old. After a longer pause the blocks are looked
at too, for what was written since.
"""

import weakref
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from tsdb.catalog import Catalog
from tsdb.errors import StoreError
from tsdb.model import Batch, IntArray, Layout
from tsdb.pieces import Piece
from tsdb.timescale import binary
from tsdb.timescale.connections import Connection
from tsdb.timescale.ids import UNKNOWN, Ids
from tsdb.timescale.layouts import LayoutSids
from tsdb.timescale.loading import CatalogLoader
from tsdb.timescale.reading import Groups, Reading
from tsdb.timescale.recent import NEVER_MS, Recent

_ROWS_AT_ONCE = 500

# What is sealed is older; a transaction is shorter.
_SETTLED_S = 30.0
_TRANSACTION_S = 120.0

# Rows that transactions under way may have numbered.
_UNDER_WAY = 10_000

_STATE = """
SELECT extract(epoch FROM clock_timestamp())::float8, (SELECT last_value FROM fleetwatch_data.journal_seq),
    ARRAY(SELECT writer_id::int8 FROM fleetwatch_data.writers ORDER BY writer_id),
    ARRAY(SELECT last_write FROM fleetwatch_data.writers ORDER BY writer_id)
"""

_ROWS = """
SELECT journal.seq, journal.target_id, journal.layout_id, journal.time, journal.times, journal.v
FROM unnest(%(writers)s::int[], %(after)s::bigint[], %(upto)s::bigint[]) AS new(writer_id, after, upto)
JOIN fleetwatch_data.journal ON journal.writer_id = new.writer_id
    AND journal.write_no > new.after AND journal.write_no <= new.upto
WHERE journal.written_at >= %(since)s::timestamptz
ORDER BY journal.seq
"""


class Follower:
    """Reads the journal on. For one thread. After `pause_s` without it rows may have become blocks."""

    def __init__(
        self,
        catalog: Catalog,
        ids: Ids,
        loader: CatalogLoader,
        layouts: LayoutSids,
        recent: Recent,
        window_ms: int,
        tell: Callable[[Batch], None],
        pause_s: float = _SETTLED_S,
    ) -> None:
        self._catalog = catalog
        self._ids = ids
        self._loader = loader
        self._layouts = layouts
        self._recent = recent
        self._window_ms = window_ms
        self._tell = tell
        self._pause_s = pause_s
        self._read: dict[int, int] = {}
        # (time of the database, what the sequence of writes was at), the first one older than any transaction.
        self._seqs: deque[tuple[float, int]] = deque()
        self._local: weakref.WeakValueDictionary[int, Layout] = weakref.WeakValueDictionary()
        self.batches = 0

    def load(self, connection: Connection) -> None:
        """Fill an empty head with the past, in a snapshot."""
        now_s, seq, writers = _state(connection)
        reading = Reading(connection, self._layouts, self._window_ms, most_samples=1 << 62)
        for seq_of_batch, batch in self._batches(reading):
            self._recent.put(seq_of_batch, batch)
        self._read = writers
        self._seqs = deque([(now_s, seq - _UNDER_WAY)])
        self._recent.loaded()

    def poll(self, connection: Connection, own_writer: int | None) -> None:
        """Read, in a snapshot, what others have written since."""
        now_s, seq, writers = _state(connection)
        self._check_lost(writers)
        # Its clock may have been set back, and rows written since are from then on.
        last_s = min(self._seqs[-1][0], now_s)
        new = [
            (writer, self._read.get(writer, 0), upto)
            for writer, upto in writers.items()
            if upto > self._read.get(writer, 0) and writer != own_writer
        ]
        if new:
            for seq_of_batch, batch in self._rows(connection, new, last_s):
                self._take(seq_of_batch, batch)
        if new and now_s > last_s + self._pause_s:
            reading = Reading(connection, self._layouts, self._window_ms, 1 << 62, after_seq=self._seqs[0][1])
            for seq_of_batch, batch in self._batches(reading):
                self._take(seq_of_batch, batch)
        self._read = writers
        self._seqs.append((now_s, seq))
        while len(self._seqs) > 2 and self._seqs[1][0] < now_s - _TRANSACTION_S:
            self._seqs.popleft()

    def read(self) -> dict[int, int]:
        """By writer the last write that was read."""
        return dict(self._read)

    def forget_numbers(self) -> None:
        """Look up the layouts of rows anew: numbers may mean something else."""
        self._local.clear()

    def _check_lost(self, writers: dict[int, int]) -> None:
        """Raise StoreError where the database does not have what was read of it, and begin to learn it anew."""
        there = {writer: min(read, writers.get(writer, read)) for writer, read in self._read.items()}
        if there != self._read:
            self._read = there
            self._ids.forget_all()
            raise StoreError(
                "the database has lost writes that were read of it, as after a failover to a replica that lagged "
                "behind: series and targets are looked up anew"
            )

    def _take(self, seq: int, batch: Batch) -> None:
        self._recent.take(seq, batch)
        self.batches += 1
        self._tell(batch)

    def _rows(
        self, connection: Connection, new: list[tuple[int, int, int]], last_s: float
    ) -> Iterator[tuple[int, Batch]]:
        """The rows of the journal that some writers wrote, from one number to another."""
        writers, after, upto = zip(*new, strict=True)
        since = binary.at_least(int((last_s - _TRANSACTION_S) * 1000))
        parameters = {"writers": list(writers), "after": list(after), "upto": list(upto), "since": since}
        for rows in binary.stream(connection, _ROWS, parameters, _ROWS_AT_ONCE):
            arrays = rows.whole(5)
            values = binary.float8_arrays(arrays)
            layout_ids = rows.int4(2).tolist()
            sids = self._layouts.get(connection, layout_ids)
            columns = zip(
                rows.int8(0).tolist(),
                rows.int4(1).tolist(),
                layout_ids,
                rows.times_ms(3).tolist(),
                rows.raw(4),
                map(binary.length_of, arrays),
                strict=True,
            )
            end = 0
            for seq, target_id, layout_id, time_ms, times, length in columns:
                start, end = end, end + length
                layout, kept = self._layout(connection, layout_id, sids[layout_id])
                own_times = None if times is None else binary.times_array_ms([times])[kept]
                target = self._target(connection, target_id)
                self._catalog.hold(target, layout)
                yield seq, Batch(target, layout, time_ms, values[start:end][kept], own_times)

    def _batches(self, reading: Reading) -> Iterator[tuple[int, Batch]]:
        """Everything a reading gives from the floor on, as batches; those of a target in the order of their times."""
        held = self._catalog.holders(np.arange(self._catalog.index.next_id))
        groups = [(np.unique(held.homes).tolist(), Groups.by_home(held.own, held.homes, self._ids))]
        if len(held.shared):
            # Readers look for these in all targets that have them.
            groups.append((held.sharing[:1], Groups.one(held.shared, self._ids)))
        for homes, some in groups:
            found = reading.pieces(some, self._recent.floor_ms, NEVER_MS)
            for home, pieces in zip(homes, found, strict=True):
                yield from self._as_batches(home, pieces)

    def _as_batches(self, home: int, pieces: list[Piece]) -> Iterator[tuple[int, Batch]]:
        layouts = [self._catalog.layout(piece.series_ids) for piece in pieces]
        columns = [
            (time_ms, number, place)
            for number, piece in enumerate(pieces)
            for place, time_ms in enumerate(piece.times_ms.tolist())
        ]
        for time_ms, number, place in sorted(columns):
            piece = pieces[number]
            values = np.ascontiguousarray(piece.values[:, place])
            yield int(piece.seqs[place]), Batch(home, layouts[number], time_ms, values)

    def _layout(self, connection: Connection, layout_id: int, sids: IntArray) -> tuple[Layout, slice | IntArray]:
        """The layout here, and which of the columns it has: all, unless series were dropped."""
        layout = self._local.get(layout_id)
        if layout is not None:
            return layout, slice(None)
        local = self._ids.locals(sids)
        if (local == UNKNOWN).any():
            self._loader.adopt_series(connection, sids[local == UNKNOWN])
            local = self._ids.locals(sids)
        kept = np.flatnonzero(local != UNKNOWN)
        layout = self._catalog.layout(local[kept])
        if len(kept) < len(local):
            return layout, kept
        self._local[layout_id] = layout
        return layout, slice(None)

    def _target(self, connection: Connection, target_id: int) -> int:
        target = self._ids.local_target(target_id)
        if target is None:
            self._loader.adopt_targets(connection, [target_id])
            target = self._ids.local_target(target_id)
        if target is None:
            raise StoreError(f"the journal names target {target_id}, which is not in fleetwatch_data.targets")
        return target


def _state(connection: Connection) -> tuple[float, int, dict[int, int]]:
    """The database's time, the last number of a journal row, and the last write of each writer."""
    rows = binary.fetch(connection, _STATE)
    (now_s,) = rows.float8(0).tolist()
    (seq,) = rows.int8(1).tolist()
    writers, writes = (binary.int8_array(rows.whole(column)[0]).tolist() for column in (2, 3))
    return now_s, seq, dict(zip(writers, writes, strict=True))
