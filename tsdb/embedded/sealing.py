"""Sealing and merging: samples move from head and journal into small blocks, and from those into larger ones.

A window of the shortest level is sealed once it has ended, and small blocks are merged once a window of the next
level has. On the way samples that are being deleted are left out, and series of different retention classes get
different blocks. Reading, decoding and encoding happen in the calling thread. What is made appears, and what it
replaces disappears, in one short transaction; chunks go to the file ahead of it, where nobody sees them.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from tsdb.embedded import blocks
from tsdb.embedded.blocks import Block, Header
from tsdb.embedded.database import Database
from tsdb.embedded.journal import Journal, mark_sealed
from tsdb.embedded.retention_classes import RetentionClasses
from tsdb.embedded.writer import Writer
from tsdb.head import Head
from tsdb.model import ABSENT, IntArray, is_absent
from tsdb.pieces import Piece, by_membership, group_samples, join
from tsdb.tombstones import Tombstones, hide

# Of chunks in one transaction.
_STAGED_BYTES = 1024 * 1024
# What a merge holds decoded at once: 8 MiB of values, and a few copies of it.
_MOST_VALUES = 1 << 19
_FEWEST_SERIES = 64
# A window that was merged is merged again once late samples have made so many further blocks.
_MOST_STRAYS = 4
# Of a piece beside others: that they are absent at some times costs less than a block of their own.
_MOST_POOLED = 32


class Sealing:
    """Makes blocks of a store's samples. One call at a time."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        head: Head,
        journal: Journal,
        levels_ms: Sequence[int],
        tombstones: Tombstones,
        classes: RetentionClasses,
    ) -> None:
        self._database = database
        self._writer = writer
        self._head = head
        self._journal = journal
        self._levels_ms = levels_ms
        self._tombstones = tombstones
        self._classes = classes
        with database.reader() as connection:
            (last_block_id,) = connection.execute(
                "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'blocks'), 0),"
                " coalesce((SELECT max(block_id) FROM unlinked), 0))"
            ).fetchone()
        self._last_block_id = int(last_block_id)

    def seal(self, before_ms: int) -> None:
        """Move all whole batches from before a time into blocks."""
        for target_id in self._head.targets():
            self._seal(target_id, before_ms)

    def merge(self, before_ms: int, fewest_strays: int = _MOST_STRAYS) -> None:
        """Merge the blocks of windows that have ended before a time, level by level."""
        for level, window_ms in enumerate(self._levels_ms[1:], 1):
            for target_id, start_ms in self._due(level, window_ms, before_ms // window_ms * window_ms, fewest_strays):
                self._merge(target_id, level, start_ms, start_ms + window_ms)

    def rewrite(self, block_id: int) -> None:
        """Replace a block by what is to be kept of it, in blocks of one retention class each."""
        with self._database.reader() as connection:
            target_id, level = connection.execute(
                "SELECT target_id, level FROM blocks WHERE block_id = ?", (block_id,)
            ).fetchone()
            header = blocks.read_header(connection, block_id)
        staging = _Staging(self._writer, self._next_block_id)
        for ids in _portions([header]):
            for piece in self._pieces([header], ids):
                self._stage(staging, piece, self._levels_ms[level], thorough=level > 0)

        def link(connection: sqlite3.Connection) -> None:
            blocks.unlink(connection, [block_id])
            staging.link(connection, target_id, level)

        self._writer.step(link)

    def _stage(self, staging: "_Staging", piece: Piece, window_ms: int, *, thorough: bool) -> None:
        """Make blocks of what is to be kept of a piece."""
        doomed = self._tombstones.doomed()
        for left in hide([piece], doomed):
            # Times of which nothing is left go too.
            present = np.flatnonzero((~is_absent(left.values)).any(axis=0)) if doomed else None
            part = left if present is None or len(present) == len(left.times_ms) else _columns(left, present)
            for keep_ms, kept in self._classes.split(part):
                staging.add(blocks.encode(kept, window_ms, thorough=thorough), keep_ms)

    def _seal(self, target_id: int, before_ms: int) -> None:
        upto_seq = self._journal.last_seq
        leaving = self._head.before(target_id, before_ms, upto_seq)
        if not leaving.seqs:
            return
        staging = _Staging(self._writer, self._next_block_id)
        for piece in _pooled([*join(leaving.rows), *leaving.loose]):
            self._stage(staging, piece, self._levels_ms[0], thorough=False)

        def link(connection: sqlite3.Connection) -> None:
            mark_sealed(connection, target_id, before_ms, upto_seq)
            staging.link(connection, target_id, 0)

        def forget(_: None) -> None:
            self._journal.sealed += leaving.seqs
            self._head.drop(target_id, before_ms, upto_seq)

        self._writer.step(link, forget)

    def _due(self, level: int, window_ms: int, before_ms: int, fewest_strays: int) -> list[tuple[int, int]]:
        """Target and start of windows of a level that have blocks of lower levels to be merged."""
        counts: defaultdict[tuple[int, int], int] = defaultdict(int)
        with self._database.reader() as connection:
            for target_id, start_ms in connection.execute(
                "SELECT target_id, start_ms FROM blocks WHERE level < ? AND start_ms < ?", (level, before_ms)
            ):
                counts[target_id, start_ms // window_ms * window_ms] += 1
            return [
                (target_id, start_ms)
                for (target_id, start_ms), count in counts.items()
                if count >= fewest_strays
                or not _blocks_in(connection, target_id, start_ms, start_ms + window_ms, level, level)
            ]

    def _merge(self, target_id: int, level: int, start_ms: int, before_ms: int) -> None:
        """Merge the target's blocks of a window, up to a level, into blocks of that level."""
        with self._database.reader() as connection:
            replaced = _blocks_in(connection, target_id, start_ms, before_ms, 0, level)
            headers = [blocks.read_header(connection, block_id) for block_id in replaced]
        staging = _Staging(self._writer, self._next_block_id)
        if len(replaced) > 1:
            for ids in _portions(headers):
                for piece in _pooled(_merged(self._pieces(headers, ids))):
                    self._stage(staging, piece, before_ms - start_ms, thorough=True)

        def link(connection: sqlite3.Connection) -> None:
            if len(replaced) == 1:
                connection.execute("UPDATE blocks SET level = ? WHERE block_id = ?", (level, replaced[0]))
                return
            blocks.unlink(connection, replaced)
            staging.link(connection, target_id, level)

        self._writer.step(link)

    def _pieces(self, headers: list[Header], series_ids: IntArray) -> list[Piece]:
        """What blocks hold of some series."""
        pieces = []
        wanted = np.sort(series_ids)
        with self._database.reader() as connection:
            for header in headers:
                columns = np.flatnonzero(np.isin(header.series_ids, wanted))
                if len(columns):
                    values = blocks.read_values(connection, header, columns)
                    pieces.append(Piece(header.times_ms, header.seqs, header.series_ids[columns], values))
        return pieces

    def _next_block_id(self) -> int:
        """A number that no block has had."""
        self._last_block_id += 1
        return self._last_block_id


class _Staging:
    """Blocks on their way to the file: chunks go ahead, rows follow all at once."""

    def __init__(self, writer: Writer, next_block_id: Callable[[], int]) -> None:
        self._writer = writer
        self._next_block_id = next_block_id
        # Number, block, and how long it is kept.
        self._rows: list[tuple[int, Block, int]] = []
        self._chunks: list[tuple[int, list[bytes]]] = []
        self._bytes = 0

    def add(self, encoded: Iterable[Block], keep_ms: int) -> None:
        for block in encoded:
            block_id = self._next_block_id()
            self._chunks.append((block_id, block.chunks))
            self._rows.append((block_id, block.without_chunks(), keep_ms))
            self._bytes += sum(map(len, block.chunks))
            if self._bytes >= _STAGED_BYTES:
                self._writer.step(self._write_ahead)
                self._chunks, self._bytes = [], 0

    def link(self, connection: sqlite3.Connection, target_id: int, level: int) -> None:
        """Write what is left, and make all of it visible."""
        self._write_chunks(connection)
        for block_id, block, keep_ms in self._rows:
            blocks.insert(connection, block_id, target_id, level, block, keep_ms)
        connection.executemany("DELETE FROM unlinked WHERE block_id = ?", ((row[0],) for row in self._rows))

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO unlinked VALUES (?)", ((block_id,) for block_id, _ in self._chunks))
        self._write_chunks(connection)

    def _write_chunks(self, connection: sqlite3.Connection) -> None:
        for block_id, chunks in self._chunks:
            blocks.insert_chunks(connection, block_id, chunks)


def _blocks_in(
    connection: sqlite3.Connection, target_id: int, start_ms: int, before_ms: int, lowest: int, highest: int
) -> list[int]:
    """The target's blocks of some levels that lie in a window."""
    rows = connection.execute(
        "SELECT block_id FROM blocks WHERE target_id = ? AND end_ms >= ? AND end_ms < ? AND level BETWEEN ? AND ? "
        "ORDER BY block_id",
        (target_id, start_ms, before_ms, lowest, highest),
    )
    return [block_id for (block_id,) in rows]


def _portions(headers: list[Header]) -> Iterator[IntArray]:
    """The series of some blocks, as many at once as can be held decoded."""
    times = len(np.unique(np.concatenate([header.times_ms for header in headers])))
    ids = _in_order(headers)
    size = min(max(_MOST_VALUES // times, _FEWEST_SERIES), blocks.MOST_SERIES)
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def _in_order(headers: list[Header]) -> IntArray:
    """All series of some blocks, in the order in which they come first: neighbours stay neighbours."""
    ids = np.concatenate([header.series_ids for header in headers])
    _, first = np.unique(ids, return_index=True)
    in_order: IntArray = ids[np.sort(first)]
    kept: IntArray = in_order[in_order != blocks.REMOVED]
    return kept


def _merged(pieces: list[Piece]) -> Iterator[Piece]:
    """The same samples in as few pieces as can keep, for every time, the number of its write."""
    for group in by_membership(pieces):
        times, counts = np.unique(np.concatenate([piece.times_ms for piece in group]), return_counts=True)
        repeated = times[counts > 1]
        if not len(repeated):
            yield from join(group)
            continue
        parts = [_columns(piece, ~np.isin(piece.times_ms, repeated)) for piece in group]
        latest = _latest([_columns(piece, np.isin(piece.times_ms, repeated)) for piece in group])
        if len(latest) == 1 and len(latest[0].series_ids) == len(group[0].series_ids):
            # Each of these times has one write only that is still read.
            yield from join([*parts, *latest])
        else:
            yield from join(parts)
            yield from latest


def _pooled(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same samples, those of few series as rows of a piece that has all of their times: a block less for each."""
    left = sorted(pieces, key=lambda piece: len(piece.times_ms), reverse=True)
    while left:
        main, *others = left
        taken, left = [main], []
        for piece in others:
            few = len(piece.series_ids) <= _MOST_POOLED and _has_times_of(main, piece)
            known = few and any(np.isin(piece.series_ids, one.series_ids).any() for one in taken)
            (taken if few and not known else left).append(piece)
        yield main if len(taken) == 1 else _stacked(main, taken)


def _has_times_of(main: Piece, piece: Piece) -> bool:
    """Whether all times of a piece, each from the same write, are among those of another."""
    columns = np.searchsorted(main.times_ms, piece.times_ms)
    return (
        bool(columns[-1] < len(main.times_ms))
        and np.array_equal(main.times_ms[columns], piece.times_ms)
        and np.array_equal(main.seqs[columns], piece.seqs)
    )


def _stacked(main: Piece, pieces: list[Piece]) -> Piece:
    """One piece at the times of `main`, ABSENT where another has no such time."""
    ids = np.concatenate([piece.series_ids for piece in pieces])
    values = np.full((len(ids), len(main.times_ms)), ABSENT)
    end = 0
    for piece in pieces:
        start, end = end, end + len(piece.series_ids)
        values[start:end, np.searchsorted(main.times_ms, piece.times_ms)] = piece.values
    return Piece(main.times_ms, main.seqs, ids, values)


def _columns(piece: Piece, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]] | IntArray) -> Piece:
    return Piece(piece.times_ms[chosen], piece.seqs[chosen], piece.series_ids, piece.values[:, chosen])


def _latest(pieces: list[Piece]) -> list[Piece]:
    """Pieces of the samples that are read where several have the same series and time."""
    ids, times, seqs, values = [], [], [], []
    for piece in pieces:
        rows, columns = np.nonzero(~is_absent(piece.values))
        ids.append(piece.series_ids[rows])
        times.append(piece.times_ms[columns])
        seqs.append(piece.seqs[columns])
        values.append(piece.values[rows, columns])
    return group_samples(np.concatenate(ids), np.concatenate(times), np.concatenate(seqs), np.concatenate(values))
