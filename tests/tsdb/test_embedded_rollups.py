"""Roll-ups of the embedded store: made, read, made again, kept when samples go, and removed."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.labels import Labels
from common.matchers import Matcher
from promql import Engine, Matrix
from tests.tsdb.contract import layout_of, metric, write
from tests.tsdb.reading import bits, check
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.rollups import rows as rollup_rows
from tsdb.embedded.tools.checks import check as check_file
from tsdb.model import ABSENT, STALE_NAN
from tsdb.pieces import Piece
from tsdb.rollups import RESOLUTIONS_MS, Column, RollupFrame, RollupStore, roll_up

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
START_MS = 20_000 * DAY_MS
ALL = tuple(Column)
X = [Matcher.equal("__name__", "x")]

Buckets = dict[Labels, dict[int, list[int]]]
"""By label set and end of bucket: the bits of all columns."""


def opened(directory: Path, **options: object) -> EmbeddedStore:
    return EmbeddedStore(directory, rollup_after_ms=DAY_MS, **options)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = opened(tmp_path)
    yield store
    store.close()


def fill(store: EmbeddedStore, days: range, host: str = "a", series: int = 3, every_ms: int = 7 * MINUTE_MS) -> None:
    """Counters that are reset, a series that comes and goes, one that is always the same."""
    target = store.register_target(Labels.of(job="node", instance=host))
    layout = layout_of(store, *(metric("x", host=host, n=str(n)) for n in range(series)))
    random = np.random.default_rng(days.start)
    values = np.round(np.cumsum(random.random((len(days) * DAY_MS // every_ms, series)), axis=0) % 40, 2)
    values[random.random(len(values)) < 0.2, 0] = ABSENT
    values[random.random(len(values)) < 0.1, 0] = STALE_NAN
    values[:, -1] = 7
    for row, vector in enumerate(values):
        write(store, target, layout, START_MS + days.start * DAY_MS + (row + 1) * every_ms, vector.tolist())
    store.append_logs([]).result()


def maintain(store: EmbeddedStore, day: float) -> None:
    store.maintain(START_MS + int(day * DAY_MS))


def rolled(
    store: EmbeddedStore, first: float, last: float, resolution_ms: int = HOUR_MS, columns: Sequence[Column] = ALL
) -> Buckets | None:
    """What select_rollups gives for the buckets between two days; None where it gives None."""
    frames = store.select_rollups(
        X, START_MS + int(first * DAY_MS), START_MS + int(last * DAY_MS), resolution_ms, columns
    )
    return None if frames is None else _buckets(frames)


def _buckets(frames: Sequence[RollupFrame]) -> Buckets:
    found: Buckets = {}
    for frame in frames:
        for row, labels in enumerate(frame.labels):
            assert labels not in found
            assert np.diff(frame.ends_ms).min(initial=1) > 0
            values = frame.values[row].view(np.uint64)
            found[labels] = {
                end: bucket
                for end, bucket in zip(frame.ends_ms.tolist(), values.tolist(), strict=True)
                if set(bucket) != {bits(ABSENT)}
            }
    return found


def computed(store: EmbeddedStore, first: float, last: float, resolution_ms: int = HOUR_MS) -> Buckets:
    """The same from samples."""
    found: Buckets = {}
    start_ms, end_ms = (START_MS + int(day * DAY_MS) for day in (first, last))
    for frame in store.select(X, start_ms - resolution_ms + 1, end_ms):
        check(frame, start_ms - resolution_ms + 1, end_ms)
        values = frame.values if frame.present is None else np.where(frame.present, frame.values, ABSENT)
        ends, buckets = roll_up(Piece(frame.times_ms, frame.times_ms, frame.series_ids, values), resolution_ms)
        for row, labels in enumerate(frame.labels):
            found[labels] = {
                end: bucket
                for end, bucket in zip(ends.tolist(), buckets[row].view(np.uint64).tolist(), strict=True)
                if set(bucket) != {bits(ABSENT)}
            }
    return found


def rows(directory: Path, statement: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(directory / "fleetwatch.db")) as connection:
        return connection.execute(statement).fetchall()


def days(directory: Path) -> list[int]:
    """The days that are rolled up."""
    return [int(str(start)) // DAY_MS - 20_000 for (start,) in rows(directory, "SELECT start_ms FROM rollup_days")]


def test_days_older_than_the_limit_are_rolled_up(store: EmbeddedStore, tmp_path: Path) -> None:
    assert isinstance(store, RollupStore)
    fill(store, range(6))
    maintain(store, 1.5)
    assert days(tmp_path) == []
    assert rolled(store, 0, 4) is None
    maintain(store, 4.1)
    assert days(tmp_path) == [0, 1, 2]
    for resolution_ms in RESOLUTIONS_MS:
        assert rolled(store, 0, 4, resolution_ms) == computed(store, 0, 4, resolution_ms)
        assert rolled(store, 0.5, 1.25, resolution_ms) == computed(store, 0.5, 1.25, resolution_ms)
    whole = computed(store, 0, 3)
    some = (Column.LATEST, Column.MIN)
    assert rolled(store, 0, 3, columns=some) == {
        labels: {end: [bucket[column] for column in some] for end, bucket in buckets.items()}
        for labels, buckets in whole.items()
    }
    assert rolled(store, 2.5, 6) is None, "less than half is stored"


def test_wide_targets_have_several_parts(store: EmbeddedStore, tmp_path: Path) -> None:
    fill(store, range(2), series=300, every_ms=90 * MINUTE_MS)
    maintain(store, 3)
    assert rows(tmp_path, "SELECT count(*) FROM rollups") == [(2 * 2 * 4,)]
    assert rolled(store, 0, 2) == computed(store, 0, 2)


def test_late_samples_are_seen_at_once_and_rolled_up_later(store: EmbeddedStore, tmp_path: Path) -> None:
    fill(store, range(3))
    fill(store, range(3), host="b")
    maintain(store, 4.1)
    before = rows(tmp_path, "SELECT target_id, start_ms, day_id FROM rollup_days")
    target = store.register_target(Labels.of(job="node", instance="a"))
    layout = layout_of(store, metric("x", host="a", n="1"), metric("x", host="a", n="late"))
    late_ms = START_MS + DAY_MS + 5
    write(store, target, layout, late_ms, [1000, 3]).result()
    expected = computed(store, 0, 3)
    assert bits(1000) in expected[metric("x", host="a", n="1")][START_MS + DAY_MS + HOUR_MS]
    assert rolled(store, 0, 3) == expected
    store.compact(START_MS + int(4.2 * DAY_MS))
    assert rolled(store, 0, 3) == expected
    assert rows(tmp_path, "SELECT target_id, start_ms, day_id FROM rollup_days") == before
    maintain(store, 4.3)
    assert rolled(store, 0, 3) == expected
    after = rows(tmp_path, "SELECT target_id, start_ms, day_id FROM rollup_days")
    assert len(set(after) - set(before)) == len(set(before) - set(after)) == 1
    assert rows(tmp_path, "SELECT count(*) FROM rollups") == [(6 * 2,)]
    assert rows(tmp_path, "SELECT count(*) FROM rollups_unlinked") == [(0,)]


def test_a_sample_at_midnight_belongs_to_the_day_before(store: EmbeddedStore) -> None:
    fill(store, range(3), every_ms=HOUR_MS)
    maintain(store, 4.1)
    found = rolled(store, 0, 3)
    assert found == computed(store, 0, 3)
    assert found is not None
    assert min(found[metric("x", host="a", n="1")]) == START_MS + HOUR_MS
    target = store.register_target(Labels.of(job="node", instance="a"))
    write(store, target, layout_of(store, metric("x", host="a", n="1")), START_MS + 2 * DAY_MS, [1000]).result()
    for day in (4.2, 4.3):
        assert rolled(store, 0, 3) == computed(store, 0, 3)
        store.compact(START_MS + int(day * DAY_MS))
        maintain(store, day)


def test_series_of_several_targets_are_computed_from_their_samples(store: EmbeddedStore) -> None:
    fill(store, range(3))
    maintain(store, 4.1)
    other = store.register_target(Labels.of(job="other"))
    layout = layout_of(store, metric("x", host="a", n="1"), metric("x", host="other", n="9"))
    for hour in range(1, 72, 5):
        write(store, other, layout, START_MS + hour * HOUR_MS, [hour, hour]).result()
    maintain(store, 4.2)
    for resolution_ms in RESOLUTIONS_MS:
        assert rolled(store, 0, 3, resolution_ms) == computed(store, 0, 3, resolution_ms)


def test_roll_ups_stay_when_samples_go(tmp_path: Path) -> None:
    store = opened(tmp_path, retention_ms=3 * DAY_MS, rollup_keep_ms=8 * DAY_MS)
    fill(store, range(3))
    maintain(store, 4)
    expected = computed(store, 0, 3)
    for day in (5.2, 6, 8, 9):
        maintain(store, day)
        found = rolled(store, 0, 3)
        # The first days are removed in the end.
        assert found == {
            labels: {end: bucket for end, bucket in buckets.items() if day < 9 or end > START_MS + DAY_MS}
            for labels, buckets in expected.items()
        }
    assert store.select(X, 0, START_MS + 9 * DAY_MS) == []
    store.close()
    store = opened(tmp_path, retention_ms=3 * DAY_MS, rollup_keep_ms=8 * DAY_MS)
    assert rolled(store, 0, 3) == found
    maintain(store, 13)
    maintain(store, 15)
    assert rolled(store, 0, 3) is None
    assert rows(tmp_path, "SELECT (SELECT count(*) FROM rollups), (SELECT count(*) FROM rollup_days)") == [(0, 0)]
    assert rows(tmp_path, "SELECT count(*) FROM series") == [(0,)]
    store.close()


def test_a_day_that_is_past_the_retention_in_part_is_not_rolled_up(tmp_path: Path) -> None:
    store = opened(tmp_path, retention_ms=int(3.5 * DAY_MS))
    fill(store, range(5))
    maintain(store, 5.2)
    assert days(tmp_path) == [2, 3]
    found = rolled(store, 0, 5)
    assert found == computed(store, 0, 5)
    assert min(min(buckets) for buckets in found.values()) > START_MS + int(1.7 * DAY_MS)
    store.close()


def test_what_a_crash_left_is_removed(store: EmbeddedStore, tmp_path: Path) -> None:
    fill(store, range(2))
    maintain(store, 1.1)
    part = rollup_rows.encode(HOUR_MS, 0, np.ones((1, 24, len(Column))))
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "fleetwatch.db")) as connection, connection:
        rollup_rows.write_ahead(connection, 1, [part])
    again = opened(tmp_path)
    maintain(again, 3.1)
    assert rolled(again, 0, 2) == computed(again, 0, 2)
    assert rows(tmp_path, "SELECT count(*) FROM rollups") == [(2 * 2,)]
    again.close()


def test_deletes_are_seen_at_once_and_rolled_up_once_carried_out(store: EmbeddedStore) -> None:
    fill(store, range(4))
    maintain(store, 4.1)
    before = computed(store, 0, 3)
    selector = [Matcher.equal("n", "1")]
    span = START_MS + DAY_MS + 1, START_MS + DAY_MS + 2 * HOUR_MS
    deletion = store.delete_series([selector], *span, START_MS + 4 * DAY_MS)
    assert deletion is not None
    deleted = computed(store, 0, 3)
    assert deleted != before
    # Of three days two are stored; the one that the delete touches is computed.
    assert rolled(store, 0, 3) == deleted
    assert rolled(store, 1.25, 2) is None
    maintain(store, 4.2)
    assert rolled(store, 1.25, 2) is None
    store.undo_delete(deletion.deletion_id)
    assert rolled(store, 1.25, 2) == computed(store, 1.25, 2)
    assert rolled(store, 0, 3) == before
    store.delete_series([selector], *span, START_MS + 4 * DAY_MS)
    store.clean_tombstones()
    assert store.deletions() == []
    assert rolled(store, 0, 3) == deleted
    maintain(store, 4.3)
    assert rolled(store, 0, 3) == deleted
    assert rolled(store, 1.25, 2) == computed(store, 1.25, 2)


def test_a_delete_between_samples_costs_no_roll_ups(store: EmbeddedStore) -> None:
    """Of its second day the delete touches no sample, and no block is rewritten."""
    fill(store, range(2))
    target = store.register_target(Labels.of(job="node", instance="a"))
    layout = layout_of(store, metric("x", host="a", n="noon"))
    for day in (0, 1):
        write(store, target, layout, START_MS + day * DAY_MS + 12 * HOUR_MS, [day])
    maintain(store, 3)
    selector = [Matcher.equal("n", "noon")]
    assert store.delete_series([selector], START_MS, START_MS + DAY_MS + 6 * HOUR_MS, 0) is not None
    store.clean_tombstones()
    maintain(store, 3.1)
    assert rolled(store, 0.25, 2) == computed(store, 0.25, 2)
    found = rolled(store, 1.25, 2)
    assert found is not None
    assert list(found[metric("x", host="a", n="noon")]) == [START_MS + int(1.5 * DAY_MS)]


def test_what_is_erased_after_its_samples_went_is_gone(tmp_path: Path) -> None:
    store = opened(tmp_path, retention_ms=3 * DAY_MS)
    fill(store, range(3))
    maintain(store, 4)
    expected = computed(store, 0, 3)
    maintain(store, 8)
    selector, span = [Matcher.equal("n", "1")], (START_MS + DAY_MS + 1, START_MS + DAY_MS + HOUR_MS)
    gone = metric("x", host="a", n="1")
    deletion = store.delete_series([selector], *span, 0)
    assert deletion is not None
    assert deletion.deleted.samples == 0
    store.undo_delete(deletion.deletion_id)
    assert rolled(store, 0, 3) == expected
    store.delete_series([selector], *span, 0)
    store.clean_tombstones()
    assert store.deletions() == []
    expected[gone] = {
        end: bucket for end, bucket in expected[gone].items() if not 0 < end - START_MS - DAY_MS <= DAY_MS
    }
    assert rolled(store, 0, 3) == expected
    store.close()


def test_roll_ups_stay_whose_blocks_went_before_the_day_is_made_again(store: EmbeddedStore, tmp_path: Path) -> None:
    fill(store, range(2))
    target = store.register_target(Labels.of(job="node", instance="a"))
    other = metric("x", host="a", n="other")
    for minute in range(3, 300, 9):
        write(store, target, layout_of(store, other), START_MS + minute * MINUTE_MS, [minute])
    maintain(store, 3)
    expected = computed(store, 0, 2)
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "fleetwatch.db")) as connection, connection:
        # As the retention does it, by size or by class.
        gone = connection.execute(f"DELETE FROM blocks WHERE end_ms < {START_MS + 6 * HOUR_MS}")
        assert gone.rowcount == 1
    again = opened(tmp_path)
    assert other not in computed(again, 0, 2)
    assert rolled(again, 0, 2) == expected
    write(again, target, layout_of(again, metric("x", host="a", n="1")), START_MS + 10, [50]).result()
    again.compact(START_MS + 3 * DAY_MS + HOUR_MS)
    maintain(again, 3.1)
    expected = {**computed(again, 0, 2), other: expected[other]}
    assert rolled(again, 0, 2) == expected
    again.close()


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("DELETE FROM rollups WHERE rollup_id & 4096", "is missing"),
        ("UPDATE rollups SET samples = zeroblob(100)", "expects 02"),
        ("UPDATE rollups SET directory = x'00'", "expects 02"),
        ("UPDATE rollup_days SET last_ms = last_ms + 3600000", "does not fit"),
        ("DELETE FROM series", "there is no series 0"),
    ],
)
def test_damage_is_named(store: EmbeddedStore, tmp_path: Path, statement: str, fault: str) -> None:
    fill(store, range(1))
    maintain(store, 2.1)
    store.close()
    assert check_file(tmp_path, lambda *_: None).findings == []
    with contextlib.closing(sqlite3.connect(tmp_path / "fleetwatch.db")) as connection, connection:
        connection.execute(statement)
    findings = check_file(tmp_path, lambda *_: None).findings
    assert [one for one in findings if one.place == "roll-up 1 of target 0" and fault in one.fault], findings


@settings(max_examples=12, deadline=None)
@given(
    data=st.data(),
    seed=st.integers(0, 2**32),
    expr=st.sampled_from(["x", "sum(x)", "max_over_time(x[1h])", "avg_over_time(x[2h])", "count_over_time(x[30m])"]),
)
def test_queries_are_answered_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, seed: int, expr: str
) -> None:
    """With samples late, sealed or not, and days rolled up in between."""
    random = np.random.default_rng(seed)
    with contextlib.closing(opened(tmp_path_factory.mktemp("rollups"))) as store:
        fill(store, range(3), every_ms=int(random.integers(3, 90)) * MINUTE_MS)
        now = 4.0
        for _ in range(data.draw(st.integers(1, 3))):
            maintain(store, now)
            now += 0.1
            if data.draw(st.booleans()):
                target = store.register_target(Labels.of(job="node", instance=str(random.choice(["a", "b"]))))
                layout = layout_of(store, metric("x", host="a", n=str(random.integers(0, 4))))
                for _ in range(3):
                    late_ms = START_MS + int(random.integers(0, 3 * 24 * 12)) * 5 * MINUTE_MS
                    write(store, target, layout, late_ms, [float(random.choice([STALE_NAN, 3, 99]))]).result()
        window = START_MS + 2 * HOUR_MS, START_MS + int(2.5 * DAY_MS), HOUR_MS
        got = Engine(store).range(expr, *window).value
        expected = Engine(_Samples(store)).range(expr, *window).value
    assert isinstance(got, Matrix)
    assert isinstance(expected, Matrix)
    assert got.labels == expected.labels
    assert (got.present == expected.present).all()
    np.testing.assert_allclose(got.values[got.present], expected.values[got.present], rtol=1e-12)


class _Samples:
    """A store without its roll-ups."""

    def __init__(self, store: EmbeddedStore) -> None:
        self.select = store.select
