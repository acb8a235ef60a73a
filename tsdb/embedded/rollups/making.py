"""Making roll-ups of what is older than a limit: a day of a target at a time, from its blocks.

Reading, computing and packing happen in the calling thread, 96 series at once. Matrices go to the file ahead, under a
number that nobody sees; one short transaction makes the day visible in the place of what was there. A day remembers
its blocks: it is made again once there are others, as after late samples. Then series whose blocks were removed
meanwhile keep the roll-ups that they have.
"""

import functools
import sqlite3
from collections import defaultdict

import numpy as np

from tsdb.embedded import blocks
from tsdb.embedded.blocks import Header
from tsdb.embedded.database import Database
from tsdb.embedded.rollups import rows as rollup_rows
from tsdb.embedded.rollups.rows import DAY_MS, PART_SERIES, Part, RolledDay, days_between
from tsdb.embedded.writer import Writer
from tsdb.model import ABSENT, FloatArray, IntArray
from tsdb.pieces import Piece, join
from tsdb.rollups import RESOLUTIONS_MS, Column, roll_up

# Of matrices in one transaction.
_STAGED_BYTES = 512 * 1024
_DAYS_AT_ONCE = 50

_Rolled = tuple[tuple[IntArray, FloatArray], IntArray]
"""What `roll_up` gives of some series, and their ids."""


class RollupMaking:
    """Makes and removes the roll-ups of a store. One call at a time."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    def make(self, before_ms: int, expired_until_ms: int) -> None:
        """Roll up the days that have ended before a time; those that the retention has begun to remove stay."""
        self.sweep()
        for (target_id, start_ms), block_ids in self._due(before_ms, expired_until_ms).items():
            self._make(target_id, start_ms, block_ids)
        self.sweep()

    def expire(self, before_ms: int) -> None:
        """Remove the days that have ended before a time."""

        def remove(connection: sqlite3.Connection) -> bool:
            rows = connection.execute(
                "SELECT day_id FROM rollup_days WHERE start_ms <= ? LIMIT ?", (before_ms - DAY_MS, _DAYS_AT_ONCE)
            ).fetchall()
            rollup_rows.unlink(connection, [day_id for (day_id,) in rows])
            return bool(rows)

        while self._writer.step(remove):
            self.sweep()

    def sweep(self) -> None:
        """Remove matrices that nobody sees, those a crash has left too."""
        while self._writer.step(rollup_rows.sweep):
            pass

    def _due(self, before_ms: int, expired_until_ms: int) -> dict[tuple[int, int], frozenset[int]]:
        """Target and start of the days to be made, and the blocks that have samples of them."""
        found: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        with self._database.reader() as connection:
            for block_id, target_id, start_ms, end_ms in connection.execute(
                "SELECT block_id, target_id, start_ms, end_ms FROM blocks WHERE end_ms >= ? AND start_ms <= ?",
                (expired_until_ms, before_ms),
            ):
                for day_ms in days_between(start_ms, end_ms):
                    if expired_until_ms <= day_ms + 1 and day_ms + DAY_MS <= before_ms:
                        found[target_id, day_ms].add(block_id)
            made = rollup_rows.block_ids(connection, expired_until_ms)
        return {
            key: frozenset(block_ids)
            for key, block_ids in sorted(found.items())
            if not block_ids <= made.get(key, set())
        }

    def _make(self, target_id: int, start_ms: int, block_ids: frozenset[int]) -> None:
        with self._database.reader() as connection:
            headers = [blocks.read_header(connection, block_id) for block_id in sorted(block_ids)]
            former = rollup_rows.day_at(connection, target_id, start_ms)
            day_id = rollup_rows.next_day_id(connection)
        times = np.concatenate([header.times_ms for header in headers])
        times = times[(times > start_ms) & (times <= start_ms + DAY_MS)]
        ids = _in_order(headers)
        day = RolledDay(day_id, target_id, start_ms, int(times.min()), int(times.max()), block_ids, ids)
        if former is not None:
            day = day.with_removed(former)
        waiting: list[Part] = []
        for number, first in enumerate(range(0, len(day.series_ids), PART_SERIES)):
            some = day.series_ids[first : first + PART_SERIES]
            pieces = join(self._pieces(headers, some, start_ms))
            for resolution_ms in RESOLUTIONS_MS:
                rolled = [(roll_up(piece, resolution_ms), piece.series_ids) for piece in pieces]
                if former is not None:
                    rolled += self._taken(former, np.setdiff1d(some, ids), resolution_ms)
                values = _on_grid(rolled, some, day.ends_ms(resolution_ms), resolution_ms)
                waiting.append(rollup_rows.encode(resolution_ms, number, values))
            if sum(len(part.samples) for part in waiting) >= _STAGED_BYTES:
                self._writer.step(functools.partial(rollup_rows.write_ahead, day_id=day_id, parts=waiting))
                waiting = []

        def link(connection: sqlite3.Connection) -> None:
            rollup_rows.write_ahead(connection, day_id, waiting)
            rollup_rows.link(connection, day)

        self._writer.step(link)

    def _pieces(self, headers: list[Header], series_ids: IntArray, start_ms: int) -> list[Piece]:
        """What blocks have of some series in a day."""
        pieces = []
        with self._database.reader() as connection:
            for header in headers:
                columns = np.flatnonzero(np.isin(header.series_ids, series_ids))
                if len(columns):
                    values = blocks.read_values(connection, header, columns)
                    piece = Piece(header.times_ms, header.seqs, header.series_ids[columns], values)
                    pieces.append(piece.within(start_ms + 1, start_ms + DAY_MS))
        return pieces

    def _taken(self, day: RolledDay, series_ids: IntArray, resolution_ms: int) -> list[_Rolled]:
        """What a day has of some series, as `roll_up` gives it."""
        places = np.flatnonzero(np.isin(day.series_ids, series_ids))
        if not len(places):
            return []
        with self._database.reader() as connection:
            values = rollup_rows.read(connection, day, resolution_ms, places, tuple(Column))
        return [((day.ends_ms(resolution_ms), values), day.series_ids[places])]


def erase(database: Database, writer: Writer, series_ids: IntArray, start_ms: int, end_ms: int) -> None:
    """Remove from roll-ups all days of some series that have samples from start to end, both included.

    What blocks still have of those days is rolled up again. To be called while a tombstone keeps readers from them:
    they may have been made of samples that it hides.
    """
    with database.reader() as connection:
        left = list(rollup_rows.without(connection, series_ids, start_ms, end_ms))
    for first in range(0, len(left), _DAYS_AT_ONCE):
        some = left[first : first + _DAYS_AT_ONCE]
        writer.step(functools.partial(rollup_rows.replace_series, left=some))


def _in_order(headers: list[Header]) -> IntArray:
    """The series of some blocks in the order in which they come first: neighbours stay neighbours."""
    found = np.concatenate([header.series_ids for header in headers])
    ids, first = np.unique(found[found != blocks.REMOVED], return_index=True)
    in_order: IntArray = ids[np.argsort(first)]
    return in_order


def _on_grid(rolled: list[_Rolled], series_ids: IntArray, ends_ms: IntArray, resolution_ms: int) -> FloatArray:
    """float64[S, B, 10] of some series at all buckets of a day; each series is rolled up once at most."""
    values = np.full((len(series_ids), len(ends_ms), len(Column)), ABSENT)
    order = np.argsort(series_ids)
    for (ends, buckets), ids in rolled:
        rows = order[np.searchsorted(series_ids, ids, sorter=order)]
        values[rows[:, None], (ends - ends_ms[0]) // resolution_ms] = buckets
    return values
