"""Blocks: the samples of some of a target's series over a span of time, sealed.

A block's row holds what its series share, the vectors of times and of write numbers, their ids, and a directory with
the value of every series that did not change. The directory says in which chunks the others are.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from tsdb.embedded.chunk_cache import ByteCache
from tsdb.embedded.codec.directory import Directory
from tsdb.embedded.codec.matrix import pack_matrix
from tsdb.embedded.codec.vectors import pack_ints, unpack_ints
from tsdb.model import FloatArray, IntArray, is_absent
from tsdb.pieces import Piece, Wanted

# The low bits of a chunk's number count the block's chunks; those of a cached series are its position.
_POSITION_BITS = 10

MOST_SERIES = 1 << _POSITION_BITS
"""Of a block."""

REMOVED = -1
"""In the place of a series that was removed from a block."""

# Of the budget for what is decoded, for the rows of blocks.
_HEADERS_SHARE = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A block encoded for its rows."""

    start_ms: int
    end_ms: int
    last_seq: int
    times_ms: bytes
    seqs: bytes
    series_ids: bytes
    constants: bytes
    chunks: list[bytes]

    def without_chunks(self) -> "Block":
        """The same, with its chunks let go."""
        return replace(self, chunks=[])


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """A block's row, decoded: times and seqs `[T]`, series ids `[N]`."""

    block_id: int
    times_ms: IntArray
    seqs: IntArray
    series_ids: IntArray
    directory: Directory


def encode(piece: Piece, window_ms: int, *, thorough: bool = False) -> Iterator[Block]:
    """The blocks of a piece: for each window that it reaches into, one for every 1024 series.

    `thorough` makes them smaller in several times the time.
    """
    for window in np.unique(piece.times_ms // window_ms).tolist():
        part = piece.within(window * window_ms, (window + 1) * window_ms - 1)
        chosen = np.flatnonzero((~is_absent(part.values)).any(axis=1))
        for start in range(0, len(chosen), MOST_SERIES):
            rows = chosen[start : start + MOST_SERIES]
            values = part.values if len(rows) == len(part.values) else part.values[rows]
            packed = pack_matrix(np.ascontiguousarray(values), thorough=thorough)
            yield Block(
                int(part.times_ms[0]),
                int(part.times_ms[-1]),
                int(part.seqs.max()),
                pack_ints(part.times_ms),
                pack_ints(part.seqs),
                pack_ints(part.series_ids[rows]),
                packed.directory,
                packed.chunks,
            )


def first_chunk_id(block_id: int) -> int:
    """The number of the block's first chunk."""
    return block_id << _POSITION_BITS


def insert_chunks(connection: sqlite3.Connection, block_id: int, chunks: list[bytes]) -> None:
    """Add chunks of a block; nobody sees them before its row is there."""
    connection.executemany("INSERT INTO chunks VALUES (?, ?)", enumerate(chunks, first_chunk_id(block_id)))


def insert(
    connection: sqlite3.Connection, block_id: int, target_id: int, level: int, block: Block, keep_ms: int = 0
) -> None:
    """Add a block's row, which is kept for `keep_ms`, or 0 where it is as long as the store says."""
    connection.execute(
        "INSERT INTO blocks (block_id, target_id, level, start_ms, end_ms, last_seq, times_ms, seqs, series_ids,"
        " constants, keep_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            block_id,
            target_id,
            level,
            block.start_ms,
            block.end_ms,
            block.last_seq,
            block.times_ms,
            block.seqs,
            block.series_ids,
            block.constants,
            keep_ms,
        ),
    )


def keep(connection: sqlite3.Connection, block_id: int, keep_ms: int) -> None:
    """Change how long a block is kept."""
    connection.execute("UPDATE blocks SET keep_ms = ? WHERE block_id = ?", (keep_ms, block_id))


def unlink(connection: sqlite3.Connection, block_ids: list[int]) -> None:
    """Remove blocks from sight; their chunks are removed later, see Retention.sweep."""
    numbers = [(block_id,) for block_id in block_ids]
    connection.executemany("DELETE FROM blocks WHERE block_id = ?", numbers)
    connection.executemany("INSERT OR IGNORE INTO unlinked VALUES (?)", numbers)


class BlockReader:
    """Reads blocks, and keeps what it decoded as far as `cache_bytes` go. Thread-safe."""

    def __init__(self, cache_bytes: int) -> None:
        self._headers = ByteCache[Header](int(cache_bytes * _HEADERS_SHARE))
        self._samples = ByteCache[FloatArray](int(cache_bytes * (1 - _HEADERS_SHARE)))

    def pieces(
        self, connection: sqlite3.Connection, target_id: int, wanted: Wanted, start_ms: int, end_ms: int
    ) -> list[Piece]:
        """A target's samples of the wanted series from start to end, both included, a piece for each block."""
        (pieces,) = self.pieces_of(connection, [target_id], wanted, start_ms, end_ms)
        return pieces

    def pieces_of(
        self, connection: sqlite3.Connection, targets: list[int], wanted: Wanted, start_ms: int, end_ms: int
    ) -> Iterator[list[Piece]]:
        """`pieces` of each of several targets."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        rows = connection.execute(
            "SELECT target_id, block_id FROM blocks WHERE target_id IN (SELECT value FROM json_each(?))"
            " AND end_ms >= ? AND start_ms <= ? ORDER BY block_id",
            (json.dumps(targets), start_ms, end_ms),
        )
        for target_id, block_id in rows:
            found[target_id].append(block_id)
        for target_id in targets:
            yield self._of_blocks(connection, found.get(target_id, ()), target_id, wanted, start_ms, end_ms)

    def _of_blocks(
        self,
        connection: sqlite3.Connection,
        block_ids: Iterable[int],
        target_id: int,
        wanted: Wanted,
        start_ms: int,
        end_ms: int,
    ) -> list[Piece]:
        result = []
        for block_id in block_ids:
            header = self._header(connection, block_id)
            columns = wanted.columns(target_id, header.series_ids)
            columns = columns[header.series_ids[columns] != REMOVED]
            low = int(np.searchsorted(header.times_ms, start_ms, side="left"))
            high = int(np.searchsorted(header.times_ms, end_ms, side="right"))
            if len(columns) and low < high:
                values = self._values(connection, header, columns, low, high)
                times_ms, seqs, ids = header.times_ms[low:high], header.seqs[low:high], header.series_ids[columns]
                # Few series have gaps: the others are quicker to evaluate without them.
                gaps = is_absent(values).any(axis=1)
                parts = (~gaps, gaps) if gaps.any() and not gaps.all() else (slice(None),)
                result += [Piece(times_ms, seqs, ids[chosen], values[chosen]) for chosen in parts]
        return result

    def figures(self) -> dict[str, float]:
        """Counts for `Store.stats`."""
        return self._samples.figures("chunk_cache") | self._headers.figures("block_cache")

    def _header(self, connection: sqlite3.Connection, block_id: int) -> Header:
        (header,) = self._headers.get([block_id])
        if header is None:
            header = read_header(connection, block_id)
            self._headers.put([(block_id, header, _header_bytes(header))])
        return header

    def _values(
        self, connection: sqlite3.Connection, header: Header, columns: IntArray, low: int, high: int
    ) -> FloatArray:
        """float64[S, high - low] of the series at some positions, which rise."""
        constants = header.directory.constants[columns]
        values = np.repeat(constants[:, None], high - low, axis=1)
        rows = np.flatnonzero(is_absent(constants))
        if not len(rows):
            return values
        keys = ((header.block_id << _POSITION_BITS) + columns[rows]).tolist()
        missing = []
        for place, samples in enumerate(self._samples.get(keys)):
            if samples is None:
                missing.append(place)
            else:
                values[rows[place]] = samples[low:high]
        if missing:
            decoded = read_values(connection, header, columns[rows[missing]])
            values[rows[missing]] = decoded[:, low:high]
            self._samples.put(
                (keys[place], samples.copy(), samples.nbytes) for place, samples in zip(missing, decoded, strict=True)
            )
        return values


def _header_bytes(header: Header) -> int:
    """About what it takes; of a series its id, its constant and its place in the directory."""
    return 16 * len(header.times_ms) + 64 * len(header.series_ids)


def read_header(connection: sqlite3.Connection, block_id: int) -> Header:
    """The row of a block that is there."""
    times, seqs, ids, constants = connection.execute(
        "SELECT times_ms, seqs, series_ids, constants FROM blocks WHERE block_id = ?", (block_id,)
    ).fetchone()
    return Header(block_id, unpack_ints(times), unpack_ints(seqs), unpack_ints(ids), Directory.from_bytes(constants))


def read_values(connection: sqlite3.Connection, header: Header, columns: IntArray) -> FloatArray:
    """float64[S, T] of the series at some positions, which rise; without any cache."""
    numbers = header.directory.chunks_of(columns).tolist()
    return header.directory.unpack(columns, dict(_chunks(connection, header.block_id, numbers)))


def _chunks(connection: sqlite3.Connection, block_id: int, numbers: list[int]) -> Iterator[tuple[int, bytes]]:
    """(number in the block, samples) of some of a block's chunks; numbers rise."""
    if not numbers:
        return
    base = first_chunk_id(block_id)
    if numbers[-1] - numbers[0] < 2 * len(numbers):
        chosen = set(numbers)
        rows = connection.execute(
            "SELECT chunk_id, samples FROM chunks WHERE chunk_id BETWEEN ? AND ?",
            (base + numbers[0], base + numbers[-1]),
        )
        yield from ((chunk_id - base, samples) for chunk_id, samples in rows if chunk_id - base in chosen)
        return
    chunk_ids = json.dumps([base + number for number in numbers])
    rows = connection.execute(
        "SELECT chunk_id, samples FROM chunks WHERE chunk_id IN (SELECT value FROM json_each(?))", (chunk_ids,)
    )
    yield from ((chunk_id - base, samples) for chunk_id, samples in rows)
