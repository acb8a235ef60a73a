"""The ring of exemplars against a plain model of its rules, and its rows on disk."""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.labels import EMPTY_LABELS, Labels
from common.matchers import Matcher, MatchType
from tsdb import open_store
from tsdb.embedded.exemplar_rows import ExemplarRows
from tsdb.exemplars import ExemplarRing, Refusal
from tsdb.model import SeriesExemplar
from tsdb.schema import sqlite_statements
from tsdb.store import Store

TRACE = Labels.of(trace_id="a")
ALL_TIME = (-(2**62), 2**62)


def exemplar(
    series_id: int = 1, time_ms: int = 1000, value: float = 1.0, labels: Labels = TRACE, own_time: bool = True
) -> SeriesExemplar:
    return SeriesExemplar(series_id, time_ms, value, labels, own_time)


def held(ring: ExemplarRing, *series_ids: int) -> dict[int, list[SeriesExemplar]]:
    return ring.select(np.array(series_ids or range(10), dtype=np.int64), *ALL_TIME)


some = st.builds(
    exemplar,
    st.integers(0, 2),
    st.integers(0, 5),
    st.sampled_from([1.0, 2.0, math.inf]),
    st.sampled_from([EMPTY_LABELS, TRACE, Labels.of(trace_id="b"), Labels.of(trace_id="x" * 120)]),
    st.booleans(),
)


def modelled(exemplars: list[SeriesExemplar], capacity: int) -> tuple[list[SeriesExemplar], list[SeriesExemplar]]:
    """What the ring holds in the order of arrival, and what it refuses."""
    ring: list[SeriesExemplar] = []
    refused = []
    for new in exemplars:
        latest = next((old for old in reversed(ring) if old.series_id == new.series_id), None)
        if latest is not None:
            again = latest.labels == new.labels and latest.value == new.value
            if again and (latest.time_ms == new.time_ms or not (latest.own_time or new.own_time)):
                continue
            if (new.time_ms, new.value, new.labels) < (latest.time_ms, latest.value, latest.labels):
                refused.append(new)
                continue
        ring = [*ring, new][-capacity:]
    return ring, refused


@given(st.lists(some, max_size=30), st.integers(1, 6))
@settings(deadline=None)
def test_the_ring_holds_what_the_model_says(exemplars: list[SeriesExemplar], capacity: int) -> None:
    ring = ExemplarRing(capacity)
    entered = [one for new in exemplars for one in ring.add([new])]
    expected, refused = modelled(exemplars, capacity)

    assert len(ring) == len(expected)
    for series_id in range(3):
        of_series = [one for one in expected if one.series_id == series_id]
        assert held(ring, series_id).get(series_id, []) == of_series
    assert entered[-len(expected) :] == expected if expected else not entered
    assert ring.refused[Refusal.OUT_OF_ORDER] == len(refused)


@pytest.mark.parametrize(
    ("labels", "enters"),
    [
        (Labels.of(trace_id="x" * 120), True),
        (Labels.of(trace_id="é" * 120), True),
        (Labels.of(trace_id="x" * 121), False),
        (Labels.of(a="x" * 63, b="x" * 63), True),
        (Labels.of(a="x" * 63, b="x" * 64), False),
    ],
)
def test_labels_have_at_most_128_characters(labels: Labels, enters: bool) -> None:
    ring = ExemplarRing()

    assert bool(ring.add([exemplar(labels=labels)])) is enters
    assert ring.refused[Refusal.LABELS_TOO_LONG] == (not enters)
    assert ring.figures()["exemplars_refused_labels_too_long_total"] == (not enters)


def test_nan_is_never_the_same_again() -> None:
    ring = ExemplarRing()

    assert len(ring.add([exemplar(value=math.nan), exemplar(time_ms=1001, value=math.nan)])) == 2


def test_times_bound_the_answer_inclusively() -> None:
    ring = ExemplarRing()
    ring.add([exemplar(time_ms=time_ms) for time_ms in (1, 2, 3, 4)])
    ids = np.array([1, 7])

    assert [one.time_ms for one in ring.select(ids, 2, 3)[1]] == [2, 3]
    assert ring.select(ids, 5, 9) == {}
    assert ring.select(ids, 3, 2) == {}


def test_a_ring_without_room_keeps_nothing() -> None:
    ring = ExemplarRing(0)

    assert ring.add([exemplar()]) == []
    assert held(ring) == {}


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(dict(sqlite_statements())["exemplars"])
        yield connection


def loaded(database: sqlite3.Connection, capacity: int = 10) -> ExemplarRing:
    ring = ExemplarRing(capacity)
    ExemplarRows(ring).load(database)
    return ring


def stored(rows: ExemplarRows, database: sqlite3.Connection, *exemplars: SeriesExemplar) -> None:
    assert rows.add(exemplars)
    rows.write(database)
    rows.committed()


def test_rows_read_back(database: sqlite3.Connection) -> None:
    rows = ExemplarRows(ExemplarRing(10))
    written = [exemplar(1, 5, math.inf, Labels.of({"ü.b": 'q"\n'})), exemplar(2, -3, -2.5, EMPTY_LABELS)]
    stored(rows, database, *written)
    stored(rows, database, exemplar(1, 6, math.nan))
    ring = loaded(database)

    assert len(ring) == 3
    assert [(one.time_ms, str(one.value), one.labels) for one in held(ring)[1]] == [
        (5, "inf", written[0].labels),
        (6, "nan", TRACE),
    ]
    assert held(ring)[2] == [exemplar(2, -3, -2.5, EMPTY_LABELS, own_time=False)]


@pytest.mark.parametrize("own_time", [True, False])
def test_what_a_target_still_shows_after_a_restart_is_not_taken_again(
    database: sqlite3.Connection, own_time: bool
) -> None:
    stored(ExemplarRows(ExemplarRing(10)), database, exemplar(time_ms=5, own_time=own_time))
    ring = loaded(database)

    assert ring.add([exemplar(time_ms=5 if own_time else 20, own_time=own_time)]) == []
    assert len(ring.add([exemplar(time_ms=30, value=7.0)])) == 1


def test_as_many_rows_stay_as_the_ring_holds(database: sqlite3.Connection) -> None:
    rows = ExemplarRows(ExemplarRing(3))
    for start in range(0, 8, 2):
        stored(rows, database, exemplar(time_ms=start), exemplar(2, start))
    count = database.execute("SELECT count(*) FROM exemplars").fetchone()[0]

    assert count == 3
    assert held(loaded(database, 3)) == {
        1: [exemplar(time_ms=6, own_time=False)],
        2: [exemplar(2, 4, own_time=False), exemplar(2, 6, own_time=False)],
    }
    assert len(loaded(database, 2)) == 2


def test_a_transaction_that_failed_is_made_up_for(database: sqlite3.Connection) -> None:
    database.commit()
    rows = ExemplarRows(ExemplarRing(10))
    rows.add([exemplar(time_ms=1)])
    rows.write(database)
    database.rollback()
    rows.add([exemplar(time_ms=2)])
    rows.write(database)
    rows.committed()
    rows.write(database)

    assert [one.time_ms for one in held(loaded(database))[1]] == [1, 2]
    assert database.execute("SELECT count(*) FROM exemplars").fetchone()[0] == 2


def select(store: Store, *patterns: str) -> list[tuple[str, list[int]]]:
    selectors = [[Matcher("__name__", MatchType.REGEX, pattern)] for pattern in patterns]
    return [
        (str(labels), [one.time_ms for one in exemplars])
        for labels, exemplars in store.select_exemplars(selectors, *ALL_TIME)
    ]


@pytest.mark.parametrize("kind", ["memory", "embedded"])
def test_stores_keep_exemplars_by_series(kind: str, tmp_path: Path) -> None:
    spec = "memory:" if kind == "memory" else str(tmp_path / "data")
    expected = [("a", [3]), ('b{c="d"}', [1, 2])]
    with closing(open_store(spec)) as store:
        b, a, _ = store.series_ids([Labels.of(__name__="b", c="d"), Labels.of(__name__="a"), Labels.of(__name__="c")])
        store.append_exemplars([exemplar(int(b), 1), exemplar(int(a), 3), exemplar(int(b), 2)])
        assert select(store, "a", "a|b") == expected
        assert select(store, "c") == []
        assert store.stats()["exemplars"] == 3
    if kind == "embedded":
        with closing(open_store(spec)) as store:
            assert select(store, "a", "b") == expected
