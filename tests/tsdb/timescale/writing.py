"""Writers to a database, each as a process of its own would have it, and what is in the database afterwards."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from common.labels import Labels
from tests.tsdb.timescale.scratch import JOURNAL_SAMPLES
from tsdb.catalog import Catalog
from tsdb.model import Batch, IntArray
from tsdb.timescale.connections import Connections
from tsdb.timescale.ids import Ids
from tsdb.timescale.spool import Spool
from tsdb.timescale.writing import MAX_BYTES, JournalWriter

START_MS = 1_700_000_000_000
SPOOL_BYTES = 1 << 24


class Process:
    """A catalog and a writer, without a store around them."""

    def __init__(
        self, dsn: str, spool: Path, *, delay_s: float = 0.0, spool_bytes: int = SPOOL_BYTES, max_bytes: int = MAX_BYTES
    ) -> None:
        self.catalog = Catalog()
        self.ids = Ids()
        self.connections = Connections(dsn)
        self.shown: list[tuple[Batch, int]] = []
        self.writer = JournalWriter(
            self.connections,
            self.catalog,
            self.ids,
            Spool(spool, spool_bytes),
            commit_delay_s=delay_s,
            shown=lambda batch, seq: self.shown.append((batch, seq)),
            max_bytes=max_bytes,
        )

    def batch(
        self,
        target: str,
        time_ms: int,
        values: Sequence[float],
        series: Sequence[Labels] = (),
        times_ms: IntArray | None = None,
    ) -> Batch:
        """A batch of a target's series, or of those that are named."""
        labels = series or [Labels.of(__name__="x", n=str(n), instance=target) for n in range(len(values))]
        layout = self.catalog.layout(self.catalog.index.ids(labels))
        target_id = self.catalog.target(Labels.of(job="node", instance=target))
        return Batch(target_id, layout, time_ms, np.array(values, dtype=np.float64), times_ms)

    def append(self, target: str, time_ms: int, values: Sequence[float], series: Sequence[Labels] = ()) -> Future[None]:
        """Append such a batch."""
        return self.writer.append(self.batch(target, time_ms, values, series))

    def close(self) -> None:
        """End as a process does."""
        self.writer.close()
        self.connections.close()


@contextlib.contextmanager
def process(dsn: str, spool: Path, **options: float) -> Iterator[Process]:
    """A process that has begun to write."""
    one = Process(dsn, spool, **options)  # type: ignore[arg-type]  # the test names them
    one.writer.start()
    try:
        yield one
    finally:
        one.close()


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    """What a query gives."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def stored(dsn: str) -> list[tuple[str, int, float]]:
    """Each sample in the journal, as often as it is there: labels, time, value."""
    query = f"""
    SELECT labels::text, time_ms, bits FROM ({JOURNAL_SAMPLES}) AS sample(sid, time_ms, seq, bits)
    JOIN fleetwatch_data.series USING (sid)
    """
    return sorted(
        (labels, time_ms, float(np.int64(bits).view(np.float64))) for labels, time_ms, bits in rows(dsn, query)
    )
