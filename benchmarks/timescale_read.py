"""Reading from the store in a database: out of blocks, the journal and the head, in SQL's planning, and by PromQL.

    python -m benchmarks.timescale_read --dsn postgresql://postgres@127.0.0.1/postgres
    python -m benchmarks.timescale_read --dsn DSN --profile       where the time of a read of blocks goes

The DSN is of a user who may make databases; one is made and dropped. In it are 1000 targets of 5 series each with 24 h
of blocks at 15 s, journal rows of the last hour, and 90 days of chunks with little in them. A third of the series
change. Goals: 1000 series x 1 h below 60 ms from blocks and 20 ms from the head, PromQL over 1000 series x 24 h below
1 s, planning below 20 ms.
"""

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from common.labels import Labels
from common.matchers import Matcher, MatchType
from promql import Engine
from tsdb.model import Batch, IntArray, Layout
from tsdb.pieces import Piece
from tsdb.timescale import block_rows
from tsdb.timescale.block_rows import WINDOW_MS
from tsdb.timescale.connections import Connections
from tsdb.timescale.options import Options
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.store import TimescaleStore

TARGETS, SERIES = 1000, 5
SCRAPE_MS = 15_000
HOUR_MS, DAY_MS = 3600 * 1000, 24 * 3600 * 1000
DAYS = 90
METRIC = [Matcher.equal("__name__", "metric_0")]

PLAN = """
EXPLAIN (SUMMARY, FORMAT JSON) SELECT sid, ts, seq, step, dt, v FROM fleetwatch_data.block
WHERE sid = ANY((SELECT %s::bigint[])::bigint[]) AND ts > to_timestamp(%s) AND ts <= to_timestamp(%s)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", required=True, help="of a user who may make databases")
    parser.add_argument("--profile", action="store_true", help="show where the time of a read of blocks goes")
    options = parser.parse_args()
    with made_database(options.dsn) as dsn, tempfile.TemporaryDirectory() as directory:
        # Blocks end here; the journal has the hour after.
        end_ms = time.time_ns() // 1_000_000 // WINDOW_MS * WINDOW_MS - WINDOW_MS
        fill(dsn, Path(directory) / "filling", end_ms)
        store = TimescaleStore(dsn, Options(Path(directory) / "blocks", head_ms=0))
        measure(store, end_ms)
        planning(dsn, end_ms)
        if options.profile:
            with cProfile.Profile() as profile:
                store.select(METRIC, end_ms - 24 * HOUR_MS, end_ms)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(30)
        store.close()
        measure_head(dsn, Path(directory) / "head", end_ms)


@contextmanager
def made_database(dsn: str) -> Iterator[str]:
    name = f"fleetwatch_read_{time.time_ns()}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
        try:
            yield make_conninfo(dsn, dbname=name)
        finally:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def fill(dsn: str, spool: Path, end_ms: int) -> None:
    store = TimescaleStore(dsn, Options(spool, head_ms=0, commit_delay_s=0))
    written = [target(store, number) for number in range(TARGETS)]
    random = np.random.default_rng(1)
    values = np.cumsum(random.integers(0, 50, (HOUR_MS // SCRAPE_MS, SERIES)), axis=0) * (np.arange(SERIES) % 3 == 0)
    for row, vector in enumerate(values.astype(np.float64)):
        for target_id, layout in written:
            last = store.append(Batch(target_id, layout, end_ms + row * SCRAPE_MS, vector))
        last.result()
    store.close()
    with psycopg.connect(dsn) as found:
        sids = np.array([row[0] for row in found.execute("SELECT sid FROM fleetwatch_data.series ORDER BY sid")])
    connections = Connections(dsn, size=1)
    for start_ms in range(end_ms - DAYS * DAY_MS, end_ms - DAY_MS, DAY_MS):
        put_blocks(connections, start_ms, sids[: TARGETS // 5], 8, random)
    for start_ms in range(end_ms - DAY_MS, end_ms, WINDOW_MS):
        put_blocks(connections, start_ms, sids, WINDOW_MS // SCRAPE_MS, random)
    connections.close()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE fleetwatch_data.block")
        connection.execute("VACUUM ANALYZE fleetwatch_data.journal")


def target(store: TimescaleStore, number: int) -> tuple[int, Layout]:
    instance = f"host{number}:9100"
    labels = [Labels.of(__name__=f"metric_{n}", job="node", instance=instance, mode="user") for n in range(SERIES)]
    return store.register_target(Labels.of(job="node", instance=instance)), store.layout(store.series_ids(labels))


def put_blocks(connections: Connections, start_ms: int, sids: IntArray, rows: int, random: np.random.Generator) -> None:
    times_ms = start_ms + np.arange(rows) * (WINDOW_MS // rows)
    values = np.cumsum(random.integers(0, 50, (len(sids), rows)), axis=1).astype(np.float64)
    values[np.arange(len(sids)) % 3 > 0] = 7.0
    piece = Piece(times_ms, np.ones(rows, dtype=np.int64), sids, values)
    with connections.transaction() as connection:
        Partitions().ensure(connection, "block", start_ms, start_ms)
        block_rows.copy(connection, block_rows.rows_of(piece, 1))


def measure(store: TimescaleStore, end_ms: int) -> None:
    blocks = "from blocks, 1000 series x"
    show(f"{blocks} 1 h (goal: 60 ms)", lambda: store.select(METRIC, end_ms - HOUR_MS, end_ms - 1))
    show(f"{blocks} 24 h", lambda: store.select(METRIC, end_ms - DAY_MS, end_ms - 1))
    show("from the journal, 1000 series x 1 h", lambda: store.select(METRIC, end_ms, end_ms + HOUR_MS))
    one = [Matcher.equal("instance", "host7:9100")]
    show("one target, 5 series x 24 h", lambda: store.select(one, end_ms - DAY_MS, end_ms))
    engine = Engine(store)

    def query() -> object:
        return engine.range("sum(rate(metric_0[5m]))", end_ms - DAY_MS, end_ms, 5 * 60_000)

    show("PromQL, sum(rate(...[5m])) of 1000 series x 24 h (goal: 1 s)", query)


def measure_head(dsn: str, spool: Path, end_ms: int) -> None:
    began = time.perf_counter()
    store = TimescaleStore(dsn, Options(spool, head_ms=time.time_ns() // 1_000_000 - end_ms))
    while not store.stats()["head_loaded"]:
        time.sleep(0.1)
    samples = store.stats()["head_samples"]
    print(f"{'loading the head':62} {time.perf_counter() - began:8.2f} s    {samples / 1e6:.1f} M samples")
    start_ms = end_ms + 60_000
    few = [Matcher("instance", MatchType.REGEX, "host1.?.?:9100|host[2-9].:9100|host[2-9]:9100")]
    show(
        "from the head, 5 series of 200 targets x 1 h (goal: 20 ms)",
        lambda: store.select(few, start_ms, end_ms + DAY_MS),
    )
    show("from the head, 1 series of 1000 targets x 1 h", lambda: store.select(METRIC, start_ms, end_ms + DAY_MS))
    store.close()


def planning(dsn: str, end_ms: int) -> None:
    def plan_ms(days: int) -> float:
        row = connection.execute(PLAN, (list(range(1, 1001)), end_ms / 1000 - days * 86_400, end_ms / 1000)).fetchone()
        return 0.0 if row is None else float(row[0][0]["Planning Time"])

    with psycopg.connect(dsn, prepare_threshold=None) as connection:
        for days in (1, DAYS):
            times = [plan_ms(days) for _ in range(10)]
            name = f"planning a read of {days} of {DAYS} days (goal: 20 ms)"
            print(f"{name:62} {statistics.median(times):8.1f} ms   least {min(times):.1f}")


def show(name: str, read: Callable[[], object], times: int = 7) -> None:
    taken = []
    used = time.process_time()
    for _ in range(times):
        began = time.perf_counter()
        read()
        taken.append((time.perf_counter() - began) * 1000)
    used = (time.process_time() - used) * 1000 / times
    print(f"{name:62} {statistics.median(taken):8.1f} ms   least {min(taken):.1f}, {used:.1f} ms of CPU here")


if __name__ == "__main__":
    main()
