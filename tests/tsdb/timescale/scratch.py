"""A database with our tables, written to and read without the code under test: rows of the journal, plain SQL."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np
import psycopg

from common.labels import Labels
from tests.pglite.server import PGliteServer
from tests.postgres import PostgresServer
from tsdb.model import ABSENT_BITS, Batch, IntArray, Layout
from tsdb.timescale.connections import Connections
from tsdb.timescale.copying import JournalRow, copy_journal
from tsdb.timescale.migrate import migrate

Sample = tuple[int, int]
"""Series and time."""

BLOCK_SAMPLES = """
SELECT sid, (extract(epoch FROM ts) * 1000)::bigint + (place - 1) * step + coalesce(dt[place], 0), seq,
    ('x' || encode(float8send(value), 'hex'))::bit(64)::bigint
FROM fleetwatch_data.block CROSS JOIN LATERAL unnest(v) WITH ORDINALITY AS sample(value, place)
"""

JOURNAL_SAMPLES = """
SELECT sids[place], (extract(epoch FROM coalesce(times[place], time)) * 1000)::bigint, seq,
    ('x' || encode(float8send(value), 'hex'))::bit(64)::bigint
FROM fleetwatch_data.journal JOIN fleetwatch_data.layouts USING (layout_id)
CROSS JOIN LATERAL unnest(v) WITH ORDINALITY AS sample(value, place)
"""


Server = PostgresServer | PGliteServer

_templates: dict[PostgresServer, str] = {}


class Scratch:
    """A database of one test."""

    def __init__(self, dsn: str, most_connections: int = 6) -> None:
        self.dsn = dsn
        self.connections = Connections(dsn, size=most_connections)
        self._own = psycopg.connect(dsn, autocommit=True, prepare_threshold=None)

    def close(self) -> None:
        """Close all connections."""
        self._own.close()
        self.connections.close()

    def sql(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """The rows of a statement, if it has any."""
        cursor = self._own.execute(query.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def number(self, query: str, *parameters: object) -> int:
        """The one number that a query gives."""
        ((value,),) = self.sql(query, *parameters)
        return int(str(value))

    def target(self, name: str) -> int:
        """A new target."""
        labels = json.dumps({"instance": name})
        digest = hashlib.sha256(labels.encode()).digest()
        query = "INSERT INTO fleetwatch_data.targets (hash, labels) VALUES (%s, %s) RETURNING target_id"
        return self.number(query, digest, labels)

    def series(self, target_id: int, count: int, name: str = "x", **labels: str) -> IntArray:
        """The sids of new series of a target."""
        sets = [Labels.of(__name__=name, target=str(target_id), n=str(n), **labels).as_dict() for n in range(count)]
        texts = [json.dumps(one) for one in sets]
        digests = [hashlib.sha256(text.encode()).digest() for text in texts]
        rows = self.sql(
            "INSERT INTO fleetwatch_data.series (hash, labels, target_id, created_at) "
            "SELECT hash, labels::jsonb, %s, now() - interval '1 month' "
            "FROM unnest(%s::bytea[], %s::text[]) AS new(hash, labels) RETURNING sid",
            target_id,
            digests,
            texts,
        )
        return np.array([row[0] for row in rows], dtype=np.int64)

    def write(
        self,
        target_id: int,
        sids: IntArray,
        time_ms: int,
        values: Sequence[float],
        times_ms: Sequence[int] | None = None,
    ) -> int:
        """A row of the journal, committed: its number."""
        (seq,) = self.write_rows([(target_id, sids, time_ms, np.array(values, dtype=np.float64), times_ms)])
        return seq

    def write_rows(
        self,
        rows: Sequence[tuple[int, IntArray, int, "np.ndarray[tuple[int], np.dtype[np.float64]]", Sequence[int] | None]],
    ) -> list[int]:
        """Rows of the journal in one transaction: their numbers."""
        layout_ids = {id(sids): self.layout(sids) for _, sids, *_ in rows}
        with self.connections.transaction() as connection:
            numbers = connection.execute(
                "SELECT nextval('fleetwatch_data.journal_seq') FROM generate_series(1, %s)", (len(rows),)
            ).fetchall()
            seqs = [int(str(number)) for (number,) in numbers]
            copy_journal(
                connection,
                [
                    JournalRow(
                        seq,
                        1,
                        seq,
                        target_id,
                        layout_ids[id(sids)],
                        Batch(
                            target_id,
                            Layout(layout_ids[id(sids)], sids),
                            time_ms,
                            values,
                            None if times_ms is None else np.array(times_ms, dtype=np.int64),
                        ),
                    )
                    for seq, (target_id, sids, time_ms, values, times_ms) in zip(seqs, rows, strict=True)
                ],
            )
        return seqs

    def layout(self, sids: IntArray) -> int:
        """The number of a layout, made where there is none."""
        return self.number(
            "INSERT INTO fleetwatch_data.layouts AS known (hash, sids) VALUES (%s, %s) "
            "ON CONFLICT (hash) DO UPDATE SET hash = known.hash RETURNING layout_id",
            hashlib.sha256(sids.astype("<i8").tobytes()).digest(),
            sids.tolist(),
        )

    def samples(self, after_seq: int = 0) -> dict[Sample, int]:
        """The bits of every sample that a reader finds: of each series and time what was written last.

        With `after_seq`, of what has greater numbers.
        """
        found: dict[Sample, tuple[int, int]] = {}
        for sid, time_ms, seq, bits in self.sql(f"{BLOCK_SAMPLES} UNION ALL {JOURNAL_SAMPLES}"):
            if not (
                isinstance(sid, int) and isinstance(time_ms, int) and isinstance(seq, int) and isinstance(bits, int)
            ):
                raise TypeError("the query gives numbers")
            if bits != ABSENT_BITS and found.get((sid, time_ms), (after_seq, 0))[0] < seq:
                found[sid, time_ms] = seq, bits
        return {sample: bits for sample, (_, bits) in found.items()}

    def counts(self) -> tuple[int, int]:
        """How many rows the journal and the blocks have."""
        journal = self.number("SELECT count(*) FROM fleetwatch_data.journal")
        return journal, self.number("SELECT count(*) FROM fleetwatch_data.block")


@contextlib.contextmanager
def scratch(server: Server) -> Iterator[Scratch]:
    """A new database with our tables."""
    if isinstance(server, PGliteServer):
        dsn = server.create_database()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        migrate(dsn)
        database = Scratch(dsn, most_connections=1)
    else:
        if server not in _templates:
            _templates[server] = server.create_database()
            migrate(_templates[server])
        database = Scratch(server.create_database(template=_templates[server]))
    try:
        yield database
    finally:
        database.close()
