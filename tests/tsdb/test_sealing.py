"""What becomes of samples on disk: blocks of several levels, trimmed journals, dropped series, space given back."""

import contextlib
import itertools
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from common.labels import Labels
from common.matchers import Matcher
from tests.tsdb.contract import layout_of, metric, write
from tests.tsdb.reading import Samples, bits, read
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.blocks import REMOVED
from tsdb.embedded.codec.vectors import pack_ints, unpack_ints
from tsdb.errors import StoreClosedError, StoreError, StoreOpenError
from tsdb.model import ABSENT, Batch

MINUTE_MS = 60_000
LEVELS_MS = (MINUTE_MS, 4 * MINUTE_MS, 12 * MINUTE_MS)
FAR_MS = 10**12


def open_small(directory: Path, **options: object) -> EmbeddedStore:
    return EmbeddedStore(directory, levels_ms=LEVELS_MS, sealing_delay_ms=0, **options)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = open_small(tmp_path)
    yield store
    store.close()


def rows(directory: Path, statement: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(directory / "fleetwatch.db")) as connection:
        return connection.execute(statement).fetchall()


def spans(directory: Path) -> list[tuple[object, ...]]:
    """Level, first and last minute of every block."""
    return rows(
        directory, f"SELECT level, start_ms / {MINUTE_MS}, end_ms / {MINUTE_MS} FROM blocks ORDER BY start_ms, level"
    )


def fill(store: EmbeddedStore, minutes: range, host: str = "a", series: int = 3) -> None:
    """A sample each ten seconds: one series stands still, the others count."""
    target = store.register_target(Labels.of(job="node", instance=host))
    layout = layout_of(store, *(metric("x", host=host, n=str(n)) for n in range(series)))
    for time_ms in range(minutes.start * MINUTE_MS, minutes.stop * MINUTE_MS, 10_000):
        write(store, target, layout, time_ms, [7, *(time_ms + n for n in range(1, series))])
    store.append_logs([]).result()


# Levels


def test_levels_must_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must divide the next, not \(2, 3\) ms"):
        EmbeddedStore(tmp_path, levels_ms=(2, 3))


def test_small_blocks_are_merged_when_their_window_has_ended(store: EmbeddedStore, tmp_path: Path) -> None:
    fill(store, range(30))
    expected = read(store, [], 0, FAR_MS)
    for now, levels in (
        (3, [(0, 0, 0), (0, 1, 1), (0, 2, 2)]),
        (4, [(1, 0, 3)]),
        (9, [(1, 0, 3), (1, 4, 7), (0, 8, 8)]),
        (12, [(2, 0, 11)]),
        (30, [(2, 0, 11), (2, 12, 23), (1, 24, 27), (0, 28, 28), (0, 29, 29)]),
    ):
        store.maintain(now * MINUTE_MS)
        assert spans(tmp_path) == levels
        assert read(store, [], 0, FAR_MS) == expected
    assert rows(tmp_path, "SELECT count(*) FROM unlinked") == [(0,)]
    assert rows(tmp_path, "SELECT count(*) FROM chunks WHERE chunk_id >> 10 NOT IN (SELECT block_id FROM blocks)") == [
        (0,)
    ]


def test_wide_targets_have_several_blocks(store: EmbeddedStore, tmp_path: Path) -> None:
    fill(store, range(4), series=2500)
    expected = read(store, [], 0, FAR_MS)
    store.maintain(2 * MINUTE_MS)
    assert [level for level, *_ in spans(tmp_path)] == [0] * 6
    store.maintain(4 * MINUTE_MS)
    assert [level for level, *_ in spans(tmp_path)] == [1] * 3
    assert read(store, [], 0, FAR_MS) == expected


def test_series_that_come_and_go(store: EmbeddedStore) -> None:
    target = store.register_target(Labels.of(job="node"))
    for row in range(48):
        layout = layout_of(store, metric("x"), *(metric("pod", n=str(n)) for n in range(row // 5, row // 5 + 3)))
        write(store, target, layout, row * 10_000, [row, 1, ABSENT if row % 3 else 2, row]).result()
    expected = read(store, [], 0, FAR_MS)
    for now, blocks in ((1, 1), (2, 2), (8, 2), (12, 1)):
        store.maintain(now * MINUTE_MS)
        assert read(store, [], 0, FAR_MS) == expected
        assert store.stats()["blocks"] == blocks
    assert store.stats()["head_samples"] == 0
    (lasting,) = store.select([Matcher.equal("__name__", "x")], 0, FAR_MS)
    assert lasting.present is None


def test_few_late_samples_wait_for_more_beside_a_merged_block(store: EmbeddedStore, tmp_path: Path) -> None:
    fill(store, range(12))
    store.maintain(12 * MINUTE_MS)
    late = metric("x", host="a", n="1")
    target = store.register_target(Labels.of(job="node", instance="a"))
    expected = read(store, [], 0, FAR_MS)
    for number in range(4):
        write(store, target, layout_of(store, late), (3 * number + 2) * MINUTE_MS + 1, [number]).result()
        expected[late] = sorted([*expected[late], ((3 * number + 2) * MINUTE_MS + 1, bits(number))])
        store.maintain((13 + number) * MINUTE_MS)
        assert store.stats()["blocks"] == (number + 2 if number < 3 else 1)
        assert read(store, [], 0, FAR_MS) == expected
    assert {level for level, *_ in spans(tmp_path)} == {2}


def test_compact_puts_nothing_off(store: EmbeddedStore, tmp_path: Path) -> None:
    fill(store, range(12))
    store.maintain(12 * MINUTE_MS)
    store.append_samples(metric("y"), [(MINUTE_MS, 1.0), (2 * MINUTE_MS, 2.0)])
    store.maintain(12 * MINUTE_MS)
    assert store.stats()["head_samples"] == 2
    store.compact(12 * MINUTE_MS)
    assert store.stats()["head_samples"] == 0
    assert spans(tmp_path) == [(2, 0, 11), (2, 1, 2)]


@pytest.mark.parametrize("absent", [False, True])
def test_merges_keep_the_order_of_writes(tmp_path: Path, absent: bool) -> None:
    """A merged block keeps of every time which write it came from, so that an older one elsewhere stays older."""
    names = metric("x"), metric("y")
    store = open_small(tmp_path)
    one, two = (store.register_target(Labels.of(job=job)) for job in "ab")
    write(store, one, layout_of(store, *names), 1000, [1, 1]).result()
    write(store, two, layout_of(store, names[0]), 1000, [2]).result()
    store.maintain(MINUTE_MS)
    store.close()
    # A store just opened takes what is late for what is in order, absent samples included.
    store = open_small(tmp_path)
    both = layout_of(store, *names)
    write(store, one, both, 1000, [ABSENT if absent else 3, 3]).result()
    write(store, one, both, 2000, [4, 4]).result()
    expected = {
        metric("x"): [(1000, bits(2 if absent else 3)), (2000, bits(4))],
        metric("y"): [(1000, bits(3)), (2000, bits(4))],
    }
    for now in (1, 2, 3, 4, 12):
        assert read(store, [], 0, FAR_MS) == expected
        store.maintain(now * MINUTE_MS)
    assert read(store, [], 0, FAR_MS) == expected
    store.close()


def test_reading_while_merging(store: EmbeddedStore) -> None:
    """A reader sees every sample once at each moment, with blocks decoded anew and from the cache."""
    for host in "abc":
        fill(store, range(48), host, series=20)
    expected = read(store, [Matcher.equal("n", "7")], 0, FAR_MS)

    def merge() -> None:
        for now in range(1, 49):
            store.maintain(now * MINUTE_MS)

    merging = threading.Thread(target=merge)
    merging.start()
    reads = 0
    while merging.is_alive() or not reads:
        assert read(store, [Matcher.equal("n", "7")], 0, FAR_MS) == expected
        reads += 1
    merging.join()
    assert store.stats()["blocks"] == 3 * 4


def test_a_series_that_was_removed_from_a_block(store: EmbeddedStore, tmp_path: Path) -> None:
    """Its place says so; the samples are still there until the next merge."""
    fill(store, range(3))
    store.maintain(3 * MINUTE_MS)
    gone = metric("x", host="a", n="1")
    (gone_id,) = store.series_ids([gone])
    expected = read(store, [], 0, FAR_MS)
    expected[gone] = [(time_ms, value) for time_ms, value in expected[gone] if time_ms >= MINUTE_MS]
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "fleetwatch.db")) as connection:
        (packed,) = connection.execute("SELECT series_ids FROM blocks WHERE block_id = 1").fetchone()
        ids = unpack_ints(packed).copy()
        ids[ids == gone_id] = REMOVED
        connection.execute("UPDATE blocks SET series_ids = ? WHERE block_id = 1", (pack_ints(ids),))
        connection.commit()
    again = open_small(tmp_path)
    assert read(again, [], 0, FAR_MS) == expected
    again.maintain(4 * MINUTE_MS)
    assert [level for level, *_ in spans(tmp_path)] == [1]
    assert read(again, [], 0, FAR_MS) == expected
    again.close()


# What a crash or a full disk leaves behind


def test_chunks_without_a_block_are_swept(store: EmbeddedStore, tmp_path: Path) -> None:
    fill(store, range(2))
    store.maintain(2 * MINUTE_MS)
    expected = read(store, [], 0, FAR_MS)
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "fleetwatch.db")) as connection:
        connection.executemany("INSERT INTO chunks VALUES (?, x'00')", [((3 << 10) + n,) for n in range(1024)])
        # More of them than one step can look at.
        connection.executemany("INSERT INTO unlinked VALUES (?)", [(block_id,) for block_id in range(3, 10_000)])
        connection.commit()
    again = open_small(tmp_path)
    fill(again, range(2, 4))
    again.maintain(4 * MINUTE_MS)
    assert rows(tmp_path, "SELECT count(*) FROM unlinked") == [(0,)]
    assert rows(tmp_path, "SELECT DISTINCT chunk_id >> 10 FROM chunks") == rows(tmp_path, "SELECT block_id FROM blocks")
    assert read(again, [], 0, 2 * MINUTE_MS - 1) == expected
    again.close()


# The journal


def test_layouts_go_with_their_last_journal_row(store: EmbeddedStore, tmp_path: Path) -> None:
    for row in range(12):
        store.append_samples(metric("x", n=str(row % 4)), [(row * 10_000, row)])
    assert rows(tmp_path, "SELECT count(*) FROM layouts") == [(4,)]
    store.maintain(MINUTE_MS)
    assert rows(tmp_path, "SELECT count(*) FROM layouts") == [(4,)]
    store.maintain(2 * MINUTE_MS)
    assert rows(tmp_path, "SELECT count(*) FROM layouts") == [(0,)]
    # One that was removed is written again when it is used again.
    store.append_samples(metric("x", n="0"), [(3 * MINUTE_MS, 12.0)])
    store.close()
    again = open_small(tmp_path)
    assert read(again, [Matcher.equal("n", "0")], 0, FAR_MS) == {
        metric("x", n="0"): [(0, bits(0)), (40_000, bits(4)), (80_000, bits(8)), (3 * MINUTE_MS, bits(12))]
    }
    again.close()


def test_numbers_of_writes_do_not_go_back(tmp_path: Path) -> None:
    """With nothing left but the mark of a sealing, a new write is not taken for one that the mark covers."""
    store = open_small(tmp_path, retention_ms=MINUTE_MS)
    fill(store, range(3))
    store.maintain(20 * MINUTE_MS)
    assert store.stats()["blocks"] == store.stats()["journal_rows"] == 0
    store.close()
    store = open_small(tmp_path)
    target = store.register_target(Labels.of(job="node", instance="a"))
    write(store, target, layout_of(store, metric("x")), 19 * MINUTE_MS + 500, [1]).result()
    store.close()
    store = open_small(tmp_path)
    assert read(store, [], 0, FAR_MS) == {metric("x"): [(19 * MINUTE_MS + 500, bits(1))]}
    store.close()


def test_the_wal_does_not_grow_for_ever(store: EmbeddedStore, tmp_path: Path) -> None:
    """Commits go on all the time, so that no checkpoint ever finds the writer at rest."""
    target = store.register_target(Labels.of(job="node"))
    layout = layout_of(store, *(metric("x", n=str(n)) for n in range(4000)))
    noise = np.random.default_rng(1)
    wal, largest, deadline = tmp_path / "fleetwatch.db-wal", 0, time.monotonic() + 60
    for time_ms in itertools.count(0, 1000):
        store.append(Batch(target, layout, time_ms, noise.normal(size=4000))).result()
        size = wal.stat().st_size
        if size < largest:
            break
        largest = size
        assert time.monotonic() < deadline, f"the WAL has {size} bytes and was never begun anew"


# Retention


def test_what_was_removed_does_not_come_back(tmp_path: Path) -> None:
    store = open_small(tmp_path, retention_ms=12 * MINUTE_MS)
    fill(store, range(12))
    store.maintain(12 * MINUTE_MS)
    store.maintain(19 * MINUTE_MS)
    assert spans(tmp_path) == [(2, 0, 11)]
    expected = read(store, [], 0, FAR_MS)
    assert min(times[0][0] for times in expected.values()) == 7 * MINUTE_MS
    store.close()
    again = open_small(tmp_path)
    assert read(again, [], 0, FAR_MS) == expected
    again.close()


def test_retention_by_size_removes_the_oldest(tmp_path: Path) -> None:
    noise = np.random.default_rng(1)
    store = open_small(tmp_path, retention_bytes=500_000)
    target = store.register_target(Labels.of(job="node"))
    layout = layout_of(store, *(metric("x", n=str(n)) for n in range(100)))
    for minute in range(60):
        for second in range(0, 60, 5):
            write(store, target, layout, minute * MINUTE_MS + second * 1000, noise.normal(size=100).tolist())
        store.maintain((minute + 1) * MINUTE_MS)
    (times,) = {tuple(ms for ms, _ in samples) for samples in read(store, [], 0, FAR_MS).values()}
    assert times[-1] == 59 * MINUTE_MS + 55_000
    assert 0 < times[0] < 55 * MINUTE_MS
    assert len(times) == (60 * MINUTE_MS - times[0]) // 5000
    (pages,), (free,) = (rows(tmp_path, f"PRAGMA {name}")[0] for name in ("page_count", "freelist_count"))
    assert isinstance(pages, int)
    assert isinstance(free, int)
    assert (pages - free) * 4096 <= 500_000
    assert free <= 256
    store.close()


def test_the_newest_window_stays_however_small_the_limit(tmp_path: Path) -> None:
    store = open_small(tmp_path, retention_bytes=1)
    fill(store, range(3))
    store.maintain(3 * MINUTE_MS)
    assert {samples[0][0] for samples in read(store, [], 0, FAR_MS).values()} == {2 * MINUTE_MS}
    store.close()


def test_space_is_given_back(tmp_path: Path) -> None:
    store = open_small(tmp_path, retention_ms=12 * MINUTE_MS)
    noise = np.random.default_rng(1)
    target = store.register_target(Labels.of(job="node"))
    layout = layout_of(store, *(metric("x", n=str(n)) for n in range(1000)))
    for row in range(600):
        write(store, target, layout, row * 1000, noise.normal(size=1000).tolist())
    store.maintain(12 * MINUTE_MS)
    size = rows(tmp_path, "PRAGMA page_count")[0][0]
    store.maintain(60 * MINUTE_MS)
    assert store.stats()["blocks"] == 0
    assert isinstance(size, int)
    assert size > 500
    assert rows(tmp_path, "PRAGMA page_count")[0][0] <= 300  # type: ignore[operator]  # a number
    store.close()


# Series


def test_series_without_samples_are_dropped(tmp_path: Path) -> None:
    store = open_small(tmp_path, retention_ms=12 * MINUTE_MS)
    fill(store, range(12), "gone")
    fill(store, range(12), "stays")
    for now in range(12, 60, 4):
        fill(store, range(now, now + 4), "stays")
        store.maintain((now + 4) * MINUTE_MS)
    assert {labels.get("host") for labels in store.series([], 0, FAR_MS)} == {"stays"}
    assert store.label_values("host", [], 0, FAR_MS) == ["stays"]
    assert rows(tmp_path, "SELECT sum(series) FROM series") == [(3,)]
    highest = max(store.series_ids([metric("x", host="stays", n=str(n)) for n in range(3)]).tolist())
    # One that comes back is a new one.
    fill(store, range(60, 61), "gone")
    assert min(store.series_ids([metric("x", host="gone", n=str(n)) for n in range(3)]).tolist()) > highest
    expected = read(store, [], 0, FAR_MS)
    assert len(expected) == 6
    store.close()
    store = open_small(tmp_path)
    assert read(store, [], 0, FAR_MS) == expected
    store.close()


def test_a_layout_of_dropped_series_is_refused(tmp_path: Path) -> None:
    store = open_small(tmp_path, retention_ms=MINUTE_MS)
    ids = store.series_ids([metric("x")])
    kept = layout_of(store, metric("kept"))
    for now in (20, 40, 60):
        store.maintain(now * MINUTE_MS)
    with pytest.raises(ValueError, match="dropped"):
        store.layout(ids)
    # A layout that somebody holds keeps its series.
    target = store.register_target(Labels.of(job="node"))
    write(store, target, kept, 60 * MINUTE_MS, [1]).result()
    assert read(store, [], 0, FAR_MS) == {metric("kept"): [(60 * MINUTE_MS, bits(1))]}
    store.close()


# Reading only


def test_a_store_that_another_writes_can_be_read(store: EmbeddedStore, tmp_path: Path) -> None:
    fill(store, range(6))
    store.maintain(5 * MINUTE_MS)
    reader = open_small(tmp_path, read_only=True)
    expected: Samples = read(store, [], 0, FAR_MS)
    assert read(reader, [], 0, FAR_MS) == expected
    fill(store, range(6, 12))
    store.maintain(12 * MINUTE_MS)
    # Blocks are seen as they are now, what is not sealed as it was.
    assert read(reader, [], 0, FAR_MS) == read(store, [], 0, FAR_MS)
    for call in (
        lambda: reader.maintain(0),
        lambda: reader.append_logs([]),
        lambda: reader.append_samples(metric("x"), [(0, 1.0)]),
    ):
        with pytest.raises(StoreError, match="opened for reading only"):
            call()
    reader.close()
    with pytest.raises(StoreClosedError):
        read(reader, [], 0, 1)


def test_a_closed_store_can_be_read(store: EmbeddedStore, tmp_path: Path) -> None:
    fill(store, range(6))
    store.maintain(5 * MINUTE_MS)
    expected = read(store, [], 0, FAR_MS)
    store.close()
    reader = open_small(tmp_path, read_only=True)
    assert read(reader, [], 0, FAR_MS) == expected
    reader.close()
    with pytest.raises(StoreOpenError, match="there is no store in"):
        open_small(tmp_path / "nothing", read_only=True)
    assert not (tmp_path / "nothing").exists()


# The cache


@pytest.mark.parametrize("cache_bytes", [0, 20_000, 10**8])
def test_what_was_decoded_is_kept_within_the_budget(tmp_path: Path, cache_bytes: int) -> None:
    store = open_small(tmp_path, cache_bytes=cache_bytes)
    fill(store, range(12), series=30)
    expected = read(store, [], 0, FAR_MS)
    store.maintain(12 * MINUTE_MS)
    for _ in range(3):
        assert read(store, [], 0, FAR_MS) == expected
        assert read(store, [Matcher.equal("n", "29")], 5 * MINUTE_MS, 6 * MINUTE_MS)
        assert store.stats()["chunk_cache_bytes"] + store.stats()["block_cache_bytes"] <= cache_bytes
    stats = store.stats()
    if cache_bytes == 10**8:
        assert (stats["chunk_cache_misses_total"], stats["chunk_cache_hits_total"]) == (29, 2 * 29 + 3)
        assert (stats["block_cache_misses_total"], stats["block_cache_hits_total"]) == (1, 5)
    else:
        assert stats["chunk_cache_misses_total"] > 29
    store.close()
