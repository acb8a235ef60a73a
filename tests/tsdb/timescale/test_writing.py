"""What is appended is in the database once: whatever happens to connections, servers, neighbours or series."""

import contextlib
import itertools
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import psycopg
import pytest

from common.labels import Labels
from tests.fleetwatch_process import eventually
from tests.postgres import PostgresServer, running
from tests.tsdb.timescale.scratch import scratch
from tests.tsdb.timescale.writing import START_MS, Process, process, rows, stored
from tsdb.errors import StoreClosedError, WriteRefusedError
from tsdb.model import ABSENT_BITS, STALE_NAN_BITS, Batch, LogEntry, SeriesExemplar, Server
from tsdb.timescale.connections import Connections, is_away
from tsdb.timescale.locks import Lock, take
from tsdb.timescale.migrate import migrate
from tsdb.timescale.spool import Spool

ONCE = "SELECT target_id, time, count(*) FROM fleetwatch_data.journal GROUP BY 1, 2 HAVING count(*) <> 1"


@pytest.fixture(params=["timescale_server", "postgres15_server"])
def dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with our tables, on each kind of server."""
    with scratch(request.getfixturevalue(request.param)) as database:
        yield database.dsn


@pytest.fixture
def timescale_dsn(timescale_server: PostgresServer) -> Iterator[str]:
    """The same on TimescaleDB alone."""
    with scratch(timescale_server) as database:
        yield database.dsn


@pytest.fixture
def hurt() -> Iterator[PostgresServer]:
    """A server that the test may do anything to, with our tables in its first database."""
    with running("timescale") as server:
        migrate(server.dsn())
        yield server


def wait_for(condition: Callable[[], bool]) -> None:
    """Until something holds."""
    eventually(condition, bool, 30)


def is_there(one: Process) -> Callable[[], bool]:
    """Whether all that was appended is in the database."""
    return lambda: one.writer.figures()["spool_records"] == 0 and one.writer.figures()["database_away"] == 0


# What is stored


def test_every_bit_comes_back(dsn: str, tmp_path: Path) -> None:
    bits = np.array([STALE_NAN_BITS, ABSENT_BITS, 1 << 63, 0x7FF8000000000001, 0x7FF0000000000000], dtype=np.uint64)
    with process(dsn, tmp_path) as one:
        one.append("a", START_MS, bits.view(np.float64).tolist()).result()
        batch = one.batch("b", START_MS, [1.0, 2.0], times_ms=np.array([START_MS - 1, -1]))
        object.__setattr__(batch, "values", bits[:2].view(np.float64))
        one.writer.append(batch).result()
        assert [shown for shown, _ in one.shown][1] is batch
        assert [seq for _, seq in one.shown] == [1, 2]
        assert one.writer.last_write == 2
        one.append("empty", START_MS, []).result()
    found = rows(
        dsn,
        "SELECT ARRAY(SELECT encode(float8send(value), 'hex') FROM unnest(v) AS value), "
        "ARRAY(SELECT extract(epoch FROM own)::float8 FROM unnest(times) AS own) "
        "FROM fleetwatch_data.journal ORDER BY seq",
    )
    hexes = [f"{value:016x}" for value in bits.tolist()]
    assert found == [(hexes, []), (hexes[:2], [(START_MS - 1) / 1000, -0.001]), ([], [])]


def test_logs_exemplars_and_servers(dsn: str, tmp_path: Path) -> None:
    entries = [
        LogEntry(
            uuid.uuid4(),
            START_MS * 1_000_000 + n,
            uuid.uuid4(),
            "info",
            "unit",
            f'It\0s "null" {{{n}}} é_b',
            {"\0": "b"},
        )
        for n in range(3)
    ]
    web = Server(uuid.uuid4(), "web", "first")
    with process(dsn, tmp_path) as one:
        for some in (entries[:2], entries):
            one.writer.append_logs(some).result()
        one.writer.append_servers([web, Server(web.server_id, "web", "second")], replace=True).result()
        one.writer.append_servers([web, Server(uuid.uuid4(), "web", "third")], replace=False).result()
        series = one.catalog.index.ids([Labels.of(__name__="x")])
        one.writer.append_exemplars([SeriesExemplar(int(series[0]), START_MS, 1.5, Labels.of(t="\0"), True)]).result()
        with pytest.raises(WriteRefusedError, match="cannot have the time"):
            one.writer.append_logs([LogEntry(uuid.uuid4(), 1 << 80, uuid.uuid4(), "", "", "")]).result()
    assert sorted(rows(dsn, "SELECT time_ns, message, words FROM fleetwatch_data.logs")) == [
        (entry.time_ns, entry.message.replace("\0", "\ufffd"), [str(n), "b", "it", "null", "s", "é"])
        for n, entry in enumerate(entries)
    ]
    assert rows(dsn, "SELECT name, description FROM fleetwatch_data.servers") == [("web", "second")]
    joined = "fleetwatch_data.exemplars JOIN fleetwatch_data.series USING (sid)"
    exemplars = f"SELECT series.labels ->> '__name__', value FROM {joined}"
    assert rows(dsn, exemplars) == [("x", 1.5)]


def test_hostile_labels(dsn: str, tmp_path: Path) -> None:
    """Whatever a target says, two processes mean the same series by it, and no two series are the same."""
    values = [
        "\0",
        "\ufffd",
        "\ud800",
        "a\0",
        "x" * 1_000_000,
        "\U0010ffff",
        "\x01\x7f",
        "'\"\\{}",
        "\u2028",
        "e\u0301",
        "\xe9",
    ]
    series = [Labels.of(__name__="m" * 5000, odd=value) for value in values] + [
        Labels.of({"\0": "x"}),
        Labels.of({"\ufffd": "x"}),
    ]
    sids = []
    for n in range(2):
        with process(dsn, tmp_path / str(n)) as one:
            one.append("t\0", START_MS + n, [1.0] * len(series), series).result()
            sids.append(one.ids.sids(one.catalog.index.ids(series)).tolist())
    assert sids[0] == sids[1]
    assert len(set(sids[0])) == len(series)
    assert rows(dsn, "SELECT count(*), count(raw) FROM fleetwatch_data.series") == [(len(series), 4)]
    assert rows(dsn, "SELECT count(*) FROM fleetwatch_data.targets") == [(1,)]


def test_what_cannot_be_stored_is_refused_alone(dsn: str, tmp_path: Path) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE fleetwatch_data.series ADD CHECK (labels ->> 'n' <> '13')")
    with process(dsn, tmp_path, delay_s=0.3) as one:
        futures = [one.append(f"t{n}", START_MS, [float(n)] * (14 if n == 5 else 13)) for n in range(10)]
        late = one.append("t0", 1 << 60, [1.0] * 13)
        for n, future in enumerate(futures):
            if n == 5:
                with pytest.raises(WriteRefusedError, match="violates check constraint"):
                    future.result()
            else:
                future.result()
        with pytest.raises(WriteRefusedError, match="cannot have the time"):
            late.result()
        known = one.batch("t0", START_MS, [1.0])
        short = Batch(known.target_id, known.layout, 1, np.zeros(1, "f4"))
        with pytest.raises(ValueError, match="float64"):
            one.writer.append(short)
        assert one.writer.figures()["batches_refused_total"] == 2
        one.append("t6", START_MS + 1, [1.0]).result()
    assert len(stored(dsn)) == 9 * 13 + 1
    assert len(one.shown) == 10


# Ids


def test_processes_make_the_same_series_at_once(dsn: str, tmp_path: Path) -> None:
    """Nobody waits for ever, and each series is made once."""
    processes = [Process(dsn, tmp_path / str(n)) for n in range(4)]
    for one in processes:
        one.writer.start()

    def write(place: int) -> None:
        one, random = processes[place], np.random.default_rng(place)
        for scrape in range(5):
            order = random.permutation(20)
            futures = [
                one.append(f"t{n}", START_MS + 4 * scrape + place, [1.0] * (20 + 10 * scrape)) for n in order.tolist()
            ]
            for future in futures:
                future.result()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    for one in processes:
        assert one.writer.figures()["writes_spooled_total"] == 0
        one.close()
    assert rows(dsn, "SELECT count(*) FROM fleetwatch_data.series") == [(20 * 60,)]
    assert rows(dsn, "SELECT count(*) FROM fleetwatch_data.layouts") == [(20 * 5,)]
    assert len(stored(dsn)) == 4 * 20 * (20 + 30 + 40 + 50 + 60)
    assert rows(dsn, ONCE) == []


def test_series_dropped_meanwhile_are_made_again(dsn: str, tmp_path: Path) -> None:
    with process(dsn, tmp_path) as one:
        one.append("a", START_MS, [1.0, 2.0, 3.0]).result()
        (before,) = rows(dsn, "SELECT array_agg(sid) FROM fleetwatch_data.series")
        with one.connections.transaction() as connection:
            take(connection, Lock.SERIES)
            connection.execute("DELETE FROM fleetwatch_data.series WHERE labels ->> 'n' <> '1'")
            connection.execute("DELETE FROM fleetwatch_data.layouts")
            connection.execute("TRUNCATE fleetwatch_data.journal")
            connection.execute("UPDATE fleetwatch_data.meta SET value = '1' WHERE key = 'series_epoch'")
            # A write that is under way meanwhile waits, and then sees it.
            future = one.append("a", START_MS + 1, [1.0, 2.0, 3.0])
        future.result()
    assert [(time_ms, value) for _, time_ms, value in stored(dsn)] == [
        (START_MS + 1, value) for value in (1.0, 2.0, 3.0)
    ]
    (after,) = rows(dsn, "SELECT array_agg(sid) FROM fleetwatch_data.series")
    assert len(set(before[0]) & set(after[0])) == 1


@pytest.mark.parametrize(
    "lost", ["TRUNCATE fleetwatch_data.writers", "UPDATE fleetwatch_data.writers SET last_write = 0"]
)
def test_a_database_that_lost_commits_is_learned_anew(
    timescale_dsn: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, lost: str
) -> None:
    """As after a failover to a replica that lagged behind: the same numbers mean something else."""
    dsn = timescale_dsn
    with process(dsn, tmp_path / "a") as one, process(dsn, tmp_path / "b") as other:
        one.append("a", START_MS, [1.0]).result()
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "TRUNCATE fleetwatch_data.journal, fleetwatch_data.series, fleetwatch_data.layouts, "
                "fleetwatch_data.targets RESTART IDENTITY"
            )
            connection.execute(lost.encode())
        other.append("b", START_MS, [5.0]).result()
        one.append("a", START_MS + 1, [2.0]).result()
        assert "lost writes that it had acknowledged" in caplog.text
    assert stored(dsn) == [
        ('{"n": "0", "__name__": "x", "instance": "a"}', START_MS + 1, 2.0),
        ('{"n": "0", "__name__": "x", "instance": "b"}', START_MS, 5.0),
    ]


def test_a_series_of_several_targets(dsn: str, tmp_path: Path) -> None:
    series = [Labels.of(__name__="up")]
    for n, spool in enumerate("abc"):
        with process(dsn, tmp_path / spool) as one:
            one.append(f"t{n % 2}", START_MS + n, [1.0], series).result()
            one.append(f"t{n % 2}", START_MS + n + 10, [1.0], series).result()
    assert rows(dsn, "SELECT sid, target_id FROM fleetwatch_data.series") == [(1, 1)]
    assert rows(dsn, "SELECT sid, target_id FROM fleetwatch_data.series_sharing") == [(1, 2)]


def test_the_journal_goes_by_the_clock_of_the_database(
    postgres15_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scratch(postgres15_server) as database, process(database.dsn, tmp_path) as one:
        database.sql("SELECT fleetwatch_data.drop_parts('journal', 'infinity', false)")
        long_ago_ns = time.time_ns() - 90 * 24 * 3600 * 10**9
        monkeypatch.setattr("tsdb.timescale.committing.time.time_ns", lambda: long_ago_ns)
        one.append("a", START_MS, [1.0]).result()
        assert [value for _, _, value in stored(database.dsn)] == [1.0]


# The database goes away


def test_a_connection_that_is_ended_between_update_and_commit(timescale_dsn: str, tmp_path: Path) -> None:
    dsn = timescale_dsn
    with process(dsn, tmp_path) as one, psycopg.connect(dsn) as blocker:
        one.append("a", START_MS, [1.0]).result()
        blocker.execute("LOCK TABLE fleetwatch_data.journal IN SHARE MODE")
        future = one.append("a", START_MS + 1, [2.0])
        waiting = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND query LIKE '%COPY%journal%' AND wait_event_type = 'Lock'"
        )
        wait_for(lambda: bool(rows(dsn, waiting)))
        rows(dsn, f"SELECT pg_terminate_backend(pid) FROM ({waiting}) AS waits")
        future.result(10)  # in the spool
        assert one.writer.figures()["writes_spooled_total"] == 1
        assert one.append("a", START_MS + 2, [3.0]).result(10) is None
        blocker.rollback()
        wait_for(is_there(one))
        one.append("a", START_MS + 3, [4.0]).result()
        assert one.writer.figures()["writes_spooled_total"] == 2
    assert [value for _, _, value in stored(dsn)] == [1.0, 2.0, 3.0, 4.0]
    assert [batch.time_ms - START_MS for batch, _ in one.shown] == [0, 1, 2, 3]


class Proxy:
    """Between a client and a server; says nothing of the next COMMIT's success and hangs up instead."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self.port = self._listener.getsockname()[1]
        self.commits_to_hide = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more clients, and hang up on those there are."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets += client, server
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
                threading.Thread(target=self._back, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                if b"COMMIT" in data and self.commits_to_hide:
                    self.commits_to_hide -= 1
                    client.shutdown(socket.SHUT_RDWR)
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)


def test_a_commit_nobody_heard_of(timescale_server: PostgresServer, timescale_dsn: str, tmp_path: Path) -> None:
    """The database has it, and the writer cannot know: it asks, and does not store it twice."""
    direct = timescale_dsn
    proxy = Proxy(timescale_server.port)
    dsn = direct.replace(f":{timescale_server.port}/", f":{proxy.port}/")
    with process(dsn, tmp_path) as one:
        one.append("a", START_MS, [1.0]).result()
        proxy.commits_to_hide = 1
        one.append("a", START_MS + 1, [2.0]).result(20)
        assert one.writer.figures()["writes_spooled_total"] == 1
        wait_for(is_there(one))
        one.append("a", START_MS + 2, [3.0]).result()
    proxy.close()
    assert [value for _, _, value in stored(direct)] == [1.0, 2.0, 3.0]
    assert rows(direct, ONCE) == []


def test_a_server_killed_while_many_write(hurt: PostgresServer, tmp_path: Path) -> None:
    """Every number of every target that was acknowledged is there once: kill -9, and `pg_ctl -m immediate`."""
    dsn = hurt.dsn()
    acknowledged: dict[str, list[int]] = {}
    stopping = threading.Event()

    def count(one: Process, target: str) -> None:
        numbers = acknowledged.setdefault(target, [])
        for number in itertools.count():
            one.append(target, START_MS + number, [float(number)] * 20).result(60)
            numbers.append(number)
            if stopping.is_set():
                return
            time.sleep(0.002)

    def wait_for_more(numbers: int) -> None:
        reached = min(map(len, acknowledged.values()))
        wait_for(lambda: min(map(len, acknowledged.values())) > reached + numbers)

    with process(dsn, tmp_path / "a", delay_s=0.01) as a, process(dsn, tmp_path / "b", delay_s=0.01) as b:
        threads = [
            threading.Thread(target=count, args=(one, f"{name}{n}"))
            for n in range(3)
            for name, one in (("a", a), ("b", b))
        ]
        for thread in threads:
            thread.start()
        for how in (hurt.kill9, hurt.kill9, lambda: hurt.stop("immediate")):
            wait_for(lambda: a.writer.last_write > 3)
            wait_for_more(20)
            how()
            wait_for_more(5)
            hurt.start()
            wait_for(is_there(a))
            wait_for(is_there(b))
        stopping.set()
        for thread in threads:
            thread.join()
    assert rows(dsn, ONCE) == []
    found: dict[str, list[int]] = {}
    numbers = (
        "SELECT labels ->> 'instance', v[20] FROM fleetwatch_data.journal "
        "JOIN fleetwatch_data.targets USING (target_id) ORDER BY seq"
    )
    for target, value in rows(dsn, numbers):
        found.setdefault(str(target), []).append(int(value))
    assert found == acknowledged


def test_a_run_that_was_killed_is_continued_by_the_next(hurt: PostgresServer, tmp_path: Path) -> None:
    dsn = hurt.dsn()
    with process(dsn, tmp_path) as one:
        one.append("a", START_MS, [1.0]).result()
        hurt.stop()
        for n in range(1, 4):
            one.append("a", START_MS + n, [float(n)]).result(20)
    with process(dsn, tmp_path) as one:
        one.append("a", START_MS + 4, [4.0]).result(20)
        assert one.writer.figures()["spool_records"] == 4
        hurt.start()
        wait_for(is_there(one))
        assert [seq for _, seq in one.shown] == [0]
    assert [time_ms - START_MS for _, time_ms, _ in stored(dsn)] == [0, 1, 2, 3, 4]
    assert rows(dsn, "SELECT last_write FROM fleetwatch_data.writers ORDER BY 1") == [(1,), (4,)]


def test_back_pressure(hurt: PostgresServer, tmp_path: Path) -> None:
    """When the spool is full too, whoever appends is told; what was told to be stored is stored."""
    dsn = hurt.dsn()
    hurt.stop()
    kept, refused = [], 0
    random = np.random.default_rng(1)
    with process(dsn, tmp_path, spool_bytes=40_000) as one:
        for n in range(100):
            try:
                one.append("a", START_MS + n, random.normal(size=100).tolist()).result(20)
                kept.append(n)
            except WriteRefusedError as error:
                assert "the spool" in str(error)  # noqa: PT017
                refused += 1
        assert refused > 10
        assert one.writer.figures()["batches_refused_total"] == refused
        hurt.start()
        wait_for(is_there(one))
        one.append("a", START_MS + 100, [1.0]).result()
    assert sorted({time_ms - START_MS for _, time_ms, _ in stored(dsn)}) == [*kept, 100]


def test_memory_is_bounded(timescale_dsn: str, tmp_path: Path) -> None:
    dsn = timescale_dsn
    one = Process(dsn, tmp_path, max_bytes=100_000)
    futures: list[Future[None]] = [one.append("a", START_MS + n, [1.0] * 1000) for n in range(20)]
    assert one.writer.figures()["write_queue_bytes"] <= 100_000
    one.writer.start()
    results = [future.exception(20) for future in futures]
    taken = results.index(next(error for error in results if error is not None))
    assert taken == 12
    assert all(
        isinstance(error, WriteRefusedError) and "slower than what comes in" in str(error) for error in results[taken:]
    )
    one.close()
    assert len(stored(dsn)) == 1000 * taken
    with pytest.raises(StoreClosedError):
        one.append("a", START_MS, [1.0])


# Connections


def _ask_a_stopped_one(connections: Connections, stopped: list[psutil.Process]) -> None:
    with connections.transaction(timeout_s=0.5) as connection:
        stopped.append(psutil.Process(connection.info.backend_pid))
        stopped[0].suspend()
        connection.execute("SELECT 1")


def test_a_server_that_does_not_answer(hurt: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, it neither answers nor hangs up: the client does."""
    monkeypatch.setattr("tsdb.timescale.connections._GRACE_S", 0.5)
    connections = Connections(hurt.dsn())
    stopped: list[psutil.Process] = []
    started = time.monotonic()
    with pytest.raises(psycopg.OperationalError) as caught:
        _ask_a_stopped_one(connections, stopped)
    assert is_away(caught.value)
    assert time.monotonic() - started < 5
    stopped[0].resume()
    with connections.transaction() as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
    connections.close()


def test_ends_of_connections(timescale_server: PostgresServer, timescale_dsn: str) -> None:
    connections = Connections(timescale_dsn)
    with connections.transaction() as connection, connections.transaction(snapshot=True) as other:
        assert connection.execute("SHOW transaction_isolation").fetchall() == [("read committed",)]
        assert other.execute("SHOW transaction_read_only").fetchall() == [("on",)]
    own = "application_name = 'fleetwatch' AND datname = current_database()"
    rows(timescale_dsn, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {own}")
    for snapshot in (False, True):
        with connections.transaction(snapshot=snapshot) as connection:
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.errors.QueryCanceled) as caught, connections.transaction(timeout_s=0.1) as connection:
        connection.execute("SELECT pg_sleep(5)")
    assert not is_away(caught.value)
    with pytest.raises(psycopg.errors.DivisionByZero), connections.transaction() as connection:
        connection.execute("CREATE TABLE never (); SELECT 1 / 0")
    assert rows(timescale_dsn, "SELECT count(*) FROM pg_tables WHERE tablename = 'never'") == [(0,)]
    connections.close()
    nowhere = Connections(timescale_dsn.replace(f":{timescale_server.port}/", ":1/"))
    started = time.monotonic()
    with pytest.raises(psycopg.OperationalError, match="Connection refused") as refused, nowhere.transaction():
        pass
    assert is_away(refused.value)
    assert time.monotonic() - started < 2
    nowhere.close()


def test_a_spool_of_nobody(tmp_path: Path) -> None:
    """A writer that never began ends, with what it was given in the spool."""
    one = Process("postgresql://postgres@127.0.0.1:1/x", tmp_path)
    future = one.append("a", START_MS, [1.0])
    one.close()
    assert future.result() is None
    spool = Spool(tmp_path, 1 << 20)
    assert not spool.empty
    spool.close()
