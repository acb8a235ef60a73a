"""Roll-ups in the file: for a target and day, the samples in (start, start + a day], one row that says so and where
they come from, and packed matrices, one for each resolution and 96 series.

A matrix has all columns of one series after the other column's: codec.matrix finds that they resemble each other.
Its buckets are those from the first to the last sample of the target's day.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tsdb.embedded import blocks
from tsdb.embedded.codec.directory import Directory
from tsdb.embedded.codec.matrix import pack_matrix
from tsdb.embedded.codec.vectors import pack_ints, unpack_ints
from tsdb.errors import StoreError
from tsdb.model import FloatArray, IntArray
from tsdb.rollups import RESOLUTIONS_MS, Column, bucket_end

DAY_MS = 24 * 3600 * 1000

PART_SERIES = 96
"""Of a matrix, whose rows are read together."""

_SWEPT_AT_ONCE = 4
# A row's number: the day's, the resolution's, the part's.
_PART_BITS = 12
_RESOLUTION_BITS = 1
_DAY_SHIFT = _PART_BITS + _RESOLUTION_BITS


@dataclass(frozen=True, slots=True, eq=False)
class RolledDay:
    """A day of a target that is rolled up. `series_ids` is int64[N], REMOVED for those that were erased."""

    day_id: int
    target_id: int
    start_ms: int
    first_ms: int
    last_ms: int
    block_ids: frozenset[int]
    series_ids: IntArray

    def ends_ms(self, resolution_ms: int) -> IntArray:
        """The ends of its buckets."""
        first, last = (bucket_end(time_ms, resolution_ms) for time_ms in (self.first_ms, self.last_ms))
        return np.arange(first, last + 1, resolution_ms)

    def with_removed(self, former: "RolledDay") -> "RolledDay":
        """The same day with the series, and the times, that only an earlier version of it has."""
        removed = np.setdiff1d(former.series_ids, [*self.series_ids, blocks.REMOVED])
        return replace(
            self,
            first_ms=min(self.first_ms, former.first_ms),
            last_ms=max(self.last_ms, former.last_ms),
            series_ids=np.concatenate([self.series_ids, removed]),
        )


def day_of(time_ms: int) -> int:
    """The start of the day (start, start + a day] that has a time, or the end of a bucket."""
    return (time_ms - 1) // DAY_MS * DAY_MS


def days_between(start_ms: int, end_ms: int) -> range:
    """The starts of the days that have any of the times from start to end, both included."""
    return range(day_of(start_ms), day_of(end_ms) + 1, DAY_MS)


@dataclass(frozen=True, slots=True)
class Part:
    """A packed matrix."""

    resolution_ms: int
    number: int
    directory: bytes
    samples: bytes


def encode(resolution_ms: int, number: int, values: FloatArray) -> Part:
    """float64[S, B, 10] of a part's series, packed."""
    matrix = np.ascontiguousarray(values.transpose(2, 0, 1)).reshape(-1, values.shape[1])
    packed = pack_matrix(matrix)
    return Part(resolution_ms, number, packed.directory, b"".join(packed.chunks))


def next_day_id(connection: sqlite3.Connection) -> int:
    """A number that no row has."""
    (last,) = connection.execute(
        "SELECT max(coalesce((SELECT max(day_id) FROM rollup_days), 0),"
        " coalesce((SELECT max(day_id) FROM rollups_unlinked), 0))"
    ).fetchone()
    return int(last) + 1


def write_ahead(connection: sqlite3.Connection, day_id: int, parts: Sequence[Part]) -> None:
    """Add matrices of a day that nobody sees yet."""
    connection.execute("INSERT OR IGNORE INTO rollups_unlinked VALUES (?)", (day_id,))
    connection.executemany(
        "INSERT INTO rollups VALUES (?, ?, ?)",
        ((_row_id(day_id, part.resolution_ms, part.number), part.directory, part.samples) for part in parts),
    )


def link(connection: sqlite3.Connection, day: RolledDay) -> None:
    """Make a day visible, in the place of what there was of it."""
    former = day_at(connection, day.target_id, day.start_ms)
    unlink(connection, [] if former is None else [former.day_id])
    connection.execute("DELETE FROM rollups_unlinked WHERE day_id = ?", (day.day_id,))
    connection.execute(
        "INSERT INTO rollup_days VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            day.day_id,
            day.target_id,
            day.start_ms,
            day.first_ms,
            day.last_ms,
            json.dumps(sorted(day.block_ids)),
            pack_ints(day.series_ids),
        ),
    )


def unlink(connection: sqlite3.Connection, day_ids: Collection[int]) -> None:
    """Remove days from sight; their matrices are removed later, see `sweep`."""
    numbers = [(day_id,) for day_id in day_ids]
    connection.executemany("DELETE FROM rollup_days WHERE day_id = ?", numbers)
    connection.executemany("INSERT OR IGNORE INTO rollups_unlinked VALUES (?)", numbers)


def sweep(connection: sqlite3.Connection) -> bool:
    """Remove some of the matrices that nobody sees; whether there may be more."""
    row = connection.execute("SELECT day_id FROM rollups_unlinked LIMIT 1").fetchone()
    if row is None:
        return False
    (day_id,) = row
    gone = connection.execute(
        "DELETE FROM rollups WHERE rollup_id IN"
        " (SELECT rollup_id FROM rollups WHERE rollup_id BETWEEN ? AND ? LIMIT ?)",
        (day_id << _DAY_SHIFT, ((day_id + 1) << _DAY_SHIFT) - 1, _SWEPT_AT_ONCE),
    )
    if not gone.rowcount:
        connection.execute("DELETE FROM rollups_unlinked WHERE day_id = ?", (day_id,))
    return True


def without(
    connection: sqlite3.Connection, series_ids: IntArray, start_ms: int, end_ms: int
) -> Iterator[tuple[int, bytes]]:
    """The days that have some of the series and samples from start to end: number, and what is left of `series_ids`."""
    days = connection.execute(
        "SELECT day_id, series_ids FROM rollup_days WHERE last_ms >= ? AND first_ms <= ?", (start_ms, end_ms)
    )
    for day_id, packed in days:
        ids = unpack_ints(packed)
        gone = np.isin(ids, series_ids)
        if gone.any():
            yield day_id, pack_ints(np.where(gone, blocks.REMOVED, ids))


def replace_series(connection: sqlite3.Connection, left: Sequence[tuple[int, bytes]]) -> None:
    """Leave to days what `without` says is left; they are made again from the blocks that they have."""
    connection.executemany(
        "UPDATE rollup_days SET block_ids = '[]', series_ids = ? WHERE day_id = ?",
        ((series_ids, day_id) for day_id, series_ids in left),
    )


def days_of(connection: sqlite3.Connection, target_id: int, first_start_ms: int, last_start_ms: int) -> list[RolledDay]:
    """The days of a target that are rolled up and begin from the one time to the other, in order."""
    rows = connection.execute(
        "SELECT day_id, start_ms, first_ms, last_ms, block_ids, series_ids FROM rollup_days"
        " WHERE target_id = ? AND start_ms BETWEEN ? AND ? ORDER BY start_ms",
        (target_id, first_start_ms, last_start_ms),
    )
    return [
        RolledDay(day_id, target_id, start, first, last, frozenset(json.loads(block_ids)), unpack_ints(series_ids))
        for day_id, start, first, last, block_ids, series_ids in rows
    ]


def day_at(connection: sqlite3.Connection, target_id: int, start_ms: int) -> RolledDay | None:
    """The day of a target with this start, if it is rolled up."""
    found = days_of(connection, target_id, start_ms, start_ms)
    return found[0] if found else None


def block_ids(connection: sqlite3.Connection, first_ms: int) -> dict[tuple[int, int], set[int]]:
    """By target and start, the blocks that the days were made of all whose samples are from a time on."""
    rows = connection.execute(
        "SELECT target_id, start_ms, block_ids FROM rollup_days WHERE start_ms >= ? - 1", (first_ms,)
    )
    return {(target_id, start_ms): set(json.loads(block_ids)) for target_id, start_ms, block_ids in rows}


def read(
    connection: sqlite3.Connection, day: RolledDay, resolution_ms: int, places: IntArray, columns: Sequence[Column]
) -> FloatArray:
    """float64[S, B, C] of the series at some places, which rise, at all buckets of a day. Raises StoreError."""
    return np.concatenate(list(_parts(connection, day, resolution_ms, places, columns)))


def read_whole(connection: sqlite3.Connection, target_id: int, start_ms: int) -> IntArray:
    """The series of a day that is there, after all of it was read. Raises StoreError where that is not possible."""
    (day,) = days_of(connection, target_id, start_ms, start_ms)
    for resolution_ms in RESOLUTIONS_MS:
        for first in range(0, len(day.series_ids), PART_SERIES):
            places = np.arange(first, min(first + PART_SERIES, len(day.series_ids)))
            values = read(connection, day, resolution_ms, places, tuple(Column))
            if values.shape[:2] != (len(places), len(day.ends_ms(resolution_ms))):
                raise StoreError(f"its matrix of {values.shape[:2]} does not fit its {len(places)} series and times")
    return day.series_ids


def _parts(
    connection: sqlite3.Connection, day: RolledDay, resolution_ms: int, places: IntArray, columns: Sequence[Column]
) -> Iterator[FloatArray]:
    numbers = places // PART_SERIES
    for number in np.unique(numbers).tolist():
        row_id = _row_id(day.day_id, resolution_ms, number)
        row = connection.execute("SELECT directory, samples FROM rollups WHERE rollup_id = ?", (row_id,)).fetchone()
        if row is None:
            raise StoreError(f"roll-up {row_id} of day {day.day_id} is missing")
        packed, samples = row
        directory = Directory.from_bytes(packed)
        within = places[numbers == number] - number * PART_SERIES
        series = len(directory.groups) // len(Column)
        rows = np.concatenate([column * series + within for column in columns])
        size = directory.chunk_bytes
        chunks = {int(n): samples[n * size : (n + 1) * size] for n in directory.chunks_of(rows)}
        values = directory.unpack(rows, chunks)
        yield values.reshape(len(columns), len(within), -1).transpose(1, 2, 0)


def _row_id(day_id: int, resolution_ms: int, part: int) -> int:
    return (day_id << _RESOLUTION_BITS | RESOLUTIONS_MS.index(resolution_ms)) << _PART_BITS | part
