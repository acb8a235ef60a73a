"""The community edition that tests use: what the tests of the store rest on works in it."""

import datetime as dt
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.pglite.server import PGliteServer

pytest_plugins = ["tests.databases"]

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def connection(pglite_server: PGliteServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(pglite_server.create_database(), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        yield connection


def hypertable(connection: psycopg.Connection) -> None:
    connection.execute("CREATE SCHEMA stored")
    connection.execute("CREATE TABLE stored.readings (at timestamptz NOT NULL, value float8, packed bytea)")
    connection.execute("SELECT create_hypertable('stored.readings', by_range('at', INTERVAL '1 hour'))")


def test_it_has_the_community_editions_features(connection: psycopg.Connection) -> None:
    assert connection.execute("SHOW timescaledb.license").fetchone() == ("timescale",)
    hypertable(connection)
    with connection.cursor().copy("COPY stored.readings FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["timestamptz", "float8", "bytea"])
        for minute in range(300):
            copy.write_row((START + dt.timedelta(minutes=minute), minute / 2, b"x"))
    connection.execute(
        "CREATE MATERIALIZED VIEW stored.hourly WITH (timescaledb.continuous) AS"
        " SELECT time_bucket('1 hour', at) AS hour, max(value) AS value FROM stored.readings GROUP BY 1 WITH NO DATA"
    )
    connection.execute("CALL refresh_continuous_aggregate('stored.hourly', NULL, NULL)")
    connection.execute("ALTER TABLE stored.readings SET (timescaledb.compress)")
    connection.execute("SELECT compress_chunk(chunk) FROM show_chunks('stored.readings') AS chunk")
    connection.execute("SELECT add_retention_policy('stored.readings', INTERVAL '1 day')")
    hours = [value for (value,) in connection.execute("SELECT value FROM stored.hourly ORDER BY hour")]
    assert hours == [29.5, 59.5, 89.5, 119.5, 149.5]
    with connection.cursor().copy(
        "COPY (SELECT value, packed FROM stored.readings ORDER BY at) TO STDOUT (FORMAT binary)"
    ) as out:
        out.set_types(["float8", "bytea"])
        assert list(out.rows()) == [(minute / 2, b"x") for minute in range(300)]
    job = connection.execute("SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name = 'readings'")
    connection.execute("CALL run_job(%s)", job.fetchone())
    assert connection.execute("SELECT count(*) FROM show_chunks('stored.readings')").fetchone() == (0,)


def test_messages_of_many_packets_arrive_whole(connection: psycopg.Connection) -> None:
    values = [float(number) for number in range(1_000_000)]
    answer = connection.execute("SELECT %b::float8[]", [values], binary=True).fetchone()
    assert answer == (values,)


def test_connections_take_turns(connection: psycopg.Connection, pglite_server: PGliteServer) -> None:
    connection.execute("CREATE TABLE numbers (number int)")
    in_transaction = threading.Event()
    seen: list[tuple[int]] = []

    def read() -> None:
        with psycopg.connect(pglite_server.dsn(), autocommit=True) as reader:
            in_transaction.wait(10)
            seen.extend(reader.execute("SELECT count(*) FROM numbers"))

    thread = threading.Thread(target=read)
    thread.start()
    with connection.transaction():
        connection.execute("INSERT INTO numbers VALUES (1)")
        in_transaction.set()
        thread.join(0.3)  # nothing tells that the reader is waiting
        assert not seen
        connection.execute("INSERT INTO numbers VALUES (2)")
    thread.join(10)
    assert seen == [(2,)]


def test_a_connection_that_vanishes_in_a_transaction_leaves_nothing(
    connection: psycopg.Connection, pglite_server: PGliteServer
) -> None:
    connection.execute("CREATE TABLE numbers (number int)")
    vanishing = psycopg.connect(pglite_server.dsn())
    vanishing.execute("INSERT INTO numbers VALUES (1)")
    vanishing.close()
    assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (0,)


def test_a_rollback_of_one_connection_keeps_the_prepared_statements_of_another(
    connection: psycopg.Connection, pglite_server: PGliteServer
) -> None:
    with psycopg.connect(pglite_server.dsn()) as other:
        for prepared in (connection, other):
            assert prepared.execute("SELECT %s::int", [7], prepare=True).fetchone() == (7,)
        other.rollback()
        other.execute("SELECT 1")
        other.commit()
        assert connection.execute("SELECT %s::int", [8], prepare=True).fetchone() == (8,)


def pipeline(connection: psycopg.Connection) -> None:
    with connection.pipeline():
        connection.execute("SELECT 1 / %s", [0])
        connection.execute("INSERT INTO numbers VALUES (1)")


def copy_in(connection: psycopg.Connection) -> None:
    with connection.cursor().copy("COPY nowhere FROM STDIN") as copy:
        copy.write("1\n")


def copy_in_cut_short(connection: psycopg.Connection) -> None:
    with connection.cursor().copy("COPY numbers FROM STDIN") as copy:
        copy.write("1\n")
        raise ConnectionAbortedError


def copy_out(connection: psycopg.Connection) -> None:
    with connection.cursor().copy("COPY nowhere TO STDOUT") as copy:
        copy.read()


@pytest.mark.parametrize(
    ("fail", "error"),
    [
        (pipeline, psycopg.errors.DivisionByZero),
        (copy_in, psycopg.errors.UndefinedTable),
        (copy_in_cut_short, ConnectionAbortedError),
        (copy_out, psycopg.errors.UndefinedTable),
    ],
)
def test_errors_leave_the_connection_usable(
    connection: psycopg.Connection, fail: Callable[[psycopg.Connection], None], error: type[Exception]
) -> None:
    connection.execute("CREATE TABLE numbers (number int)")
    with pytest.raises(error):
        fail(connection)
    assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (0,)


def test_a_database_is_empty_when_it_is_created(connection: psycopg.Connection, pglite_server: PGliteServer) -> None:
    hypertable(connection)
    connection.execute("CREATE TABLE numbers (number int)")
    connection.execute("CREATE VIEW more AS SELECT number + 1 FROM numbers")
    connection.execute("CREATE ROLE writer LOGIN")
    connection.execute("GRANT INSERT ON numbers TO writer")
    connection.execute("SET timezone TO 'Asia/Tokyo'")
    pglite_server.create_database()
    assert connection.execute("SELECT count(*) FROM timescaledb_information.hypertables").fetchone() == (0,)
    tables = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    assert tables.fetchall() == []
    assert connection.execute("SHOW timezone").fetchone() != ("Asia/Tokyo",)
