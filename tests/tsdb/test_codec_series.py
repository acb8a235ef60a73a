"""Groups of series as bytes, and how groups are joined and thinned out."""

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.labels import Labels
from tests.tsdb.reading import read
from tsdb.embedded import EmbeddedStore, series_rows
from tsdb.embedded.codec.series import MOST_SERIES, SeriesGroup, join, pack_group, unpack_group
from tsdb.errors import StoreError
from tsdb.label_sets import LabelTable
from tsdb.model import Batch, IntArray

MINUTE_MS = 60_000

labels = st.dictionaries(st.sampled_from(["__name__", "a", "é", "z"]), st.text(min_size=1, max_size=3)).map(Labels.of)
members = st.lists(st.tuples(st.integers(1, 300), st.integers(-1, 2**31 - 1), labels), min_size=1, max_size=20)
Member = tuple[int, int, Labels]


def group_of(chosen: list[Member], first_id: int = 0) -> SeriesGroup:
    steps, targets, label_sets = zip(*chosen, strict=True)
    ids = first_id + np.cumsum(steps, dtype=np.int64)
    return SeriesGroup(ids, np.array(targets, dtype=np.int32), LabelTable.of(label_sets))


def rows(group: SeriesGroup) -> list[Member]:
    ids, targets = group.series_ids.tolist(), group.target_ids.tolist()
    return list(zip(ids, targets, group.labels.label_sets(), strict=True))


@given(members, members)
def test_what_is_packed_is_unpacked(first: list[Member], second: list[Member]) -> None:
    one = group_of(first)
    other = group_of(second, int(one.series_ids[-1]))
    assert [labels for _, _, labels in rows(one)] == [labels for _, _, labels in first]
    unpacked = [unpack_group(int(group.series_ids[0]), pack_group(group)) for group in (one, other)]
    assert list(map(rows, unpacked)) == [rows(one), rows(other)]
    joined = join(unpacked)
    assert rows(joined) == rows(one) + rows(other)
    kept = joined.series_ids % 2 == 1
    assert rows(joined.only(kept)) == [row for row in rows(joined) if row[0] % 2]


def test_bytes_of_a_series() -> None:
    label_sets = [
        Labels.of(__name__=f"node_metric_{n // 4}_total", device=f"eth{n % 4}", instance="host:9100", job="node")
        for n in range(1000)
    ]
    packed = pack_group(SeriesGroup(np.arange(1000), np.full(1000, 7, dtype=np.int32), LabelTable.of(label_sets)))
    assert len(packed) < 4000


@pytest.mark.parametrize("place", [0, 3, 20, -1])
def test_damaged_bytes(place: int) -> None:
    packed = bytearray(pack_group(group_of([(1, 0, Labels.of(a=str(n))) for n in range(50)])))
    packed[place] ^= 1
    with pytest.raises(StoreError):
        unpack_group(1, bytes(packed))
    with pytest.raises(StoreError):
        unpack_group(1, bytes(packed[:10]))


# In a store


def series(first: int, end: int) -> list[Labels]:
    return [Labels.of(__name__="x", n=str(n)) for n in range(first, end)]


def write(store: EmbeddedStore, label_sets: list[Labels], time_ms: int) -> IntArray:
    ids = store.series_ids(label_sets)
    target = store.register_target(Labels.of(job="node"))
    store.append(Batch(target, store.layout(ids), time_ms, np.ones(len(ids)))).result()
    return ids


def groups(directory: Path) -> list[list[int]]:
    with contextlib.closing(sqlite3.connect(directory / "fleetwatch.db")) as connection:
        return [group.series_ids.tolist() for group in series_rows.read(connection)]


def test_small_groups_are_joined(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, levels_ms=(MINUTE_MS, 4 * MINUTE_MS), sealing_delay_ms=0)
    for n in range(20):
        write(store, series(n, n + 1), n)
    write(store, series(20, 20 + MOST_SERIES), 20)
    write(store, series(2000, 2002), 21)
    assert list(map(len, groups(tmp_path))) == [*[1] * 20, MOST_SERIES, 2]
    before = read(store, [], 0, MINUTE_MS)
    store.maintain(2 * MINUTE_MS)
    assert list(map(len, groups(tmp_path))) == [20, MOST_SERIES, 2]
    assert read(store, [], 0, MINUTE_MS) == before
    store.close()
    store = EmbeddedStore(tmp_path)
    assert read(store, [], 0, MINUTE_MS) == before
    store.close()


def test_dropped_series_leave_their_groups(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, levels_ms=(MINUTE_MS, 4 * MINUTE_MS), sealing_delay_ms=0, retention_ms=MINUTE_MS)
    gone = write(store, series(0, 3000), 0)
    kept = [5, 1500, 2999]
    for minute in range(1, 20):
        write(store, [series(0, 3000)[n] for n in kept], minute * MINUTE_MS)
        store.maintain((minute + 1) * MINUTE_MS)
    assert groups(tmp_path) == [gone[kept].tolist()]
    # A number is not given out twice, be it the last one.
    again = write(store, series(0, 1), 20 * MINUTE_MS)
    assert again.tolist() == [3000]
    store.close()
    store = EmbeddedStore(tmp_path)
    assert len(store.series([], 0, 20 * MINUTE_MS)) == 4
    store.close()
