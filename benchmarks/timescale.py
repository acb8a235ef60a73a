"""The store in a database: write path, sealing, bytes per sample, and maintenance that keeps up.

    python -m benchmarks.timescale --dsn postgresql://postgres@127.0.0.1/postgres
    python -m benchmarks.timescale --dsn DSN --bodies DIR        bodies in the text format, named by time: <ms>.txt
    python -m benchmarks.timescale --dsn DSN --minutes 10        how long maintenance has to keep up

The DSN is of a user who may make databases; one is made and dropped. "CPU" of the database is that of all processes of
the server, and is known only where it runs on this machine. Goals: writing at 80 % or more of COPY of the same rows as
they are, and 5 M samples/s or more; sealing at 5 M samples/s or more; 35,000 samples/s at 3 % of a core of the database
or less, sealing included; 2.2 bytes a sample or less in blocks; maintenance keeps up with twice that rate while
readers read, without a deadlock.
"""

import argparse
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import psutil
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from benchmarks.block_size import read as read_bodies
from benchmarks.embedded import SCRAPE_MS, host_samples
from common.labels import Labels
from common.matchers import Matcher
from tsdb.model import Batch, FloatArray, Layout
from tsdb.timescale.block_rows import WINDOW_MS
from tsdb.timescale.connections import Connections
from tsdb.timescale.copying import JournalRow, encode
from tsdb.timescale.maintenance import Maintenance, Plan
from tsdb.timescale.options import Options
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.sealing import Sealing
from tsdb.timescale.store import TimescaleStore

SERIES = 520
ROWS = WINDOW_MS // SCRAPE_MS
RATE = 35_000
COPY = """
COPY fleetwatch_data.journal (seq, writer_id, write_no, target_id, time, layout_id, v, times) FROM STDIN (FORMAT binary)
"""
BACKEND = """
SELECT pg_backend_pid(), inet_server_addr() IS NULL OR inet_server_addr() = inet_client_addr()
"""
INDENT = " " * 24
ROWS_A_COPY = 480

Scraped = list[tuple[int, Layout]]


class Server:
    """The server under test, and what its processes have taken of the processor."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._connection = psycopg.connect(dsn, autocommit=True)
        row = self._connection.execute(BACKEND).fetchone()
        pid, is_local = row or (0, False)
        self._process = psutil.Process(pid).parent() if is_local and psutil.pid_exists(pid) else None

    def cpu_s(self) -> float:
        """Seconds until now; 0 where they are not known."""
        if self._process is None:
            return 0.0
        spent = self._process.cpu_times()
        total = spent.user + spent.system + spent.children_user + spent.children_system
        for child in self._process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(child.cpu_times()[:2])
        return total

    def number(self, query: str) -> int:
        """The one number that a query gives."""
        row = self._connection.execute(query.encode()).fetchone()
        return int(row[0]) if row and row[0] is not None else 0

    def rows(self, query: str) -> list[tuple[int, ...]]:
        """The numbers that a query gives."""
        return self._connection.execute(query.encode()).fetchall()

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", required=True, help="of a user who may make databases")
    parser.add_argument("--targets", type=int, default=80, help=f"of {SERIES} series each, written and sealed")
    parser.add_argument("--bodies", type=Path, help="recorded bodies, for the bytes per sample")
    parser.add_argument("--minutes", type=float, default=2, help="of maintenance at twice the rate; 0: skip it")
    options = parser.parse_args()
    with database(options.dsn) as server, tempfile.TemporaryDirectory() as spool:
        measure_writes(server, Path(spool), options.targets)
        measure_sealing(server)
    if options.bodies is not None:
        with database(options.dsn) as server, tempfile.TemporaryDirectory() as spool:
            measure_size(server, Path(spool), options.bodies)
    if options.minutes:
        with database(options.dsn) as server, tempfile.TemporaryDirectory() as spool:
            measure_maintenance(server, Path(spool), options.minutes * 60)


@contextlib.contextmanager
def database(dsn: str) -> Iterator[Server]:
    """A database of our own."""
    name = f"fleetwatch_benchmark_{os.getpid()}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
        server = Server(make_conninfo(dsn, dbname=name))
        try:
            yield server
        finally:
            server.close()
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def opened(server: Server, spool: Path) -> TimescaleStore:
    return TimescaleStore(server.dsn, Options(spool=spool / "spool", head_ms=0))


def scraped(store: TimescaleStore, hosts: int) -> Scraped:
    targets = []
    for host in range(hosts):
        instance = f"host{host}:9100"
        labels = [
            Labels.of(__name__=f"node_metric_{n // 10}", device=f"dev{n % 10}", instance=instance, job="node")
            for n in range(SERIES)
        ]
        targets.append(
            (store.register_target(Labels.of(instance=instance, job="node")), store.layout(store.series_ids(labels)))
        )
    return targets


def measure_writes(server: Server, spool: Path, hosts: int) -> None:
    matrix = host_samples(ROWS)[:, :SERIES].copy()
    samples = hosts * matrix.size
    print(f"{hosts} targets, {SERIES} series each, {ROWS} scrapes: {samples / 1e6:.1f} M samples")
    with contextlib.closing(opened(server, spool)) as store:
        targets = scraped(store, hosts)
        start_ms = time.time_ns() // 1_000_000 - 3 * WINDOW_MS
        # Numbers of series, targets and layouts are found before.
        append(store, targets, matrix[:1], start_ms - SCRAPE_MS)
        store_s = report("write path", server, samples, lambda: append(store, targets, matrix, start_ms))
    at_once = max(1, ROWS_A_COPY // hosts)
    parts = [(matrix[row : row + at_once], start_ms + row * SCRAPE_MS) for row in range(0, ROWS, at_once)]
    copies = [copied(server, *part) for part in parts]
    encoded_s = report("COPY, encoded before", server, samples, lambda: copy(server, copies))
    raw_s = report(
        "COPY, encoded for it", server, samples, lambda: copy(server, (copied(server, *one) for one in parts))
    )
    print(f"{INDENT}the write path is at {raw_s / store_s:.0%} of COPY, {encoded_s / store_s:.0%} of bytes made before")
    server.number("WITH gone AS (DELETE FROM fleetwatch_data.journal WHERE writer_id = 0) SELECT 0")


def copied(server: Server, matrix: FloatArray, start_ms: int) -> bytes:
    """Scrapes of all targets, as COPY takes them."""
    rows = []
    for target_id, layout_id in server.rows("SELECT DISTINCT target_id, layout_id FROM fleetwatch_data.journal"):
        layout = Layout(layout_id, np.arange(matrix.shape[1]))
        for row, values in enumerate(matrix):
            batch = Batch(target_id, layout, start_ms + row * SCRAPE_MS, values)
            rows.append(JournalRow(0, 0, 0, target_id, layout_id, batch))
    return encode(rows)


def copy(server: Server, bodies: Iterable[bytes]) -> None:
    with psycopg.connect(server.dsn) as connection:
        for body in bodies:
            with connection.cursor() as cursor, cursor.copy(COPY) as stream:
                stream.write(body)
            connection.commit()


def append(store: TimescaleStore, targets: Scraped, matrix: FloatArray, start_ms: int) -> None:
    futures: list[Future[None]] = []
    for row, values in enumerate(matrix):
        futures += [
            store.append(Batch(target_id, layout, start_ms + row * SCRAPE_MS, values)) for target_id, layout in targets
        ]
        if len(futures) >= 4 * ROWS_A_COPY:
            futures.pop(0).result()
            while futures and futures[0].done():
                futures.pop(0).result()
    for future in futures:
        future.result()


def measure_sealing(server: Server) -> None:
    sealing = Sealing(Connections(server.dsn), Partitions(), delay_ms=0, settle_s=0)
    now_ms = time.time_ns() // 1_000_000 + 2 * WINDOW_MS
    samples = server.number(f"SELECT {SERIES} * count(*) FROM fleetwatch_data.journal")
    report("seal", server, samples, lambda: seal(sealing, now_ms))
    began = time.perf_counter()
    sealing.due(now_ms)
    print(f"{INDENT}{(time.perf_counter() - began) * 1000:.1f} ms to see that nothing is due")
    sizes(server, samples)


def seal(sealing: Sealing, now_ms: int) -> None:
    for target in sealing.due(now_ms):
        while sealing.seal(target.target_id, target.before_ms).more:
            pass


def sizes(server: Server, samples: int) -> None:
    parts = "FROM fleetwatch_data.parts WHERE relation = 'block'"
    for what, function in (("values, times", "pg_table_size"), ("index", "pg_indexes_size")):
        size = server.number(f"SELECT sum({function}(part)) {parts}")
        print(f"{INDENT}{size / samples:.3f} bytes a sample in blocks: {what}")


def measure_size(server: Server, spool: Path, bodies: Path) -> None:
    """Of recorded scrapes, with their own series and times, as those of ten hosts."""
    scrapes = read_bodies(bodies, 10)
    samples = sum([len(scrape.values) for scrape in scrapes])
    print(f"{len(scrapes)} recorded scrapes of {bodies}: {samples / 1e6:.1f} M samples")
    moved_ms = (time.time_ns() // 1_000_000 - 2 * WINDOW_MS - scrapes[-1].time_ms) // SCRAPE_MS * SCRAPE_MS
    with contextlib.closing(opened(server, spool)) as store:
        for first in range(0, len(scrapes), 1000):
            futures = []
            for scrape in scrapes[first : first + 1000]:
                target_id, layout = store.register_target(scrape.host), store.layout(store.series_ids(scrape.labels))
                batch = Batch(target_id, layout, scrape.time_ms + moved_ms, np.array(scrape.values))
                futures.append(store.append(batch))
            for future in futures:
                future.result()
    connections = Connections(server.dsn)
    seal(Sealing(connections, Partitions(), delay_ms=0, settle_s=0), time.time_ns() // 1_000_000 + WINDOW_MS)
    print(f"{INDENT}all, windows at both ends of the recording included:")
    sizes(server, samples)
    # A host that is scraped all the time has whole windows alone.
    with connections.transaction() as connection:
        connection.execute("DELETE FROM fleetwatch_data.block WHERE array_length(v, 1) <> %s", (ROWS,))
    with connections.transaction() as connection:
        for part in Partitions().parts(connection):
            if part.relation == "block":
                Partitions().rewrite(connection, "block", part.name)
    print(f"{INDENT}whole windows:")
    sizes(server, server.number("SELECT sum(array_length(v, 1)) FROM fleetwatch_data.block"))


class Load:
    """Scrapes at twice the rate, faster than the clock: those of 20 targets come as often as 2000 have them."""

    hosts = 20
    tick_s = hosts * SERIES / (2 * RATE)
    speed = SCRAPE_MS / 1000 / tick_s

    def __init__(self, store: TimescaleStore, seconds: float) -> None:
        self._store = store
        self._matrix = host_samples(ROWS)[:, :SERIES].copy()
        self._targets = scraped(store, self.hosts)
        self._start_ms = time.time_ns() // 1_000_000 - int(seconds / self.tick_s) * SCRAPE_MS - WINDOW_MS
        append(store, self._targets, self._matrix[:1], self._start_ms - SCRAPE_MS)
        self.rows = 0

    @property
    def now_ms(self) -> int:
        """The time of the next scrapes."""
        return self._start_ms + self.rows * SCRAPE_MS

    def run(self, seconds: float) -> None:
        """Write at a steady pace, whether the last writes are done or not."""
        began = time.perf_counter()
        futures: list[Future[None]] = []
        while time.perf_counter() < began + seconds:
            values = self._matrix[self.rows % ROWS]
            futures += [
                self._store.append(Batch(number, layout, self.now_ms, values)) for number, layout in self._targets
            ]
            self.rows += 1
            while futures and futures[0].done():
                futures.pop(0).result()
            time.sleep(max(0.0, began + self.rows * self.tick_s - time.perf_counter()))
        for future in futures:
            future.result()


def measure_maintenance(server: Server, spool: Path, seconds: float) -> None:
    print(
        f"{seconds:.0f} s of {2 * RATE:,} samples/s, {Load.speed:.0f} times as fast as the clock, "
        "with maintenance and two readers"
    )
    lags: list[float] = []
    selects: list[float] = []
    plan = Plan(sealing_delay_ms=5 * SCRAPE_MS, settle_s=0.5)
    maintenance = Maintenance(Connections(server.dsn), Partitions(), plan)
    with contextlib.closing(opened(server, spool)) as store:
        load, done = Load(store, seconds), threading.Event()
        threads = [
            threading.Thread(target=repeat, args=(done, 0.5, lambda: lags.append(maintain(maintenance, load.now_ms)))),
            threading.Thread(target=repeat, args=(done, 0.05, lambda: selects.append(select(store, load.now_ms, 1)))),
            threading.Thread(target=repeat, args=(done, 0.05, lambda: selects.append(select(store, load.now_ms, 2)))),
        ]
        cpu_s = server.cpu_s()
        for thread in threads:
            thread.start()
        load.run(seconds)
        cpu_s = server.cpu_s() - cpu_s
        done.set()
        for thread in threads:
            thread.join()
    figures = maintenance.figures()
    deadlocks = server.number("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    parts = [f"{max(part, default=0) / load.speed:.2f} s" for part in np.array_split(lags, 4)]
    p50, p99 = np.percentile(selects, (50, 99)) * 1000
    written, sealed = load.rows * load.hosts * SERIES / seconds, figures["sealed_samples_total"] / seconds
    print(f"{INDENT}{written:,.0f} samples/s written, {sealed:,.0f} sealed")
    print(f"{INDENT}lag of sealing by quarters, at most: {', '.join(parts)}")
    print(f"{INDENT}{len(selects)} selects of 200 series over 2 h: p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    print(f"{INDENT}{figures['maintenance_failures_total']:.0f} failures, {deadlocks} deadlocks")
    print(f"{INDENT}{cpu_s / seconds:.1%} of a core of the database, reads included")


def repeat(done: threading.Event, every_s: float, action: Callable[[], object]) -> None:
    while not done.wait(every_s):
        action()


def maintain(maintenance: Maintenance, now_ms: int) -> float:
    maintenance.run(now_ms)
    return maintenance.figures()["sealing_lag_seconds"]


def select(store: TimescaleStore, now_ms: int, metric: int) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    store.select([Matcher.equal("__name__", f"node_metric_{metric}")], now_ms - WINDOW_MS, now_ms)
    return time.perf_counter() - began


def report(what: str, server: Server, samples: int, call: Callable[[], object]) -> float:
    """Seconds that it takes."""
    cpu_s, client_s, began = server.cpu_s(), time.process_time(), time.perf_counter()
    call()
    seconds, client_s = time.perf_counter() - began, time.process_time() - client_s
    cpu_s = server.cpu_s() - cpu_s
    print(
        f"{what:24}{seconds:8.2f} s {samples / seconds / 1e6:8.1f} M/s"
        f"   CPU: database {cpu_s / samples * 1e6:.3f} us a sample, {cpu_s / samples * RATE:.2%} of a core at "
        f"{RATE:,}/s; client {client_s / samples * 1e6:.3f} us"
    )
    return seconds


if __name__ == "__main__":
    main()
