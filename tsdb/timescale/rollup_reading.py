"""Reading roll-ups: rows of days that are rolled up, all others computed from samples, in one snapshot.

A day before `rolled_until` is on the list of those to be rolled up or it is rolled up: then a series without a row has
no block of it. What a day's row does not know are samples that came late and are in the journal yet, and deletes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from tsdb.model import ABSENT, BoolArray, FloatArray, IntArray
from tsdb.pieces import join
from tsdb.rollups import RESOLUTIONS_MS, Column, roll_up
from tsdb.timescale import binary, meta, rollup_rows
from tsdb.timescale.binary import Int8s, at_least, at_most
from tsdb.timescale.connections import Connection
from tsdb.timescale.ids import UNKNOWN
from tsdb.timescale.reading import Groups, Reading
from tsdb.timescale.rollup_rows import DAY_MS, day_of
from tsdb.tombstones import Tombstone, hide

# What must be rolled up of the days asked for, so that it pays.
_LEAST_SHARE = 0.5

# Which of some series' targets have samples in the journal, or are to be rolled up (again), by day.
_CHANGED = """
WITH held AS MATERIALIZED (
    SELECT sid, target_id FROM fleetwatch_data.series WHERE sid = ANY(%(sids)s) AND target_id IS NOT NULL
    UNION SELECT sid, target_id FROM fleetwatch_data.series_sharing WHERE sid = ANY(%(sids)s)
), late AS (
    SELECT target_id, time FROM fleetwatch_data.journal
    WHERE target_id = ANY(ARRAY(SELECT target_id FROM held)) AND times IS NULL
        AND time > %(start)s::timestamptz AND time <= %(end)s::timestamptz
    UNION ALL
    SELECT target_id, unnest(times) FROM fleetwatch_data.journal
    WHERE target_id = ANY(ARRAY(SELECT target_id FROM held)) AND times IS NOT NULL
), changed AS (
    SELECT DISTINCT target_id, date_bin('1 day', time - interval '1 ms', timestamptz 'epoch') AS day FROM late
    UNION SELECT target_id, ts FROM fleetwatch_data.rollup_due
    WHERE ts >= %(start)s::timestamptz AND ts <= %(end)s::timestamptz
)
SELECT DISTINCT sid, day FROM changed JOIN held USING (target_id)
WHERE day >= %(start)s::timestamptz AND day <= %(end)s::timestamptz
"""


_ANY = """
SELECT EXISTS (
    SELECT FROM fleetwatch_data.rollup WHERE sid = ANY(%s) AND resolution = ANY(%s)
    AND ts >= %s::timestamptz AND ts <= %s::timestamptz
)
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """The buckets with these ends, both included, of some columns."""

    start_ms: int
    end_ms: int
    resolution_ms: int
    columns: Sequence[Column]

    @property
    def ends_ms(self) -> IntArray:
        """int64[B]."""
        return np.arange(self.start_ms, self.end_ms + 1, self.resolution_ms)

    @property
    def days_ms(self) -> IntArray:
        """int64[D]: the starts of the days that have any of them."""
        return np.arange(day_of(self.start_ms), day_of(self.end_ms) + 1, DAY_MS)


def read(
    connection: Connection, reading: Reading, asked: Asked, groups: Groups, tombstones: Collection[Tombstone]
) -> FloatArray | None:
    """float64[S, B, C] for the series of the groups in their order; ABSENT where a bucket has no sample.

    None where too little is rolled up.
    """
    order = np.argsort(groups.sids, kind="stable")
    days_ms = asked.days_ms
    rolled = rollup_rows.read(
        connection, groups.sids[order], asked.resolution_ms, int(days_ms[0]), int(days_ms[-1]), asked.columns
    )
    row_series = order[np.searchsorted(groups.sids[order], rolled.sids)]
    row_days = (rolled.days_ms - days_ms[0]) // DAY_MS
    stored = np.zeros((len(groups.sids), len(days_ms)), dtype=np.bool_)
    stored[row_series, row_days] = True
    changed = _changed(connection, groups, order, days_ms) | _touched(groups, days_ms, tombstones)
    rolled_until_ms = meta.read_ms(connection, meta.ROLLED_UNTIL)
    raw = changed | (~stored & (days_ms >= rolled_until_ms))
    raw[groups.sids == UNKNOWN] = False
    stored &= ~raw
    if stored.sum() < max(1, _LEAST_SHARE * (stored.sum() + raw.sum())):
        return None
    values = np.full((len(groups.sids), len(asked.ends_ms), len(asked.columns)), ABSENT)
    _put_rolled(values, asked, rolled, row_series, stored[row_series, row_days])
    for day, day_ms in enumerate(days_ms.tolist()):
        if raw[:, day].any():
            _put_raw(values, asked, reading, day_ms, _only(groups, raw[:, day]), tombstones)
    return values


def has_any(connection: Connection, sids: IntArray, start_ms: int, end_ms: int) -> bool:
    """Whether there are roll-ups of a day that has some of a time."""
    parameters = Int8s(sids), list(RESOLUTIONS_MS), at_least(day_of(start_ms)), at_most(day_of(end_ms))
    return binary.fetch(connection, _ANY, parameters).whole(0) == [b"\x01"]


def _put_rolled(
    values: FloatArray, asked: Asked, rolled: rollup_rows.RolledDays, series: IntArray, used: BoolArray
) -> None:
    for day_ms in np.unique(rolled.days_ms[used]).tolist():
        rows = np.flatnonzero(used & (rolled.days_ms == day_ms))
        ends = np.arange(day_ms, day_ms + DAY_MS, asked.resolution_ms) + asked.resolution_ms
        low, high = np.searchsorted(ends, [asked.start_ms, asked.end_ms + 1]).tolist()
        first = (int(ends[low]) - asked.start_ms) // asked.resolution_ms
        values[series[rows], first : first + high - low] = rolled.values[rows, low:high]


def _put_raw(
    values: FloatArray,
    asked: Asked,
    reading: Reading,
    day_ms: int,
    chosen: tuple[Groups, IntArray],
    tombstones: Collection[Tombstone],
) -> None:
    """Compute a day of some series, of which the places are given."""
    groups, places = chosen
    low = max(day_ms + 1, asked.start_ms - asked.resolution_ms + 1)
    high = min(day_ms + DAY_MS, asked.end_ms)
    order = np.argsort(groups.local)
    for pieces in reading.pieces(groups, low, high):
        for piece in join(hide(pieces, tombstones)):
            ends, computed = roll_up(piece, asked.resolution_ms, asked.columns)
            rows = places[order[np.searchsorted(groups.local[order], piece.series_ids)]]
            values[rows[:, None], (ends - asked.start_ms) // asked.resolution_ms] = computed


def _only(groups: Groups, kept: BoolArray) -> tuple[Groups, IntArray]:
    """Some of the series, with their places among all."""
    ends = np.cumsum(kept)[groups.ends - 1]
    return Groups(groups.local[kept], groups.sids[kept], np.unique(ends[ends > 0])), np.flatnonzero(kept)


def _changed(connection: Connection, groups: Groups, order: IntArray, days_ms: IntArray) -> BoolArray:
    """bool[S, D]: which days have samples that their roll-ups do not know."""
    bounds = at_least(int(days_ms[0])), at_most(int(days_ms[-1]) + DAY_MS)
    rows = binary.fetch(connection, _CHANGED, {"sids": Int8s(groups.sids), "start": bounds[0], "end": bounds[1]})
    changed = np.zeros((len(groups.sids), len(days_ms)), dtype=np.bool_)
    days = (rows.times_ms(1) - days_ms[0]) // DAY_MS
    inside = (days >= 0) & (days < len(days_ms))
    changed[order[np.searchsorted(groups.sids[order], rows.int8(0)[inside])], days[inside]] = True
    return changed


def _touched(groups: Groups, days_ms: IntArray, tombstones: Collection[Tombstone]) -> BoolArray:
    """bool[S, D]: which days have samples that may be hidden."""
    touched = np.zeros((len(groups.sids), len(days_ms)), dtype=np.bool_)
    for tombstone in tombstones:
        deletion = tombstone.deletion
        days = (days_ms < deletion.end_ms + 1) & (days_ms + DAY_MS >= deletion.start_ms)
        touched |= np.isin(groups.local, tombstone.series_ids)[:, None] & days
    return touched
