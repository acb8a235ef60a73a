"""A random life of the embedded store against a dictionary."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from common.labels import Labels
from common.matchers import Matcher, matches_all
from tests.tsdb.reading import bits, read
from tsdb.embedded import EmbeddedStore
from tsdb.model import ABSENT, STALE_NAN, Batch

WINDOW_MS = 20
SERIES = [Labels.of(__name__="x", n=str(n)) for n in range(6)]
TARGETS = 3

times = st.integers(0, 120)
values = st.one_of(st.sampled_from([ABSENT, STALE_NAN, 0.0, -0.0, 1.0, float("nan")]), st.floats())
samples = st.dictionaries(st.integers(0, len(SERIES) - 1), values, min_size=1)


class Life(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="fleetwatch-life-"))
        self.model: dict[Labels, dict[int, int]] = {labels: {} for labels in SERIES}
        self.now_ms = 0
        self.store = self.opened()

    def opened(self) -> EmbeddedStore:
        return EmbeddedStore(self.directory, window_ms=WINDOW_MS, sealing_delay_ms=0)

    def write(self, target: int, time_ms: int, batch: dict[int, float], times_ms: list[int] | None = None) -> None:
        layout = self.store.layout(self.store.series_ids([SERIES[n] for n in batch]))
        target_id = self.store.register_target(Labels.of(job=str(target)))
        own_times = None if times_ms is None else np.array(times_ms[: len(batch)], dtype=np.int64)
        vector = np.array(list(batch.values()), dtype=np.float64)
        self.store.append(Batch(target_id, layout, time_ms, vector, own_times)).result()
        for place, (n, value) in enumerate(batch.items()):
            if bits(value) != bits(ABSENT):
                at_ms = time_ms if times_ms is None else times_ms[place]
                self.model[SERIES[n]][at_ms] = bits(value)

    @rule(target_number=st.integers(0, TARGETS - 1), step_ms=st.integers(1, 8), batch=samples)
    def scrape(self, target_number: int, step_ms: int, batch: dict[int, float]) -> None:
        self.now_ms += step_ms
        self.write(target_number, self.now_ms, batch)

    @rule(rows=st.lists(st.lists(values, min_size=4, max_size=4), min_size=2, max_size=30))
    def scrape_steadily(self, rows: list[list[float]]) -> None:
        for row in rows:
            self.now_ms += 1
            self.write(0, self.now_ms, dict(enumerate(row)))

    @rule(target_number=st.integers(0, TARGETS - 1), time_ms=times, batch=samples)
    def write_late(self, target_number: int, time_ms: int, batch: dict[int, float]) -> None:
        self.write(target_number, time_ms, batch)

    @rule(time_ms=times, batch=samples, own=st.lists(times, min_size=len(SERIES), max_size=len(SERIES)))
    def write_with_own_times(self, time_ms: int, batch: dict[int, float], own: list[int]) -> None:
        self.write(1, time_ms, batch, own)

    @rule(ahead_ms=st.integers(0, 2 * WINDOW_MS))
    def seal(self, ahead_ms: int) -> None:
        self.store.maintain(self.now_ms + ahead_ms)

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = self.opened()

    @invariant()
    def all_is_there(self) -> None:
        expected = {labels: sorted(found.items()) for labels, found in self.model.items() if found}
        assert read(self.store, [], -(10**9), 10**9) == expected

    @rule(start_ms=times, span_ms=st.integers(0, 60), n=st.sampled_from(["1", "4"]))
    def look(self, start_ms: int, span_ms: int, n: str) -> None:
        end_ms = start_ms + span_ms
        selector = [Matcher.equal("n", n)]
        expected = {
            labels: inside
            for labels, found in self.model.items()
            if matches_all(selector, labels)
            and (inside := sorted((ms, value) for ms, value in found.items() if start_ms <= ms <= end_ms))
        }
        assert read(self.store, selector, start_ms, end_ms) == expected

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.directory)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
