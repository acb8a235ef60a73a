"""Retention classes: blocks of one class each, expired on their own, and put right when the config changes."""

import contextlib
import sqlite3
from pathlib import Path

from common.labels import Labels
from common.matchers import Matcher
from tests.tsdb.contract import MINUTE_MS, layout_of, metric, write
from tests.tsdb.reading import read
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.retention_classes import Classes
from tsdb.embedded.tools.checks import check

CI = [Matcher.equal("job", "ci")]
LEVELS_MS = (MINUTE_MS, 4 * MINUTE_MS, 12 * MINUTE_MS)
SERIES = [metric("x", job="ci"), metric("y", job="ci"), metric("x", job="node"), metric("y", job="node")]
FAR_MS = 10**12


def opened(directory: Path, keep_minutes: int | None, classes: Classes = ()) -> EmbeddedStore:
    keep_ms = None if keep_minutes is None else keep_minutes * MINUTE_MS
    return EmbeddedStore(
        directory, retention_ms=keep_ms, retention_classes=classes, levels_ms=LEVELS_MS, sealing_delay_ms=0
    )


def run(store: EmbeddedStore, first_minute: int, end_minute: int) -> None:
    """Two samples a minute of one target, and maintenance after each minute."""
    target = store.register_target(Labels.of(job="all"))
    layout = layout_of(store, *SERIES)
    for minute in range(first_minute, end_minute):
        for half in range(2):
            time_ms = minute * MINUTE_MS + half * 30_000
            write(store, target, layout, time_ms, [minute, half, 3.0, time_ms]).result()
        store.maintain((minute + 1) * MINUTE_MS)


def first_minutes(store: EmbeddedStore) -> dict[tuple[str, str], int]:
    found = read(store, [], 0, FAR_MS)
    assert all(
        [ms for ms, _ in samples] == list(range(samples[0][0], samples[-1][0] + 1, 30_000))
        for samples in found.values()
    )
    return {(labels.metric_name, labels.get("job")): samples[0][0] // MINUTE_MS for labels, samples in found.items()}


def keeps_in_blocks(directory: Path) -> set[int]:
    with contextlib.closing(sqlite3.connect(directory / "fleetwatch.db")) as connection:
        return {keep_ms // MINUTE_MS for (keep_ms,) in connection.execute("SELECT DISTINCT keep_ms FROM blocks")}


def test_each_class_goes_in_its_own_time(tmp_path: Path) -> None:
    classes = [(CI, 5 * MINUTE_MS), ([Matcher.equal("__name__", "x")], 60 * MINUTE_MS)]
    with contextlib.closing(opened(tmp_path, 24, classes)) as store:
        run(store, 0, 100)
        first = first_minutes(store)
    assert keeps_in_blocks(tmp_path) == {0, 5, 60}
    # A block goes once its last sample is too old: up to a block's length of the longest level later.
    assert 100 - 5 - 12 <= first["x", "ci"] <= 100 - 5
    assert first["y", "ci"] == first["x", "ci"]
    assert 100 - 60 - 12 <= first["x", "node"] <= 100 - 60
    assert 100 - 24 - 12 <= first["y", "node"] <= 100 - 24
    assert check(tmp_path, lambda done, total: None).findings == []


def test_a_change_of_the_classes_counts_for_what_is_stored(tmp_path: Path) -> None:
    with contextlib.closing(opened(tmp_path, 100)) as store:
        run(store, 0, 50)
        assert set(first_minutes(store).values()) == {0}
    assert keeps_in_blocks(tmp_path) == {0}
    with contextlib.closing(opened(tmp_path, 100, [(CI, 5 * MINUTE_MS)])) as store:
        store.maintain(50 * MINUTE_MS)
        store.maintain(50 * MINUTE_MS)
        first = first_minutes(store)
        assert first["x", "node"] == first["y", "node"] == 0
        assert 50 - 5 - 12 <= first["x", "ci"] == first["y", "ci"] <= 50 - 5
    assert keeps_in_blocks(tmp_path) == {0, 5}
    # No class any more: nothing is kept shorter from now on.
    with contextlib.closing(opened(tmp_path, 100)) as store:
        run(store, 50, 90)
        assert first_minutes(store) == first
    assert keeps_in_blocks(tmp_path) == {0}
    assert check(tmp_path, lambda done, total: None).findings == []


def test_a_class_that_is_kept_longer_than_all_was_before(tmp_path: Path) -> None:
    with contextlib.closing(opened(tmp_path, 100)) as store:
        run(store, 0, 60)
    with contextlib.closing(opened(tmp_path, 24, [(CI, 100 * MINUTE_MS)])) as store:
        store.maintain(60 * MINUTE_MS)
        first = first_minutes(store)
        assert first["x", "ci"] == first["y", "ci"] == 0
        assert 60 - 24 - 12 <= first["x", "node"] <= 60 - 24


def test_who_knows_no_config_keeps_the_classes(tmp_path: Path) -> None:
    with contextlib.closing(opened(tmp_path, 100, [(CI, 50 * MINUTE_MS)])) as store:
        run(store, 0, 11)
    with contextlib.closing(EmbeddedStore(tmp_path, levels_ms=LEVELS_MS, sealing_delay_ms=0)) as store:
        store.compact(40 * MINUTE_MS)
        assert set(first_minutes(store).values()) == {0}
    assert keeps_in_blocks(tmp_path) == {0, 50}


def test_without_a_retention_only_classes_expire(tmp_path: Path) -> None:
    with contextlib.closing(opened(tmp_path, None, [(CI, 5 * MINUTE_MS)])) as store:
        run(store, 0, 40)
        first = first_minutes(store)
    assert first["x", "node"] == 0
    assert 40 - 5 - 12 <= first["x", "ci"] <= 40 - 5


def test_series_made_later_are_put_into_their_class(tmp_path: Path) -> None:
    with contextlib.closing(opened(tmp_path, 100, [(CI, 5 * MINUTE_MS)])) as store:
        run(store, 0, 3)
        target = store.register_target(Labels.of(job="later"))
        layout = layout_of(store, metric("z", job="ci"), metric("z", job="node"))
        write(store, target, layout, 3 * MINUTE_MS, [1, 2]).result()
        store.maintain(30 * MINUTE_MS)
        assert ("z", "ci") not in first_minutes(store)
        assert first_minutes(store)["z", "node"] == 3
