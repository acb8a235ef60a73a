"""Blocks: the samples of a target's series over a window, sealed.

A block's row holds what its series share, the vectors of times and of write numbers, and the value of every series
that did not change. A series that did change has a chunk, reached by block and position.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tsdb.catalog import Catalog
from tsdb.embedded.codec import pack_ints, pack_row, pack_series, unpack_ints, unpack_row, unpack_series
from tsdb.model import ABSENT, ABSENT_BITS, Layout
from tsdb.pieces import Piece, Wanted

# The low bits of a chunk's number are the series' position in the block.
_POSITION_BITS = 20
_MOST_SERIES = 1 << _POSITION_BITS


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A block encoded for its rows."""

    layout: Layout
    start_ms: int
    end_ms: int
    last_seq: int
    times_ms: bytes
    seqs: bytes
    constants: bytes
    chunks: list[tuple[int, bytes]]
    """(position, samples)"""


def encode(piece: Piece, window_ms: int, catalog: Catalog) -> Iterator[Block]:
    """The blocks of a piece: one for each window that it reaches into."""
    for window in np.unique(piece.times_ms // window_ms).tolist():
        part = piece.within(window * window_ms, (window + 1) * window_ms - 1)
        seen = (part.values.view(np.uint64) != ABSENT_BITS).any(axis=1)
        for start in range(0, len(seen), _MOST_SERIES):
            chosen = start + np.flatnonzero(seen[start : start + _MOST_SERIES])
            if len(chosen):
                yield _encode(Piece(part.times_ms, part.seqs, part.series_ids[chosen], part.values[chosen]), catalog)


def _encode(piece: Piece, catalog: Catalog) -> Block:
    bits = piece.values.view(np.uint64)
    first = piece.values[:, 0]
    changing = (bits != bits[:, :1]).any(axis=1)
    constants = np.where(changing, ABSENT, first)
    return Block(
        catalog.layout(piece.series_ids),
        int(piece.times_ms[0]),
        int(piece.times_ms[-1]),
        int(piece.seqs.max()),
        pack_ints(piece.times_ms),
        pack_ints(piece.seqs),
        pack_row(constants),
        [(position, pack_series(piece.values[position])) for position in np.flatnonzero(changing).tolist()],
    )


def insert(connection: sqlite3.Connection, block_id: int, target_id: int, block: Block) -> None:
    """Add a block and its chunks."""
    connection.execute(
        "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            block_id,
            target_id,
            block.layout.layout_id,
            block.start_ms,
            block.end_ms,
            block.last_seq,
            block.times_ms,
            block.seqs,
            block.constants,
        ),
    )
    connection.executemany(
        "INSERT INTO chunks VALUES (?, ?)",
        ((_chunk_id(block_id, position), samples) for position, samples in block.chunks),
    )


def delete_before(connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
    """Remove at most `limit` blocks that end before a time, and their chunks; how many they were."""
    found = connection.execute("SELECT block_id FROM blocks WHERE end_ms < ? LIMIT ?", (before_ms, limit))
    block_ids = [block_id for (block_id,) in found]
    connection.executemany(
        "DELETE FROM chunks WHERE chunk_id BETWEEN ? AND ?",
        ((_chunk_id(block_id, 0), _chunk_id(block_id, _MOST_SERIES - 1)) for block_id in block_ids),
    )
    connection.executemany("DELETE FROM blocks WHERE block_id = ?", ((block_id,) for block_id in block_ids))
    return len(block_ids)


def pieces(
    connection: sqlite3.Connection,
    catalog: Catalog,
    target_id: int,
    wanted: Wanted,
    start_ms: int,
    end_ms: int,
) -> list[Piece]:
    """A target's samples of the wanted series from start to end, both included, a piece for each block."""
    found = connection.execute(
        "SELECT block_id, layout_id, times_ms, seqs, constants FROM blocks "
        "WHERE target_id = ? AND end_ms >= ? AND start_ms <= ? ORDER BY block_id",
        (target_id, start_ms, end_ms),
    )
    result = []
    for block_id, layout_id, times, seqs, constants in found.fetchall():
        ids = catalog.layout_by_id(layout_id).series_ids
        columns = wanted.columns(target_id, ids)
        if not len(columns):
            continue
        times_ms = unpack_ints(times)
        values = np.repeat(unpack_row(constants)[columns, None], len(times_ms), axis=1)
        changing = np.flatnonzero(values[:, 0].view(np.uint64) == ABSENT_BITS)
        for position, samples in _chunks(connection, block_id, columns[changing].tolist()):
            unpack_series(samples, values[np.searchsorted(columns, position)])
        piece = Piece(times_ms, unpack_ints(seqs), ids[columns], values).within(start_ms, end_ms)
        if len(piece.times_ms):
            result.append(piece)
    return result


def _chunks(connection: sqlite3.Connection, block_id: int, positions: list[int]) -> Iterator[tuple[int, bytes]]:
    """(position, samples) of some of a block's series; positions rise."""
    if not positions:
        return
    base = _chunk_id(block_id, 0)
    if positions[-1] - positions[0] < 2 * len(positions):
        chosen = set(positions)
        rows = connection.execute(
            "SELECT chunk_id, samples FROM chunks WHERE chunk_id BETWEEN ? AND ?",
            (base + positions[0], base + positions[-1]),
        )
        yield from ((number - base, samples) for number, samples in rows if number - base in chosen)
        return
    numbers = json.dumps([base + position for position in positions])
    rows = connection.execute(
        "SELECT chunk_id, samples FROM chunks WHERE chunk_id IN (SELECT value FROM json_each(?))", (numbers,)
    )
    yield from ((number - base, samples) for number, samples in rows)


def _chunk_id(block_id: int, position: int) -> int:
    return block_id << _POSITION_BITS | position
