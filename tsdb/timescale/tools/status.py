"""What is in a database and how large it is, as it is at one moment; of the samples only a few are looked at."""

import time
from dataclasses import dataclass, field

import psycopg

from tsdb.model import ABSENT_BITS
from tsdb.timescale.binary import at_least
from tsdb.timescale.migrate import check_schema, shortcomings
from tsdb.timescale.partitions import RELATIONS, Part, Partitions
from tsdb.timescale.tools.inspection import row_of

# Pages of a part that are read to tell how many samples it has: about a million.
_PAGES_READ = 500
_NEWEST_PARTS = 7

_WHERE = "SELECT current_database()::text, current_user::text, pg_database_size(current_database())"

_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"

_COUNTS = """
SELECT (SELECT count(*) FROM fleetwatch_data.series),
       (SELECT count(*) FROM fleetwatch_data.targets),
       (SELECT count(*) FROM fleetwatch_data.layouts),
       (SELECT count(*) FROM fleetwatch_data.journal),
       (SELECT count(*) FROM fleetwatch_data.tombstones)
"""

_OLDEST_WRITTEN = """
SELECT (extract(epoch FROM min(written_at)) * 1000)::bigint FROM fleetwatch_data.journal
WHERE written_at >= %s::timestamptz AND written_at < %s::timestamptz
"""

_SAMPLES = f"""
SELECT sum((SELECT count(*) FROM unnest(v) AS x WHERE float8send(x) <> '\\x{ABSENT_BITS:x}'))
FROM fleetwatch_data.block TABLESAMPLE SYSTEM (%s) REPEATABLE (1)
WHERE ts >= %s::timestamptz AND ts < %s::timestamptz
"""

_WRITERS = """
SELECT writer_id, name::text, last_write, (extract(epoch FROM seen_at) * 1000)::bigint
FROM fleetwatch_data.writers WHERE last_write > 0 ORDER BY seen_at DESC LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class TableSize:
    """A table divided by time: its parts, their bytes with indexes, and the time from the first to the last."""

    name: str
    parts: int
    bytes: int
    from_ms: int | None
    to_ms: int | None


@dataclass(frozen=True, slots=True)
class Writer:
    """A run of a process that has written: how many transactions, and when the last."""

    writer_id: int
    name: str
    writes: int
    seen_ms: int


@dataclass(frozen=True, slots=True)
class Status:
    """`samples` are those in blocks, about; `clock_ahead_s` is the database's clock less this host's."""

    server: str
    edition: str
    missing: list[str]
    database: str
    user: str
    schema_version: str
    bytes: int
    series: int
    targets: int
    layouts: int
    deletes: int
    journal_rows: int
    waiting_since_ms: int | None
    samples: int
    bytes_per_sample: float | None
    now_ms: int
    clock_ahead_s: float
    tables: list[TableSize] = field(default_factory=list)
    writers: list[Writer] = field(default_factory=list)

    @property
    def unsealed_s(self) -> float | None:
        """For how long the scrape has waited that waits longest to be sealed; None where none does."""
        return None if self.waiting_since_ms is None else (self.now_ms - self.waiting_since_ms) / 1000


def read_status(connection: psycopg.Connection, writers: int = 20) -> Status:
    """Look at a database, at so many of its writers. Raises StoreOpenError for another schema, psycopg.Error."""
    server = check_schema(connection)
    now_ms, ahead_s = _clock(connection)
    database, user, size = row_of(connection, _WHERE)
    series, targets, layouts, journal_rows, deletes = row_of(connection, _COUNTS)
    parts = Partitions().parts(connection)
    blocks = [part for part in parts if part.relation == "block"]
    per_sample = _bytes_per_sample(connection, blocks)
    block_bytes = sum([part.bytes for part in blocks])
    (version,) = row_of(connection, "SELECT version_num FROM fleetwatch_data.schema_version")
    return Status(
        server=server.described(),
        edition=server.edition,
        missing=shortcomings(connection, server),
        database=database,
        user=user,
        schema_version=version,
        bytes=size,
        series=series,
        targets=targets,
        layouts=layouts,
        deletes=deletes,
        journal_rows=journal_rows,
        waiting_since_ms=_waiting_since_ms(connection, [part for part in parts if part.relation == "journal"]),
        samples=round(block_bytes / per_sample) if per_sample else 0,
        bytes_per_sample=per_sample,
        now_ms=now_ms,
        clock_ahead_s=ahead_s,
        tables=[_size(name, [part for part in parts if part.relation == name]) for name in RELATIONS],
        writers=[Writer(*row) for row in connection.execute(_WRITERS, [writers])],
    )


def _size(name: str, parts: list[Part]) -> TableSize:
    return TableSize(
        name,
        len(parts),
        sum([part.bytes for part in parts]),
        min([part.from_ms for part in parts], default=None),
        max([part.to_ms for part in parts], default=None),
    )


def _clock(connection: psycopg.Connection) -> tuple[int, float]:
    """The database's time, and by how much it is ahead of this host's; half of a round trip is taken for the way."""
    before = time.time()
    (now_ms,) = row_of(connection, _CLOCK)
    after = time.time()
    return now_ms, now_ms / 1000 - (before + after) / 2


def _waiting_since_ms(connection: psycopg.Connection, journal: list[Part]) -> int | None:
    """When the oldest row was written, which is in the oldest part that has any."""
    for part in journal:
        (written_ms,) = row_of(connection, _OLDEST_WRITTEN, at_least(part.from_ms), at_least(part.to_ms))
        if written_ms is not None:
            return int(written_ms)
    return None


def _bytes_per_sample(connection: psycopg.Connection, blocks: list[Part]) -> float | None:
    """Of what the largest of the newest parts takes, indexes and free pages included."""
    if not blocks:
        return None
    part = max(blocks[-_NEWEST_PARTS:], key=lambda part: part.bytes)
    (pages,) = row_of(connection, "SELECT pg_relation_size(%s::regclass) / 8192", part.name)
    per_cent = min(100.0, 100 * _PAGES_READ / max(1, pages))
    (samples,) = row_of(connection, _SAMPLES, per_cent, at_least(part.from_ms), at_least(part.to_ms))
    return float(part.bytes * per_cent / 100 / int(samples)) if samples else None
