"""Reads counted by metric, and kept over restarts."""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from common.labels import Labels
from common.matchers import Matcher, MatchType
from promql import Engine
from tsdb import open_store
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.usage_rows import read_usage
from tsdb.index import SeriesIndex
from tsdb.usage import MetricReads, MetricUsage, ReadCounts, Usage, metric_usage

MINUTE_MS = 60_000
NAMES = ("node_a", "node_b", "up")


def series() -> list[Labels]:
    return [Labels.of(__name__=name, job=job) for name in NAMES for job in ("x", "y") if (name, job) != ("up", "y")]


@pytest.mark.parametrize(
    ("matchers", "read"),
    [
        ([Matcher.equal("__name__", "up")], {"up"}),
        ([Matcher.equal("__name__", "up"), Matcher.equal("job", "x")], {"up"}),
        ([Matcher.equal("__name__", "up"), Matcher.equal("job", "y")], set()),
        ([Matcher.equal("__name__", "missing")], set()),
        ([Matcher("__name__", MatchType.REGEX, "up|node_a|missing")], {"up", "node_a"}),
        ([Matcher("__name__", MatchType.REGEX, "node_.*")], {"node_a", "node_b"}),
        ([Matcher("__name__", MatchType.NOT_EQUAL, "up")], {"node_a", "node_b"}),
        ([Matcher.equal("job", "y")], {"node_a", "node_b"}),
        ([], set(NAMES)),
    ],
    ids=str,
)
def test_a_read_counts_for_the_metrics_that_it_finds(matchers: Sequence[Matcher], read: set[str]) -> None:
    index = SeriesIndex()
    index.ids(series())
    counts = ReadCounts(lambda: 7)
    counts.note(matchers, index.resolve(matchers), index)
    counts.note(matchers, index.resolve(matchers), index)
    assert counts.reads() == {name: MetricReads(2, 7) for name in read}


def test_queries_are_reads_and_lookups_are_not() -> None:
    store = open_store("memory:")
    for labels in series():
        store.append_samples(labels, [(1000, 1.0)])
    store.series([[Matcher.equal("__name__", "up")]], 0, 2000)
    store.label_values("__name__", [], 0, 2000)
    Engine(store).instant('sum(node_a) / ignoring(x) node_b{job="x"}', 1000)
    usage = {metric.name: metric for metric in store.usage().metrics}
    assert {name: (metric.series, metric.reads) for name, metric in usage.items()} == {
        "node_a": (2, 1),
        "node_b": (2, 1),
        "up": (1, 0),
    }
    assert usage["up"].last_read_ms is None
    assert (usage["node_a"].last_read_ms or 0) >= store.usage().counted_since_ms


def test_those_that_nobody_read_come_first() -> None:
    reads = {"new": MetricReads(5, 1000), "old": MetricReads(9, 100), "small": MetricReads(1, 1000)}
    found = metric_usage([("small", 1), ("new", 5), ("old", 3), ("never", 2), ("never_large", 8)], reads)
    usage = Usage(0, found)
    order = ["never_large", "old", "never", "new", "small"]
    assert [metric.name for metric in usage.unread_first(500).metrics] == order
    assert [metric.name for metric in usage.unread_first(500, 2).metrics] == order[:2]
    assert MetricUsage("never", 2, 0, None) in usage.metrics


# The embedded store


def read(store: EmbeddedStore, name: str) -> None:
    store.select([Matcher.equal("__name__", name)], 0, 10_000)


def rows(directory: Path) -> list[tuple[str, int, int]]:
    with contextlib.closing(sqlite3.connect(directory / "fleetwatch.db")) as connection:
        return connection.execute("SELECT name, reads, last_read_ms FROM metric_reads ORDER BY name").fetchall()


def test_counts_outlive_a_restart(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    for labels in series():
        store.append_samples(labels, [(1000, 1.0)])
    read(store, "up")
    read(store, "up")
    before = store.usage()
    store.close()
    store = EmbeddedStore(tmp_path)
    assert sorted(store.usage().metrics, key=str) == sorted(before.metrics, key=str)
    assert store.usage().counted_since_ms == before.counted_since_ms
    read(store, "up")
    read(store, "node_a")
    store.close()
    assert [(name, reads) for name, reads, _ in rows(tmp_path)] == [("node_a", 1), ("up", 3)]
    beside = read_usage(tmp_path)
    assert beside.counted_since_ms == before.counted_since_ms
    assert {metric.name: (metric.series, metric.reads) for metric in beside.metrics} == {
        "node_a": (2, 1),
        "node_b": (2, 0),
        "up": (1, 3),
    }


def test_counts_are_written_about_once_a_minute(tmp_path: Path) -> None:
    with contextlib.closing(EmbeddedStore(tmp_path)) as store:
        for labels in series():
            store.append_samples(labels, [(1000, 1.0)])
        for now_ms, written in ((0, 1), (30_000, 1), (MINUTE_MS, 3)):
            read(store, "up")
            store.maintain(now_ms)
            assert [reads for _, reads, _ in rows(tmp_path)] == [written]


def test_counts_that_could_not_be_written_are_written_later(tmp_path: Path) -> None:
    with contextlib.closing(EmbeddedStore(tmp_path)) as store:
        counts, usage_rows = store._reads, store._usage_rows
        for labels in series():
            store.append_samples(labels, [(1000, 1.0)])
        read(store, "up")
        with contextlib.closing(sqlite3.connect(":memory:")) as connection:
            # As in a transaction that is rolled back: written, and not committed.
            connection.execute("CREATE TABLE metric_reads (name PRIMARY KEY, reads, last_read_ms)")
            usage_rows.write(connection)
        assert not counts.take_changed()
        store.maintain(0)
        assert [(name, reads) for name, reads, _ in rows(tmp_path)] == [("up", 1)]


def test_a_store_opened_for_reading_shows_the_counts_and_writes_none(tmp_path: Path) -> None:
    with contextlib.closing(EmbeddedStore(tmp_path)) as store:
        for labels in series():
            store.append_samples(labels, [(1000, 1.0)])
        read(store, "up")
        store.maintain(0)
        with contextlib.closing(EmbeddedStore(tmp_path, read_only=True)) as reader:
            assert {metric.name: metric.reads for metric in reader.usage().metrics}["up"] == 1
            read(reader, "up")
        assert [reads for _, reads, _ in rows(tmp_path)] == [1]
