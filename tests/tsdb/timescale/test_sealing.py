"""Sealing: every sample once, whatever comes in which order, whoever seals, and whenever that ends."""

import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pglite.server import PGliteServer
from tests.tsdb.timescale.scratch import BLOCK_SAMPLES, JOURNAL_SAMPLES, Sample, Scratch, scratch
from tsdb.model import ABSENT, ABSENT_BITS, STALE_NAN, FloatArray, IntArray
from tsdb.timescale import sealing as sealing_module
from tsdb.timescale.block_rows import WINDOW_MS
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.sealing import Sealing
from tsdb.timescale.windows import last_start_ms

pytest_plugins = ["tests.databases"]

START_MS = 1_790_000_000_000
SCRAPE_MS = 15_000
MINUTE_MS = 60_000
COUNT = f"""
SELECT count(*), count(DISTINCT (sid, time_ms)) FROM ({BLOCK_SAMPLES} UNION ALL {JOURNAL_SAMPLES})
AS sample(sid, time_ms, seq, bits) WHERE bits <> {ABSENT_BITS}
"""


@pytest.fixture(params=["timescale_server", "postgres15_server"])
def database(request: pytest.FixtureRequest) -> Iterator[Scratch]:
    with scratch(request.getfixturevalue(request.param)) as database:
        yield database


def sealing(database: Scratch) -> Sealing:
    return Sealing(database.connections, Partitions(), delay_ms=0, settle_s=0)


def seal(database: Scratch, now_ms: int) -> int:
    """Seal all that is due: how many transactions did something."""
    sealer, done = sealing(database), 0
    for target in sealer.due(now_ms):
        while (sealed := sealer.seal(target.target_id, target.before_ms)).scrapes:
            done += 1
            if not sealed.more:
                break
    return done


def scrapes(rows: int, series: int, seed: int = 1) -> FloatArray:
    """float64[rows, series]"""
    values = np.random.default_rng(seed).random((rows, series)).cumsum(axis=0)
    values[:, 0] = 7
    return values


def write_scrapes(database: Scratch, target_id: int, sids: IntArray, values: FloatArray, start_ms: int) -> None:
    database.write_rows(
        [(target_id, sids, start_ms + row * SCRAPE_MS, vector, None) for row, vector in enumerate(values)]
    )


def test_windows_become_rows_of_a_series(database: Scratch) -> None:
    target = database.target("a")
    sids = database.series(target, 5)
    start_ms = last_start_ms(target, START_MS)
    write_scrapes(database, target, sids, scrapes(1000, 5), start_ms)
    before = database.samples()
    assert seal(database, start_ms + 2 * WINDOW_MS) == 1
    assert database.counts() == (40, 10)
    assert database.samples() == before
    lengths = database.sql("SELECT DISTINCT step, dt IS NULL, array_length(v, 1) FROM fleetwatch_data.block")
    assert lengths == [(SCRAPE_MS, True, 480)]


HOSTILE = [0.0, -0.0, 1.5, float("inf"), float("-inf"), 5e-324, float(STALE_NAN), float(ABSENT)]
HOSTILE += np.array([0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000001], dtype=np.uint64).view(float).tolist()
SERIES = 4


@dataclass(frozen=True)
class Write:
    """At a minute, values of the first series or of all of them, each maybe at a minute of its own."""

    minute: int
    values: list[float]
    minutes: list[int] | None


# Few, so that much is written again; at the edges of windows and in between.
minutes = st.sampled_from([0, 1, 59, 119, 120, 121, 180, 239, 240, 241, 360, 480, 600])
writes = st.integers(1, SERIES).flatmap(
    lambda count: st.builds(
        Write,
        minutes,
        st.lists(st.sampled_from(HOSTILE), min_size=count, max_size=count),
        st.none() | st.lists(minutes, min_size=count, max_size=count),
    )
)
# A number says that what is due at that minute is sealed.
steps = st.lists(writes | st.integers(0, 700) | st.just("delete"), max_size=25)


@given(steps=steps)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_is_written_in_any_order_is_there_once(database: Scratch, steps: list[Write | int | str]) -> None:
    database.sql("DELETE FROM fleetwatch_data.tombstones")
    target = database.target(str(uuid.uuid4()))
    sids = database.series(target, SERIES)
    # All samples, and those since each delete.
    expected: dict[int, dict[Sample, int]] = {0: {}}
    for step in steps:
        if isinstance(step, Write):
            written = write(database, target, sids[: len(step.values)], step)
            for samples in expected.values():
                samples |= written
        elif isinstance(step, int):
            seal(database, START_MS + step * MINUTE_MS)
        else:
            expected[divide(database)] = {}
    # By then another window has ended, and late samples too are sealed.
    for now_ms in (None, START_MS + 900 * MINUTE_MS):
        while now_ms is not None and seal(database, now_ms):
            pass
        for after_seq, samples in expected.items():
            found = database.samples(after_seq)
            assert {sample: bits for sample, bits in found.items() if sample[0] in sids} == samples
    assert database.counts()[0] == 0


def write(database: Scratch, target_id: int, sids: IntArray, step: Write) -> dict[Sample, int]:
    """Write a row: its samples."""
    time_ms = START_MS + step.minute * MINUTE_MS
    own = None if step.minutes is None else [START_MS + minute * MINUTE_MS for minute in step.minutes]
    database.write(target_id, sids, time_ms, step.values, own)
    bits = np.array(step.values).view(np.int64).tolist()
    samples = zip(sids.tolist(), own or [time_ms] * len(sids), bits, strict=True)
    return {(sid, at_ms): value for sid, at_ms, value in samples if value != ABSENT_BITS}


def divide(database: Scratch) -> int:
    """A delete of nothing; the number of the last write that is not after it."""
    return database.number(
        "INSERT INTO fleetwatch_data.tombstones "
        "(matchers, start_ms, end_ms, upto_seq, created_ms, expires_ms, series, samples) "
        "SELECT '[]', 0, 0, last_value, 0, 1, 0, 0 FROM fleetwatch_data.journal_seq RETURNING upto_seq"
    )


def test_short_windows_are_compressed_too(database: Scratch) -> None:
    target = database.target("a")
    sids = database.series(target, 3)
    start_ms = last_start_ms(target, START_MS)
    values = np.round(scrapes(120, 3))
    database.write_rows([(target, sids, start_ms + row * MINUTE_MS, one, None) for row, one in enumerate(values)])
    before = database.samples()
    seal(database, start_ms + WINDOW_MS)
    assert database.samples() == before
    assert database.number("SELECT max(pg_column_size(v)) FROM fleetwatch_data.block") < 120 * 8
    # The bytes of the series that does not change, of the 960 that they are.
    assert database.number("SELECT min(pg_column_size(v)) FROM fleetwatch_data.block") < 100


def test_scrapes_that_were_late_stay_in_the_rows_of_the_others(database: Scratch) -> None:
    target = database.target("a")
    sids = database.series(target, 3)
    start_ms = last_start_ms(target, START_MS)
    late_ms = np.random.default_rng(2).integers(-3000, 3000, 480) * (np.arange(480) % 3 == 0)
    late_ms[0] = 40
    times_ms = (start_ms + np.arange(480) * SCRAPE_MS + late_ms).tolist()
    database.write_rows(
        [(target, sids, time_ms, one, None) for time_ms, one in zip(times_ms, scrapes(480, 3), strict=True)]
    )
    before = database.samples()
    seal(database, start_ms + WINDOW_MS)
    assert database.samples() == before
    assert database.sql("SELECT count(*), max(step), bool_and(ts <= %s) FROM fleetwatch_data.block", "2100-01-01") == [
        (3, SCRAPE_MS, True)
    ]


def test_series_without_samples_in_a_window_have_no_row(database: Scratch) -> None:
    target = database.target("a")
    sids = database.series(target, 3)
    start_ms = last_start_ms(target, START_MS)
    gone = np.array([1.0, ABSENT, ABSENT])
    database.write_rows([(target, sids, start_ms + row * SCRAPE_MS, gone, None) for row in range(30)])
    database.write(target, sids, start_ms + 30 * SCRAPE_MS, [1.0, 2.0, ABSENT])
    seal(database, start_ms + WINDOW_MS)
    rows = database.sql(
        "SELECT sid, extract(epoch FROM ts) * 1000 - %s FROM fleetwatch_data.block ORDER BY sid", start_ms
    )
    assert rows == [(sids[0], 0), (sids[1], 30 * SCRAPE_MS)]


def test_late_samples_wait_for_the_next_window_and_are_merged_once_they_are_many(database: Scratch) -> None:
    target = database.target("a")
    sids = database.series(target, 2)
    start_ms = last_start_ms(target, START_MS)
    write_scrapes(database, target, sids, scrapes(480, 2), start_ms)
    assert seal(database, start_ms + WINDOW_MS) == 1
    counts = []
    for number in range(1, 6):
        now_ms = start_ms + (1 + number) * WINDOW_MS
        database.write(target, sids, start_ms + number * SCRAPE_MS + 1, [float(number), 1.0])
        assert seal(database, now_ms - 1) == 0
        before = database.samples()
        assert seal(database, now_ms) == 1
        assert database.samples() == before
        counts.append(database.counts())
    # Two series; a late row that finds three makes them one.
    assert counts == [(0, 4), (0, 6), (0, 2), (0, 4), (0, 6)]


def test_rows_that_bring_their_times_keep_their_order(database: Scratch) -> None:
    target = database.target("a")
    (sid,) = sids = database.series(target, 1)
    start_ms = last_start_ms(target, START_MS)
    at_ms = start_ms + 5 * SCRAPE_MS
    database.write(target, sids, start_ms + WINDOW_MS + SCRAPE_MS, [1.0], [at_ms])
    database.write(target, sids, at_ms, [2.0])
    seal(database, start_ms + WINDOW_MS)
    database.write(target, sids, at_ms + SCRAPE_MS, [3.0])
    for window in (1, 2, 3):
        assert database.samples()[int(sid), at_ms] == np.array(2.0).view(np.int64)
        seal(database, start_ms + window * WINDOW_MS)
    # As above, in a window that has not ended.
    at_ms = start_ms + 4 * WINDOW_MS
    database.write(target, sids, start_ms, [1.0], [at_ms])
    database.write(target, sids, at_ms, [2.0])
    database.write(target, sids, start_ms, [3.0], [at_ms + 1])
    for window in (4, 5, 6):
        seal(database, start_ms + window * WINDOW_MS)
        assert database.samples()[int(sid), at_ms] == np.array(2.0).view(np.int64)


def test_a_window_with_too_many_samples_is_sealed_in_parts(database: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing_module, "_MOST_SAMPLES", 1000)
    monkeypatch.setattr(sealing_module, "_SERIES_AT_ONCE", 4)
    target = database.target("a")
    sids = database.series(target, 10)
    start_ms = last_start_ms(target, START_MS)
    write_scrapes(database, target, sids, scrapes(480, 10), start_ms)
    before = database.samples()
    assert seal(database, start_ms + WINDOW_MS) == 5
    # The fourth part finds three, and makes them one.
    assert database.counts() == (0, 20)
    assert database.samples() == before


def test_targets_fall_due_one_after_the_other(database: Scratch) -> None:
    targets = [database.target(str(number)) for number in range(20)]
    layout = database.series(targets[0], 1)
    start_ms = last_start_ms(targets[0], START_MS)
    for target in targets:
        database.write(target, layout, start_ms, [1.0])
    due = [len(sealing(database).due(start_ms + part * WINDOW_MS // 10)) for part in range(11)]
    assert due[0] == 0
    assert due[10] == 20
    assert 0 < max(np.diff(due)) < 6


def test_a_target_that_waits_says_for_how_long(database: Scratch) -> None:
    target = database.target("a")
    sids = database.series(target, 1)
    start_ms = last_start_ms(target, START_MS)
    database.write(target, sids, start_ms, [1.0])
    (due,) = sealing(database).due(start_ms + WINDOW_MS + 5000)
    assert due.waiting_ms == 5000
    sealing(database).seal(due.target_id, due.before_ms)
    # Late now: as old as the window it is sealed with, and not as old as itself.
    database.write(target, sids, start_ms, [2.0])
    (due,) = sealing(database).due(start_ms + 2 * WINDOW_MS + 7000)
    assert due.waiting_ms == 7000


def test_writes_that_may_have_company_are_left(database: Scratch) -> None:
    target = database.target("a")
    database.write(target, database.series(target, 1), START_MS, [1.0])
    sealer = Sealing(database.connections, Partitions(), delay_ms=0, settle_s=60)
    (due,) = sealer.due(START_MS + WINDOW_MS)
    assert sealer.seal(due.target_id, due.before_ms).scrapes == 0
    database.sql("UPDATE fleetwatch_data.journal SET written_at = written_at - interval '61 s'")
    assert sealer.seal(due.target_id, due.before_ms).scrapes == 1


def test_a_sealer_that_is_killed_loses_and_doubles_nothing(database: Scratch) -> None:
    for number in range(6):
        target = database.target(str(number))
        write_scrapes(database, target, database.series(target, 4), scrapes(480, 4), last_start_ms(target, START_MS))
    before = database.samples()
    command = [sys.executable, "-m", "tests.tsdb.timescale.sealer", database.dsn, str(START_MS + 2 * WINDOW_MS)]
    # At the beginning of a transaction, and after a growing part of one.
    for part in range(5):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            threading.Event().wait(part / 200)
            process.kill()
        assert database.samples() == before
    seal(database, START_MS + 2 * WINDOW_MS)
    assert database.counts() == (0, 6 * 4)
    assert database.samples() == before
    ((unsealed, twice),) = database.sql(
        "SELECT (SELECT count(*) FROM fleetwatch_data.journal), count(*) - count(DISTINCT (sid, ts)) "
        "FROM fleetwatch_data.block"
    )
    assert (unsealed, twice) == (0, 0)


def test_sealers_writers_and_readers_at_once(database: Scratch) -> None:
    targets = [database.target(str(number)) for number in range(6)]
    layouts = [database.series(target, 3) for target in targets]
    begin_ms = max(last_start_ms(target, START_MS) for target in targets)
    now_ms, done, failures = begin_ms, threading.Event(), []

    def keep(action: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                while not done.is_set():
                    action()
            except Exception as error:
                failures.append(error)
                raise

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def look() -> None:
        written = (now_ms - begin_ms) // MINUTE_MS * len(targets) * 3
        with database.connections.transaction(snapshot=True) as connection:
            samples, different = (int(str(count)) for count in connection.execute(COUNT).fetchall()[0])
        assert samples == different
        assert samples >= written

    threads = [keep(lambda: seal(database, now_ms)), keep(lambda: seal(database, now_ms)), keep(look)]
    for row in range(250):
        time_ms = begin_ms + row * MINUTE_MS
        values = np.array([1.0, 2.0, row])
        database.write_rows([(*pair, time_ms, values, None) for pair in zip(targets, layouts, strict=True)])
        now_ms = time_ms + MINUTE_MS
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(database.samples()) == 250 * len(targets) * 3


def test_the_community_edition_seals_too(pglite_server: PGliteServer) -> None:
    with scratch(pglite_server) as database:
        target = database.target("a")
        sids = database.series(target, 3)
        start_ms = last_start_ms(target, START_MS)
        write_scrapes(database, target, sids, scrapes(500, 3), start_ms)
        database.write(target, sids, start_ms, [float(STALE_NAN), -0.0, float(ABSENT)], [start_ms + 1, start_ms, 0])
        before = database.samples()
        assert seal(database, start_ms + WINDOW_MS) == 1
        database.write(target, sids, start_ms, [1.0, 2.0, 3.0])
        seal(database, start_ms + 2 * WINDOW_MS)
        assert database.samples() == before | {
            (int(sid), start_ms): np.array(value).view(np.int64).item()
            for sid, value in zip(sids, (1.0, 2.0, 3.0), strict=True)
        }
        assert database.counts()[0] == 0
