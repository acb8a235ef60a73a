"""A file of the first schema version is opened, and everything in it reads as before."""

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from isal import isal_zlib
from pcodec import ChunkConfig
from pcodec.standalone import simple_compress

from common.labels import Labels
from tests.tsdb.reading import Samples, bits, read
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.migrations import SCHEMA_VERSION
from tsdb.errors import StoreOpenError
from tsdb.model import ABSENT, STALE_NAN, FloatArray, IntArray, is_absent

# As the program of version 1 made it.
VERSION_1 = """
CREATE TABLE blocks (
    block_id INTEGER NOT NULL, target_id BIGINT NOT NULL, layout_id BIGINT NOT NULL, start_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL, last_seq BIGINT NOT NULL, times_ms BLOB NOT NULL, seqs BLOB NOT NULL,
    constants BLOB NOT NULL, PRIMARY KEY (block_id)
);
CREATE INDEX blocks_by_end ON blocks (end_ms);
CREATE INDEX blocks_by_target ON blocks (target_id, end_ms);
CREATE TABLE chunks (chunk_id INTEGER NOT NULL, samples BLOB NOT NULL, PRIMARY KEY (chunk_id));
CREATE TABLE journal (
    seq INTEGER NOT NULL, target_id BIGINT NOT NULL, layout_id BIGINT NOT NULL, time_ms BIGINT NOT NULL,
    samples BLOB NOT NULL, times_ms BLOB, PRIMARY KEY (seq)
);
CREATE TABLE layouts (layout_id INTEGER NOT NULL, series_ids BLOB NOT NULL, PRIMARY KEY (layout_id));
CREATE TABLE logs (
    log_id INTEGER NOT NULL, entry_id BLOB NOT NULL, time_ns BIGINT NOT NULL, server_id BLOB NOT NULL,
    log_type TEXT NOT NULL, source TEXT NOT NULL, message TEXT NOT NULL, fields TEXT NOT NULL,
    PRIMARY KEY (log_id), UNIQUE (entry_id)
);
CREATE INDEX logs_by_time ON logs (time_ns);
CREATE TABLE meta ("key" TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE sealings (
    target_id INTEGER NOT NULL, before_ms BIGINT NOT NULL, upto_seq BIGINT NOT NULL, PRIMARY KEY (target_id)
);
CREATE TABLE series (series_id INTEGER NOT NULL, labels TEXT NOT NULL, PRIMARY KEY (series_id));
CREATE TABLE servers (
    server_id BLOB NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, labels TEXT NOT NULL,
    PRIMARY KEY (server_id)
);
CREATE TABLE targets (target_id INTEGER NOT NULL, labels TEXT NOT NULL, PRIMARY KEY (target_id));
CREATE VIRTUAL TABLE logs_text USING fts5(
    message, content='logs', content_rowid='log_id', tokenize='unicode61 remove_diacritics 0'
);
CREATE TRIGGER logs_inserted AFTER INSERT ON logs BEGIN
    INSERT INTO logs_text (rowid, message) VALUES (new.log_id, new.message);
END;
CREATE TRIGGER logs_deleted AFTER DELETE ON logs BEGIN
    INSERT INTO logs_text (logs_text, rowid, message) VALUES ('delete', old.log_id, old.message);
END;
INSERT INTO meta VALUES ('schema_version', '1');
"""
SERIES = 1500
SHARED = SERIES
START_MS = 1_700_006_400_000
TIMES_MS = START_MS + 15_000 * np.arange(100)


def pack_ints(numbers: IntArray) -> bytes:
    packed: bytes = simple_compress(np.ascontiguousarray(numbers, dtype=np.int64), ChunkConfig(compression_level=6))
    return packed


def pack_row(values: FloatArray) -> bytes:
    return isal_zlib.compress(np.ascontiguousarray(values, dtype="<f8"), isal_zlib.ISAL_BEST_SPEED)


def pack_series(values: FloatArray) -> bytes:
    present = ~is_absent(values)
    head = b"\0" if present.all() else b"\1" + np.packbits(present).tobytes()
    samples: bytes = simple_compress(values[present], ChunkConfig(compression_level=6))
    return head + samples


def labels(series_id: int) -> Labels:
    return Labels.of(__name__="x", n=str(series_id))


def sealed_values() -> FloatArray:
    """float64[SERIES, 100]: two thirds stand still, one has holes and a marker."""
    values = np.repeat(np.arange(SERIES, dtype=np.float64)[:, None], len(TIMES_MS), axis=1)
    values[::3] = np.random.default_rng(5).normal(size=(SERIES // 3, len(TIMES_MS)))
    values[3, 10:20] = ABSENT
    values[3, 20] = STALE_NAN
    return values


def make_version_1(path: Path) -> Samples:
    """A store of one wide block, one of a target that shares a series, and a journal; what is in it."""
    values = sealed_values()
    first = np.arange(SERIES)
    second = np.array([SHARED, 0])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
        connection.executemany(
            "INSERT INTO series VALUES (?, ?)", [(n, f'{{"__name__":"x","n":"{n}"}}') for n in range(SERIES + 1)]
        )
        connection.executemany("INSERT INTO targets VALUES (?, ?)", [(0, '{"job":"a"}'), (1, '{"job":"b"}')])
        connection.executemany(
            "INSERT INTO layouts VALUES (?, ?)", [(n, pack_ints(ids)) for n, ids in enumerate((first, second))]
        )
        changing = np.flatnonzero((values.view(np.uint64) != values.view(np.uint64)[:, :1]).any(axis=1))
        constants = values[:, 0].copy()
        constants[changing] = ABSENT
        seqs = np.arange(1, 101)
        for block_id, layout_id, row in ((1, 0, constants), (2, 1, np.array([7.0, 8.0]))):
            times = TIMES_MS if block_id == 1 else TIMES_MS[:1] - 1000
            numbers = seqs if block_id == 1 else np.array([200])
            connection.execute(
                "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (block_id, block_id - 1, layout_id, int(times[0]), int(times[-1]), int(numbers[-1]),
                 pack_ints(times), pack_ints(numbers), pack_row(row)),
            )  # fmt: skip
        connection.executemany(
            "INSERT INTO chunks VALUES (?, ?)", [((1 << 20) + n, pack_series(values[n])) for n in changing.tolist()]
        )
        connection.execute("INSERT INTO sealings VALUES (0, ?, 300)", (START_MS + 7_200_000,))
        later_ms = START_MS + 7_200_000
        connection.executemany(
            "INSERT INTO journal VALUES (?, 0, 0, ?, ?, NULL)",
            [(250, START_MS, pack_row(values[:, 0])), (301, later_ms, pack_row(np.full(SERIES, 9.0)))],
        )
        connection.commit()
    expected = {
        labels(n): [
            (time, pattern)
            for time, pattern in zip(TIMES_MS.tolist(), row.view(np.uint64).tolist(), strict=True)
            if pattern != bits(ABSENT)
        ]
        + [(later_ms, bits(9))]
        for n, row in enumerate(values)
    }
    expected[labels(0)].insert(0, (START_MS - 1000, bits(8)))
    expected[labels(SHARED)] = [(START_MS - 1000, bits(7))]
    return expected


def test_version_1_reads_as_before(tmp_path: Path) -> None:
    path = tmp_path / "fleetwatch.db"
    expected = make_version_1(path)
    store = EmbeddedStore(tmp_path)
    assert read(store, [], 0, 10**13) == expected
    assert store.series_ids([labels(7), Labels.of(new="1")]).tolist() == [7, SERIES + 1]
    store.maintain(START_MS + 10**9)
    assert read(store, [], 0, 10**13) == expected
    store.close()

    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone() == (
            str(SCHEMA_VERSION),
        )
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert connection.execute("SELECT * FROM series_sharing").fetchall() == [(0, 1)]
    store = EmbeddedStore(tmp_path)
    assert read(store, [], 0, 10**13) == expected
    store.close()


def test_a_new_and_a_migrated_file_have_the_same_tables(tmp_path: Path) -> None:
    make_version_1(tmp_path / "fleetwatch.db")
    found = []
    for directory in (tmp_path, tmp_path / "new"):
        EmbeddedStore(directory).close()
        with contextlib.closing(sqlite3.connect(directory / "fleetwatch.db")) as connection:
            rows = connection.execute("SELECT type, name, tbl_name FROM sqlite_schema")
            found.append({row for row in rows if not row[1].startswith("sqlite_")})
    assert found[0] == found[1]


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "fleetwatch.db"
    expected = make_version_1(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE blocks_1 (obstacle)")
    with pytest.raises(StoreOpenError, match="already another table"):
        EmbeddedStore(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT value FROM meta").fetchall() == [("1",)]
        assert connection.execute("SELECT count(*) FROM chunks").fetchone() == (SERIES // 3,)
        connection.execute("DROP TABLE blocks_1")
    store = EmbeddedStore(tmp_path)
    assert read(store, [], 0, 10**13) == expected
    store.close()


def test_an_old_file_is_not_read_without_writing(tmp_path: Path) -> None:
    make_version_1(tmp_path / "fleetwatch.db")
    with pytest.raises(StoreOpenError, match=r"has schema version 1, .* open it once for writing"):
        EmbeddedStore(tmp_path, read_only=True)
