"""The journal: one row per batch, in the order of writing, until its window is sealed."""

import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np

from tsdb.catalog import Catalog
from tsdb.embedded.codec import pack_ints, pack_row, unpack_ints, unpack_row
from tsdb.model import Batch

Row = tuple[int, int, int, int, bytes, bytes | None]


def to_row(seq: int, batch: Batch) -> Row:
    """The row of a batch."""
    times = None if batch.times_ms is None else pack_ints(batch.times_ms)
    return seq, batch.target_id, batch.layout.layout_id, batch.time_ms, pack_row(batch.values), times


def insert(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Add rows."""
    connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?)", rows)


def delete(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
    """Remove rows by their sequence numbers; quickest where those follow each other."""
    connection.executemany("DELETE FROM journal WHERE seq = ?", ((seq,) for seq in seqs))


def mark_sealed(connection: sqlite3.Connection, target_id: int, before_ms: int, upto_seq: int) -> None:
    """Say that the target's rows wholly before a time, up to a sequence number, are in blocks: not to be replayed."""
    connection.execute("INSERT OR REPLACE INTO sealings VALUES (?, ?, ?)", (target_id, before_ms, upto_seq))


def sealings(connection: sqlite3.Connection) -> dict[int, tuple[int, int]]:
    """What was marked last: by target, the time and the sequence number."""
    rows = connection.execute("SELECT target_id, before_ms, upto_seq FROM sealings")
    return {target_id: (before_ms, upto_seq) for target_id, before_ms, upto_seq in rows}


def replay(connection: sqlite3.Connection, catalog: Catalog) -> Iterator[tuple[int, Batch]]:
    """Every row's sequence number and batch, in the order of writing, one at a time."""
    rows = connection.execute("SELECT seq, target_id, layout_id, time_ms, samples, times_ms FROM journal ORDER BY seq")
    for seq, target_id, layout_id, time_ms, samples, times in rows:
        own_times = None if times is None else unpack_ints(times).astype(np.int64, copy=False)
        yield seq, Batch(target_id, catalog.layout_by_id(layout_id), time_ms, unpack_row(samples), own_times)
