"""Rows of `rollup`: what is kept of a day of one series, by resolution, as tsdb.rollups computes it.

A row has all columns, in the order of their numbers, for all buckets of the day: `v[column + 1][bucket + 1]` in SQL.
Bucket i of a day that starts at `ts` ends at `ts + (i + 1) * resolution`; the day is what lies in (ts, ts + a day].

A row is there only while it says what the blocks of its day say: whoever changes these removes it in the same
transaction, and has the day rolled up again. Late samples in the journal count once they are sealed.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tsdb.model import FloatArray, IntArray
from tsdb.pieces import Piece
from tsdb.rollups import RESOLUTIONS_MS, Column
from tsdb.timescale import binary, copy_rows, meta
from tsdb.timescale.binary import at_least, at_most
from tsdb.timescale.connections import Connection
from tsdb.timescale.copy_rows import Arrays, Numbers

DAY_MS = 24 * 3600 * 1000

_READ = """
SELECT sid, ts, v[%s:%s] FROM fleetwatch_data.rollup
WHERE sid = ANY(%s) AND resolution = %s AND ts >= %s::timestamptz AND ts <= %s::timestamptz
"""

_OUTDATE = """
DELETE FROM fleetwatch_data.rollup
WHERE sid = ANY(%s) AND resolution = ANY(%s) AND ts = timestamptz 'epoch' + %s * interval '1 millisecond'
"""

# In order, so that two who add the same rows do not wait for each other.
_AGAIN = """
INSERT INTO fleetwatch_data.rollup_due
SELECT DISTINCT timestamptz 'epoch' + %s * interval '1 millisecond', target_id FROM fleetwatch_data.series
WHERE sid = ANY(%s) AND target_id IS NOT NULL ORDER BY target_id ON CONFLICT DO NOTHING
"""

_COPY = "COPY fleetwatch_data.rollup (ts, sid, resolution, v) FROM STDIN (FORMAT binary)"


# Of an array of two dimensions, as it is sent.
_HEAD_BYTES = 28
_ELEMENT = np.dtype([("size", ">i4"), ("bits", ">u8")])


@dataclass(frozen=True, slots=True, eq=False)
class RolledDays:
    """Rows: `sids` int64[R], `days_ms` int64[R], and `values` float64[R, B, C] of all buckets of a day."""

    sids: IntArray
    days_ms: IntArray
    values: FloatArray


def day_of(time_ms: int) -> int:
    """The start of the day (start, start + a day] that has a time, or the end of a bucket."""
    return (time_ms - 1) // DAY_MS * DAY_MS


def read(
    connection: Connection,
    sids: IntArray,
    resolution_ms: int,
    first_day_ms: int,
    last_day_ms: int,
    columns: Sequence[Column],
) -> RolledDays:
    """Rows of series for the days that start from the one time to the other, both included; some of their columns."""
    low, high = min(columns), max(columns)
    bounds = at_least(first_day_ms), at_most(last_day_ms)
    rows = binary.fetch(connection, _READ, (low + 1, high + 1, sids.tolist(), resolution_ms, *bounds))
    elements = b"".join([matrix[_HEAD_BYTES:] for matrix in rows.whole(2)])
    bits = np.frombuffer(elements, dtype=_ELEMENT)["bits"].astype(np.uint64)
    values = bits.view(np.float64).reshape(len(rows), high - low + 1, DAY_MS // resolution_ms)
    wanted = [column - low for column in columns]
    return RolledDays(rows.int8(0), rows.times_ms(1), values[:, wanted].transpose(0, 2, 1))


def copy(connection: Connection, day_ms: int, resolution_ms: int, sids: IntArray, values: FloatArray) -> None:
    """Write a day of series, float64[S, B, C] of all buckets and columns. Raises psycopg.Error."""
    row: list[copy_rows.Column] = [
        Numbers.times(day_ms),
        Numbers.int8(sids),
        Numbers.int4(resolution_ms),
        Arrays.float8(np.ascontiguousarray(values.transpose(0, 2, 1))),
    ]
    copy_rows.copy(connection, _COPY, [copy_rows.encode(len(sids), row)])


def outdate(connection: Connection, pieces: Iterable[Piece]) -> None:
    """Remove what samples of pieces, series by sids, are about to make untrue, and have it made again.

    Days that were not rolled up yet are left alone, and those that the retention has begun to remove.
    """
    rolled_until_ms = meta.read_ms(connection, meta.ROLLED_UNTIL)
    touched: defaultdict[int, list[IntArray]] = defaultdict(list)
    for piece in pieces:
        if piece.times_ms[0] <= rolled_until_ms:
            days = np.unique((piece.times_ms[piece.times_ms <= rolled_until_ms] - 1) // DAY_MS * DAY_MS)
            for day_ms in days.tolist():
                touched[day_ms].append(piece.series_ids)
    if not touched:
        return
    kept_from_ms = meta.read_ms(connection, meta.EXPIRED_UNTIL)
    for day_ms, some in sorted(touched.items()):
        if day_ms >= kept_from_ms:
            sids = np.unique(np.concatenate(some)).tolist()
            connection.execute(_OUTDATE, (sids, list(RESOLUTIONS_MS), day_ms))
            connection.execute(_AGAIN, (day_ms, sids))
