"""Damage of each kind, done to a sound store by hand: what a check says of it."""

import contextlib
import itertools
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.labels import Labels
from common.matchers import Matcher
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.codec.series import SeriesGroup, pack_group
from tsdb.embedded.codec.vectors import pack_ints, pack_row
from tsdb.embedded.database import DATABASE_FILE
from tsdb.embedded.tools.checks import Checked, check
from tsdb.errors import StoreError
from tsdb.label_sets import LabelTable
from tsdb.model import ABSENT, Batch

SERIES, ROWS = 8, 100
HALF_HOUR_MS = 1_800_000


def run(directory: Path) -> Checked:
    return check(directory, lambda _done, _total: None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two targets with a block and some journal rows each; the series of even numbers change, one has gaps."""
    directory = tmp_path / "data"
    with contextlib.closing(EmbeddedStore(directory)) as store:
        for host in ("a", "b"):
            target = store.register_target(Labels.of(job="node", instance=host))
            names = [Labels.of(__name__="x", instance=host, n=str(n)) for n in range(SERIES)]
            layout = store.layout(store.series_ids(names))
            for row in range(ROWS):
                values = np.where(np.arange(SERIES) % 2, 1.0, float(row))
                if row % 3 == 0:
                    values[2] = ABSENT
                written = store.append(Batch(target, layout, row * 1000, values))
            written.result()
        store.maintain(10 * HALF_HOUR_MS)
        for target in (0, 1):
            layout = store.layout(np.arange(SERIES) + SERIES * target)
            store.append(Batch(target, layout, 100 * HALF_HOUR_MS, np.ones(SERIES))).result()
        times = 100 * HALF_HOUR_MS + np.arange(SERIES)
        store.append(Batch(0, store.layout(np.arange(SERIES)), 100 * HALF_HOUR_MS + 9, np.ones(SERIES), times)).result()
        store.delete_series([[Matcher.equal("n", "3")]], 0, 5000, 0)
    return directory


SAME = Labels.of(a="b")
BAD = Labels([("b", "x"), ("a", "y")])


def packed(ids: Iterable[int], label_sets: list[Labels] | None = None) -> bytes:
    """A group of series as in the file."""
    series_ids = np.array(list(ids), dtype=np.int64)
    table = LabelTable.of(label_sets or [Labels.of(n=str(n)) for n in series_ids])
    return pack_group(SeriesGroup(series_ids, np.zeros(len(series_ids), dtype=np.int32), table))


def damage(directory: Path, sql: str, *values: Any) -> None:
    with contextlib.closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
        changed = connection.execute(sql, values).rowcount
        connection.commit()
    assert changed


def test_a_sound_store(data: Path) -> None:
    checked = run(data)
    assert checked.findings == []
    assert (checked.series, checked.blocks, checked.journal_rows) == (2 * SERIES, 2, 3)
    assert checked.samples == 2 * (SERIES * ROWS - 34) + 3 * SERIES


def test_beside_the_process_that_has_it(data: Path) -> None:
    with contextlib.closing(EmbeddedStore(data)) as store:
        store.append_samples(Labels.of(__name__="new"), [(1, 1.0)])
        assert run(data).findings == []


def test_beside_appends_sealings_and_merges(tmp_path: Path) -> None:
    """Whatever moment a check sees is sound."""
    done = threading.Event()
    with contextlib.closing(EmbeddedStore(tmp_path, levels_ms=(2_000, 8_000, 24_000), sealing_delay_ms=0)) as store:

        def write() -> None:
            target = store.register_target(Labels.of(job="node"))
            for second in itertools.takewhile(lambda _: not done.is_set(), itertools.count()):
                names = [Labels.of(__name__="x", n=str(n), churn=str(second // 5)) for n in range(10)]
                layout = store.layout(store.series_ids(names))
                store.append(Batch(target, layout, second * 1000, np.arange(10.0) * second)).result()
                store.maintain(second * 1000)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            sizes: list[Checked] = []
            while len(sizes) < 30 or sizes[-1].blocks < 3:
                sizes.append(run(tmp_path))
                assert sizes[-1].findings == []
        finally:
            done.set()
            writer.join()
    assert sizes[-1].samples > sizes[0].samples


@pytest.mark.parametrize(
    ("sql", "values", "place", "fault"),
    [
        ("UPDATE series SET labels = ?", [b"x"], "the group of series from 0 on", "cannot be decoded"),
        ("UPDATE series SET series = 3", [], "the group of series from 0 on", "16 series instead of 3"),
        ("UPDATE series SET labels = ?", [packed([0, 0])], "the group of series from 0 on", "ids do not rise"),
        ("INSERT INTO series VALUES (8, 1, ?)", [packed([8])], "the group of series from 8 on", "the group before"),
        ("UPDATE series SET labels = ?", [packed([0, 1], [BAD, BAD])], "series 1", "are not sorted, or one is empty"),
        ("UPDATE series SET labels = ?", [packed(range(9), [SAME] * 9)], "series 6, 7", "are there more than once"),
        ("UPDATE targets SET labels = ? WHERE target_id = 1", ["[]"], "target 1", "no JSON object of strings"),
        ("UPDATE series SET labels = ?", [packed(range(9))], "block 2 of target 1", "there is no series 9, nor 6 more"),
        ("DELETE FROM targets WHERE target_id = 1", [], "block 2 of target 1", "there is no target 1"),
        ("UPDATE layouts SET series_ids = ?", [b"x"], "layout ", "its series ids cannot be decoded"),
        ("UPDATE layouts SET series_ids = ?", [pack_ints(np.array([1, 1]))], "layout ", "a series is in it twice"),
        ("UPDATE journal SET target_id = 7", [], "journal row ", "there is no target 7"),
        ("UPDATE journal SET layout_id = 7", [], "journal row ", "there is no layout 7"),
        ("UPDATE journal SET samples = ?", [b"x"], "journal row ", "its samples cannot be decoded"),
        (
            "UPDATE journal SET samples = ?",
            [pack_row(np.ones(3))],
            "journal row ",
            "3 values and 8 times for a layout of 8",
        ),
        (
            "UPDATE journal SET times_ms = ? WHERE times_ms IS NOT NULL",
            [b"x"],
            "journal row ",
            "its samples cannot be decoded",
        ),
        ("UPDATE blocks SET start_ms = 1 WHERE block_id = 1", [], "block 1 of target 0", "its row says 1 to 99000"),
        ("UPDATE blocks SET last_seq = 1 WHERE block_id = 1", [], "block 1 of target 0", "its row says 1"),
        ("UPDATE blocks SET times_ms = ? WHERE block_id = 1", [b"x"], "block 1 of target 0", "cannot be decoded"),
        ("UPDATE blocks SET constants = ? WHERE block_id = 1", [b"x"], "block 1 of target 0", "cannot be decoded"),
        (
            "UPDATE blocks SET times_ms = ? WHERE block_id = 1",
            [pack_ints(np.zeros(ROWS, dtype=np.int64))],
            "block 1 of target 0",
            "its times do not rise",
        ),
        (
            "UPDATE blocks SET seqs = ? WHERE block_id = 1",
            [pack_ints(np.arange(3))],
            "block 1 of target 0",
            "its vectors do not fit",
        ),
        ("DELETE FROM chunks WHERE chunk_id >> 10 = 1", [], "block 1 of target 0", "chunk 0 of a block is missing"),
        ("UPDATE chunks SET samples = ? WHERE chunk_id >> 10 = 1", [b"x"], "block 1 of target 0", "cannot be decoded"),
        ("INSERT INTO chunks VALUES (?, x'00')", [1 << 10 | 1000], "block 1 of target 0", "chunks too many"),
        ("INSERT INTO chunks VALUES (?, x'00')", [99 << 10], "the chunks of block 99", "there is no such block"),
        ("UPDATE tombstones SET matchers = 'x'", [], "delete 1", "cannot be decoded"),
        ("UPDATE tombstones SET matchers = ?", ['[[["n", "~~", ""]]]'], "delete 1", "cannot be decoded"),
        ("UPDATE tombstones SET start_ms = 9, end_ms = 8", [], "delete 1", "begins at 9 and ends before, at 8"),
    ],
)
def test_damage_is_named(sql: str, values: list[Any], place: str, fault: str, data: Path) -> None:
    damage(data, sql, *values)
    findings = run(data).findings
    assert [each for each in findings if each.place.startswith(place) and fault in each.fault], findings
    assert all(each.remedy for each in findings)


def test_a_series_that_waits_to_be_removed_is_no_damage(data: Path) -> None:
    again = Labels.of(__name__="x", instance="a", n="0")
    damage(data, "INSERT INTO series VALUES (99, 1, ?)", packed([99], [again]))
    assert run(data).findings == []


def test_a_damaged_page_is_named(data: Path) -> None:
    path = data / DATABASE_FILE
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'chunks'").fetchone()
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * page_bytes)
        file.write(b"\xff" * 200)
    places = {each.place for each in run(data).findings}
    assert "the file" in places
    assert places & {"the blocks", "the chunks"}


def test_a_file_that_is_no_database_is_one_error(data: Path) -> None:
    (data / DATABASE_FILE).write_bytes(b"nonsense" * 10_000)
    with pytest.raises(StoreError, match=r"cannot read .*fleetwatch\.db: file is not a database"):
        run(data)


def test_progress_is_reported(data: Path) -> None:
    with contextlib.closing(EmbeddedStore(data)) as store:
        for n in range(300):
            store.append_samples(Labels.of(__name__="y", n=str(n)), [(1, 1.0)])
    seen: list[tuple[int, int]] = []
    check(data, lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert 0 < seen[-1][0] <= seen[-1][1]
