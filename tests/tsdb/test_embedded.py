"""The embedded store: the contract with samples in the head, sealed, and after a restart; and what it adds."""

import contextlib
import itertools
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from common.labels import Labels
from common.matchers import Matcher
from tests.tsdb.contract import Settle, StoreContract, layout_of, log, metric, write
from tests.tsdb.reading import bits, read
from tsdb import Store, open_store
from tsdb.embedded import EmbeddedStore
from tsdb.errors import StoreLockedError, StoreOpenError
from tsdb.model import Batch, LogQuery

WINDOW_MS = 60_000
LEVELS_MS = (WINDOW_MS, 4 * WINDOW_MS, 12 * WINDOW_MS)
FAR_FUTURE_MS = 10**12


def open_small(directory: Path, retention_ms: int | None = None) -> EmbeddedStore:
    return EmbeddedStore(directory, levels_ms=LEVELS_MS, sealing_delay_ms=0, retention_ms=retention_ms)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = open_small(tmp_path / "data")
    yield store
    store.close()


class TestEmbeddedStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        self._opened: list[Store] = [open_small(tmp_path / "data")]
        yield self._opened[0]
        self._opened[-1].close()

    @pytest.fixture(params=["head", "sealed", "reopened", "sealed and reopened"])
    def settle(self, request: pytest.FixtureRequest, tmp_path: Path) -> Settle:
        steps = request.param
        later = itertools.count(FAR_FUTURE_MS, WINDOW_MS)

        def settle(store: Store) -> Store:
            if "sealed" in steps:
                store.maintain(next(later))
            if "reopened" in steps:
                store.close()
                store = open_small(tmp_path / "data")
                self._opened.append(store)
            if "sealed" in steps:
                assert store.stats()["head_samples"] == store.stats()["journal_rows"] == 0
            return store

        return settle


# Writing


def test_appends_of_a_moment_share_a_transaction(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "data", commit_delay_s=0.5)
    target_id = store.register_target(Labels.of(job="j"))
    layout = layout_of(store, metric("a"))
    others: list[float] = []
    store.follow(lambda batch: others.append(store.stats()["journal_rows"]))
    futures = [store.append(Batch(target_id, layout, time_ms, np.array([1.0]))) for time_ms in range(100)]
    for future in futures:
        future.result(30)
    store.append_logs([]).result()  # whatever follows the write has happened by now
    assert others == [100] * 100
    assert store.stats()["samples_appended_total"] == 100
    store.close()


# Opening


def test_numbers_last(tmp_path: Path) -> None:
    with_name = open_store(str(tmp_path / "deep" / "data"))
    labels = [metric("x", n=str(n), text='"\\\n€') for n in range(3)]
    ids = with_name.series_ids(labels)
    layout = with_name.layout(ids[::-1])
    target = with_name.register_target(Labels.of(job="node", instance="a:1"))
    with_name.close()
    again = open_store(str(tmp_path / "deep" / "data"))
    assert again.series_ids(labels[::-1]).tolist() == ids[::-1].tolist()
    assert again.layout(ids[::-1]).layout_id == layout.layout_id
    assert again.register_target(Labels.of(job="node", instance="a:1")) == target
    assert again.register_target(Labels.of(job="node", instance="b:1")) == target + 1
    again.close()


def test_one_process_at_a_time(store: EmbeddedStore, tmp_path: Path) -> None:
    with pytest.raises(StoreLockedError, match=rf"in use by process {os.getpid()}\b"):
        open_small(tmp_path / "data")
    store.close()
    open_small(tmp_path / "data").close()


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_a_stop_of_the_machine_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, durability: Literal["normal", "full"]
) -> None:
    lock = tmp_path / "lock"

    def opened_after(ending: str | None) -> list[str]:
        caplog.clear()
        if ending is not None:
            lock.write_text(ending)
        store = EmbeddedStore(tmp_path, durability=durability)
        store.append_samples(metric("x"), [(1_700_000_000_000, 1.0)])
        assert lock.read_text().split()[0] == str(os.getpid())
        store.close()
        assert lock.read_text().strip() == ""
        return [record.getMessage() for record in caplog.records]

    here = Path("/proc/sys/kernel/random/boot_id").read_text()
    assert [opened_after(ending) for ending in (None, "", "123", f"123 {here}")] == [[], [], [], []]
    told = opened_after("123 6f1c6dd5-another-start")
    assert told == [] if durability == "full" else "is of 2023-11-14T22:13:20+00:00" in told[0]


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    open_small(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "fleetwatch.db")) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
        connection.commit()
    with pytest.raises(StoreOpenError, match=r"newer Fleetwatch: its schema version is 99, .* up to 2; upgrade"):
        open_small(tmp_path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "fleetwatch.db")) as connection:
        connection.execute("CREATE TABLE birds (name TEXT)")
    with pytest.raises(StoreOpenError, match="not a Fleetwatch store"):
        open_small(tmp_path)
    (tmp_path / "fleetwatch.db").write_bytes(b"no database at all, but long enough to have a header" * 100)
    with pytest.raises(StoreOpenError, match=r"cannot open .*fleetwatch.db: file is not a database"):
        open_small(tmp_path)


def test_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreOpenError, match=r"cannot use .*file/data as data directory: Not a directory"):
        open_small(tmp_path / "file" / "data")
    with pytest.raises(StoreOpenError, match=r"cannot use .*file as data directory: File exists"):
        open_small(tmp_path / "file")


# Sealing


def test_only_whole_windows_are_sealed(store: EmbeddedStore) -> None:
    store.append_samples(metric("x"), [(second * 1000, second) for second in range(150)])
    store.maintain(119_999)
    assert store.stats()["head_samples"] == 90
    store.maintain(120_000)
    assert store.stats()["head_samples"] == store.stats()["journal_rows"] == 30
    assert store.stats()["blocks"] == 2
    assert [ms for ms, _ in read(store, [], 0, 10**9)[metric("x")]] == [n * 1000 for n in range(150)]


def test_late_samples_wait_for_the_next_window(store: EmbeddedStore) -> None:
    store.append_samples(metric("x"), [(1000, 1.0), (60_000, 2.0)])
    store.maintain(60_000)
    store.append_samples(metric("x"), [(2000, 3.0), (1000, 4.0)])
    store.maintain(61_000)
    assert store.stats()["head_late_samples"] == 2
    expected = [(1000, bits(4)), (2000, bits(3)), (60_000, bits(2))]
    assert read(store, [], 0, 10**9)[metric("x")] == expected
    store.maintain(120_000)
    assert store.stats()["head_samples"] == 0
    assert read(store, [], 0, 10**9)[metric("x")] == expected


def test_a_batch_over_two_windows_is_sealed_as_a_whole(store: EmbeddedStore) -> None:
    target = store.register_target(Labels.of(job="node"))
    layout = layout_of(store, metric("x"), metric("y"))
    write(store, target, layout, 61_000, [1, 2], [59_000, 60_500]).result()
    write(store, target, layout, 59_000, [3, 4]).result()
    store.maintain(60_000)
    expected = {metric("x"): [(59_000, bits(3))], metric("y"): [(59_000, bits(4)), (60_500, bits(2))]}
    assert store.stats()["journal_rows"] == 1
    assert read(store, [], 0, 10**9) == expected
    store.maintain(120_000)
    assert store.stats()["journal_rows"] == 0
    assert read(store, [], 0, 10**9) == expected


def test_sealed_rows_are_not_replayed(tmp_path: Path) -> None:
    """As after a crash between the sealing of a window and the removal of its journal rows."""
    store = open_small(tmp_path)
    store.append_samples(metric("x"), [(1000, 1.0), (2000, 2.0), (70_000, 3.0)])
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "fleetwatch.db")) as connection:
        rows = connection.execute("SELECT * FROM journal").fetchall()
    store = open_small(tmp_path)
    store.maintain(60_000)
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "fleetwatch.db")) as connection:
        connection.executemany("INSERT OR REPLACE INTO journal VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
    store = open_small(tmp_path)
    assert store.stats()["journal_rows"] == 3
    assert store.stats()["head_samples"] == 1
    store.maintain(60_000)
    assert store.stats()["journal_rows"] == store.stats()["blocks"] == 1
    assert [ms for ms, _ in read(store, [], 0, 10**9)[metric("x")]] == [1000, 2000, 70_000]
    store.close()


def test_constant_series_have_no_chunk(store: EmbeddedStore, tmp_path: Path) -> None:
    target = store.register_target(Labels.of(job="node"))
    layout = layout_of(store, metric("still"), metric("moving"))
    for row in range(50):
        write(store, target, layout, row * 1000, [7, row]).result()
    store.maintain(60_000)
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "fleetwatch.db")) as connection:
        assert connection.execute("SELECT count(*) FROM chunks").fetchone() == (1,)


def test_reading_while_sealing(store: EmbeddedStore) -> None:
    """A reader sees every sample at each moment of a sealing."""
    rows, written = 600, []
    for host in ("a", "b", "c"):
        target = store.register_target(Labels.of(job="node", instance=host))
        layout = layout_of(store, *(metric("x", host=host, n=str(n)) for n in range(20)))
        written += [write(store, target, layout, row * 1000, [row] * 20) for row in range(rows)]
    for future in written:
        future.result()

    def seal() -> None:
        for window in range(1, 11):
            store.maintain(window * WINDOW_MS)

    sealing = threading.Thread(target=seal)
    sealing.start()
    reads = 0
    while sealing.is_alive() or not reads:
        frames = store.select([Matcher.equal("__name__", "x")], 0, 10**9)
        assert [len(frame.labels) for frame in frames] == [20, 20, 20]
        for frame in frames:
            assert frame.present is None
            np.testing.assert_array_equal(frame.times_ms, np.arange(rows) * 1000)
            np.testing.assert_array_equal(frame.values[19], np.arange(rows))
        reads += 1
    sealing.join()
    assert store.stats()["journal_rows"] == 0


def test_retention(tmp_path: Path) -> None:
    store = open_small(tmp_path, retention_ms=3 * WINDOW_MS)
    store.append_samples(metric("x"), [(window * WINDOW_MS, 1.0) for window in range(200)])
    store.append_logs([log("old", 1), log("new", 200 * WINDOW_MS * 1_000_000)]).result()
    store.maintain(200 * WINDOW_MS)
    assert [ms // WINDOW_MS for ms, _ in read(store, [], 0, 10**9)[metric("x")]] == [197, 198, 199]
    assert [entry.message for entry in store.select_logs(LogQuery(0, 10**18))] == ["new"]
    assert store.select_logs(LogQuery(0, 10**18, text="old")) == []
    store.close()
