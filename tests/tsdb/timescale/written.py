"""Samples written straight into the tables, as journal rows and blocks, and what SQL must read of them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import psycopg

from tsdb.model import ABSENT_BITS, STALE_NAN_BITS, FloatArray, server_id_of
from tsdb.timescale.partitions import Partitions

_JOURNAL = """
INSERT INTO fleetwatch_data.journal (seq, writer_id, write_no, target_id, time, layout_id, v, times)
VALUES (%s, 1, %s, %s, to_timestamp(%s / 1000.0), %s, %b::float8[],
        (SELECT array_agg(to_timestamp(x / 1000.0)) FROM unnest(%s::bigint[]) x))
"""
_BLOCK = """
INSERT INTO fleetwatch_data.block (ts, sid, seq, step, dt, v)
VALUES (to_timestamp(%s / 1000.0), %s, %s, %s, %s::int[], %b::float8[])
"""
_TARGET = "INSERT INTO fleetwatch_data.targets (hash, labels, server_id) VALUES (%s, %s, %s) RETURNING target_id"
_SERIES = "INSERT INTO fleetwatch_data.series (hash, labels, target_id) VALUES (%s, %s, %s) RETURNING sid"
_LAYOUT = "INSERT INTO fleetwatch_data.layouts (hash, sids) VALUES (%s, %s) RETURNING layout_id"
_SERVER = "INSERT INTO fleetwatch_data.servers (server_id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING"


def values(bits: Sequence[int]) -> FloatArray:
    """Floats of these bits."""
    return np.array(bits, dtype=np.uint64).view(np.float64)


@dataclass
class Written:
    """Writes, and remembers for each (sid, ms) the greatest seq with the bits of its value."""

    connection: psycopg.Connection
    last: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    seq: int = 0

    def target(self, name: str) -> int:
        """A new target with a server."""
        self._insert(_SERVER, server_id_of(name), name)
        labels = json.dumps({"instance": f"{name}:9100", "job": "node"})
        return self._insert(_TARGET, _hash(labels), labels, server_id_of(name))

    def series(self, target_id: int, labels: Mapping[str, str]) -> int:
        """A new series."""
        text = json.dumps(dict(labels))
        return self._insert(_SERIES, _hash(text), text, target_id)

    def layout(self, sids: Sequence[int]) -> int:
        """A new layout."""
        return self._insert(_LAYOUT, _hash(repr(sids)), list(sids))

    def scrape(
        self,
        target_id: int,
        layout_id: int,
        sids: Sequence[int],
        time_ms: int,
        samples: FloatArray,
        times_ms: Sequence[int] | None = None,
    ) -> None:
        """A row of the journal."""
        self.seq += 1
        own_times = None if times_ms is None else list(times_ms)
        self._insert(_JOURNAL, self.seq, self.seq, target_id, time_ms, layout_id, samples.tolist(), own_times)
        self._remember(sids, [time_ms] * len(sids) if times_ms is None else times_ms, samples)

    def block(
        self, sid: int, first_ms: int, step_ms: int, samples: FloatArray, offsets_ms: Sequence[int] | None = None
    ) -> None:
        """A row of blocks."""
        self.seq += 1
        Partitions().ensure(self.connection, "block", first_ms, first_ms)
        deviations = None if offsets_ms is None else list(offsets_ms)
        self._insert(_BLOCK, first_ms, sid, self.seq, step_ms, deviations, samples.tolist())
        grid = first_ms + np.arange(len(samples)) * step_ms
        times_ms = grid if offsets_ms is None else grid + np.array(offsets_ms)
        self._remember([sid] * len(samples), times_ms.tolist(), samples)

    def expected(self, from_ms: int, to_ms: int) -> dict[tuple[int, int], int]:
        """The bits of what is read, by (sid, ms)."""
        return {
            key: bits for key, (_, bits) in self.last.items() if from_ms <= key[1] < to_ms and bits != STALE_NAN_BITS
        }

    def _remember(self, sids: Sequence[int], times_ms: Sequence[int], samples: FloatArray) -> None:
        for sid, time_ms, bits in zip(sids, times_ms, samples.view(np.uint64).tolist(), strict=True):
            if bits != ABSENT_BITS:
                self.last[sid, time_ms] = (self.seq, bits)

    def _insert(self, statement: str, *parameters: object) -> int:
        cursor = self.connection.execute(statement.encode(), parameters)
        row = cursor.fetchone() if cursor.description else None
        return 0 if row is None else int(row[0])


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def read(connection: psycopg.Connection, query: str, *parameters: object) -> dict[tuple[int, int], int]:
    """The bits of the values that a query yields, by (sid, ms); a key that occurs twice is an error."""
    wrapped = (
        "SELECT series_id, (extract(epoch FROM time) * 1000)::bigint,"
        f" ('x' || encode(float8send(value), 'hex'))::bit(64)::bigint FROM ({query}) answer"
    )
    rows = connection.execute(wrapped.encode(), parameters).fetchall()
    found = {(sid, time_ms): bits % 2**64 for sid, time_ms, bits in rows}
    if len(found) != len(rows):
        raise AssertionError("a series has a time twice")
    return found
