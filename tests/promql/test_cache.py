"""The cache of range queries: what it answers is what the engine would have answered, whatever is written meanwhile."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.labels import Labels
from common.matchers import Matcher, MatchType
from promql import Engine, Matrix, Result
from promql.cache import MAX_AGE_S, RangeCache
from tsdb import open_store
from tsdb.model import Batch
from tsdb.store import Store

STEP_MS = 10_000
SERIES = [Labels.of(__name__="x_total", job=job) for job in "abc"]
EXPRESSIONS = [
    "x_total",
    "sum(x_total)",
    "rate(x_total[1m])",
    "max_over_time(x_total[30s] offset 20s)",
    "topk(1, x_total)",
    "max_over_time(sum(x_total)[1m:20s])",
    "x_total > 3",
    "absent(x_total{job='c'})",
    "quantile(2, x_total)",
    "x_total @ end()",
    "x_total offset -30s",
    "time() - start()",
]


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Cached:
    """An engine and its cache over the same store."""

    def __init__(self, store: Store, recent_ms: int = 0, budget_bytes: int = 1 << 20) -> None:
        self.store = store
        self.clock = Clock()
        self.engine = Engine(store)
        self.cache = RangeCache(self.engine, store, budget_bytes, recent_ms, self.clock)

    def ask(self, expr: str, start_ms: int, end_ms: int) -> tuple[Result, Result]:
        return (
            self.cache.range(expr, start_ms, end_ms, STEP_MS),
            self.engine.range(expr, start_ms, end_ms, STEP_MS),
        )


@pytest.fixture
def cached() -> Iterator[Cached]:
    store = open_store("memory:")
    yield Cached(store)
    store.close()


def assert_equal(found: Result, expected: Result) -> None:
    assert isinstance(found.value, Matrix)
    assert isinstance(expected.value, Matrix)
    assert found.value.labels == expected.value.labels
    np.testing.assert_array_equal(found.value.times_ms, expected.value.times_ms)
    np.testing.assert_array_equal(found.value.present, expected.value.present)
    present = found.value.present
    np.testing.assert_array_equal(found.value.values[present], expected.value.values[present])
    assert found.warnings == expected.warnings


writes = st.tuples(st.just("write"), st.integers(0, 2), st.integers(0, 60), st.integers(0, 9))
asks = st.tuples(st.just("ask"), st.sampled_from(EXPRESSIONS), st.integers(0, 40), st.integers(0, 25))
deletes = st.tuples(st.just("delete"), st.integers(0, 2), st.integers(0, 60), st.just(0))
undoes = st.tuples(st.just("undo"), st.just(0), st.just(0), st.just(0))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(writes | writes | asks | asks | asks | deletes | undoes, max_size=40))
def test_answers_are_the_engines_under_random_writes_and_deletes(actions: list[tuple[str, object, int, int]]) -> None:
    store = open_store("memory:")
    cached = Cached(store)
    for kind, what, at, number in actions:
        if kind == "write" and isinstance(what, int):
            store.append_samples(SERIES[what], [(at * 7000, float(number))])
        elif kind == "delete" and isinstance(what, int):
            selector = [Matcher("job", MatchType.EQUAL, SERIES[what].get("job"))]
            store.delete_series([selector], at * 7000, (at + 10) * 7000, 10**12)
        elif kind == "undo" and (deletions := store.deletions()):
            store.undo_delete(deletions[-1].deletion_id)
        elif kind == "ask" and isinstance(what, str):
            assert_equal(*cached.ask(what, at * STEP_MS, (at + number) * STEP_MS))
    store.close()


def write(store: Store, upto_s: int) -> None:
    for series in SERIES:
        store.append_samples(series, [(at * 1000, float(at)) for at in range(0, upto_s + 1, 5)])


def test_a_window_that_moves_has_only_its_new_steps_computed(cached: Cached) -> None:
    write(cached.store, 600)
    for start_s in (100, 150, 200):
        assert_equal(*cached.ask("rate(x_total[1m])", start_s * 1000, (start_s + 300) * 1000))
    assert (cached.cache.steps_computed, cached.cache.steps_served) == (31 + 5 + 5, 26 + 26)
    assert_equal(*cached.ask("rate(x_total[1m])", 300_000, 400_000))
    assert cached.cache.steps_computed == 41, "a part of what is known"


def test_other_steps_phases_and_earlier_starts_are_other_queries(cached: Cached) -> None:
    write(cached.store, 600)
    for start_ms in (200_000, 205_000, 190_000):
        assert_equal(*cached.ask("x_total", start_ms, start_ms + 100_000))
    assert cached.cache.steps_served == 0


def test_recent_steps_are_not_kept() -> None:
    store = open_store("memory:")
    cached = Cached(store, recent_ms=60_000)
    write(store, 300)
    assert_equal(*cached.ask("x_total", 200_000, 300_000))
    assert_equal(*cached.ask("x_total", 200_000, 300_000))
    assert cached.cache.steps_served == 5, "of 200 to 240 s"
    store.close()


def test_late_samples_take_back_what_they_may_change(cached: Cached) -> None:
    write(cached.store, 600)
    cached.ask("sum(x_total)", 0, 500_000)
    cached.store.append_samples(SERIES[0], [(300_001, 1e6)])
    assert_equal(*cached.ask("sum(x_total)", 0, 500_000))
    assert cached.cache.steps_served == 31


def test_what_is_old_is_computed_anew(cached: Cached) -> None:
    write(cached.store, 600)
    cached.ask("x_total", 0, 500_000)
    cached.clock.now_s = MAX_AGE_S - 1
    cached.ask("x_total", 10_000, 510_000)
    assert cached.cache.steps_served == 50
    cached.clock.now_s = MAX_AGE_S + 1
    cached.ask("x_total", 10_000, 510_000)
    assert cached.cache.steps_served == 50, "it came of an older one"


def test_memory_is_bounded() -> None:
    store = open_store("memory:")
    cached = Cached(store, budget_bytes=8000)
    write(store, 600)
    for number in range(10):
        cached.ask(f"x_total + {number}", 0, 500_000)
    cached.ask("x_total + 9", 0, 500_000)
    assert cached.cache.steps_served == 51
    cached.ask("x_total + 1", 0, 500_000)
    assert cached.cache.steps_served == 51
    store.close()


def test_what_depends_on_the_query_or_on_later_samples_is_not_kept(cached: Cached) -> None:
    write(cached.store, 600)
    for expr in ("x_total @ end()", "x_total offset -1m", "time() - start()", "x_total offset (-1m)"):
        for _ in range(2):
            cached.ask(expr, 0, 500_000)
    assert cached.cache.steps_served == 0


def test_a_delete_that_is_carried_out_between_two_queries_takes_back_everything(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "data"))
    cached = Cached(store)
    write(store, 600)
    cached.ask("x_total", 0, 500_000)
    selector = [Matcher("job", MatchType.EQUAL, "a")]
    assert store.delete_series([selector], 0, 300_000, 10**12) is not None
    store.maintain(10**12)
    store.clean_tombstones()
    assert store.deletions() == []
    assert_equal(*cached.ask("x_total", 0, 500_000))
    assert cached.cache.steps_served == 0
    store.close()


@pytest.mark.parametrize("place", ["memory:", "data"])
def test_who_waits_for_a_write_is_not_served_what_was_before(place: str, tmp_path: Path) -> None:
    store = open_store(place if place == "memory:" else str(tmp_path / place))

    def take_time(batch: Batch) -> None:
        threading.Event().wait(0.01)

    # Before the cache is told.
    store.follow(take_time)
    cached = Cached(store)
    write(store, 100)
    for number in range(10):
        store.append_samples(SERIES[0], [(50_000 + number, 1000.0 + number)])
        assert_equal(*cached.ask("max_over_time(x_total[30s])", 0, 90_000))
    store.close()
