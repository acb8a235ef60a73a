"""Counts of series, against counting them one by one."""

import contextlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.labels import Labels
from tsdb import Store
from tsdb.cardinality import GROWTH_MS, Count, Growth
from tsdb.embedded import EmbeddedStore
from tsdb.memory import MemoryStore
from tsdb.model import Batch

MINUTE_MS = 60_000

label_sets = st.lists(
    st.dictionaries(st.sampled_from(["__name__", "job", "ä"]), st.sampled_from(["a", "bb", "=", "ß"])), max_size=30
).map(lambda sets: [Labels.of(labels) for labels in sets])


def write(store: Store, target: Labels, series: Iterable[Labels], time_ms: int = 0) -> None:
    layout = store.layout(store.series_ids(list(series)))
    store.append(Batch(store.register_target(target), layout, time_ms, np.zeros(len(layout)))).result()


def counted(counts: Iterable[Count]) -> dict[str, int]:
    return {count.name: count.value for count in counts}


@given(label_sets)
def test_counts_are_those_of_the_label_sets(series: list[Labels]) -> None:
    store = MemoryStore()
    store.series_ids(series)
    found = store.cardinality(1000)
    distinct = set(series)
    pairs = Counter(pair for labels in distinct for pair in labels)
    assert found.series == len(distinct)
    assert found.label_pairs == len(pairs)
    assert counted(found.metric_series) == {value: n for (name, value), n in pairs.items() if name == "__name__"}
    assert counted(found.pair_series) == {f"{name}={value}": n for (name, value), n in pairs.items()}
    assert counted(found.label_values) == Counter(name for name, _ in pairs)
    assert set(counted(found.label_bytes)) == {name for name, _ in pairs}


@given(label_sets, st.integers(1, 5))
def test_the_greatest_come_first_up_to_the_limit(series: list[Labels], limit: int) -> None:
    store = MemoryStore()
    store.series_ids(series)
    found, every = store.cardinality(limit), store.cardinality(1000)
    for kind in ("metric_series", "label_values", "label_bytes", "pair_series"):
        some, all_of_them = getattr(found, kind), getattr(every, kind)
        assert [count.value for count in some] == [count.value for count in all_of_them[:limit]]
        assert set(some) <= set(all_of_them)
        assert list(all_of_them) == sorted(all_of_them, key=lambda count: (-count.value, count.name))


def test_targets_with_their_series_shared_ones_included() -> None:
    store = MemoryStore()
    a, b = Labels.of(job="a"), Labels.of(job="b")
    for job in "cde":
        store.register_target(Labels.of(job=job))
    write(store, a, [Labels.of(__name__="x", n=str(n)) for n in range(5)])
    write(store, b, [Labels.of(__name__="x", n=str(n)) for n in range(3, 10)])
    for limit in (4, 10):
        found = store.cardinality(limit)
        assert [(target.labels, target.series) for target in found.target_series] == [(b, 7), (a, 5)]
    assert [target.labels for target in store.cardinality(1).target_series] == [b]


def test_new_series_are_those_made_since_the_mark() -> None:
    store = MemoryStore()
    a, b = Labels.of(job="a"), Labels.of(job="b")
    write(store, a, [Labels.of(__name__="x", n=str(n)) for n in range(5)])
    assert store.cardinality(10).new_since_ms is None
    store.maintain(1000)
    write(store, a, [Labels.of(__name__="y", n=str(n)) for n in range(2)])
    write(store, b, [Labels.of(__name__="y", n=str(n)) for n in range(1, 4)])
    found = store.cardinality(10)
    assert found.new_since_ms == 1000
    # One is shared.
    assert [(target.labels, target.series, target.new) for target in found.target_series] == [(a, 7, 2), (b, 3, 3)]
    store.maintain(2000 + GROWTH_MS)
    store.maintain(2000 + 2 * GROWTH_MS)
    assert [target.new for target in store.cardinality(10).target_series] == [0, 0]


def test_marks_reach_back_over_the_hour_and_are_few() -> None:
    growth = Growth()
    for second in range(0, 3 * 3600, 10):
        growth.mark(second * 1000, second)
    since = growth.since()
    assert since is not None
    last_ms = 3 * 3600 * 1000 - 10_000
    assert last_ms - GROWTH_MS - MINUTE_MS <= since[0] <= last_ms - GROWTH_MS
    assert since[1] == since[0] // 1000
    assert len(growth._marks) <= GROWTH_MS // MINUTE_MS + 2


def test_what_is_in_memory() -> None:
    store = MemoryStore()
    nothing = store.cardinality(10)
    assert (nothing.chunks, nothing.first_ms, nothing.last_ms) == (0, None, None)
    series = [Labels.of(__name__="x", n=str(n)) for n in range(3)]
    for time_ms in (5000, 6000, 4000):  # the last one is late
        write(store, Labels.of(job="a"), series, time_ms)
    found = store.cardinality(10)
    assert (found.chunks, found.first_ms, found.last_ms) == (3, 4000, 6000)


def test_counts_do_not_depend_on_where_samples_are(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, levels_ms=(1000, 2000, 4000), sealing_delay_ms=0)
    write(store, Labels.of(job="a"), [Labels.of(__name__="x", n=str(n)) for n in range(5)], 500)
    write(store, Labels.of(job="b"), [Labels.of(__name__="x", n=str(n)) for n in range(3, 6)], 500)
    before = store.cardinality(10)
    assert (before.chunks, before.first_ms, before.last_ms) == (8, 500, 500)
    store.maintain(2000)
    sealed = store.cardinality(10)
    assert (sealed.chunks, sealed.first_ms, sealed.last_ms) == (0, None, None)
    store.close()
    with contextlib.closing(EmbeddedStore(tmp_path)) as store:
        after = store.cardinality(10)
    for kind in ("series", "metric_series", "label_values", "label_bytes", "pair_series", "target_series"):
        assert getattr(before, kind) == getattr(sealed, kind) == getattr(after, kind)
    assert [target.series for target in after.target_series] == [5, 3]
    assert after.new_since_ms is None


@pytest.mark.parametrize("limit", [1, 10])
def test_a_dropped_series_is_not_counted(limit: int) -> None:
    store = MemoryStore()
    ids = store.series_ids([Labels.of(__name__="x", n=str(n)) for n in range(3)])
    index = store._catalog.index
    index.drop(ids[:0])  # what was made lately is spared
    index.drop(ids[:2])
    index.purge()
    found = store.cardinality(limit)
    assert found.series == 1
    assert counted(found.metric_series) == {"x": 1}
    assert found.label_pairs == 2
