"""How large a store is and what is in it, by its tables: no sample is decoded."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from tsdb.embedded.codec.vectors import unpack_ints
from tsdb.embedded.database import DATABASE_FILE
from tsdb.embedded.migrations import check_schema
from tsdb.embedded.tools.inspection import bytes_on_disk, inspected, live_bytes, lock_holder, schema_version


@dataclass(frozen=True, slots=True)
class Status:
    """`samples` counts a place for each series and time of a block or journal row, filled or not."""

    schema_version: int
    locked_by: int | None
    series: int
    targets: int
    blocks_by_level: dict[int, int]
    journal_rows: int
    samples: int
    first_ms: int | None
    last_ms: int | None
    bytes_on_disk: int
    bytes_free: int

    @property
    def bytes_per_sample(self) -> float | None:
        """Of what is on disk, free pages left out."""
        return (self.bytes_on_disk - self.bytes_free) / self.samples if self.samples else None


def read_status(directory: Path) -> Status:
    """Look at a store, beside whoever writes to it. Raises StoreOpenError, StoreError."""
    with inspected(directory) as connection:
        check_schema(connection, directory / DATABASE_FILE)
        journal_rows, journal_samples = _journal(connection)
        first_ms, last_ms = _count(
            connection,
            "SELECT min(first), max(last) FROM (SELECT min(start_ms) AS first, max(end_ms) AS last FROM blocks "
            "UNION ALL SELECT min(time_ms), max(time_ms) FROM journal)",
        )
        (page_bytes,) = _count(connection, "PRAGMA page_size")
        (pages,) = _count(connection, "PRAGMA page_count")
        return Status(
            schema_version=schema_version(connection),
            locked_by=lock_holder(directory),
            series=_count(connection, "SELECT coalesce(sum(series), 0) FROM series")[0],
            targets=_count(connection, "SELECT count(*) FROM targets")[0],
            blocks_by_level=dict(connection.execute("SELECT level, count(*) FROM blocks GROUP BY level")),
            journal_rows=journal_rows,
            samples=journal_samples + _in_blocks(connection),
            first_ms=first_ms,
            last_ms=last_ms,
            bytes_on_disk=bytes_on_disk(directory),
            bytes_free=pages * page_bytes - live_bytes(connection),
        )


def _count(connection: sqlite3.Connection, query: str) -> tuple[int, ...]:
    row: tuple[int, ...] = connection.execute(query).fetchone()
    return row


def _journal(connection: sqlite3.Connection) -> tuple[int, int]:
    """Rows and samples of the journal."""
    rows = samples = 0
    for layout, count in connection.execute(
        "SELECT series_ids, count(*) FROM journal JOIN layouts USING (layout_id) GROUP BY layout_id"
    ):
        rows += count
        samples += count * len(unpack_ints(layout))
    return rows, samples


def _in_blocks(connection: sqlite3.Connection) -> int:
    return sum(
        len(unpack_ints(times)) * int((unpack_ints(series_ids) >= 0).sum())
        for times, series_ids in connection.execute("SELECT times_ms, series_ids FROM blocks")
    )
