"""A random life of the embedded store against a dictionary: after every step, each read gives what the dictionary has.

Times are small numbers and windows some milliseconds, so that a life of thirty steps goes through every level of
blocks, the retention, deletes and the dropping of series, with a restart at any point.
"""

import shutil
import tempfile
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from common.labels import Labels
from common.matchers import Matcher, MatchType, matches_all
from tests.tsdb.crash_model import Model
from tests.tsdb.reading import bits, read
from tsdb.embedded import EmbeddedStore
from tsdb.model import ABSENT, ABSENT_BITS, STALE_NAN, Batch, Layout

LEVELS_MS = (20, 80, 240)
RETENTION_MS = 300
ALWAYS_MS = 10**12

SERIES = [Labels.of(__name__="xy"[n % 2], n=str(n), **({"even": "yes"} if n % 2 == 0 else {})) for n in range(6)]
TARGETS = 3
SELECTORS = [
    [],
    [Matcher.equal("n", "1")],
    [Matcher.equal("__name__", "x"), Matcher("n", MatchType.NOT_EQUAL, "4")],
    [Matcher("n", MatchType.REGEX, "0|3|5")],
    [Matcher.equal("even", "")],
    [Matcher("even", MatchType.NOT_REGEX, "y.*")],
]

values = st.one_of(st.sampled_from([ABSENT, STALE_NAN, 0.0, -0.0, 1.0, float("nan")]), st.floats())
samples = st.dictionaries(st.integers(0, len(SERIES) - 1), values, min_size=1)
targets = st.integers(0, TARGETS - 1)
ages = st.one_of(st.integers(0, LEVELS_MS[0]), st.integers(0, RETENTION_MS - 1))
offsets = st.tuples(st.integers(-1, 1), st.integers(-1, 1))


class Life(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="fleetwatch-model-"))
        self.model = Model()
        self.now_ms = 0
        self.batches: list[tuple[int, int, dict[int, float], list[int] | None]] = []
        # Layouts that a scraper holds, some of series that have no samples any more.
        self.layouts: dict[tuple[int, ...], Layout] = {}
        self.store = self.opened()

    def opened(self) -> EmbeddedStore:
        return EmbeddedStore(self.directory, levels_ms=LEVELS_MS, sealing_delay_ms=0, retention_ms=RETENTION_MS)

    def write(
        self, target: int, time_ms: int, batch: dict[int, float], times_ms: list[int] | None = None
    ) -> Future[None]:
        self.batches.append((target, time_ms, batch, times_ms))
        numbers = tuple(batch)
        if numbers not in self.layouts:
            self.layouts[numbers] = self.store.layout(self.store.series_ids([SERIES[n] for n in numbers]))
        target_id = self.store.register_target(Labels.of(job=str(target)))
        own_times = None if times_ms is None else np.array(times_ms[: len(batch)], dtype=np.int64)
        vector = np.array(list(batch.values()), dtype=np.float64)
        for place, (n, value) in enumerate(batch.items()):
            if bits(value) != ABSENT_BITS:
                self.model.put(SERIES[n], time_ms if times_ms is None else times_ms[place], bits(value))
        return self.store.append(Batch(target_id, self.layouts[numbers], time_ms, vector, own_times))

    # Writing

    @rule(target_number=targets, step_ms=st.integers(1, 8), batch=samples)
    def scrape(self, target_number: int, step_ms: int, batch: dict[int, float]) -> None:
        self.now_ms += step_ms
        self.write(target_number, self.now_ms, batch).result()

    @rule(rows=st.lists(st.lists(values, min_size=4, max_size=4), min_size=2, max_size=60), step_ms=st.integers(1, 3))
    def scrape_steadily(self, rows: list[list[float]], step_ms: int) -> None:
        """Longer than a head's segment, and committed together."""
        written = []
        for row in rows:
            self.now_ms += step_ms
            written.append(self.write(0, self.now_ms, dict(enumerate(row))))
        for future in written:
            future.result()

    @rule(target_number=targets, age_ms=ages, batch=samples)
    def write_late(self, target_number: int, age_ms: int, batch: dict[int, float]) -> None:
        self.write(target_number, self.now_ms - age_ms, batch).result()

    @rule(age_ms=ages, batch=samples, own=st.lists(ages, min_size=len(SERIES), max_size=len(SERIES)))
    def write_with_own_times(self, age_ms: int, batch: dict[int, float], own: list[int]) -> None:
        self.write(1, self.now_ms - age_ms, batch, [self.now_ms - own_age_ms for own_age_ms in own]).result()

    @precondition(lambda self: bool(self.batches))
    @rule(back=st.integers(1, 5))
    def write_again(self, back: int) -> None:
        """A batch that a writer sends once more, as after a lost answer."""
        target, time_ms, batch, times_ms = self.batches[-min(back, len(self.batches))]
        oldest_ms = time_ms if times_ms is None else min(times_ms)
        if oldest_ms >= self.model.horizon_ms:
            self.write(target, time_ms, batch, times_ms).result()

    # Deleting

    @rule(selector=st.sampled_from(SELECTORS), places=st.tuples(st.floats(0, 1), st.floats(0, 1)), off=offsets)
    def delete(self, selector: list[Matcher], places: tuple[float, float], off: tuple[int, int]) -> None:
        start_ms, end_ms = self.span(places, off)
        self.model.delete(read(self.store, selector, start_ms, end_ms))
        self.store.delete_series([selector], start_ms, end_ms, self.now_ms)

    @rule()
    def clean_tombstones(self) -> None:
        self.store.clean_tombstones()

    # Running

    @rule(ahead_ms=st.one_of(st.sampled_from([0, *LEVELS_MS]), st.integers(0, LEVELS_MS[1])))
    def maintain(self, ahead_ms: int) -> None:
        self.now_ms += ahead_ms
        self.model.expire(self.now_ms - RETENTION_MS)
        self.store.maintain(self.now_ms)

    @rule()
    def be_silent(self) -> None:
        """Until all that there is has passed out of the retention, and series are dropped."""
        for _ in range(4):
            self.maintain(LEVELS_MS[-1])

    @rule()
    def forget_layouts(self) -> None:
        self.layouts.clear()

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.layouts.clear()
        self.store = self.opened()

    # Reading

    @invariant()
    def all_is_there(self) -> None:
        found = read(self.store, [], -ALWAYS_MS, ALWAYS_MS)
        assert self.model.difference(found) is None
        self.model.forget_removed(found)

    @rule(selector=st.sampled_from(SELECTORS), places=st.tuples(st.floats(0, 1), st.floats(0, 1)), off=offsets)
    def look(self, selector: list[Matcher], places: tuple[float, float], off: tuple[int, int]) -> None:
        start_ms, end_ms = self.span(places, off)
        start_ms = max(start_ms, self.model.horizon_ms)
        expected = {
            labels: inside
            for labels, kept in self.model.samples().items()
            if matches_all(selector, labels)
            and (inside := sorted((ms, value) for ms, value in kept.items() if start_ms <= ms <= end_ms))
        }
        assert read(self.store, selector, start_ms, end_ms) == expected
        assert set(self.store.series([selector], start_ms, end_ms)) >= expected.keys()
        assert set(self.store.label_values("n", [selector], start_ms, end_ms)) >= {
            labels.get("n") for labels in expected
        }
        names = {name for labels in expected for name, _ in labels}
        assert set(self.store.label_names([selector], start_ms, end_ms)) >= names

    def span(self, places: tuple[float, float], off: tuple[int, int]) -> tuple[int, int]:
        """From a time to another, on samples or just beside."""
        times = sorted({ms for kept in self.model.samples().values() for ms in kept}) or [0]
        ends = sorted(times[round(place * (len(times) - 1))] for place in places)
        return ends[0] + off[0], ends[1] + off[1]

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.directory)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, report_multiple_bugs=False)


def test_what_is_expired_stays_so_after_a_restart(tmp_path: Path) -> None:
    """Blocks keep it until their end has passed too; the random lives above seldom come by here."""
    series = Labels.of(__name__="x")
    for now_ms in (240, 400, 450):
        store = EmbeddedStore(tmp_path, levels_ms=LEVELS_MS, sealing_delay_ms=0, retention_ms=RETENTION_MS)
        if now_ms == 240:
            store.append_samples(series, [(time_ms, 1.0) for time_ms in range(0, 240, 10)])
        store.maintain(now_ms)
        store.close()
        store = EmbeddedStore(tmp_path, levels_ms=LEVELS_MS, sealing_delay_ms=0, retention_ms=RETENTION_MS)
        expected = list(range(max(0, now_ms - RETENTION_MS), 240, 10))
        assert [time_ms for time_ms, _ in read(store, [], -ALWAYS_MS, ALWAYS_MS)[series]] == expected
        store.close()
