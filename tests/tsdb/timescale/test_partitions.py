"""Parts by time: made ahead and on demand, whatever lengths they had, and dropped when they are old or empty."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.timescale.engines import ENGINES, empty_database
from tsdb.timescale.migrate import migrate
from tsdb.timescale.partitions import LENGTHS_MS, RELATIONS, Part, Partitions, fitting_length_ms

pytest_plugins = ["tests.databases"]

NOW_MS = time.time_ns() // 1_000_000
HOUR_MS, DAY_MS = 3600_000, 86400_000

INSERT = {
    "journal": "INSERT INTO fleetwatch_data.journal VALUES ({}, 1, 1, 1, 1, now(), 1, '{{1}}')",
    "block": "INSERT INTO fleetwatch_data.block VALUES ({}, 1, 1, 1000, NULL, '{{1}}')",
    "rollup": "INSERT INTO fleetwatch_data.rollup VALUES ({}, 1, 300000, '{{1}}')",
    "exemplars": "INSERT INTO fleetwatch_data.exemplars VALUES ({}, 1, 1, '{{}}', true)",
    "logs": "INSERT INTO fleetwatch_data.logs"
    " VALUES ({}, 0, gen_random_uuid(), gen_random_uuid(), 'info', 's', 'm', '{{}}', '{{}}')",
}
TIME = "'epoch'::timestamptz + {} * interval '1 millisecond'"

MAKE = """
import sys, psycopg
from tsdb.timescale.partitions import Partitions
with psycopg.connect(sys.argv[1]) as connection:
    for day in range(30):
        Partitions().ensure(connection, "block", day * 86400_000, day * 86400_000 + 1)
        connection.commit()
"""


@pytest.fixture(params=ENGINES, scope="module")
def dsn(request: pytest.FixtureRequest) -> str:
    """A database with the tables."""
    dsn = empty_database(request, request.param)
    migrate(dsn)
    return dsn


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    """Of the owner; whatever is done is undone."""
    with psycopg.connect(dsn) as connection:
        yield connection
        connection.rollback()


def insert(connection: psycopg.Connection, relation: str, time_ms: int) -> None:
    """A row of a time."""
    connection.execute(INSERT[relation].format(TIME.format(time_ms)).encode())


def parts(connection: psycopg.Connection, relation: str) -> list[Part]:
    """Those of one table, oldest first."""
    return [part for part in Partitions().parts(connection) if part.relation == relation]


@pytest.mark.parametrize("relation", RELATIONS)
def test_parts_are_there_for_now_and_made_for_any_time(connection: psycopg.Connection, relation: str) -> None:
    assert relation in RELATIONS
    for time_ms in (NOW_MS, NOW_MS + DAY_MS):
        insert(connection, relation, time_ms)
    for time_ms in (0, -1, NOW_MS - 400 * DAY_MS, -60 * 10**12, -63 * 10**12, 200 * 10**12):
        Partitions().ensure(connection, relation, time_ms, time_ms)
        assert Partitions().ensure(connection, relation, time_ms, time_ms) == 0
        insert(connection, relation, time_ms)
        (part,) = (part for part in parts(connection, relation) if part.from_ms <= time_ms < part.to_ms)
        assert part.to_ms - part.from_ms == LENGTHS_MS[relation][-1]
        assert part.bytes > 0
    covered = parts(connection, relation)
    assert all(one.to_ms <= other.from_ms for one, other in itertools.pairwise(covered))


def test_lengths_that_change_leave_no_gap(connection: psycopg.Connection) -> None:
    partitions = Partitions()
    for number, hours in enumerate((24, 6, 12, 24, 6)):
        connection.execute("SELECT fleetwatch_data.set_length('block', %s * interval '1 hour')", [hours])
        start_ms = number * 40 * HOUR_MS
        partitions.ensure(connection, "block", start_ms, start_ms + 30 * HOUR_MS)
        insert(connection, "block", start_ms)
    partitions.ensure(connection, "block", -50 * HOUR_MS, 250 * HOUR_MS)
    for time_ms in range(-50 * HOUR_MS, 250 * HOUR_MS, HOUR_MS):
        insert(connection, "block", time_ms)
    lengths = {part.to_ms - part.from_ms for part in parts(connection, "block") if part.to_ms < NOW_MS - DAY_MS}
    assert lengths & {6 * HOUR_MS, 24 * HOUR_MS} == {6 * HOUR_MS, 24 * HOUR_MS}


def test_old_parts_are_dropped_whole(connection: psycopg.Connection) -> None:
    partitions = Partitions()
    for day in range(10):
        partitions.ensure(connection, "block", day * DAY_MS, day * DAY_MS)
        insert(connection, "block", day * DAY_MS + 5)
    assert partitions.drop_before(connection, "block", 4 * DAY_MS + HOUR_MS) == 4
    assert partitions.drop_before(connection, "block", 4 * DAY_MS + HOUR_MS) == 0
    first_day = connection.execute("SELECT extract(epoch FROM min(ts))::bigint / 86400 FROM fleetwatch_data.block")
    assert first_day.fetchone() == (4,)
    assert partitions.drop_before(connection, "logs", -(2**62)) == 0


def test_empty_parts_alone_are_dropped(connection: psycopg.Connection) -> None:
    partitions = Partitions()
    for hour in range(6):
        partitions.ensure(connection, "journal", hour * HOUR_MS, hour * HOUR_MS)
        insert(connection, "journal", hour * HOUR_MS + 5)
    for hour in (1, 2, 5):
        connection.execute(
            f"DELETE FROM fleetwatch_data.journal WHERE written_at = {TIME.format(hour * HOUR_MS + 5)}".encode()
        )
    assert partitions.drop_empty(connection, "journal", 5 * HOUR_MS) == 2
    rows = connection.execute("SELECT extract(epoch FROM written_at)::bigint / 3600 FROM fleetwatch_data.journal")
    assert sorted(rows.fetchall()) == [(0,), (3,), (4,)]


def test_a_part_written_anew_gives_space_back(connection: psycopg.Connection) -> None:
    partitions = Partitions()
    partitions.ensure(connection, "block", 0, 0)
    fill = f"SELECT {TIME.format(0)}, n, 1, 1000, NULL, ARRAY(SELECT random() FROM generate_series(1, 20))"
    connection.execute(f"INSERT INTO fleetwatch_data.block {fill} FROM generate_series(1, 5000) n".encode())
    (full,) = (part for part in parts(connection, "block") if part.from_ms == 0)
    connection.execute("DELETE FROM fleetwatch_data.block WHERE sid % 10 <> 0")
    # What a transaction deleted takes its space until after its end.
    connection.commit()
    assert partitions.rewrite(connection, "block", full.name)
    (rest,) = (part for part in parts(connection, "block") if part.from_ms == 0)
    assert rest.bytes < full.bytes / 5
    assert connection.execute("SELECT count(*) FROM fleetwatch_data.block").fetchone() == (500,)
    partitions.drop_before(connection, "block", DAY_MS)
    connection.commit()


@pytest.mark.parametrize("engine", ["timescale_server", "postgres15_server"])
def test_processes_that_make_the_same_parts_at_once(request: pytest.FixtureRequest, engine: str) -> None:
    dsn = empty_database(request, engine)
    migrate(dsn)
    processes = [
        subprocess.Popen([sys.executable, "-c", MAKE, dsn], stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[1] for process in processes] == ["", ""]
    with psycopg.connect(dsn) as connection:
        for day in range(30):
            insert(connection, "block", day * DAY_MS)


@pytest.mark.parametrize("engine", ["timescale_server", "postgres15_server"])
def test_a_part_in_use_is_left_for_the_next_time(request: pytest.FixtureRequest, engine: str) -> None:
    dsn = empty_database(request, engine)
    migrate(dsn)
    partitions = Partitions()
    with psycopg.connect(dsn) as connection, psycopg.connect(dsn) as other:
        for day in (0, 1):
            partitions.ensure(connection, "block", day * DAY_MS, day * DAY_MS)
            insert(connection, "block", day * DAY_MS)
        connection.commit()
        old, _ = (part for part in parts(other, "block") if part.to_ms <= 2 * DAY_MS)
        other.execute(f"LOCK TABLE {old.name} IN ACCESS SHARE MODE".encode())
        assert not partitions.rewrite(connection, "block", old.name)
        assert partitions.drop_before(connection, "block", 2 * DAY_MS) <= 1
        other.rollback()
        connection.rollback()
        assert partitions.drop_before(connection, "block", 2 * DAY_MS) == 2


def test_lengths_follow_what_is_written(connection: psycopg.Connection) -> None:
    partitions = Partitions()
    buffers = int(connection.execute("SELECT pg_size_bytes(current_setting('shared_buffers'))").fetchall()[0][0])
    assert partitions.fit(connection) == {}
    # Two hours whose index would, in a day, take three times its share of the memory.
    connection.execute("SELECT fleetwatch_data.set_length('block', interval '2 hours')")
    partitions.ensure(connection, "block", NOW_MS - 3 * DAY_MS, NOW_MS - 3 * DAY_MS)
    rows = buffers // 4 // 12 * 3 // 20
    fill = f"SELECT {TIME.format(NOW_MS - 3 * DAY_MS)}, random() * 1e9, 1, 1000, NULL, '{{}}'"
    connection.execute(f"INSERT INTO fleetwatch_data.block {fill} FROM generate_series(1, {rows}) n".encode())
    changed = partitions.fit(connection)
    assert set(changed) == {"block"}
    assert changed["block"] == LENGTHS_MS["block"][0]
    assert partitions.fit(connection) == {}
    far_ms = NOW_MS + 100 * DAY_MS
    partitions.ensure(connection, "block", far_ms, far_ms)
    insert(connection, "block", far_ms)
    (part,) = (part for part in parts(connection, "block") if part.from_ms <= far_ms < part.to_ms)
    assert part.to_ms - part.from_ms == changed["block"]


@given(st.floats(0, 1e9), st.integers(2**20, 2**40))
def test_a_length_is_the_longest_that_fits(bytes_per_s: float, buffers: int) -> None:
    lengths_ms = LENGTHS_MS["block"]
    chosen = fitting_length_ms(lengths_ms, bytes_per_s, buffers)
    fits = [one for one in lengths_ms if bytes_per_s * one / 1000 <= buffers / 4]
    assert chosen == (fits[-1] if fits else lengths_ms[0])
