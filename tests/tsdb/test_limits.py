"""Limits on series: what is new is refused beyond them, what is known never."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.labels import Labels
from tsdb import Store, open_store
from tsdb.errors import SeriesLimitError
from tsdb.limits import REFUSED_ID, SeriesLimits
from tsdb.model import Batch

A, B = Labels.of(instance="a", job="j"), Labels.of(instance="b", job="j")


def x(*numbers: int) -> list[Labels]:
    return [Labels.of(__name__="x", n=str(number)) for number in numbers]


@pytest.fixture(params=["memory", "embedded"])
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else str(tmp_path)


def make(store: Store, target: Labels, series: Sequence[Labels]) -> list[int]:
    """Make series of a target and write to them."""
    target_id = store.register_target(target)
    ids = store.series_ids(series, target_id)
    store.append(Batch(target_id, store.layout(ids), 0, np.zeros(len(ids)))).result()
    return [int(number) for number in ids]


def test_without_limits_nothing_is_refused() -> None:
    store = open_store("memory:")
    make(store, A, x(*range(1000)))
    assert store.stats()["series_refused_total"] == 0


def test_the_limit_of_the_store(spec: str) -> None:
    store = open_store(spec, limits=SeriesLimits(series=3))
    known = make(store, A, x(1, 2))
    target_id = store.register_target(B)
    with pytest.raises(SeriesLimitError) as refused:
        store.series_ids(x(2, 3, 4), target_id)
    assert str(refused.value) == (
        "series limit exceeded: 2 new series, and the store has 2 of the 3 that storage.limits.series allows: raise "
        "it, or drop series by metric_relabel_configs"
    )
    assert (refused.value.limit, refused.value.target) == (3, B)
    assert store.stats()["series"] == 2
    assert store.stats()["series_refused_total"] == 2
    # Neighbours are not disturbed, nor what fits.
    assert make(store, A, x(1, 2)) == known
    assert len(make(store, B, x(2, 3))) == 2
    store.close()


def test_the_limit_of_a_target(spec: str) -> None:
    store = open_store(spec, limits=SeriesLimits(series_per_target=3))
    make(store, A, x(1, 2, 3))
    make(store, B, x(3, 4, 5))
    with pytest.raises(SeriesLimitError) as refused:
        store.series_ids(x(5, 6), store.register_target(B))
    assert str(refused.value) == (
        'series limit exceeded: 1 new series, and the target {instance="b", job="j"} has 3 of the 3 that '
        "storage.limits.series_per_target allows: raise it, or drop series by metric_relabel_configs"
    )
    assert len(make(store, Labels.of(job="c"), x(7, 8, 9))) == 3
    assert len(make(store, B, x(3, 5))) == 2
    store.close()


def test_partly_makes_what_there_is_room_for_in_order(spec: str) -> None:
    store = open_store(spec, limits=SeriesLimits(series=4))
    first, second = make(store, A, x(1, 2))
    ids = store.series_ids(x(7, 1, 7, 8, 9, 2), store.register_target(A), partly=True).tolist()
    assert ids[1] == first
    assert ids[5] == second
    assert ids[0] == ids[2] != REFUSED_ID
    assert ids[3] != REFUSED_ID
    assert ids[4] == REFUSED_ID
    assert store.stats()["series_refused_total"] == 1
    assert store.series_ids(x(9), store.register_target(B), partly=True).tolist() == [REFUSED_ID]
    store.close()


def test_known_series_pass_a_limit_that_was_lowered(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    known = make(store, A, x(*range(10)))
    store.close()
    store = open_store(str(tmp_path), limits=SeriesLimits(series=5, series_per_target=4))
    assert make(store, A, x(*range(10))) == known
    with pytest.raises(SeriesLimitError, match=r"has 10 of the 4 that storage.limits.series_per_target"):
        store.series_ids(x(11), store.register_target(A))
    assert store.series_ids(x(3, 11), store.register_target(A), partly=True).tolist() == [known[3], REFUSED_ID]
    store.close()


def test_without_a_target_nothing_is_refused() -> None:
    store = open_store("memory:", limits=SeriesLimits(series=1))
    assert len(store.series_ids(x(1, 2, 3))) == 3


def test_room_that_becomes_free_is_used(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), limits=SeriesLimits(series=3, series_per_target=3), retention_ms=1000)
    make(store, A, x(1, 2, 3))
    with pytest.raises(SeriesLimitError):
        store.series_ids(x(4), store.register_target(A))
    for day in (1, 2, 3):
        store.maintain(day * 86_400_000)
    assert len(store.series_ids(x(4, 5, 6), store.register_target(A))) == 3
    store.close()


def test_threads_do_not_exceed_the_limit_together() -> None:
    store = open_store("memory:", limits=SeriesLimits(series=1000))
    targets = [store.register_target(Labels.of(job=str(number))) for number in range(8)]

    def fill(target_id: int) -> int:
        made = 0
        for number in range(50):
            labels = [Labels.of(__name__=f"x{target_id}", n=str(number), m=str(m)) for m in range(10)]
            made += int((store.series_ids(labels, target_id, partly=True) != REFUSED_ID).sum())
        return made

    with ThreadPoolExecutor(8) as threads:
        made = sum(threads.map(fill, targets))
    assert made == 1000 == store.stats()["series"]
    assert store.stats()["series_refused_total"] == 8 * 500 - 1000


requests = st.lists(
    st.tuples(st.sampled_from([A, B]), st.lists(st.integers(0, 15), min_size=1, max_size=6), st.booleans()), max_size=12
)


@given(requests, st.integers(0, 10), st.integers(0, 8))
def test_against_a_model(requests: list[tuple[Labels, list[int], bool]], most: int, most_per_target: int) -> None:
    store = open_store("memory:", limits=SeriesLimits(most, most_per_target))
    known: set[int] = set()
    held: dict[Labels, set[int]] = {A: set(), B: set()}
    for target, numbers, partly in requests:
        new = [number for number in dict.fromkeys(numbers) if number not in known]
        room = min(
            most - len(known) if most else 1000, most_per_target - len(held[target]) if most_per_target else 1000
        )
        accepted = set(new[: max(0, room)]) if partly else set(new) if len(new) <= max(0, room) else None
        target_id = store.register_target(target)
        if accepted is None:
            with pytest.raises(SeriesLimitError):
                store.series_ids(x(*numbers), target_id, partly=partly)
            continue
        ids = store.series_ids(x(*numbers), target_id, partly=partly)
        known |= accepted
        assert (ids != REFUSED_ID).tolist() == [number in known for number in numbers]
        stored = np.unique(ids[ids != REFUSED_ID])
        store.append(Batch(target_id, store.layout(stored), 0, np.zeros(len(stored)))).result()
        held[target] |= {number for number in numbers if number in known}
    assert store.stats()["series"] == len(known)
