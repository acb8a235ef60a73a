"""Is a block sound? Its vectors fit together, and every series that changes can be decoded from its chunks."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tsdb.embedded.blocks import REMOVED, Header, first_chunk_id, read_header, read_values
from tsdb.errors import StoreError
from tsdb.model import IntArray, is_absent


@dataclass(frozen=True, slots=True)
class BlockRow:
    """What a block's row says in plain numbers."""

    block_id: int
    target_id: int
    start_ms: int
    end_ms: int
    last_seq: int


@dataclass(slots=True)
class BlockFound:
    """What is in a block: its samples, the series that it holds, and what is wrong."""

    samples: int = 0
    series_ids: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    faults: list[str] = field(default_factory=list)


def check_block(connection: sqlite3.Connection, row: BlockRow) -> BlockFound:
    """Read a block and all its chunks."""
    found = BlockFound()
    try:
        header = read_header(connection, row.block_id)
    except StoreError as error:
        found.faults.append(f"its row cannot be decoded: {error}")
        return found
    places = np.flatnonzero(header.series_ids != REMOVED)
    found.series_ids = header.series_ids[places]
    found.faults += _faults_of_header(row, header)
    if not found.faults:
        found.faults += _faults_of_chunks(connection, header)
        try:
            values = read_values(connection, header, places)
            found.samples = int((~is_absent(values)).sum())
        except StoreError as error:
            found.faults.append(f"its samples cannot be decoded: {error}")
    return found


def chunks_of_block(block_id: int) -> str:
    """The condition that the chunks of a block fulfil."""
    return f"chunk_id BETWEEN {first_chunk_id(block_id)} AND {first_chunk_id(block_id + 1) - 1}"


def blocks_of_chunks(connection: sqlite3.Connection) -> Iterator[int]:
    """The blocks that chunks are of and that nobody knows, by one search for each block that has chunks."""
    next_id = 0
    while True:
        (chunk_id,) = connection.execute("SELECT min(chunk_id) FROM chunks WHERE chunk_id >= ?", (next_id,)).fetchone()
        if chunk_id is None:
            return
        block_id = chunk_id // first_chunk_id(1)
        next_id = first_chunk_id(block_id + 1)
        known = "SELECT 1 FROM blocks WHERE block_id = ?1 UNION ALL SELECT 1 FROM unlinked WHERE block_id = ?1"
        if connection.execute(known, (block_id,)).fetchone() is None:
            yield block_id


def _faults_of_header(row: BlockRow, header: Header) -> Iterator[str]:
    times, seqs = header.times_ms, header.seqs
    shape = (len(header.directory.constants), header.directory.times)
    if not len(times) or len(seqs) != len(times) or shape != (len(header.series_ids), len(times)):
        yield (
            f"its vectors do not fit: {len(header.series_ids)} series, {len(times)} times, {len(seqs)} write numbers, "
            f"samples of {shape[0]} series at {shape[1]} times"
        )
        return
    if (times[1:] <= times[:-1]).any():
        yield "its times do not rise"
    if times[0] != row.start_ms or times[-1] != row.end_ms:
        yield f"its times are {times[0]} to {times[-1]}, its row says {row.start_ms} to {row.end_ms}"
    if seqs.max() != row.last_seq:
        yield f"its last write is {seqs.max()}, its row says {row.last_seq}"


def _faults_of_chunks(connection: sqlite3.Connection, header: Header) -> Iterator[str]:
    """Chunks that no series of the block needs; missing ones show when the samples are read."""
    first = first_chunk_id(header.block_id)
    query = f"SELECT chunk_id FROM chunks WHERE {chunks_of_block(header.block_id)}"
    there = {chunk_id - first for (chunk_id,) in connection.execute(query)}
    extra = there - set(header.directory.chunks_of(np.arange(len(header.series_ids))).tolist())
    if extra:
        yield f"it has {len(extra)} chunks too many, the first is {min(extra)}"
