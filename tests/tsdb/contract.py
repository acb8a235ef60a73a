"""What every Store must do. A test class derives from StoreContract and gives the `store` and `settle` fixtures."""

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
import pytest

from common.labels import Labels
from common.matchers import Matcher, MatchType
from tests.tsdb.reading import bits, read
from tsdb import Store
from tsdb.errors import StoreClosedError
from tsdb.model import ABSENT, STALE_NAN, Batch, Layout, LogEntry, LogQuery, Server

MINUTE_MS = 60_000
Settle = Callable[[Store], Store]


def metric(name: str, **labels: str) -> Labels:
    return Labels.of({"__name__": name, **labels})


def layout_of(store: Store, *labels: Labels) -> Layout:
    return store.layout(store.series_ids(labels))


def write(
    store: Store,
    target_id: int,
    layout: Layout,
    time_ms: int,
    values: Sequence[float],
    times_ms: Sequence[int] | None = None,
) -> Future[None]:
    own_times = None if times_ms is None else np.array(times_ms, dtype=np.int64)
    return store.append(Batch(target_id, layout, time_ms, np.array(values, dtype=np.float64), own_times))


def log(text: str, time_ns: int, **changes: object) -> LogEntry:
    values: dict[str, object] = {
        "entry_id": uuid.uuid4(),
        "server_id": uuid.UUID(int=1),
        "log_type": "info",
        "source": "app.log",
        "message": text,
        "time_ns": time_ns,
    }
    return LogEntry(**{**values, **changes})  # type: ignore[arg-type]  # the test names the fields it wants


class StoreContract:
    @pytest.fixture
    def store(self) -> Store:
        """An empty store."""
        raise NotImplementedError

    @pytest.fixture
    def settle(self) -> Settle:
        """Called between writing and reading: a store that moves samples about does it here."""
        raise NotImplementedError

    # Samples

    def test_batches_come_back_bit_for_bit(self, store: Store, settle: Settle) -> None:
        target = store.register_target(Labels.of(job="node", instance="a:9100"))
        layout = layout_of(store, metric("x"), metric("y"), metric("z"))
        rows = [[1.5, -0.0, 7.0], [float("inf"), STALE_NAN, 7.0], [float("nan"), 0.1, 7.0]]
        for row, values in enumerate(rows):
            write(store, target, layout, row * MINUTE_MS, values).result()
        found = read(settle(store), [], 0, 10 * MINUTE_MS)
        for column, name in enumerate("xyz"):
            assert found[metric(name)] == [(row * MINUTE_MS, bits(values[column])) for row, values in enumerate(rows)]

    def test_bounds_are_inclusive(self, store: Store, settle: Settle) -> None:
        store.append_samples(metric("x"), [(ms, float(ms)) for ms in (1000, 2000, 3000, 4000)])
        store = settle(store)
        assert [ms for ms, _ in read(store, [], 2000, 3000)[metric("x")]] == [2000, 3000]
        assert read(store, [], 3001, 3999) == {}
        assert read(store, [], 3000, 2000) == {}

    def test_absent_samples_are_not_there(self, store: Store, settle: Settle) -> None:
        target = store.register_target(Labels.of(job="node"))
        layout = layout_of(store, metric("x"), metric("y"), metric("never"))
        for row in range(4):
            write(store, target, layout, row * 1000, [ABSENT if row % 2 else row, row, ABSENT]).result()
        found = read(settle(store), [], 0, 9000)
        assert [ms for ms, _ in found[metric("x")]] == [0, 2000]
        assert [ms for ms, _ in found[metric("y")]] == [0, 1000, 2000, 3000]
        assert metric("never") not in found

    def test_series_of_a_target_share_a_frame(self, store: Store, settle: Settle) -> None:
        target = store.register_target(Labels.of(job="node"))
        layout = layout_of(store, *(metric("x", n=str(n)) for n in range(5)))
        for row in range(3):
            write(store, target, layout, row * 1000, range(row, row + 5)).result()
        (frame,) = settle(store).select([Matcher.equal("__name__", "x")], 0, 9000)
        assert frame.values.shape == (5, 3)
        assert frame.present is None

    def test_layouts_change(self, store: Store, settle: Settle) -> None:
        target = store.register_target(Labels.of(job="node"))
        both = layout_of(store, metric("x"), metric("y"))
        turned = layout_of(store, metric("z"), metric("x"))
        write(store, target, both, 1000, [1, 2]).result()
        write(store, target, turned, 2000, [3, 4]).result()
        write(store, target, both, 3000, [5, 6]).result()
        assert read(settle(store), [], 0, 9000) == {
            metric("x"): [(1000, bits(1)), (2000, bits(4)), (3000, bits(5))],
            metric("y"): [(1000, bits(2)), (3000, bits(6))],
            metric("z"): [(2000, bits(3))],
        }

    def test_late_samples_find_their_place(self, store: Store, settle: Settle) -> None:
        store.append_samples(metric("x"), [(5000, 5.0), (1000, 1.0), (9000, 9.0), (3000, 3.0)])
        found = read(settle(store), [], 0, 99000)
        assert found[metric("x")] == [(ms, bits(ms / 1000)) for ms in (1000, 3000, 5000, 9000)]

    def test_the_last_write_is_read(self, store: Store, settle: Settle) -> None:
        store.append_samples(metric("x"), [(1000, 1.0), (2000, 2.0), (1000, 10.0)])
        store = settle(store)
        store.append_samples(metric("x"), [(2000, 20.0), (3000, 3.0), (2000, 21.0)])
        found = read(settle(store), [], 0, 9000)
        assert found[metric("x")] == [(1000, bits(10)), (2000, bits(21)), (3000, bits(3))]

    def test_a_repeated_batch_is_stored_once(self, store: Store, settle: Settle) -> None:
        target = store.register_target(Labels.of(job="node"))
        layout = layout_of(store, metric("x"), metric("y"))
        for time_ms in (1000, 1000, 2000, 1000):
            write(store, target, layout, time_ms, [1, 2]).result()
        found = read(settle(store), [], 0, 9000)
        assert [ms for ms, _ in found[metric("x")]] == [1000, 2000]

    def test_two_batches_of_one_time_are_both_kept(self, store: Store, settle: Settle) -> None:
        target = store.register_target(Labels.of(job="push"))
        write(store, target, layout_of(store, metric("x"), metric("y")), 1000, [1, 2]).result()
        write(store, target, layout_of(store, metric("y"), metric("z")), 1000, [3, 4]).result()
        assert read(settle(store), [], 0, 9000) == {
            metric("x"): [(1000, bits(1))],
            metric("y"): [(1000, bits(3))],
            metric("z"): [(1000, bits(4))],
        }

    def test_samples_bring_their_own_times(self, store: Store, settle: Settle) -> None:
        target = store.register_target(Labels.of(job="node"))
        layout = layout_of(store, metric("own"), metric("scraped"), metric("gone"))
        write(store, target, layout, 5000, [1, 2, ABSENT], [4000, 5000, 1]).result()
        write(store, target, layout, 6000, [3, 4, ABSENT], [4500, 6000, 1]).result()
        write(store, target, layout, 7000, [3, 5, ABSENT], [4500, 7000, 1]).result()
        assert read(settle(store), [], 0, 9000) == {
            metric("own"): [(4000, bits(1)), (4500, bits(3))],
            metric("scraped"): [(5000, bits(2)), (6000, bits(4)), (7000, bits(5))],
        }

    def test_a_series_of_several_targets_is_in_one_frame(self, store: Store, settle: Settle) -> None:
        targets = [store.register_target(Labels.of(job="node", instance=name)) for name in "ab"]
        layouts = [layout_of(store, metric("x"), metric("only", at=name)) for name in "ab"]
        for row in range(4):
            write(store, targets[row % 2], layouts[row % 2], row * 1000, [row, row]).result()
        write(store, targets[1], layouts[1], 2000, [20, 20]).result()
        found = read(settle(store), [Matcher.equal("__name__", "x")], 0, 9000)
        assert found == {metric("x"): [(0, bits(0)), (1000, bits(1)), (2000, bits(20)), (3000, bits(3))]}

    def test_the_last_write_is_read_from_whatever_target(self, store: Store, settle: Settle) -> None:
        targets = [store.register_target(Labels.of(job="node", instance=name)) for name in "ab"]
        layout = layout_of(store, metric("x"))
        for value, target in enumerate([targets[0], targets[1], targets[0]]):
            write(store, target, layout, 1000, [value]).result()
        assert read(settle(store), [], 0, 9000) == {metric("x"): [(1000, bits(2))]}

    def test_an_empty_batch(self, store: Store, settle: Settle) -> None:
        target = store.register_target(Labels.of(job="node"))
        write(store, target, layout_of(store), 1000, []).result()
        write(store, target, layout_of(store, metric("x")), 1000, [ABSENT]).result()
        store = settle(store)
        assert read(store, [], 0, 9000) == {}

    def test_a_cancelled_write_hinders_no_other(self, store: Store, settle: Settle) -> None:
        target = store.register_target(Labels.of(job="node"))
        layout = layout_of(store, metric("x"))
        for row in range(200):
            write(store, target, layout, row, [row]).cancel()
        write(store, target, layout, 1000, [1]).result()
        assert (1000, bits(1)) in read(settle(store), [], 0, 9000)[metric("x")]

    def test_many_series_and_rows(self, store: Store, settle: Settle) -> None:
        target = store.register_target(Labels.of(job="node"))
        layout = layout_of(store, *(metric("x", n=f"{n:03}") for n in range(300)))
        matrix = np.random.default_rng(7).normal(size=(400, 300))
        written = [write(store, target, layout, row * 15_000, matrix[row].tolist()) for row in range(400)]
        for future in written:
            future.result()
        store = settle(store)
        (frame,) = store.select([Matcher.equal("__name__", "x")], 100 * 15_000, 299 * 15_000)
        order = np.argsort([labels.get("n") for labels in frame.labels])
        np.testing.assert_array_equal(frame.values[order], matrix[100:300].T)
        (frame,) = store.select([Matcher("n", MatchType.REGEX, "007|2.5")], 0, 10**9)
        assert frame.values.shape == (11, 400)

    # Series

    def test_numbers_are_stable(self, store: Store) -> None:
        labels = [metric("x", n=str(n)) for n in range(3)]
        ids = store.series_ids(labels)
        assert store.series_ids([labels[2], metric("new"), labels[0]]).tolist()[::2] == [ids[2], ids[0]]
        assert store.layout(ids) is store.layout(ids.copy())
        target = store.register_target(Labels.of(job="node"))
        assert store.register_target(Labels.of(job="other")) != target
        assert store.register_target(Labels.of(job="node")) == target

    def test_layouts_are_checked(self, store: Store) -> None:
        ids = store.series_ids([metric("x")])
        with pytest.raises(ValueError, match="never made"):
            store.layout(ids + 1)
        with pytest.raises(ValueError, match="twice"):
            store.layout(np.repeat(ids, 2))

    def test_lookups(self, store: Store, settle: Settle) -> None:
        written = [metric("up", job=job, instance=str(n)) for n in (1, 2) for job in ("a", "b")]
        for labels in [*written, metric("other", zone="z")]:
            store.append_samples(labels, [(1000, 1.0)])
        store = settle(store)
        up, job_a, other = (
            Matcher.equal("__name__", "up"),
            Matcher.equal("job", "a"),
            Matcher.equal("__name__", "other"),
        )
        assert store.series([[up, job_a]], 0, 9000) == written[::2]
        assert store.series([[up], [up, job_a], [other]], 0, 9000) == [metric("other", zone="z"), *written]
        assert len(store.series([], 0, 9000)) == 5
        assert store.series([[up]], 0, 9000, limit=3) == written[:3]
        assert store.label_names([], 0, 9000) == ["__name__", "instance", "job", "zone"]
        assert store.label_names([[other]], 0, 9000) == ["__name__", "zone"]
        assert store.label_names([], 0, 9000, limit=2) == ["__name__", "instance"]
        assert store.label_values("job", [], 0, 9000) == ["a", "b"]
        assert store.label_values("job", [[other]], 0, 9000) == []
        assert store.label_values("__name__", [[job_a], [other]], 0, 9000) == ["other", "up"]
        assert store.label_values("instance", [[up]], 0, 9000, limit=1) == ["1"]
        assert store.label_values("nope", [], 0, 9000) == []

    # Counting

    def test_series_are_counted_by_metric_label_pair_and_target(self, store: Store, settle: Settle) -> None:
        for job, hosts in (("node", "ab"), ("cloud", "abc")):
            layout = layout_of(store, *[metric("x", job=job, host=host) for host in hosts], metric("shared"))
            write(store, store.register_target(Labels.of(job=job)), layout, 0, [1.0] * len(layout)).result()
        store = settle(store)
        found = store.cardinality(10)
        assert (found.series, found.label_pairs) == (6, 7)
        assert [(count.name, count.value) for count in found.metric_series] == [("x", 5), ("shared", 1)]
        assert [(count.name, count.value) for count in found.label_values] == [("host", 3), ("__name__", 2), ("job", 2)]
        assert {count.name for count in found.label_bytes} == {"__name__", "host", "job"}
        assert [(count.name, count.value) for count in store.cardinality(2).pair_series] == [
            ("__name__=x", 5),
            ("job=cloud", 3),
        ]
        assert [(target.labels.get("job"), target.series) for target in found.target_series] == [
            ("cloud", 4),
            ("node", 3),
        ]

    def test_reads_are_counted_by_metric(self, store: Store, settle: Settle) -> None:
        for name in ("x", "y", "z"):
            store.append_samples(metric(name, job="node"), [(1000, 1.0)])
        store = settle(store)
        for name in ("x", "x", "missing"):
            store.select([Matcher.equal("__name__", name)], 0, 2000)
        store.select([Matcher("__name__", MatchType.REGEX, "x|y")], 0, 2000)
        store.series([[Matcher.equal("__name__", "z")]], 0, 2000)
        usage = store.usage()
        assert {metric.name: (metric.series, metric.reads) for metric in usage.metrics} == {
            "x": (1, 3),
            "y": (1, 1),
            "z": (1, 0),
        }
        assert {metric.name for metric in usage.metrics if metric.last_read_ms is None} == {"z"}
        assert all(
            metric.last_read_ms is None or metric.last_read_ms >= usage.counted_since_ms for metric in usage.metrics
        )

    # Servers

    def test_targets_make_servers(self, store: Store, settle: Settle) -> None:
        for instance in ("web1:9100", "web1:9200", "web2", "[::1]:9100"):
            store.register_target(Labels.of(job="node", instance=instance))
        before = store.servers()
        assert [server.name for server in before] == ["::1", "web1", "web2"]
        assert settle(store).servers() == before

    def test_servers_are_replaced(self, store: Store, settle: Settle) -> None:
        store.register_target(Labels.of(job="node", instance="web1:9100"))
        (made,) = store.servers()
        described = Server(made.server_id, "web1", "the first", {"rack": "7"})
        store.put_server(described)
        store.put_server(Server(uuid.UUID(int=5), "db1"))
        store.register_target(Labels.of(job="node", instance="db1:9100"))
        assert settle(store).servers() == [Server(uuid.UUID(int=5), "db1"), described]

    # Logs

    def test_logs_newest_first(self, store: Store, settle: Settle) -> None:
        entries = [log(f"line {n}", n * 1000, fields={"n": str(n)}) for n in range(5)]
        store.append_logs(entries).result()
        store = settle(store)
        assert store.select_logs(LogQuery(1000, 3000)) == entries[3:0:-1]
        assert store.select_logs(LogQuery(0, 10**9, limit=2)) == entries[:2:-1]

    def test_logs_are_stored_once(self, store: Store, settle: Settle) -> None:
        entry = log("first", 1000)
        store.append_logs([entry]).result()
        again = log("second", 1000, entry_id=entry.entry_id)
        store.append_logs([again, log("third", 2000)]).result()
        found = settle(store).select_logs(LogQuery(0, 10**9))
        assert [entry.message for entry in found] == ["third", "first"]

    @pytest.mark.parametrize(
        ("conditions", "expected"),
        [
            ({"log_type": "error"}, ["Disk FULL on /dev/sda1"]),
            ({"source": "nginx"}, ['GET /health OR "quoted" 200']),
            ({"server_id": uuid.UUID(int=2)}, ["Größe überschritten"]),
            ({"text": "disk"}, ["Disk FULL on /dev/sda1"]),
            ({"text": "full disk"}, ["Disk FULL on /dev/sda1"]),
            ({"text": "dev/sda1"}, ["Disk FULL on /dev/sda1"]),
            ({"text": "or"}, ['GET /health OR "quoted" 200']),
            ({"text": '"quoted'}, ['GET /health OR "quoted" 200']),
            ({"text": "größe"}, ["Größe überschritten"]),
            ({"text": "grosse"}, []),
            ({"text": "dis"}, []),
            ({"text": "disk", "log_type": "access"}, []),
            ({"text": ""}, ["Größe überschritten", 'GET /health OR "quoted" 200', "Disk FULL on /dev/sda1"]),
        ],
    )
    def test_logs_are_found(
        self, store: Store, settle: Settle, conditions: dict[str, object], expected: list[str]
    ) -> None:
        store.append_logs(
            [
                log("Disk FULL on /dev/sda1", 1000, log_type="error"),
                log('GET /health OR "quoted" 200', 2000, log_type="access", source="nginx"),
                log("Größe überschritten", 3000, server_id=uuid.UUID(int=2)),
            ]
        ).result()
        query = LogQuery(0, 10**9, **conditions)  # type: ignore[arg-type]  # a row of the table above
        assert [entry.message for entry in settle(store).select_logs(query)] == expected

    # Running

    def test_followers_see_what_is_durable(self, store: Store) -> None:
        seen: list[Batch] = []
        arrived = threading.Event()

        def take(batch: Batch) -> None:
            seen.append(batch)
            arrived.set()

        leave = store.follow(take)
        target = store.register_target(Labels.of(job="node"))
        batch = Batch(target, layout_of(store, metric("x")), 1000, np.array([1.0]))
        store.append(batch).result()
        assert arrived.wait(10)
        assert seen == [batch]
        leave()
        store.append_samples(metric("x"), [(2000, 1.0)])
        store.append_logs([]).result()  # whatever follows the write has happened by now
        assert seen == [batch]

    def test_writers_and_readers_at_once(self, store: Store, settle: Settle) -> None:
        done = threading.Event()
        failures: list[BaseException] = []

        def load(number: int) -> None:
            target = store.register_target(Labels.of(job="node", instance=str(number)))
            for row in range(100):
                layout = layout_of(store, metric("x", writer=str(number)), metric("row", n=str(row // 10)))
                write(store, target, layout, row * 1000, [row, row]).result()
                values = read(store, [Matcher.equal("writer", str(number))], 0, 10**9)
                if len(values[metric("x", writer=str(number))]) != row + 1:
                    failures.append(AssertionError(f"{values} after row {row}"))

        def look() -> None:
            while not done.is_set():
                read(store, [Matcher.equal("__name__", "row")], 0, 10**9)
                store.label_values("n", [], 0, 10**9)

        reader = threading.Thread(target=look)
        writers = [threading.Thread(target=load, args=(number,)) for number in range(3)]
        for thread in [reader, *writers]:
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        reader.join()
        assert failures == []
        found = read(settle(store), [Matcher.equal("__name__", "x")], 0, 10**9)
        assert [len(samples) for samples in found.values()] == [100, 100, 100]

    def test_figures_are_numbers(self, store: Store) -> None:
        store.append_samples(metric("x"), [(1000, 1.0), (2000, 1.0)])
        stats = store.stats()
        assert stats["samples_appended_total"] == 2
        assert stats["series"] == 1
        assert all(isinstance(value, float) for value in stats.values())

    def test_nothing_works_after_close(self, store: Store) -> None:
        batch = Batch(store.register_target(Labels.of(job="node")), layout_of(store, metric("x")), 0, np.array([1.0]))
        store.close()
        store.close()
        calls: list[Callable[[], object]] = [
            lambda: store.append(batch),
            lambda: store.select([], 0, 1),
            lambda: store.series([], 0, 1),
            lambda: store.append_logs([]),
            lambda: store.select_logs(LogQuery(0, 1)),
            lambda: store.put_server(Server(uuid.UUID(int=1), "a")),
            lambda: store.maintain(0),
            lambda: store.stats(),
            lambda: store.cardinality(10),
            lambda: store.usage(),
        ]
        for call in calls:
            with pytest.raises(StoreClosedError):
                call()
