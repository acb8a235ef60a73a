"""Deletes: hidden at once, undone within a day, and in the end removed, against a dictionary through a random life."""

import contextlib
import shutil
import sqlite3
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from common.labels import Labels
from common.matchers import Matcher, MatchType, matches_all
from tests.tsdb.contract import MINUTE_MS, layout_of, metric, write
from tests.tsdb.reading import bits, read
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.tools.checks import check
from tsdb.memory import MemoryStore
from tsdb.model import Batch
from tsdb.tombstones import UNDO_MS, Deleted, UnknownDeletionError

ALWAYS_MS = 10**12
LEVELS_MS = (20, 80, 240)
SERIES = [Labels.of(__name__="xy"[n % 2], n=str(n)) for n in range(4)]
targets = st.integers(0, 1)
samples = st.dictionaries(st.integers(0, 3), st.sampled_from([0.0, 1.0, 2.5]), min_size=1)
SELECTORS = [
    [[Matcher.equal("__name__", "x")]],
    [[Matcher.equal("n", "1")], [Matcher.equal("n", "2")]],
    [[Matcher("n", MatchType.REGEX, ".+")]],
]


def opened(directory: Path) -> EmbeddedStore:
    return EmbeddedStore(directory, levels_ms=LEVELS_MS, sealing_delay_ms=0)


def rows(directory: Path, query: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(directory / "fleetwatch.db")) as connection:
        return connection.execute(query).fetchall()


class Life(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="fleetwatch-deletes-"))
        self.now_ms = 1000
        # By series and time: (bits, number of the write).
        self.written: dict[tuple[Labels, int], tuple[int, int]] = {}
        self.number = 0
        # By id of the delete: what it hides, and whether it is doomed.
        self.hidden: dict[int, tuple[set[tuple[Labels, int, int]], int]] = {}
        self.gone: set[tuple[Labels, int, int]] = set()
        self.store = opened(self.directory)

    def expected(self) -> dict[tuple[Labels, int], int]:
        hidden = self.gone.union(*[places for places, _ in self.hidden.values()])
        return {key: value for key, (value, number) in self.written.items() if (*key, number) not in hidden}

    def write(self, target_number: int, time_ms: int, batch: dict[int, float]) -> None:
        self.number += 1
        layout = self.store.layout(self.store.series_ids([SERIES[n] for n in batch]))
        target_id = self.store.register_target(Labels.of(job=str(target_number)))
        self.store.append(Batch(target_id, layout, time_ms, np.array(list(batch.values())))).result()
        for n, value in batch.items():
            self.written[SERIES[n], time_ms] = bits(value), self.number

    @rule(target_number=targets, step_ms=st.integers(1, 9), batches=st.lists(samples, min_size=1, max_size=12))
    def scrape(self, target_number: int, step_ms: int, batches: list[dict[int, float]]) -> None:
        for batch in batches:
            self.now_ms += step_ms
            self.write(target_number, self.now_ms, batch)

    @rule(target_number=targets, place=st.floats(0, 1), batch=samples)
    def write_again(self, target_number: int, place: float, batch: dict[int, float]) -> None:
        """At a time that has samples, or had."""
        self.write(target_number, self.time(place), batch)

    def time(self, place: float) -> int:
        times = sorted({time_ms for _, time_ms in self.written} | {self.now_ms})
        return times[round(place * (len(times) - 1))]

    @rule(selectors=st.sampled_from(SELECTORS), places=st.tuples(st.floats(0, 1), st.floats(0, 1)))
    def delete(self, selectors: list[list[Matcher]], places: tuple[float, float]) -> None:
        start_ms, end_ms = sorted(map(self.time, places))
        self.delete_between(selectors, start_ms, end_ms)

    @rule(selectors=st.sampled_from(SELECTORS))
    def delete_all(self, selectors: list[list[Matcher]]) -> None:
        self.delete_between(selectors, -ALWAYS_MS, ALWAYS_MS)

    def delete_between(self, selectors: list[list[Matcher]], start_ms: int, end_ms: int) -> None:
        places = {
            (labels, time_ms, number)
            for (labels, time_ms), (_, number) in self.written.items()
            if start_ms <= time_ms <= end_ms and any(matches_all(one, labels) for one in selectors)
        }
        seen = {(labels, time_ms) for labels, time_ms, _ in places} & self.expected().keys()
        deleted = Deleted(len({labels for labels, _ in seen}), len(seen))
        assert self.store.count_deletable(selectors, start_ms, end_ms) == deleted
        deletion = self.store.delete_series(selectors, start_ms, end_ms, self.now_ms)
        assert (deletion is not None) == bool(seen)
        if deletion is not None:
            assert deletion.deleted == deleted
            assert deletion.deletion_id not in self.hidden
            self.hidden[deletion.deletion_id] = places, deletion.expires_ms

    @precondition(lambda self: bool(self.hidden))
    @rule(place=st.floats(0, 1))
    def undo(self, place: float) -> None:
        number = list(self.hidden)[round(place * (len(self.hidden) - 1))]
        if self.hidden[number][1]:
            self.store.undo_delete(number)
            del self.hidden[number]
        else:
            with pytest.raises(UnknownDeletionError):
                self.store.undo_delete(number)

    def carry_out(self, until_ms: int) -> None:
        for number, (places, expires_ms) in self.hidden.items():
            if expires_ms <= until_ms:
                self.hidden[number] = places, 0
        left = {deletion.deletion_id: deletion.expires_ms for deletion in self.store.deletions()}
        for number, (places, expires_ms) in list(self.hidden.items()):
            if number in left:
                assert left[number] == expires_ms
            else:
                assert expires_ms == 0
                self.gone |= places
                del self.hidden[number]

    @rule()
    def clean_tombstones(self) -> None:
        self.store.clean_tombstones()
        self.carry_out(ALWAYS_MS * 10)

    @rule(ahead_ms=st.sampled_from([0, 20, 80, 240]))
    def maintain(self, ahead_ms: int) -> None:
        self.now_ms += ahead_ms
        self.store.maintain(self.now_ms)
        self.carry_out(self.now_ms)

    @rule()
    def a_day_later(self) -> None:
        self.maintain(UNDO_MS)
        self.maintain(UNDO_MS)

    @rule()
    def compact(self) -> None:
        self.store.compact(self.now_ms)
        self.carry_out(0)

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = opened(self.directory)

    @invariant()
    def all_but_the_hidden_is_there(self) -> None:
        found = read(self.store, [], -ALWAYS_MS, ALWAYS_MS)
        assert {(labels, ms): value for labels, kept in found.items() for ms, value in kept} == self.expected()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            assert check(self.directory, lambda done, total: None).findings == []
            shutil.rmtree(self.directory)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=25, deadline=None, report_multiple_bugs=False)


def test_a_store_in_memory_hides_and_shows() -> None:
    store = MemoryStore()
    store.append_samples(metric("x"), [(1000, 1.0), (2000, 2.0)])
    deletion = store.delete_series([[Matcher.equal("__name__", "x")]], 0, 1500, 5000)
    assert deletion is not None
    assert store.deletions() == [deletion]
    assert read(store, [], 0, 9000) == {metric("x"): [(2000, bits(2.0))]}
    store.append_samples(metric("x"), [(1000, 3.0)])
    assert read(store, [], 0, 9000)[metric("x")] == [(1000, bits(3.0)), (2000, bits(2.0))]
    store.undo_delete(deletion.deletion_id)
    assert store.deletions() == []
    with pytest.raises(UnknownDeletionError, match="there is no delete 1 that can be undone"):
        store.undo_delete(deletion.deletion_id)


def test_what_is_removed_frees_the_disk_and_leaves_no_trace(tmp_path: Path) -> None:
    noise = np.random.default_rng(1)
    with contextlib.closing(EmbeddedStore(tmp_path)) as store:
        target = store.register_target(Labels.of(job="node"))
        layout = layout_of(store, *(metric("x", n=str(n)) for n in range(50)))
        for row in range(8000):
            store.append(Batch(target, layout, row * 15_000, noise.random(50)))
        write(store, target, layout, 150_000_000, noise.random(50).tolist()).result()
        store.maintain(200_000_000)
    before_bytes = (tmp_path / "fleetwatch.db").stat().st_size
    with contextlib.closing(EmbeddedStore(tmp_path)) as store:
        deletion = store.delete_series([[Matcher("n", MatchType.NOT_EQUAL, "7")]], 0, 140_000_000, 200_000_000)
        assert deletion is not None
        assert deletion.deleted == Deleted(49, 49 * 8000)
        store.clean_tombstones()
        assert store.deletions() == []
        found = read(store, [], 0, 200_000_000)
        assert {labels.get("n"): len(samples) for labels, samples in found.items()} == {
            str(n): 8001 if n == 7 else 1 for n in range(50)
        }
    assert (tmp_path / "fleetwatch.db").stat().st_size < before_bytes / 2
    assert rows(tmp_path, "SELECT count(*) FROM tombstones") == [(0,)]


def test_readers_never_see_what_is_being_removed(tmp_path: Path) -> None:
    noise = np.random.default_rng(1)
    with contextlib.closing(opened(tmp_path)) as store:
        target = store.register_target(Labels.of(job="node"))
        layout = layout_of(store, *(metric("x", n=str(n)) for n in range(20)))
        for time_ms in range(600):
            store.append(Batch(target, layout, time_ms, noise.random(20))).result()
        store.maintain(500)
        done = threading.Event()

        def read_on() -> set[int]:
            seen: set[int] = set()
            while True:  # once at least, however late the thread begins
                seen |= {len(samples) for samples in read(store, [Matcher.equal("n", "7")], 0, 9000).values()}
                if done.is_set():
                    return seen

        with ThreadPoolExecutor() as pool:
            for first_ms in range(0, 600, 100):
                store.delete_series([[Matcher.equal("__name__", "x")]], first_ms, first_ms + 89, 1000)
                done.clear()
                readers = [pool.submit(read_on) for _ in range(2)]
                store.clean_tombstones()
                store.maintain(first_ms + 1000)
                done.set()
                left = 600 - 90 * (first_ms // 100 + 1)
                assert [reader.result() for reader in readers] == [{left}, {left}]
        assert store.deletions() == []


def test_what_is_not_sealed_yet_is_left_out_of_the_block(tmp_path: Path) -> None:
    with contextlib.closing(EmbeddedStore(tmp_path)) as store:
        target = store.register_target(Labels.of(job="node"))
        layout = layout_of(store, metric("x"), metric("y"))
        write(store, target, layout, MINUTE_MS, [1, 2]).result()
        store.delete_series([[Matcher.equal("__name__", "x")]], 0, ALWAYS_MS, 2 * MINUTE_MS)
        store.clean_tombstones()
        (deletion,) = store.deletions()
        assert deletion.expires_ms == 0
        with pytest.raises(UnknownDeletionError):
            store.undo_delete(deletion.deletion_id)
        write(store, target, layout, 2 * MINUTE_MS, [3, 4]).result()
        store.maintain(60 * MINUTE_MS)
        assert store.deletions() == []
        assert read(store, [], 0, ALWAYS_MS) == {
            metric("x"): [(2 * MINUTE_MS, bits(3))],
            metric("y"): [(MINUTE_MS, bits(2)), (2 * MINUTE_MS, bits(4))],
        }
