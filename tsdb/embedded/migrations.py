"""The schema of a store's file: made in a new one, brought up to date in an older one, refused in a newer one.

A migration is one transaction: whatever happens, the file is wholly of one version.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson

from common.labels import Labels
from tsdb.embedded import blocks, series_rows
from tsdb.embedded.codec.series import MOST_SERIES, NO_TARGET, SeriesGroup
from tsdb.embedded.codec.vectors import unpack_ints, unpack_row, unpack_series
from tsdb.errors import StoreOpenError
from tsdb.label_sets import LabelTable
from tsdb.model import IntArray
from tsdb.pieces import Piece

SCHEMA_VERSION = 2
"""Of the tables in tsdb.schema."""

COUNTED_SINCE = "reads_counted_since_ms"
"""The row of `meta` that says when the table of read counts was made."""

# What the blocks of version 1 spanned: two hours, which are the second level now.
_VERSION_1_WINDOW_MS = 2 * 3600 * 1000
_VERSION_1_LEVEL = 1
_VERSION_1_POSITION_BITS = 20


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreOpenError unless the file is of the current version."""
    found = _version(connection, path)
    if found != SCHEMA_VERSION:
        raise StoreOpenError(
            f"{path} has schema version {found}, and version {SCHEMA_VERSION} is needed to read it: "
            "open it once for writing, which brings it up to date"
        )


def ensure_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in a new file, migrate those of an older version. Raises StoreOpenError for other files."""
    version = _version(connection, path)
    if version == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    if version is None:
        _make_tables(connection)
    elif version == 1:
        _from_version_1(connection)
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
    connection.execute("INSERT OR IGNORE INTO meta VALUES (?, strftime('%s', 'now') || '000')", (COUNTED_SINCE,))
    connection.execute("COMMIT")
    if version == 1:
        # So that space can be given back in steps; where there is no room for it now, `VACUUM` can be run at any time.
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("VACUUM")


def _version(connection: sqlite3.Connection, path: Path) -> int | None:
    """The version of a file that this program can handle; None where there are no tables."""
    tables = _tables(connection)
    if not tables:
        return None
    found = "meta" in tables and connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    if not found:
        raise StoreOpenError(f"{path} is an SQLite file, but not a Fleetwatch store")
    version = int(found[0])
    if version > SCHEMA_VERSION:
        raise StoreOpenError(
            f"{path} was written by a newer Fleetwatch: its schema version is {version}, this one knows up to "
            f"{SCHEMA_VERSION}; upgrade Fleetwatch, or choose another directory"
        )
    return version


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make those tables, indexes and triggers that are not there."""
    from tsdb import schema  # late: it takes long to import, and a store that is up to date does not need it

    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    for name, statement in schema.sqlite_statements():
        if name not in there:
            connection.execute(statement)


def _from_version_1(connection: sqlite3.Connection) -> None:
    """Blocks get their series, series their targets, and chunks a new numbering and encoding."""
    for table in ("series", "blocks", "chunks"):
        connection.execute(f"ALTER TABLE {table} RENAME TO {table}_1")
    for index in ("blocks_by_target", "blocks_by_end"):
        connection.execute(f"DROP INDEX {index}")
    _make_tables(connection)
    layouts = {
        layout_id: unpack_ints(packed)
        for layout_id, packed in connection.execute("SELECT layout_id, series_ids FROM layouts")
    }
    _store_series(connection, layouts)
    block_id = 0
    for target_id, piece in _pieces_1(connection, layouts):
        for block in blocks.encode(piece, _VERSION_1_WINDOW_MS):
            block_id += 1
            blocks.insert_chunks(connection, block_id, block.chunks)
            blocks.insert(connection, block_id, target_id, _VERSION_1_LEVEL, block)
    connection.execute("DELETE FROM layouts WHERE layout_id NOT IN (SELECT layout_id FROM journal)")
    for table in ("series", "blocks", "chunks"):
        connection.execute(f"DROP TABLE {table}_1")


def _store_series(connection: sqlite3.Connection, layouts: dict[int, IntArray]) -> None:
    """Label sets in groups, with the first target of every series; further ones of the few that have several."""
    homes: dict[int, int] = {}
    sharing: set[tuple[int, int]] = set()
    held = connection.execute(
        "SELECT target_id, layout_id FROM (SELECT target_id, layout_id, last_seq AS seq FROM blocks_1 "
        "UNION ALL SELECT target_id, layout_id, seq FROM journal) GROUP BY target_id, layout_id ORDER BY min(seq)"
    )
    for target_id, layout_id in held:
        for series_id in layouts[layout_id].tolist():
            if homes.setdefault(series_id, target_id) != target_id:
                sharing.add((series_id, target_id))
    rows = connection.execute("SELECT series_id, labels FROM series_1 ORDER BY series_id")
    while some := rows.fetchmany(MOST_SERIES):
        ids = np.array([series_id for series_id, _ in some], dtype=np.int64)
        targets = np.array([homes.get(series_id, NO_TARGET) for series_id in ids.tolist()], dtype=np.int32)
        table = LabelTable.of(Labels.of(orjson.loads(text)) for _, text in some)
        series_rows.insert(connection, SeriesGroup(ids, targets, table))
    connection.executemany("INSERT INTO series_sharing VALUES (?, ?)", sorted(sharing))


def _pieces_1(connection: sqlite3.Connection, layouts: dict[int, IntArray]) -> Iterator[tuple[int, Piece]]:
    """The target and the samples of every block of version 1."""
    rows = connection.execute("SELECT block_id, target_id, layout_id, times_ms, seqs, constants FROM blocks_1")
    for block_id, target_id, layout_id, times, seqs, constants in rows:
        times_ms, row = unpack_ints(times), unpack_row(constants)
        base = block_id << _VERSION_1_POSITION_BITS
        for start in range(0, len(row), blocks.MOST_SERIES):
            values = np.repeat(row[start : start + blocks.MOST_SERIES, None], len(times_ms), axis=1)
            chunks = connection.execute(
                "SELECT chunk_id, samples FROM chunks_1 WHERE chunk_id BETWEEN ? AND ?",
                (base + start, base + start + len(values) - 1),
            )
            for chunk_id, samples in chunks:
                unpack_series(samples, values[chunk_id - base - start])
            ids = layouts[layout_id][start : start + len(values)]
            yield target_id, Piece(times_ms, unpack_ints(seqs), ids, values)
