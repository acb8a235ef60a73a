"""A process that follows the journal: what others write is in its head, each batch once, whatever happens between."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from common.labels import Labels
from common.matchers import Matcher
from tests.fleetwatch_process import eventually
from tests.postgres import PostgresServer, running
from tests.tsdb.contract import layout_of, log, metric, write
from tests.tsdb.reading import bits, read
from tests.tsdb.timescale.databases import DAY_MS, EVERYTHING_MS, Stores, emptied
from tsdb.catalog import Catalog
from tsdb.errors import StoreError, StoreOpenError
from tsdb.head import Head
from tsdb.model import Batch, LogQuery
from tsdb.timescale import following, keeping
from tsdb.timescale.block_rows import WINDOW_MS
from tsdb.timescale.connections import Connections
from tsdb.timescale.following import Follower
from tsdb.timescale.ids import Ids
from tsdb.timescale.layouts import LayoutSids
from tsdb.timescale.loading import CatalogLoader
from tsdb.timescale.recent import NEVER_MS, Recent
from tsdb.timescale.store import TimescaleStore

pytest_plugins = ["tests.databases"]


@pytest.fixture
def stores(timescale_server: PostgresServer, tmp_path: Path) -> Iterator[Stores]:
    stores = Stores(emptied(timescale_server), tmp_path)
    yield stores
    stores.close()


def heard(store: TimescaleStore) -> list[tuple[Labels, int, list[float]]]:
    """What a store tells its followers from now on: target, time and values of each batch."""
    batches: list[tuple[Labels, int, list[float]]] = []

    def take(batch: Batch) -> None:
        values = batch.values.tolist() if batch.times_ms is None else batch.times_ms.tolist()
        batches.append((store._catalog.target_labels(batch.target_id), batch.time_ms, values))

    store.follow(take)
    return batches


def test_what_others_write_is_told_once_and_read_without_the_database(stores: Stores) -> None:
    writers, following = [stores.open(), stores.open()], stores.open(EVERYTHING_MS)
    told = heard(following)
    expected = []
    for row in range(40):
        for number, store in enumerate([*writers, following]):
            labels = Labels.of(job="node", instance=str(number))
            layout = layout_of(store, metric("x", n=str(number)), metric("layout", n=str(row // 10)))
            write(store, store.register_target(labels), layout, row * 1000, [row, number]).result()
            expected.append((labels, row * 1000, [float(row), float(number)]))
        if row % 8 == 0:
            following.catch_up()
    following.catch_up()
    following.catch_up()
    assert sorted(told) == sorted(expected)
    assert following.stats()["head_samples"] == 2 * 3 * 40
    found = read(following, [Matcher.equal("__name__", "x")], 0, 10**9)
    assert found == {metric("x", n=str(n)): [(row * 1000, bits(row)) for row in range(40)] for n in range(3)}


def test_the_thread_keeps_in_step(stores: Stores) -> None:
    store, following = stores.open(), stores.open(EVERYTHING_MS)
    told = heard(following)
    store.append_samples(metric("x"), [(1000, 1.0)])
    eventually(lambda: len(told), lambda count: count == 1, 10)
    assert following.stats()["follower_lag_seconds"] < 10


def test_connections_that_are_dropped_lose_nothing(stores: Stores, timescale_server: PostgresServer) -> None:
    store, following = stores.open(), stores.open(EVERYTHING_MS)
    told = heard(following)
    for row in range(30):
        store.append_samples(metric("x"), [(row, float(row))])
        if row % 10 == 5:
            timescale_server.drop_connections()
    store.append_logs([]).result()
    eventually(lambda: sorted(time_ms for _, time_ms, _ in told), lambda times: times == list(range(30)), 20)
    assert [ms for ms, _ in read(following, [], 0, 100)[metric("x")]] == list(range(30))


class Following:
    """A follower by itself, which takes any pause for one in which rows may have become blocks."""

    def __init__(self, dsn: str, keep_ms: int, now_ms: int) -> None:
        self.connections = Connections(dsn, size=2)
        self.catalog, self.ids, self.head = Catalog(), Ids(), Head()
        self.recent = Recent(self.head, keep_ms, now_ms)
        self.told: list[Batch] = []
        loader = CatalogLoader(self.catalog, self.ids)
        layouts = LayoutSids()
        self.follower = Follower(
            self.catalog, self.ids, loader, layouts, self.recent, WINDOW_MS, self.told.append, pause_s=0
        )
        with self.connections.transaction(snapshot=True) as connection:
            loader.load(connection, at_start=True)
            self.follower.load(connection)

    def poll(self) -> None:
        with self.connections.transaction(snapshot=True) as connection:
            self.follower.poll(connection, None)

    def samples(self) -> int:
        return int(self.head.figures()["head_samples"])


def test_what_became_blocks_meanwhile_is_not_missed(stores: Stores) -> None:
    store, following = stores.open(), Following(stores.dsn, EVERYTHING_MS, DAY_MS)
    target = store.register_target(Labels.of(job="node"))
    layout = layout_of(store, metric("x"), metric("y"))
    for row in range(10):
        write(store, target, layout, row * 1000, [row, row]).result()
    stores.seal(DAY_MS)
    write(store, target, layout, 11_000, [1, 1]).result()
    following.poll()
    assert [batch.time_ms for batch in following.told] == [11_000, *range(0, 10_000, 1000)]
    assert following.samples() == 22
    following.poll()
    assert following.samples() == 22
    following.connections.close()


def test_the_head_begins_with_the_past(stores: Stores) -> None:
    store = stores.open()
    target = store.register_target(Labels.of(job="node"))
    layout = layout_of(store, *[metric("x", n=str(n)) for n in range(3)])
    for row in range(100):
        write(store, target, layout, row * 60_000, [row] * 3).result()
        if row == 60:
            stores.seal(30 * 60_000 + 3 * WINDOW_MS)
    following = Following(stores.dsn, 100 * 60_000, 100 * 60_000)
    assert following.recent.complete_from_ms == 0
    assert following.samples() == 300
    assert following.head.figures()["head_late_samples"] == 0
    shorter = Following(stores.dsn, 20 * 60_000, 100 * 60_000)
    assert shorter.samples() == 3 * 20
    for one in (following, shorter):
        one.connections.close()


def test_what_is_trimmed_is_read_from_the_database(stores: Stores) -> None:
    store = stores.open(EVERYTHING_MS)
    times = [row * 60_000 for row in range(200)]
    target = store.register_target(Labels.of(job="node"))
    layout = layout_of(store, metric("x"))
    for time_ms in times:
        write(store, target, layout, time_ms, [time_ms]).result()
    recent = store._recent
    assert recent is not None
    for floor_ms in (50 * 60_000, 120 * 60_000 + 1, 10**9):
        recent.trim(EVERYTHING_MS + floor_ms)
        recent.trim(EVERYTHING_MS * 2 if floor_ms == 10**9 else 0)
        assert [ms for ms, _ in read(store, [], 0, 10**9)[metric("x")]] == times
        assert [ms for ms, _ in read(store, [], 40 * 60_000, 130 * 60_000)[metric("x")]] == times[40:131]
    assert store.stats()["head_samples"] == 0


def test_what_comes_while_the_past_is_loaded_enters_after_it() -> None:
    catalog, head = Catalog(), Head()
    layout = catalog.layout(catalog.index.ids([metric("x")]))
    recent = Recent(head, 1000, 1000)
    batches = [Batch(0, layout, time_ms, np.array([1.0])) for time_ms in (-5, 10, 20, 30)]
    for seq in (0, 3):
        recent.take(seq, batches[seq])
    assert recent.complete_from_ms == NEVER_MS
    for seq in (1, 2):
        recent.put(seq, batches[seq])
    recent.loaded()
    assert recent.complete_from_ms == 0
    assert (head.figures()["head_samples"], head.figures()["head_late_samples"]) == (3, 0)


# News without a head


def test_series_and_targets_of_others_are_found(stores: Stores) -> None:
    store, other = stores.open(), stores.open()
    for number in range(3):
        store.append_samples(metric("x", n=str(number)), [(1000, 1.0)])
        store.append_logs([log(f"line {number}", number)]).result()
        other.catch_up()
        assert len(other.series([], 0, 9000)) == len(read(other, [], 0, 9000)) == number + 1
    assert len(other.select_logs(LogQuery(0, 10))) == 3


def test_dropped_series_leave(stores: Stores) -> None:
    store, others = stores.open(), [stores.open(), stores.open(EVERYTHING_MS)]
    store.append_samples(metric("gone"), [(1000, 1.0)])
    store.append_samples(metric("kept"), [(1000, 1.0)])
    for other in others:
        other.catch_up()
    with Connections(stores.dsn, size=1).transaction() as connection:
        connection.execute("DELETE FROM fleetwatch_data.journal")
        connection.execute("DELETE FROM fleetwatch_data.series WHERE metric = 'gone'")
        connection.execute("UPDATE fleetwatch_data.meta SET value = value::int + 1 WHERE key = 'series_epoch'")
    # What was given to somebody since the last time is spared once.
    for _ in range(2):
        others[0].catch_up()
    assert others[0].series([], 0, 9000) == [metric("kept")]
    store.append_samples(metric("gone"), [(2000, 2.0)])
    for other in others:
        other.catch_up()
        assert read(other, [Matcher.equal("__name__", "gone")], 1500, 9000) == {metric("gone"): [(2000, bits(2))]}


def test_a_clock_that_is_set_back_hides_nothing(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores.open()
    target, layout = store.register_target(Labels.of(job="node")), layout_of(store, metric("x"))
    state = following._state
    monkeypatch.setattr(following, "_state", lambda connection: (state(connection)[0] + 3600, *state(connection)[1:]))
    reader = Following(stores.dsn, EVERYTHING_MS, DAY_MS)
    monkeypatch.undo()
    write(store, target, layout, 1000, [1.0]).result()
    reader.poll()
    assert [batch.time_ms for batch in reader.told] == [1000]
    reader.connections.close()


def test_a_reader_notices_that_the_database_lost_commits(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    """It never writes, and yet must not take new series for those whose numbers they have got."""
    writer, reader = stores.open(), stores.open(EVERYTHING_MS)
    writer.append_samples(metric("lost"), [(1000, 1.0)])
    reader.catch_up()
    with psycopg.connect(stores.dsn) as connection:
        connection.execute(
            "TRUNCATE fleetwatch_data.journal, fleetwatch_data.series, fleetwatch_data.layouts, "
            "fleetwatch_data.targets RESTART IDENTITY"
        )
        connection.execute("UPDATE fleetwatch_data.writers SET last_write = 0")
    eventually(lambda: caplog.text, lambda text: "lost writes that were read of it" in text, 20)
    stores.open().append_samples(metric("new"), [(2000, 2.0)])
    found = eventually(lambda: read(reader, [], 1500, 9000), lambda found: bool(found), 20)
    assert found == {metric("new"): [(2000, bits(2))]}


def test_what_was_not_foreseen_does_not_end_the_thread(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeping, "_RETRY_S", 0.001)
    writer, reader = stores.open(), stores.open(EVERYTHING_MS)

    def failing(connection: object) -> None:
        raise ValueError("not foreseen")

    with monkeypatch.context() as broken:
        broken.setattr(following, "_state", failing)
        eventually(lambda: caplog.text, lambda text: "not foreseen" in text, 20)
    writer.append_samples(metric("x"), [(1000, 1.0)])
    eventually(lambda: read(reader, [], 0, 9000), lambda found: found == {metric("x"): [(1000, bits(1))]}, 20)


# Opening


def test_a_narrow_table_is_refused_where_the_server_cannot_have_it(stores: Stores) -> None:
    with pytest.raises(StoreOpenError, match=r"storage\.timescaledb\.narrow needs the community edition"):
        stores.open(narrow=True)


def test_without_a_database(tmp_path: Path) -> None:
    """A process that scrapes begins anyway; what it writes is in the database once that is there."""
    with running("timescale") as server:
        stores = Stores(server.create_database(), tmp_path)
        stores.open().append_samples(metric("before", n="1"), [(1000, 1.0)])
        stores.close()
        server.stop("fast")
        with pytest.raises(StoreOpenError, match=r"cannot open the database postgresql://.*refused"):
            stores.open(EVERYTHING_MS)
        scraping = stores.open(start_without=True)
        scraping.append_samples(metric("before", n="1"), [(2000, 2.0)])
        scraping.append_samples(metric("new"), [(2000, 2.0)])
        with pytest.raises(StoreError, match="is away"):
            scraping.select([], 0, 9000)
        assert scraping.series([], 0, 9000) == [metric("before", n="1"), metric("new")]
        server.start()
        expected = {
            metric("before", n="1"): [(1000, bits(1)), (2000, bits(2))],
            metric("new"): [(2000, bits(2))],
        }
        eventually(lambda: scraping.stats()["spool_bytes"], lambda size: size == 0, 30)
        reading = stores.open(EVERYTHING_MS)
        assert read(reading, [], 0, 9000) == expected
        scraping.catch_up()
        assert read(scraping, [], 0, 9000) == expected
        stores.close()
