"""The journal's writer against COPY of the same rows: the writer alone, with all batches waiting when it begins.

    python -m benchmarks.timescale_write --dsn postgresql://postgres@127.0.0.1/postgres

Two thousand scrapes of 520 series each wait in memory; the clock runs from the writer's start until the last of them is
committed. COPY is sent bytes that were made before, on a connection of its own, as many rows a transaction and into the
same table, by turns with the writer. The DSN is of a user who may make databases; one is made and dropped. Goals: the
writer is at 80 % of COPY or more, and at 5 M samples/s or more.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from benchmarks.embedded import SCRAPE_MS, host_samples
from common.labels import Labels
from tsdb.catalog import Catalog
from tsdb.model import Batch
from tsdb.timescale import writing
from tsdb.timescale.connections import Connections
from tsdb.timescale.copying import JournalRow, encode
from tsdb.timescale.ids import Ids
from tsdb.timescale.migrate import migrate
from tsdb.timescale.spool import Spool

SERIES = 520
SCRAPES = 2000
COPY = """
COPY fleetwatch_data.journal (seq, writer_id, write_no, target_id, time, layout_id, v, times) FROM STDIN (FORMAT binary)
"""


def main() -> None:
    """Print a line for each size of a transaction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with database(arguments.dsn) as dsn:
        catalog, ids = Catalog(), Ids()
        batches = scrapes(catalog)
        write(dsn, catalog, ids, batches[:1])
        print(f"{SCRAPES} scrapes of {SERIES} series; M samples/s, median of {arguments.rounds} rounds (best)")
        for samples in (20_000, 50_000, 100_000, 250_000):
            writing._MOST_SAMPLES = samples  # what a transaction takes at most
            rows = -(-samples // SERIES)
            bodies = [body(catalog, ids, batches[at : at + rows]) for at in range(0, SCRAPES, rows)]
            writer, raw = [], []
            for _ in range(arguments.rounds):
                writer.append(write(dsn, catalog, ids, batches))
                raw.append(copy(dsn, bodies))
            of_raw = statistics.median(raw) / statistics.median(writer)
            print(
                f"{samples:7} a transaction   writer {rate(writer)}   COPY {rate(raw)}   writer at {of_raw:.0%} of COPY"
            )


def rate(seconds: Sequence[float]) -> str:
    """Samples a second, in millions."""
    samples = SCRAPES * SERIES / 1e6
    return f"{samples / statistics.median(seconds):5.1f} ({samples / min(seconds):5.1f})"


@contextlib.contextmanager
def database(dsn: str) -> Iterator[str]:
    """A new database with our tables."""
    name = f"fleetwatch_benchmark_{time.time_ns()}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
        try:
            made = make_conninfo(dsn, dbname=name)
            migrate(made)
            yield made
        finally:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def scrapes(catalog: Catalog) -> list[Batch]:
    """Of ten targets in turn."""
    matrix = host_samples(SCRAPES // 10)[:, :SERIES].copy()
    targets = []
    for host in range(10):
        labels = [Labels.of(__name__=f"m{n // 10}", n=str(n), instance=f"host{host}") for n in range(SERIES)]
        layout = catalog.layout(catalog.index.ids(labels))
        targets.append((catalog.target(Labels.of(instance=f"host{host}")), layout))
    start_ms = time.time_ns() // 1_000_000
    return [
        Batch(target_id, layout, start_ms + row * SCRAPE_MS, values)
        for row, values in enumerate(matrix)
        for target_id, layout in targets
    ]


def write(dsn: str, catalog: Catalog, ids: Ids, batches: Sequence[Batch]) -> float:
    """The seconds that a writer takes."""
    connections = Connections(dsn)
    with connections.transaction() as connection:  # a connection is there
        connection.execute("SELECT 1")
    with tempfile.TemporaryDirectory() as directory:
        spool = Spool(Path(directory), 1 << 20)
        writer = writing.JournalWriter(
            connections, catalog, ids, spool, commit_delay_s=0, shown=lambda batch, seq: None, max_bytes=1 << 30
        )
        writer.start()
        # Numbers of series, targets and layouts are found before.
        for future in [writer.append(batch) for batch in batches[:10]]:
            future.result()
        with writer._changed:  # nothing is taken meanwhile
            futures = [writer.append(batch) for batch in batches]
            began = time.perf_counter()
        for future in futures[::-1]:
            future.result()
        seconds = time.perf_counter() - began
        writer.close()
    connections.close()
    return seconds


def body(catalog: Catalog, ids: Ids, batches: Sequence[Batch]) -> bytes:
    """What COPY is sent for some batches."""
    return encode(
        [
            JournalRow(0, 0, 0, ids.target_id(batch.target_id) or 0, ids.layout_id(batch.layout) or 0, batch)
            for batch in batches
        ]
    )


def copy(dsn: str, bodies: Sequence[bytes]) -> float:
    """The seconds that COPY takes, a transaction each."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        began = time.perf_counter()
        for one in bodies:
            with connection.cursor() as cursor, cursor.copy(COPY) as stream:
                stream.write(one)
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
