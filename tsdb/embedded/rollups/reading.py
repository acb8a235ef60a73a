"""Reading roll-ups: the days that are rolled up from their rows, all others computed from their samples.

A stored day counts as long as it was made of every block that has samples of it, the head has none, and no delete
touches what is asked for. Fewer blocks than it was made of are what the retention leaves.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tsdb.catalog import Catalog
from tsdb.embedded.blocks import REMOVED, BlockReader
from tsdb.embedded.database import Database
from tsdb.embedded.rollups import rows as rollup_rows
from tsdb.embedded.rollups.rows import DAY_MS, RolledDay, day_of, days_between
from tsdb.head import Head
from tsdb.model import IntArray, is_absent
from tsdb.pieces import Piece, Wanted, join
from tsdb.rollups import Column, RollupFrame, roll_up
from tsdb.tombstones import Tombstone, hide

# What must be stored of the days asked for, so that roll-ups pay.
_LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Buckets:
    """What is asked for: the buckets with these ends, both included, of some columns."""

    start_ms: int
    end_ms: int
    resolution_ms: int
    columns: Sequence[Column]

    @property
    def first_ms(self) -> int:
        """The first time within."""
        return self.start_ms - self.resolution_ms + 1


class RollupReader:
    """Reads the roll-ups of a store. Thread-safe."""

    def __init__(self, database: Database, head: Head, block_reader: BlockReader, catalog: Catalog) -> None:
        self._database = database
        self._head = head
        self._block_reader = block_reader
        self._catalog = catalog

    def select(
        self, series_ids: IntArray, asked: Buckets, expired_until_ms: int, tombstones: Collection[Tombstone]
    ) -> list[RollupFrame] | None:
        """The buckets of series, whose ids rise; None where too little of them is stored.

        Samples from before a time, and what the tombstones hide, are not read.
        """
        touching = [tombstone for tombstone in tombstones if np.isin(series_ids, tombstone.series_ids).any()]
        held = self._catalog.holders(series_ids)
        own, shared = Wanted(held.own, held.homes), Wanted(held.shared)
        heads = self._heads(np.unique(held.homes).tolist(), own, asked)
        shared_heads = self._heads(held.sharing, shared, asked)
        with self._database.reader() as connection:
            days = {number: _days(connection, number, head, asked, touching) for number, head in heads.items()}
            stored = [day is not None for of_target in days.values() for day in of_target.values()]
            if sum(stored) < max(1, _LEAST_SHARE * len(stored)):
                return None
            raw = _Raw(connection, self._block_reader, asked, expired_until_ms, tombstones)
            frames: list[RollupFrame] = []
            for number, head in heads.items():
                pieces: list[Piece] = []
                for start_ms, day in sorted(days[number].items()):
                    if day is None:
                        pieces += raw.pieces({number: head}, own, start_ms)
                    else:
                        pieces += _stored(connection, day, number, own, asked)
                frames += self._frames(pieces, asked)
            # What several targets have has to be looked up in all of them, to see which sample was written last.
            found = [_days(connection, number, head, asked, touching) for number, head in shared_heads.items()]
            pieces = []
            for start_ms in sorted(set().union(*found)):
                pieces += raw.pieces(shared_heads, shared, start_ms)
            frames += self._frames(pieces, asked)
        return frames

    def _heads(self, targets: list[int], wanted: Wanted, asked: Buckets) -> dict[int, list[Piece]]:
        return {number: self._head.pieces(number, wanted, asked.first_ms, asked.end_ms) for number in targets}

    def _frames(self, pieces: list[Piece], asked: Buckets) -> Iterator[RollupFrame]:
        for piece in join(pieces):
            seen = np.flatnonzero((~is_absent(piece.values)).any(axis=(1, 2)))
            if len(seen):
                values = piece.values if len(seen) == len(piece.values) else piece.values[seen]
                ids = piece.series_ids[seen]
                yield RollupFrame(piece.times_ms, values, ids, self._catalog.index.labels(ids), asked.columns)


class _Raw:
    """Roll-ups that are computed while they are read."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        block_reader: BlockReader,
        asked: Buckets,
        expired_until_ms: int,
        tombstones: Collection[Tombstone],
    ) -> None:
        self._connection = connection
        self._block_reader = block_reader
        self._asked = asked
        self._expired_until_ms = expired_until_ms
        self._tombstones = tombstones

    def pieces(self, heads: dict[int, list[Piece]], wanted: Wanted, start_ms: int) -> Iterator[Piece]:
        """A day of some targets, of which the heads are given: buckets as times, values float64[S, B, C]."""
        low = max(start_ms + 1, self._asked.first_ms, self._expired_until_ms)
        high = min(start_ms + DAY_MS, self._asked.end_ms)
        pieces: list[Piece] = []
        for target_id, head in heads.items():
            pieces += self._block_reader.pieces(self._connection, target_id, wanted, low, high)
            pieces += [piece.within(low, high) for piece in head]
        for piece in join(hide(pieces, self._tombstones)):
            ends, values = roll_up(piece, self._asked.resolution_ms, self._asked.columns)
            yield Piece(ends, np.zeros_like(ends), piece.series_ids, values)


def _stored(
    connection: sqlite3.Connection, day: RolledDay, target_id: int, wanted: Wanted, asked: Buckets
) -> Iterator[Piece]:
    """A day that is rolled up: buckets as times, values float64[S, B, C]."""
    places = wanted.columns(target_id, day.series_ids)
    places = places[day.series_ids[places] != REMOVED]
    ends = day.ends_ms(asked.resolution_ms)
    low, high = np.searchsorted(ends, [asked.start_ms, asked.end_ms + 1]).tolist()
    if len(places) and low < high:
        values = rollup_rows.read(connection, day, asked.resolution_ms, places, asked.columns)
        yield Piece(ends[low:high], np.zeros(high - low, np.int64), day.series_ids[places], values[:, low:high])


def _days(
    connection: sqlite3.Connection, target_id: int, head: list[Piece], asked: Buckets, touching: list[Tombstone]
) -> dict[int, RolledDay | None]:
    """The days of a target that may have samples, by their start; with what is stored where that can be used."""
    found: defaultdict[int, set[int]] = defaultdict(set)
    for block_id, start_ms, end_ms in connection.execute(
        "SELECT block_id, start_ms, end_ms FROM blocks WHERE target_id = ? AND end_ms >= ? AND start_ms <= ?",
        (target_id, asked.first_ms, asked.end_ms),
    ):
        for day_ms in days_between(max(start_ms, asked.first_ms), min(end_ms, asked.end_ms)):
            found[day_ms].add(block_id)
    unsealed = {day_ms for piece in head for day_ms in np.unique((piece.times_ms - 1) // DAY_MS * DAY_MS).tolist()}
    days: dict[int, RolledDay | None] = dict.fromkeys([*found, *unsealed])
    for day in rollup_rows.days_of(connection, target_id, day_of(asked.first_ms), day_of(asked.end_ms)):
        deleted = any(
            tombstone.deletion.start_ms <= day.last_ms and tombstone.deletion.end_ms >= day.first_ms
            for tombstone in touching
        )
        if not deleted and day.start_ms not in unsealed and found[day.start_ms] <= day.block_ids:
            days[day.start_ms] = day
    return days
