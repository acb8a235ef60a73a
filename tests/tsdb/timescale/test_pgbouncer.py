"""PgBouncer in transaction mode between a store and its database: each transaction may be in another session."""

import contextlib
import threading
import time
from concurrent.futures import Future, wait
from pathlib import Path

import numpy as np

from common.labels import Labels
from common.matchers import Matcher
from tests.pgbouncer import pgbouncer
from tests.postgres import PostgresServer
from tests.tsdb.reading import read
from tsdb.model import Batch
from tsdb.timescale.connections import Connections
from tsdb.timescale.maintenance import Maintenance, Plan
from tsdb.timescale.migrate import migrate
from tsdb.timescale.options import Options
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.store import TimescaleStore

pytest_plugins = ["tests.databases"]

MATCHERS = [Matcher.equal("__name__", "x")]
SCRAPES, SERIES = 600, 20
DAY_MS = 24 * 3600 * 1000


def test_two_stores_write_seal_and_read_through_three_sessions(
    timescale_server: PostgresServer, tmp_path: Path
) -> None:
    server = timescale_server
    direct = server.create_database()
    server.sql("CREATE EXTENSION timescaledb", dsn=direct)
    migrate(direct)
    start_ms = time.time_ns() // 1_000_000 - DAY_MS
    with pgbouncer(server) as port, contextlib.ExitStack() as stack:
        dsn = direct.replace(f":{server.port}/", f":{port}/")
        scraper, reader = (
            stack.enter_context(
                contextlib.closing(TimescaleStore(dsn, Options(spool=tmp_path / name, head_ms=0, commit_delay_s=0.01)))
            )
            for name in ("scraper", "reader")
        )
        target = scraper.register_target(Labels.of(job="node", instance="a:1"))
        layout = scraper.layout(scraper.series_ids([Labels.of(__name__="x", n=str(n)) for n in range(SERIES)]))
        written: list[Future[None]] = []
        stop = threading.Event()
        reads: list[list[int]] = [[] for _ in range(4)]

        def read_on(counts: list[int]) -> None:
            while not stop.is_set():
                counts.append(sum(map(len, read(reader, MATCHERS, start_ms, start_ms + DAY_MS).values())))

        readers = [threading.Thread(target=read_on, args=(counts,)) for counts in reads]
        for thread in readers:
            thread.start()
        for number in range(SCRAPES):
            values = np.arange(float(SERIES)) + number / 4
            written.append(scraper.append(Batch(target, layout, start_ms + 15_000 * number, values)))
        assert not wait(written, 60).not_done
        with contextlib.closing(Connections(dsn)) as connections:
            Maintenance(connections, Partitions(), Plan(settle_s=0)).seal(start_ms + DAY_MS)
        stop.set()
        for thread in readers:
            thread.join()
        reader.catch_up()
        found = read(reader, MATCHERS, start_ms, start_ms + DAY_MS)
    assert {len(samples) for samples in found.values()} == {SCRAPES}
    assert all(counts and counts == sorted(counts) for counts in reads)
    sealed, waiting = server.sql(
        "SELECT (SELECT count(*) FROM fleetwatch_data.block), (SELECT count(*) FROM fleetwatch_data.journal)",
        dsn=direct,
    )[0]
    assert (sealed >= SERIES, waiting) == (True, 0)
    server.drop_database(direct)
