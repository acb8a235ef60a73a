"""Exemplars in SQLite: the rows that the ring in memory is filled from at the start.

What entered the ring is written by whatever transaction comes next. Rows that the ring has pushed out are removed by
their numbers: as many stay as the ring holds.
"""

import math
import sqlite3
import threading
from collections import deque
from collections.abc import Iterable

import orjson

from common.labels import Labels
from tsdb.exemplars import ExemplarRing
from tsdb.model import SeriesExemplar


class ExemplarRows:
    """Keeps the table in step with a ring. `add` is for any thread, the rest for the writer's."""

    def __init__(self, ring: ExemplarRing) -> None:
        self._ring = ring
        self._lock = threading.Lock()
        # What the ring pushes out before it was written need not be written.
        self._waiting: deque[SeriesExemplar] = deque(maxlen=ring.capacity)
        self._written: deque[SeriesExemplar] = deque(maxlen=ring.capacity)

    def load(self, connection: sqlite3.Connection) -> None:
        """Fill an empty ring with the latest rows."""
        rows = connection.execute(
            "SELECT series_id, time_ms, value, labels FROM exemplars ORDER BY exemplar_id DESC LIMIT ?",
            (self._ring.capacity,),
        ).fetchall()
        self._ring.restore(
            SeriesExemplar(series_id, time_ms, math.nan if value is None else value, Labels.of(orjson.loads(labels)))
            for series_id, time_ms, value, labels in reversed(rows)
        )

    def add(self, exemplars: Iterable[SeriesExemplar]) -> bool:
        """Take exemplars into the ring; whether any are there to be written by the next transaction."""
        with self._lock:
            self._waiting.extend(self._ring.add(exemplars))
            return bool(self._waiting)

    def write(self, connection: sqlite3.Connection) -> None:
        """Write what waits, and remove what the ring has no room for. It counts once `committed` was called."""
        with self._lock:
            self._written.extend(self._waiting)
            self._waiting.clear()
        if not self._written:
            return
        connection.executemany(
            "INSERT INTO exemplars (series_id, time_ms, value, labels) VALUES (?, ?, ?, ?)",
            [
                (
                    exemplar.series_id,
                    exemplar.time_ms,
                    None if math.isnan(exemplar.value) else exemplar.value,
                    orjson.dumps(dict(exemplar.labels)).decode(),
                )
                for exemplar in self._written
            ],
        )
        connection.execute(
            "DELETE FROM exemplars WHERE exemplar_id <= (SELECT max(exemplar_id) FROM exemplars) - ?",
            (self._ring.capacity,),
        )

    def committed(self) -> None:
        """What the last `write` wrote is durable."""
        self._written.clear()
