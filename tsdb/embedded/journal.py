"""The journal: one row per batch, in the order of writing, until its window is sealed."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tsdb.catalog import Catalog
from tsdb.embedded.codec.vectors import pack_ints, pack_row, unpack_ints, unpack_row
from tsdb.head import last_time_ms
from tsdb.model import Batch, Layout

Row = tuple[int, int, int, int, bytes, bytes | None]


class Journal:
    """Counts what is in the table, and remembers what is sealed. For the writer thread."""

    def __init__(self) -> None:
        self.rows = 0
        self.last_seq = 0
        """Of all writes so far, those in blocks included."""
        self.sealed: list[int] = []
        """Sequence numbers of rows that are in blocks, still to be removed."""
        self._uses: Counter[int] = Counter()

    def insert(self, connection: sqlite3.Connection, numbered: Sequence[tuple[int, Batch]]) -> None:
        """Add rows; `inserted` is to be called once they are committed."""
        connection.executemany(
            "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?)", [_to_row(seq, batch) for seq, batch in numbered]
        )

    def inserted(self, seq: int, layout_id: int) -> None:
        """Count a row."""
        self.rows += 1
        self._uses[layout_id] += 1
        self.last_seq = max(self.last_seq, seq)

    def delete(self, connection: sqlite3.Connection, seqs: Iterable[int]) -> Counter[int]:
        """Remove rows, quickest where they follow each other: how many of each layout they were.

        `deleted` is to be called once that is committed.
        """
        return Counter(
            layout_id
            for seq in seqs
            for (layout_id,) in connection.execute("DELETE FROM journal WHERE seq = ? RETURNING layout_id", (seq,))
        )

    def deleted(self, layouts: Counter[int]) -> None:
        """Count rows that are gone."""
        self.rows -= layouts.total()
        self._uses -= layouts

    def unused(self, layouts: Counter[int]) -> list[int]:
        """The layouts that no row names any more once these rows are gone."""
        return [layout_id for layout_id, count in layouts.items() if self._uses[layout_id] == count]


def mark_sealed(connection: sqlite3.Connection, target_id: int, before_ms: int, upto_seq: int) -> None:
    """Say that the target's rows wholly before a time, up to a sequence number, are in blocks: not to be replayed."""
    connection.execute("INSERT OR REPLACE INTO sealings VALUES (?, ?, ?)", (target_id, before_ms, upto_seq))


def replay(connection: sqlite3.Connection, catalog: Catalog) -> Iterator[tuple[int, Batch, bool]]:
    """Every row's sequence number, its batch and whether it is sealed, in the order of writing, one at a time."""
    sealings = {
        target_id: (before_ms, upto_seq)
        for target_id, before_ms, upto_seq in connection.execute("SELECT target_id, before_ms, upto_seq FROM sealings")
    }
    # Held until the end: what nobody holds is forgotten.
    layouts: dict[int, Layout] = {
        layout_id: catalog.load_layout(layout_id, unpack_ints(packed))
        for layout_id, packed in connection.execute("SELECT layout_id, series_ids FROM layouts")
    }
    rows = connection.execute("SELECT seq, target_id, layout_id, time_ms, samples, times_ms FROM journal ORDER BY seq")
    for seq, target_id, layout_id, time_ms, samples, times in rows:
        own_times = None if times is None else unpack_ints(times).astype(np.int64, copy=False)
        batch = Batch(target_id, layouts[layout_id], time_ms, unpack_row(samples), own_times)
        before_ms, upto_seq = sealings.get(target_id, (0, -1))
        yield seq, batch, seq <= upto_seq and last_time_ms(batch) < before_ms


def _to_row(seq: int, batch: Batch) -> Row:
    times = None if batch.times_ms is None else pack_ints(batch.times_ms)
    return seq, batch.target_id, batch.layout.layout_id, batch.time_ms, pack_row(batch.values), times
