"""Roll-ups in the database: equal to those computed from samples, made again when samples come or go."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests.tsdb.timescale.scratch import Scratch, scratch
from tsdb.model import ABSENT, STALE_NAN, IntArray
from tsdb.pieces import Piece
from tsdb.rollups import RESOLUTIONS_MS, Column, roll_up
from tsdb.timescale import rollup_rows
from tsdb.timescale.maintenance import DAY_MS, HOUR_MS, Maintenance, Plan
from tsdb.timescale.partitions import Partitions

pytest_plugins = ["tests.databases"]

MINUTE_MS = 60_000
START_MS = 20_000 * DAY_MS
ALL = tuple(Column)


@pytest.fixture(params=["timescale_server", "postgres15_server"])
def database(request: pytest.FixtureRequest) -> Iterator[Scratch]:
    with scratch(request.getfixturevalue(request.param)) as database:
        yield database


def maintain(database: Scratch, day: float, **plan: int) -> None:
    """As it is done at the end of a day."""
    options = {"rollup_after_ms": DAY_MS, "sealing_delay_ms": 0, "settle_s": 0, **plan}
    maintenance = Maintenance(database.connections, Partitions(), Plan(**options))
    maintenance.run(START_MS + int(day * DAY_MS))
    assert maintenance.figures()["maintenance_failures_total"] == 0


def fill(database: Scratch, target_id: int, sids: IntArray, days: range, every_ms: int = 7 * MINUTE_MS) -> None:
    """Counters that are reset, a series that comes and goes, one that is always the same."""
    random = np.random.default_rng(days.start)
    values = np.round(np.cumsum(random.random((len(days) * DAY_MS // every_ms, len(sids))), axis=0) % 40, 2)
    values[random.random(len(values)) < 0.2, 0] = ABSENT
    values[random.random(len(values)) < 0.1, 0] = STALE_NAN
    values[:, -1] = 7
    database.write_rows(
        [
            (target_id, sids, START_MS + days.start * DAY_MS + (row + 1) * every_ms, vector, None)
            for row, vector in enumerate(values)
        ]
    )


def kept(database: Scratch, sids: IntArray) -> "dict[tuple[int, int, int], bytes]":
    """By series, resolution and end of bucket: the bits of all columns, of buckets with something."""
    found = {}
    with database.connections.transaction(snapshot=True) as connection:
        for resolution_ms in RESOLUTIONS_MS:
            days = rollup_rows.read(connection, sids, resolution_ms, START_MS - 9 * DAY_MS, START_MS + 99 * DAY_MS, ALL)
            for sid, day_ms, buckets in zip(days.sids.tolist(), days.days_ms.tolist(), days.values, strict=True):
                assert (sid, resolution_ms, day_ms + resolution_ms) not in found
                for number, bucket in enumerate(buckets):
                    if not (bucket.view(np.int64) == np.array(ABSENT).view(np.int64)).all():
                        found[sid, resolution_ms, day_ms + (number + 1) * resolution_ms] = bucket.tobytes()
    return found


def computed(database: Scratch, sids: IntArray, until_day: int) -> "dict[tuple[int, int, int], bytes]":
    """The same from all samples up to the end of a day."""
    found = {}
    for sid in sids.tolist():
        samples = sorted((time_ms, bits) for (one, time_ms), bits in database.samples().items() if one == sid)
        samples = [sample for sample in samples if sample[0] <= START_MS + until_day * DAY_MS]
        if samples:
            times_ms, bits = np.array(samples, dtype=np.int64).T.copy()
            piece = Piece(times_ms, np.zeros_like(times_ms), np.array([sid]), bits.view(np.float64)[np.newaxis])
            for resolution_ms in RESOLUTIONS_MS:
                ends_ms, rolled = roll_up(piece, resolution_ms)
                for end_ms, bucket in zip(ends_ms.tolist(), rolled[0], strict=True):
                    found[sid, resolution_ms, end_ms] = bucket.tobytes()
    return found


def test_days_are_rolled_up_once_they_are_old(database: Scratch) -> None:
    target = database.target("a")
    sids = database.series(target, 3)
    fill(database, target, sids, range(3))
    maintain(database, 3)
    assert kept(database, sids) == computed(database, sids, 2)
    maintain(database, 4.5)
    assert kept(database, sids) == computed(database, sids, 3)
    assert len(kept(database, sids)) > 3 * 3 * (24 + 180)


def test_some_columns_are_read(database: Scratch) -> None:
    target = database.target("a")
    sids = database.series(target, 2)
    fill(database, target, sids, range(1))
    maintain(database, 2.5)
    columns = Column.LAST, Column.MIN, Column.COUNT
    with database.connections.transaction(snapshot=True) as connection:
        some = rollup_rows.read(connection, sids, HOUR_MS, START_MS, START_MS, columns)
        every = rollup_rows.read(connection, sids, HOUR_MS, START_MS, START_MS, ALL)
        none = rollup_rows.read(connection, sids, HOUR_MS, START_MS + DAY_MS, START_MS + DAY_MS, columns)
    assert some.values.shape == (2, 24, 3)
    assert some.values.tobytes() == every.values[:, :, list(columns)].tobytes()
    assert none.values.shape == (0, 24, 3)


def test_late_samples_have_their_days_made_again(database: Scratch) -> None:
    target = database.target("a")
    sids = database.series(target, 3)
    fill(database, target, sids, range(2))
    maintain(database, 4)
    before = kept(database, sids)
    later = database.target("late")
    # One of another target's series, and one that had no sample that day.
    new = np.array([sids[1], *database.series(later, 1, "new")])
    database.write(later, new, START_MS + DAY_MS + MINUTE_MS, [0.5, 1.0])
    maintain(database, 5)
    after = kept(database, np.append(sids, new[1]))
    assert after != before
    assert after == computed(database, np.append(sids, new[1]), 4)
    assert database.sql("SELECT * FROM fleetwatch_data.rollup_due") == []


def test_rows_are_gone_from_the_moment_they_are_untrue(database: Scratch) -> None:
    target = database.target("a")
    sids = database.series(target, 3)
    fill(database, target, sids, range(1))
    maintain(database, 3)
    database.write(target, sids[:1], START_MS + MINUTE_MS, [0.5])
    plan = Plan(sealing_delay_ms=0, settle_s=0)
    Maintenance(database.connections, Partitions(), plan).run(START_MS + 4 * DAY_MS)
    assert {sid for sid, _, _ in kept(database, sids)} == set(sids[1:].tolist())
    assert database.number("SELECT count(*) FROM fleetwatch_data.rollup_due") == 1


def test_rollups_outlive_their_samples(database: Scratch) -> None:
    target = database.target("a")
    sids = database.series(target, 2)
    fill(database, target, sids, range(4))
    maintain(database, 5)
    before = kept(database, sids)
    maintain(database, 40, retention_ms=30 * DAY_MS)
    assert database.counts() == (0, 0)
    # What is too late is not taken in, and makes nothing anew.
    database.write(target, sids, START_MS + 2 * DAY_MS + MINUTE_MS, [1.0, 2.0])
    maintain(database, 41, retention_ms=30 * DAY_MS)
    assert database.counts() == (0, 0)
    assert kept(database, sids) == before
    maintain(database, 200, retention_ms=30 * DAY_MS, rollup_keep_ms=90 * DAY_MS)
    assert kept(database, sids) == {}


def test_deletes_are_taken_out_of_rollups(database: Scratch) -> None:
    target = database.target("a")
    sids = database.series(target, 3)
    fill(database, target, sids, range(3))
    maintain(database, 5)
    database.sql(
        "INSERT INTO fleetwatch_data.tombstones "
        "(matchers, sids, start_ms, end_ms, upto_seq, created_ms, expires_ms, series, samples) "
        "SELECT '[]', %s, %s, %s, last_value, 0, 1, 1, 1 FROM fleetwatch_data.journal_seq",
        sids[:2].tolist(),
        START_MS + DAY_MS // 2,
        START_MS + DAY_MS + HOUR_MS,
    )
    maintain(database, 6)
    assert kept(database, sids) == computed(database, sids, 5)
    assert database.sql("SELECT * FROM fleetwatch_data.tombstones") == []
    times = {time_ms for sid, time_ms in database.samples() if sid == sids[0]}
    assert not [at for at in times if START_MS + DAY_MS // 2 <= at <= START_MS + DAY_MS + HOUR_MS]
    assert min(times) < START_MS + DAY_MS // 2 < START_MS + DAY_MS + HOUR_MS < max(times)
