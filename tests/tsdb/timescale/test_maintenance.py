"""Maintenance: what leaves the database and what must stay; a step that fails keeps nobody else from his."""

import logging
import threading
from collections.abc import Iterator
from typing import LiteralString

import numpy as np
import psycopg
import pytest

from common.matchers import Matcher
from tests.tsdb.timescale.scratch import Scratch, scratch
from tsdb.model import IntArray
from tsdb.timescale import connections, following, locks, writing
from tsdb.timescale.block_rows import WINDOW_MS
from tsdb.timescale.class_retention import Classes
from tsdb.timescale.locks import Lock
from tsdb.timescale.maintenance import DAY_MS, HOUR_MS, Maintenance, Plan
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.retention import Retention

pytest_plugins = ["tests.databases"]

START_MS = 20_000 * DAY_MS


@pytest.fixture(params=["timescale_server", "postgres15_server"])
def database(request: pytest.FixtureRequest) -> Iterator[Scratch]:
    with scratch(request.getfixturevalue(request.param)) as database:
        yield database


def maintenance(
    database: Scratch,
    *,
    retention_ms: int | None = None,
    retention_bytes: int | None = None,
    classes: Classes = (),
    settle_s: float = 0,
) -> Maintenance:
    plan = Plan(retention_ms=retention_ms, retention_bytes=retention_bytes, sealing_delay_ms=0, settle_s=settle_s)
    return Maintenance(database.connections, Partitions(), plan, classes=classes)


def write_days(database: Scratch, target_id: int, sids: IntArray, days: int) -> None:
    """A sample each hour."""
    values = np.ones(len(sids))
    hours = range(24 * days)
    database.write_rows([(target_id, sids, START_MS + (hour + 1) * HOUR_MS, values, None) for hour in hours])


def hours(database: Scratch, sid: int) -> list[int]:
    return sorted((time_ms - START_MS) // HOUR_MS for one, time_ms in database.samples() if one == sid)


def test_rows_stay_in_the_journal_until_every_follower_has_read_them() -> None:
    """A row is as old as its transaction; a follower that slept for longer than it may looks at blocks."""
    longest_write_s = writing._MOST_TIMEOUT_S + connections._GRACE_S
    assert Plan().settle_s > longest_write_s + following._SETTLED_S


def test_samples_go_by_time_and_none_too_early(database: Scratch) -> None:
    target = database.target("a")
    (sid,) = sids = database.series(target, 1)
    write_days(database, target, sids, 10)
    maintenance(database, retention_ms=30 * DAY_MS).run(START_MS + 10 * DAY_MS)
    assert len(hours(database, sid)) == 240
    maintenance(database, retention_ms=5 * DAY_MS).run(START_MS + 10 * DAY_MS + 1)
    left = hours(database, sid)
    assert 3 * 24 < left[0] <= 5 * 24
    assert left == list(range(left[0], 241))
    # What is too late is not taken in, what is not is.
    times_ms = START_MS + HOUR_MS // 2, START_MS + 8 * DAY_MS + HOUR_MS // 2
    for time_ms in times_ms:
        database.write(target, sids, time_ms, [1.0])
    maintenance(database, retention_ms=5 * DAY_MS).run(START_MS + 10 * DAY_MS + 2 * WINDOW_MS)
    assert database.counts()[0] == 0
    assert [(sid, time_ms) in database.samples() for time_ms in times_ms] == [False, True]


def test_logs_and_exemplars_go_by_time(database: Scratch) -> None:
    for day in range(10):
        with database.connections.transaction() as connection:
            for relation in ("logs", "exemplars"):
                Partitions().ensure(connection, relation, START_MS + day * DAY_MS, START_MS + day * DAY_MS)
        database.sql(
            "INSERT INTO fleetwatch_data.logs "
            "SELECT time, 0, gen_random_uuid(), gen_random_uuid(), '', '', '', '{}', '{}' "
            "FROM (SELECT timestamptz 'epoch' + %s * interval '1 ms') AS new(time)",
            START_MS + day * DAY_MS,
        )
        database.sql(
            "INSERT INTO fleetwatch_data.exemplars SELECT timestamptz 'epoch' + %s * interval '1 ms', 1, 1, '{}', true",
            START_MS + day * DAY_MS,
        )
    maintenance(database, retention_ms=5 * DAY_MS).run(START_MS + 10 * DAY_MS)
    for relation in ("logs", "exemplars"):
        assert database.number(f"SELECT count(*) FROM fleetwatch_data.{relation}") == 5


def test_the_oldest_go_where_there_are_too_many_bytes(database: Scratch) -> None:
    target = database.target("a")
    (sid, *_) = sids = database.series(target, 60)
    write_days(database, target, sids, 6)
    now_ms = START_MS + 6 * DAY_MS + WINDOW_MS
    maintenance(database).run(now_ms)
    size = "SELECT sum(pg_total_relation_size(part)) FROM fleetwatch_data.parts"
    most = database.number(size) - database.number(f"{size} WHERE relation = 'block'") * 2 // 5
    retention = Retention(database.connections, Partitions())
    while retention.shrink(most, now_ms):
        pass
    assert database.number(size) <= most
    left = hours(database, sid)
    assert left == list(range(left[0], 6 * 24 + 1))
    assert 24 <= left[0] < 4 * 24
    # The newest stays, however few bytes are allowed.
    maintenance(database, retention_bytes=1).run(now_ms)
    assert hours(database, sid)[-1] == 6 * 24


def test_classes_are_kept_for_their_own_time(database: Scratch) -> None:
    target = database.target("a")
    names = {"short": 1, "default": 200, "long": 1}
    sids = np.concatenate([database.series(target, count, name) for name, count in names.items()])
    write_days(database, target, sids, 10)
    classes = [
        ([Matcher.equal("__name__", "short"), Matcher.equal("n", "0")], 2 * DAY_MS),
        ([Matcher.equal("__name__", "long")], 60 * DAY_MS),
    ]
    kept = maintenance(database, retention_ms=5 * DAY_MS, classes=classes)
    # What is sealed early is deleted later, what is sealed late is not taken in.
    kept.seal(START_MS + 6 * DAY_MS)
    oldest = (
        "SELECT pg_relation_size(part) FROM fleetwatch_data.parts WHERE relation = 'block' ORDER BY from_time LIMIT 1"
    )
    bytes_before = database.number(oldest)
    kept.run(START_MS + 10 * DAY_MS)
    samples = database.samples()
    short, default, long = (
        sorted((time_ms - START_MS) // HOUR_MS for one, time_ms in samples if one == sid) for sid in sids[[0, 1, -1]]
    )
    assert len(long) == 240
    assert len(default) == pytest.approx(5 * 24, abs=6)
    assert len(short) == pytest.approx(2 * 24, abs=6)
    assert min(default) <= 5 * 24
    assert min(short) <= 8 * 24
    # The space of what was deleted is free.
    assert database.number(oldest) < bytes_before / 5
    # Another config of a process that is started later.
    maintenance(database, retention_ms=3 * DAY_MS).run(START_MS + 10 * DAY_MS)
    assert max(len(hours(database, int(sid))) for sid in sids[[0, 1, -1]]) < 5 * 24 + 6


def test_empty_parts_of_the_journal_go(database: Scratch) -> None:
    target = database.target("a")
    sids = database.series(target, 1)
    database.write(target, sids, START_MS, [1.0])
    times = "(extract(epoch FROM now() - interval '1 day') * 1000)::bigint"
    day_ago_ms = database.number(f"SELECT {times}")
    with database.connections.transaction() as connection:
        Partitions().ensure(connection, "journal", day_ago_ms, day_ago_ms)
    database.sql(
        "INSERT INTO fleetwatch_data.journal (written_at, writer_id, write_no, target_id, time, layout_id, v) "
        "SELECT now() - interval '1 day', writer_id, write_no, target_id, time, layout_id, v "
        "FROM fleetwatch_data.journal"
    )
    parts = "SELECT count(*) FROM fleetwatch_data.parts WHERE relation = 'journal' AND to_time < now() - interval '1 h'"
    maintenance(database).run(START_MS)
    assert database.number(parts) == 1
    maintenance(database).run(START_MS + 2 * WINDOW_MS)
    assert database.number(parts) == 0
    assert database.counts() == (0, 1)


def test_series_without_samples_and_layouts_without_rows_are_dropped(database: Scratch) -> None:
    target = database.target("a")
    old, sealed, unsealed, named, fresh = database.series(target, 5)
    database.sql("UPDATE fleetwatch_data.series SET created_at = now() WHERE sid = %s", fresh)
    database.sql("INSERT INTO fleetwatch_data.series_sharing VALUES (%s, %s), (%s, %s)", old, target, sealed, target)
    database.write(target, np.array([old]), START_MS, [1.0])
    database.write(target, np.array([sealed]), START_MS + 10 * DAY_MS, [1.0])
    with_retention = maintenance(database, retention_ms=5 * DAY_MS)
    with_retention.seal(START_MS + 10 * DAY_MS + 2 * WINDOW_MS)
    database.write(target, np.array([unsealed]), START_MS + 11 * DAY_MS, [1.0])
    database.layout(np.array([named]))
    epoch = "SELECT value FROM fleetwatch_data.meta WHERE key = 'series_epoch'"
    with_retention.run(START_MS + 11 * DAY_MS)
    assert database.sql("SELECT sid FROM fleetwatch_data.series ORDER BY sid") == [(sealed,), (unsealed,), (fresh,)]
    assert database.sql("SELECT sids FROM fleetwatch_data.layouts") == [([unsealed],)]
    assert database.sql("SELECT sid FROM fleetwatch_data.series_sharing") == [(sealed,)]
    assert database.number(epoch) == 1
    # Nothing more to do: writers need not look again.
    maintenance(database, retention_ms=5 * DAY_MS).run(START_MS + 11 * DAY_MS)
    assert database.number(epoch) == 1


@pytest.mark.parametrize("known", [True, False], ids=["a writer", "a new writer"])
def test_what_is_written_while_series_are_looked_at_is_seen(database: Scratch, known: bool) -> None:
    target = database.target("a")
    sids = database.series(target, 2)
    database.layout(sids[:1])
    new_writer: LiteralString = "INSERT INTO fleetwatch_data.writers (name) VALUES (gen_random_uuid())"
    if known:
        database.sql(new_writer)
    writing, looked = threading.Event(), threading.Event()

    def write() -> None:
        with database.connections.transaction() as connection:
            locks.share(connection, Lock.SERIES)
            layout = database.layout(sids[:1])
            if not known:
                connection.execute(new_writer)
            connection.execute("UPDATE fleetwatch_data.writers SET last_write = 1 WHERE writer_id = 1")
            connection.execute(
                "INSERT INTO fleetwatch_data.journal (writer_id, write_no, target_id, time, layout_id, v) "
                "VALUES (1, 1, %s, now(), %s, '{1}')",
                (target, layout),
            )
            writing.set()
            # Until the maintenance waits for this transaction.
            waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not looked.is_set() and not database.number(waits):
                pass

    thread = threading.Thread(target=write)
    thread.start()
    assert writing.wait(30)
    assert Retention(database.connections, Partitions()).drop_unnamed() == (1, 0)
    looked.set()
    thread.join()
    assert database.sql("SELECT sid FROM fleetwatch_data.series") == [(sids[0],)]
    assert database.sql("SELECT sids FROM fleetwatch_data.layouts") == [([sids[0]],)]


def test_the_lag_stays_while_nobody_can_look(database: Scratch) -> None:
    target = database.target("a")
    database.write(target, database.series(target, 1), START_MS, [1.0])
    work = maintenance(database)
    database.sql("ALTER TABLE fleetwatch_data.block RENAME TO gone")
    work.seal(START_MS + DAY_MS)
    lag_s = work.figures()["sealing_lag_seconds"]
    assert lag_s > 0
    database.sql("ALTER TABLE fleetwatch_data.journal RENAME TO gone_too")
    work.seal(START_MS + DAY_MS)
    assert work.figures()["sealing_lag_seconds"] == lag_s


def test_deletes_are_carried_out(database: Scratch) -> None:
    target = database.target("a")
    sids = database.series(target, 2)
    write_days(database, target, sids, 3)
    work = maintenance(database)
    work.run(START_MS + 2 * DAY_MS)
    database.sql(
        "INSERT INTO fleetwatch_data.tombstones "
        "(matchers, sids, start_ms, end_ms, upto_seq, created_ms, expires_ms, series, samples) "
        "SELECT '[]', %s, %s, %s, last_value, 0, %s, 1, 1 FROM fleetwatch_data.journal_seq",
        sids[:1].tolist(),
        START_MS + 5 * HOUR_MS,
        START_MS + 60 * HOUR_MS,
        START_MS + 3 * DAY_MS,
    )
    tombstones = "SELECT count(*) FROM fleetwatch_data.tombstones"
    # What is written after it stays.
    database.write(target, sids, START_MS + 7 * HOUR_MS, [2.0, 2.0])
    work.run(START_MS + 3 * DAY_MS - 1)
    assert len(hours(database, int(sids[0]))) == 72
    work.clean_tombstones()
    # The journal still has some of it.
    assert database.number(tombstones) == 1
    work.run(START_MS + 4 * DAY_MS)
    assert database.number(tombstones) == 0
    assert hours(database, int(sids[0])) == [1, 2, 3, 4, 7, *range(61, 73)]
    assert hours(database, int(sids[1])) == list(range(1, 73))


def test_a_step_that_fails_keeps_nobody_from_his(database: Scratch, caplog: pytest.LogCaptureFixture) -> None:
    damaged, sound = database.target("damaged"), database.target("sound")
    database.write(damaged, database.series(damaged, 1), START_MS, [1.0])
    database.sql("DELETE FROM fleetwatch_data.layouts")
    database.write(sound, database.series(sound, 1), START_MS, [1.0])
    work = maintenance(database)
    with caplog.at_level(logging.WARNING):
        work.run(START_MS + 2 * WINDOW_MS)
    assert database.counts() == (1, 1)
    assert work.figures()["maintenance_failures_total"] == 1
    assert work.figures()["sealed_samples_total"] == 1
    assert f"sealing target {damaged} failed" in caplog.text
    assert "which is not in the table layouts" in caplog.text


def test_a_database_that_is_away_is_said(database: Scratch) -> None:
    work = maintenance(database)
    database.connections.close()
    with pytest.raises(psycopg.Error):
        work.run(START_MS)


def test_several_processes_at_once(database: Scratch) -> None:
    targets = [database.target(str(number)) for number in range(4)]
    for target in targets:
        write_days(database, target, database.series(target, 3), 2)
    works = [maintenance(database, retention_ms=9 * DAY_MS) for _ in range(3)]
    threads = [threading.Thread(target=work.run, args=(START_MS + 3 * DAY_MS,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(work.figures()["sealed_samples_total"] for work in works) == 4 * 3 * 48
    assert sum(work.figures()["maintenance_failures_total"] for work in works) == 0
    assert len(database.samples()) == 4 * 3 * 48
    assert database.counts()[0] == 0
