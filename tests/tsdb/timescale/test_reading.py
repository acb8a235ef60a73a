"""Reading from the database: whatever becomes of samples there, they read as in the store that keeps all in memory."""

import contextvars
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.labels import Labels
from common.matchers import Matcher
from tests.fleetwatch_process import eventually
from tests.postgres import PostgresServer
from tests.tsdb.contract import layout_of, metric, write
from tests.tsdb.reading import bits, read
from tests.tsdb.timescale.databases import DAY_MS, EVERYTHING_MS, Stores, emptied
from tsdb.cancellation import Cancellation, current
from tsdb.errors import StoreError
from tsdb.local import LocalStore
from tsdb.memory import MemoryStore
from tsdb.model import ABSENT, STALE_NAN, LogQuery, SeriesExemplar, is_absent
from tsdb.pieces import Piece
from tsdb.rollups import RESOLUTIONS_MS, Column, RollupFrame, roll_up
from tsdb.timescale.connections import Connections
from tsdb.timescale.ids import Ids
from tsdb.timescale.layouts import LayoutSids
from tsdb.timescale.reading import Groups, Reading
from tsdb.timescale.store import TimescaleStore
from tsdb.tombstones import UnknownDeletionError

pytest_plugins = ["tests.databases"]

HOUR_MS = 3600 * 1000
START_MS = 20_000 * DAY_MS
VALUES = [ABSENT, STALE_NAN, 0.0, -0.0, 1.5, float("nan"), float("inf")]


@pytest.fixture
def stores(timescale_server: PostgresServer, tmp_path: Path) -> Iterator[Stores]:
    stores = Stores(emptied(timescale_server), tmp_path)
    yield stores
    stores.close()


# A life

Step = tuple[str, int, int, int]


def steps() -> st.SearchStrategy[list[Step]]:
    kinds = ["write"] * 8 + ["own times"] * 2 + ["seal", "seal", "delete", "undo", "carry out", "reopen", "other"]
    return st.lists(
        st.tuples(st.sampled_from(kinds), st.integers(0, 2), st.integers(0, 60), st.integers(0, 2**32 - 1)),
        min_size=5,
        max_size=40,
    )


class Life:
    """The same is done to a store in the database, beside which others read, and to one in memory."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.writing = stores.open()
        self.readers = [stores.open(), stores.open(EVERYTHING_MS)]
        self.memory = MemoryStore()
        self.deletions: list[tuple[int, int]] = []

    def do(self, kind: str, which: int, when: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        if kind in ("write", "own times"):
            self.write(which, when, random, own_times=kind == "own times")
        elif kind == "seal":
            self.settle()
            self.stores.seal(START_MS + when * 10 * 60_000)
        elif kind == "delete":
            self.delete(which, when, random)
        elif kind == "undo" and self.deletions:
            for store, number in zip((self.writing, self.memory), self.deletions.pop(), strict=True):
                store.undo_delete(number)
        elif kind == "carry out" and self.deletions:
            self.writing.clean_tombstones()
            self.memory.clean_tombstones()
            self.deletions = []
        elif kind == "reopen":
            self.writing.close()
            self.writing = self.stores.open(EVERYTHING_MS * (which % 2))
        elif kind == "other":
            self.writing, self.readers[0] = self.readers[0], self.writing
            self.settle()

    def settle(self) -> None:
        """Everybody knows everything."""
        for store in (self.writing, *self.readers):
            store.append_logs([]).result()
        for store in (self.writing, *self.readers):
            store.catch_up()

    def write(self, which: int, when: int, random: np.random.Generator, *, own_times: bool) -> None:
        """A scrape of one of three targets, which share a series; mostly of the same layout."""
        labels = [metric("x", target=str(which), n=str(n)) for n in range(1 + int(random.integers(4)))]
        labels.append(metric("x", shared="yes"))
        time_ms = START_MS + when * 10 * 60_000 + int(random.integers(3)) * int(random.integers(2))
        values = [VALUES[number] for number in random.integers(len(VALUES), size=len(labels)).tolist()]
        times = [time_ms - int(n) * 40 * 60_000 for n in random.integers(4, size=len(labels))] if own_times else None
        for store in (self.writing, self.memory):
            target = store.register_target(Labels.of(job="node", instance=str(which)))
            write(store, target, layout_of(store, *labels), time_ms, values, times).result()

    def delete(self, which: int, when: int, random: np.random.Generator) -> None:
        selectors = [[Matcher.equal("target", str(which))], [Matcher.equal("shared", "yes")]][: 1 + which % 2]
        start_ms = START_MS + when * 10 * 60_000
        end_ms = start_ms + int(random.integers(12)) * 10 * 60_000
        self.settle()
        made = [store.delete_series(selectors, start_ms, end_ms, START_MS) for store in (self.writing, self.memory)]
        first, second = made
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            assert first.deleted == second.deleted
            self.deletions.append((first.deletion_id, second.deletion_id))

    def check(self) -> None:
        self.settle()
        expected = read(self.memory, [], 0, START_MS + 2 * DAY_MS)
        part = read(self.memory, [], START_MS + HOUR_MS, START_MS + 3 * HOUR_MS)
        for store in (self.writing, *self.readers):
            assert read(store, [], 0, START_MS + 2 * DAY_MS) == expected
            assert read(store, [], START_MS + HOUR_MS, START_MS + 3 * HOUR_MS) == part
            assert len(store.deletions()) == len(self.memory.deletions()) or not self.deletions


@given(life=steps())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_random_life_reads_as_in_memory(timescale_server: PostgresServer, tmp_path: Path, life: list[Step]) -> None:
    stores = Stores(emptied(timescale_server), tmp_path)
    try:
        lived = Life(stores)
        for step in life:
            lived.do(*step)
        lived.check()
    finally:
        stores.close()


# What is sealed meanwhile


def test_reading_while_sealing(stores: Stores) -> None:
    """A reader sees every sample at each moment of a sealing."""
    store, rows = stores.open(), 600
    written = []
    for host in ("a", "b", "c"):
        target = store.register_target(Labels.of(job="node", instance=host))
        layout = layout_of(store, *(metric("x", host=host, n=str(n)) for n in range(20)))
        written += [write(store, target, layout, START_MS + row * 60_000, [row] * 20) for row in range(rows)]
    for future in written:
        future.result()
    sealing = threading.Thread(target=stores.seal, args=(START_MS + DAY_MS,))
    sealing.start()
    reads = 0
    while sealing.is_alive() or not reads:
        frames = store.select([Matcher.equal("__name__", "x")], START_MS, START_MS + DAY_MS)
        assert [len(frame.labels) for frame in frames] == [20, 20, 20]
        for frame in frames:
            assert frame.present is None
            np.testing.assert_array_equal(frame.times_ms, START_MS + np.arange(rows) * 60_000)
            np.testing.assert_array_equal(frame.values[19], np.arange(rows))
        reads += 1
    sealing.join()
    assert stores.number("SELECT count(*) FROM fleetwatch_data.journal") == 0


# Roll-ups

ALL = tuple(Column)
X = [Matcher.equal("__name__", "x")]


def fill(store: TimescaleStore, days: range, host: str = "a", every_ms: int = 7 * 60_000) -> None:
    """A counter that is reset and comes and goes, and a series that is always the same; in order."""
    target = store.register_target(Labels.of(job="node", instance=host))
    layout = layout_of(store, metric("x", host=host, n="0"), metric("x", host=host, n="1"))
    random = np.random.default_rng(days.start)
    rows = len(days) * DAY_MS // every_ms
    values = np.round(np.cumsum(random.random((rows, 2)), axis=0) % 40, 2)
    values[random.random(rows) < 0.2, 0] = ABSENT
    values[:, 1] = 7
    times_ms = START_MS + days.start * DAY_MS + (np.arange(rows) + 1) * every_ms
    for time_ms, vector in zip(times_ms.tolist(), values.tolist(), strict=True):
        write(store, target, layout, time_ms, vector)
    store.append_logs([]).result()


def rolled(store: TimescaleStore, first_day: float, last_day: float, resolution_ms: int) -> dict[Labels, object] | None:
    """Of each series the buckets that have any column, as bits."""
    bounds = START_MS + int(first_day * DAY_MS), START_MS + int(last_day * DAY_MS)
    frames = store.select_rollups(X, *bounds, resolution_ms, ALL)
    return None if frames is None else buckets(frames)


def computed(store: LocalStore, first_day: float, last_day: float, resolution_ms: int) -> dict[Labels, object]:
    """The same from samples."""
    bounds = START_MS + int(first_day * DAY_MS), START_MS + int(last_day * DAY_MS)
    made = []
    for frame in store.select(X, bounds[0] - resolution_ms + 1, bounds[1]):
        values = frame.values.copy()
        if frame.present is not None:
            values[~frame.present] = ABSENT
        ends, columns = roll_up(Piece(frame.times_ms, frame.times_ms, frame.series_ids, values), resolution_ms)
        made.append(RollupFrame(ends, columns, frame.series_ids, frame.labels, ALL))
    return buckets(made)


def buckets(frames: list[RollupFrame]) -> dict[Labels, object]:
    found: dict[Labels, object] = {}
    for frame in frames:
        for labels, values in zip(frame.labels, frame.values, strict=True):
            assert labels not in found
            there = ~is_absent(values).all(axis=1)
            found[labels] = dict(
                zip(frame.ends_ms[there].tolist(), values[there].view(np.uint64).tolist(), strict=True)
            )
    return found


@pytest.mark.parametrize("resolution_ms", RESOLUTIONS_MS)
def test_rollups_say_what_samples_say(stores: Stores, resolution_ms: int) -> None:
    store = stores.open()
    fill(store, range(5))
    fill(store, range(2, 5), host="b")
    assert rolled(store, 0, 5, resolution_ms) is None
    with stores.maintenance(rollup_after_ms=DAY_MS) as maintenance:
        maintenance.run(START_MS + 4 * DAY_MS + 6 * HOUR_MS)
    assert stores.number("SELECT count(*) FROM fleetwatch_data.rollup") == 2 * 2 * (3 + 1)
    for first, last in ((0, 5), (0.5, 4.25), (1, 3)):
        assert rolled(store, first, last, resolution_ms) == computed(store, first, last, resolution_ms)


def test_rollups_know_of_late_samples_and_deletes(stores: Stores) -> None:
    store = stores.open()
    fill(store, range(9))
    with stores.maintenance(rollup_after_ms=DAY_MS) as maintenance:
        maintenance.run(START_MS + 10 * DAY_MS)
    target = store.register_target(Labels.of(job="node", instance="a"))
    before = rolled(store, 0, 9, HOUR_MS)
    late = START_MS + DAY_MS + 90_000
    write(store, target, layout_of(store, metric("x", host="a", n="1")), late, [1e6]).result()
    write(store, target, layout_of(store, metric("x", host="a", n="0")), late, [1e6], [START_MS + 90_000]).result()
    assert rolled(store, 0, 9, HOUR_MS) == computed(store, 0, 9, HOUR_MS) != before
    selector = [[Matcher.equal("n", "1")]]
    deletion = store.delete_series(selector, START_MS + 2 * DAY_MS, START_MS + 3 * DAY_MS, START_MS)
    hidden = rolled(store, 0, 9, HOUR_MS)
    assert hidden == computed(store, 0, 9, HOUR_MS)
    assert deletion is not None
    store.undo_delete(deletion.deletion_id)
    assert rolled(store, 0, 9, HOUR_MS) != hidden


# Deletes


def test_a_delete_hides_in_every_process_and_can_be_undone(stores: Stores) -> None:
    store, other, with_head = stores.open(), stores.open(), stores.open(EVERYTHING_MS)
    store.append_samples(metric("x"), [(1000, 1.0), (2000, 2.0), (3000, 3.0)])
    for one in (other, with_head):
        one.catch_up()
    deletion = store.delete_series([[Matcher.equal("__name__", "x")]], 0, 2000, 5000)
    assert deletion is not None
    assert deletion.deleted.samples == 2
    store.append_samples(metric("x"), [(1000, 10.0)])
    left = {metric("x"): [(1000, bits(10)), (3000, bits(3))]}
    for one in (other, with_head):
        one.catch_up()
        assert read(one, [], 0, 9000) == left
        assert one.deletions() == [deletion]
    other.undo_delete(deletion.deletion_id)
    for one in (store, with_head):
        one.catch_up()
        assert read(one, [], 0, 9000) == {metric("x"): [(1000, bits(10)), (2000, bits(2)), (3000, bits(3))]}
        assert one.deletions() == []
    with pytest.raises(UnknownDeletionError):
        store.undo_delete(deletion.deletion_id)


def test_what_was_removed_for_good_does_not_come_back_from_a_head(stores: Stores) -> None:
    store, with_head = stores.open(), stores.open(EVERYTHING_MS)
    store.append_samples(metric("x"), [(1000, 1.0), (2000, 2.0)])
    with_head.catch_up()
    store.delete_series([[Matcher.equal("__name__", "x")]], 0, 1000, 5000)
    stores.seal(10**12)
    with_head.catch_up()
    store.clean_tombstones()
    assert stores.number("SELECT count(*) FROM fleetwatch_data.tombstones") == 0
    with_head.catch_up()
    assert with_head.deletions() == []
    assert read(with_head, [], 0, 9000) == {metric("x"): [(2000, bits(2))]}


# Limits


def test_a_cancelled_query_ends_its_statement(stores: Stores) -> None:
    store = stores.open()
    store.append_samples(metric("x"), [(1000, 1.0)])
    cancellation = Cancellation()
    failures: list[StoreError] = []

    def query() -> None:
        current.set(cancellation)
        try:
            store.select([], 0, 9000)
        except StoreError as error:
            failures.append(error)

    with psycopg.connect(stores.dsn) as connection:
        connection.execute("LOCK TABLE fleetwatch_data.block IN ACCESS EXCLUSIVE MODE")
        thread = threading.Thread(target=contextvars.copy_context().run, args=(query,))
        thread.start()
        wait_until_blocked(connection)
        cancellation.cancel()
        thread.join(5)
        assert not thread.is_alive()
    assert [str(error) for error in failures] == ["the caller has gone: reading was given up"]
    assert len(read(store, [], 0, 9000)) == 1


def wait_until_blocked(connection: psycopg.Connection) -> None:
    """Until somebody waits for a lock of this connection."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    eventually(lambda: connection.execute(query).fetchone(), lambda row: row == (1,), 10)


def test_a_query_that_takes_too_long_says_so(stores: Stores) -> None:
    store = stores.open(statement_timeout_s=0.2)
    with psycopg.connect(stores.dsn) as connection:
        connection.execute("LOCK TABLE fleetwatch_data.logs IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreError, match=r"longer than 0\.2 s .* raise storage.timescaledb.statement_timeout"):
            store.select_logs(LogQuery(0, 1))


def test_a_query_that_reads_too_much_is_refused(stores: Stores) -> None:
    store = stores.open()
    store.append_samples(metric("x"), [(row, 1.0) for row in range(20)])
    ids = Ids()
    ids.learn_series(np.array([0]), np.array([stores.number("SELECT sid FROM fleetwatch_data.series")]))
    connections = Connections(stores.dsn, size=1)
    with connections.transaction(snapshot=True) as connection:
        groups = Groups.one(np.array([0]), ids)
        assert len(list(Reading(connection, LayoutSids(), 7_200_000, 20).pieces(groups, 0, 100))) == 1
        with pytest.raises(StoreError, match=r"more than 19 samples: ask for fewer series"):
            list(Reading(connection, LayoutSids(), 7_200_000, 19).pieces(groups, 0, 100))
    connections.close()


# Texts and numbers that a database does not take as they are


def test_labels_that_text_cannot_have(stores: Stores) -> None:
    odd = [metric("x", text="a\0b"), metric("x", text="\ud800"), metric("x", text="\ufffd"), metric("x", text='€"\\\n')]
    store = stores.open()
    for labels in odd:
        store.append_samples(labels, [(1000, 1.0)])
    assert stores.open().series([], 0, 9000) == sorted(odd)


def test_times_at_the_ends_of_the_calendar(stores: Stores) -> None:
    times = [-60_000_000_000_000, -1, 0, 300_000_000_000_000]
    store = stores.open()
    store.append_samples(metric("x"), [(time_ms, 1.0) for time_ms in times])
    for _ in range(2):
        assert [ms for ms, _ in read(store, [], -(2**62), 2**62)[metric("x")]] == times
        assert [ms for ms, _ in read(store, [], -(2**62), -1)[metric("x")]] == times[:2]
        assert [ms for ms, _ in read(store, [], 0, 10**14)[metric("x")]] == [0]
        assert [ms for ms, _ in read(store, [], 10**14, 2**62)[metric("x")]] == times[3:]
        stores.seal(2**60)


# Exemplars


def test_exemplars_of_all_processes(stores: Stores) -> None:
    store, other = stores.open(), stores.open()
    (series_id,) = store.series_ids([metric("x")]).tolist()
    store.append_samples(metric("x"), [(1000, 1.0)])
    exemplars = [SeriesExemplar(series_id, ms, 1.0, Labels.of(trace=str(ms)), own_time=True) for ms in (1000, 2000)]
    store.append_exemplars(exemplars)
    assert store.select_exemplars([], 0, 1500) == [(metric("x"), exemplars[:1])]
    store.append_logs([]).result()
    other.catch_up()
    ((labels, found),) = other.select_exemplars([], 0, 9000)
    assert labels == metric("x")
    assert [(one.time_ms, one.labels) for one in found] == [(one.time_ms, one.labels) for one in exemplars]


def test_reads_of_all_processes_count(stores: Stores) -> None:
    store, other = stores.open(), stores.open()
    store.append_samples(metric("x"), [(1000, 1.0)])
    other.catch_up()
    for one in (store, other, other):
        one.select([Matcher.equal("__name__", "x")], 0, 9000)
    assert [one.reads for one in other.usage().metrics] == [2]
    for one in (store, other):
        one.maintain(10**12)
    assert [one.reads for one in other.usage().metrics] == [3]
    other.close()
    assert [one.reads for one in store.usage().metrics] == [3]


def test_a_snapshot_has_to_be_made_from_outside(stores: Stores) -> None:
    with pytest.raises(StoreError, match="fleetwatch db backup"):
        stores.open().snapshot("today")
