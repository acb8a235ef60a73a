"""An embedded store moved into a database reads the same there, however often the move was interrupted."""

import contextlib
import functools
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from common.labels import Labels
from common.matchers import Matcher
from tests.fleetwatch_process import eventually
from tests.postgres import PostgresServer
from tests.tsdb.reading import Samples, read
from tsdb import open_store
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.tools.backup import back_up
from tsdb.model import ABSENT, STALE_NAN, Batch, LogEntry, LogQuery, SeriesExemplar, Server
from tsdb.store import Store
from tsdb.timescale.connections import Connections
from tsdb.timescale.locks import Lock, take
from tsdb.timescale.migrate import migrate
from tsdb.timescale.options import Options
from tsdb.timescale.tools.move import MoveError, SampleMover
from tsdb.timescale.tools.move_rest import move_rest
from tsdb.timescale.tools.move_source import MoveSource

pytest_plugins = ["tests.databases"]

START_MS = 1_764_000_000_000
STEP_MS = 15_000
END_MS = START_MS + 10**9
SERVER = Server(uuid.UUID(int=7), "db\x00", "the database", {"room": "1"})


@pytest.fixture(params=["timescale_server", "postgres15_server"])
def dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    server: PostgresServer = request.getfixturevalue(request.param)
    dsn = server.create_database()
    if server.kind == "timescale":
        server.sql("CREATE EXTENSION timescaledb", dsn=dsn)
    migrate(dsn)
    yield dsn
    server.drop_database(dsn)


def log_entry(number: int) -> LogEntry:
    return LogEntry(
        uuid.UUID(int=number), (START_MS + number) * 10**6 + 1, SERVER.server_id, "info", "f", f"line\x00 {number}"
    )


def fill(directory: Path, rows: int = 2000) -> None:
    """Some hours of two targets that share a series: gaps, markers, late, repeated, self-timed and deleted samples."""
    noise = np.random.default_rng(1)
    with contextlib.closing(EmbeddedStore(directory)) as store:
        names = [Labels.of(__name__="x", n=str(n), odd="\x00" * (n % 2)) for n in range(12)]
        ids = store.series_ids(names)
        one, two = (store.register_target(Labels.of(job="node", instance=f"{name}:9100")) for name in "ab")
        layouts = {one: store.layout(ids[:7]), two: store.layout(ids[6:])}
        for row in range(rows):
            for target, layout in layouts.items():
                values = noise.random(len(layout))
                values[0] = 1.0
                values[1] = ABSENT if row % 5 else STALE_NAN
                store.append(Batch(target, layout, START_MS + STEP_MS * row + int(row % 7 == 0), values))
        late = store.append(Batch(one, layouts[one], START_MS - 5000, np.arange(7.0)))
        times_ms = START_MS + np.arange(6) * 3_600_000
        store.append(Batch(two, layouts[two], START_MS + 123, np.full(6, -0.0), times_ms))
        again = store.append(Batch(two, layouts[two], START_MS + STEP_MS * 10, np.full(6, np.nan)))
        for written in (late, again):
            written.result()
        store.maintain(START_MS + STEP_MS * rows // 2)
        store.delete_series([[Matcher.equal("n", "3")]], START_MS, START_MS + 3_600_000, START_MS)
        store.put_server(SERVER)
        store.append_logs([log_entry(number) for number in range(2500)]).result()
        store.append_exemplars(
            [SeriesExemplar(int(ids[2]), START_MS + n, float(n), Labels.of(trace_id=str(n)), True) for n in range(3)]
        )
        store.append(Batch(one, layouts[one], START_MS + STEP_MS * rows, np.arange(7.0))).result()


def samples(store: Store) -> Samples:
    return read(store, [Matcher.equal("__name__", "x")], -(2**60), 2**60)


def logs(store: Store) -> list[LogEntry]:
    return store.select_logs(LogQuery(0, 2**62, limit=10_000))


@contextlib.contextmanager
def moving(directory: Path, dsn: str) -> Iterator[tuple[MoveSource, Connections]]:
    with (
        contextlib.closing(MoveSource(directory)) as source,
        contextlib.closing(Connections(dsn, size=1)) as connections,
    ):
        yield source, connections


@contextlib.contextmanager
def database(dsn: str, tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(open_store(dsn, timescale=Options(spool=tmp_path / "spool"))) as store:
        yield store


class InterruptionError(Exception):
    """In the middle of a move."""


def test_everything_reads_the_same(dsn: str, tmp_path: Path) -> None:
    fill(tmp_path / "data")
    with moving(tmp_path / "data", dsn) as (source, connections):
        expected = samples(source)
        moved = SampleMover(source, connections).run(lambda done, total: None)
        rest = move_rest(source, connections, lambda done, total: None)
        servers, exemplars = source.servers(), source.select_exemplars([[]], 0, 2**60)
    assert moved.samples == sum(map(len, expected.values()))
    assert (moved.series, moved.too_old, rest.logs) == (12, 0, 2500)
    with database(dsn, tmp_path) as store:
        assert samples(store) == expected
        assert [entry.message for entry in logs(store)[:2]] == ["line\ufffd 2499", "line\ufffd 2498"]
        assert len(logs(store)) == 2500
        assert {server.server_id for server in store.servers()} == {server.server_id for server in servers}
        (moved_server,) = [server for server in store.servers() if server.server_id == SERVER.server_id]
        assert (moved_server.description, moved_server.labels) == (SERVER.description, SERVER.labels)
        assert [(labels, len(found)) for labels, found in store.select_exemplars([[]], 0, 2**60)] == [
            (labels, len(found)) for labels, found in exemplars
        ]


def test_an_interrupted_move_goes_on_and_nothing_is_there_twice(dsn: str, tmp_path: Path) -> None:
    fill(tmp_path / "data")

    def interrupt(after: int, done: int, total: int) -> None:
        if done == after:
            raise InterruptionError

    for after in (1, 2, 3):
        with moving(tmp_path / "data", dsn) as (source, connections), pytest.raises(InterruptionError):
            SampleMover(source, connections).run(functools.partial(interrupt, after))
    for _ in range(2):
        with moving(tmp_path / "data", dsn) as (source, connections):
            expected = samples(source)
            moved = SampleMover(source, connections).run(lambda done, total: None)
            assert moved.samples == sum(map(len, expected.values()))
            assert move_rest(source, connections, lambda done, total: None).logs == 2500
    with database(dsn, tmp_path) as store:
        assert samples(store) == expected
        assert len(logs(store)) == 2500
        assert sum(len(found) for _, found in store.select_exemplars([[]], 0, 2**60)) == 3


def test_what_the_database_lost_is_noticed(dsn: str, tmp_path: Path) -> None:
    fill(tmp_path / "data", rows=10)
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            "CREATE TRIGGER lose BEFORE INSERT ON fleetwatch_data.block FOR EACH ROW WHEN (NEW.sid = 3)"
            " EXECUTE FUNCTION lose()"
        )
    with moving(tmp_path / "data", dsn) as (source, connections), pytest.raises(MoveError, match="the database has"):
        SampleMover(source, connections).run(lambda done, total: None)


def test_a_killed_move_goes_on(dsn: str, tmp_path: Path) -> None:
    fill(tmp_path / "data", rows=3000)
    command = [sys.executable, "-m", "fleetwatch", "db", "move", str(tmp_path / "data"), dsn, "--json"]
    units = "SELECT count(*) FROM fleetwatch_data.meta WHERE key LIKE 'move %'"
    with psycopg.connect(dsn, autocommit=True) as connection, subprocess.Popen(command) as process:

        def started() -> bool:
            row = connection.execute(units).fetchone()
            return row is not None and row[0] >= 2

        eventually(started, bool, 30)
        with connection.transaction():
            # It waits for this lock, before whichever unit comes next.
            take(connection, Lock.SERIES)
            assert process.poll() is None
            process.kill()
            process.wait(30)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    with moving(tmp_path / "data", dsn) as (source, _):
        expected = samples(source)
    assert json.loads(done.stdout)["samples"] == sum(map(len, expected.values()))
    with database(dsn, tmp_path) as store:
        assert samples(store) == expected


def test_what_came_after_the_first_move_is_brought_by_the_next(dsn: str, tmp_path: Path) -> None:
    fill(tmp_path / "data", rows=100)
    # Of a store that a process goes on with.
    back_up(tmp_path / "data", tmp_path / "copy", lambda done, total: None)
    with moving(tmp_path / "copy", dsn) as (source, connections):
        SampleMover(source, connections).run(lambda done, total: None)
    with contextlib.closing(EmbeddedStore(tmp_path / "data")) as store:
        store.append_samples(Labels.of(__name__="x", n="new"), [(END_MS, 1.0)])
        store.append_samples(Labels.of(__name__="x", n="0"), [(END_MS, 2.0)])
    with moving(tmp_path / "data", dsn) as (source, connections):
        expected = samples(source)
        SampleMover(source, connections).run(lambda done, total: None)
        with connections.transaction() as connection:
            rows = connection.execute("SELECT sid, ts, count(*) FROM fleetwatch_data.block GROUP BY 1, 2").fetchall()
    assert {count for _, _, count in rows} == {1}
    with database(dsn, tmp_path) as store:
        assert samples(store) == expected


def test_newer_writes_of_the_database_win(dsn: str, tmp_path: Path) -> None:
    labels = Labels.of(__name__="x")
    with contextlib.closing(EmbeddedStore(tmp_path / "data")) as embedded:
        embedded.append_samples(labels, [(START_MS, 1.0), (START_MS + 1, 1.0)])
    with moving(tmp_path / "data", dsn) as (source, connections):
        SampleMover(source, connections).run(lambda done, total: None)
    with database(dsn, tmp_path) as store:
        store.append_samples(labels, [(START_MS, 2.0)])
        (frame,) = store.select([Matcher.equal("__name__", "x")], 0, 2**60)
        assert frame.values.tolist() == [[2.0, 1.0]]
