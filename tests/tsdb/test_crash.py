"""kill -9 at any moment: whatever was acknowledged is there afterwards, once, and nothing that was never written.

FLEETWATCH_CRASH_ROUNDS sets how many times a writer is killed, FLEETWATCH_CRASH_SEED where the dice start. A failure
says what was rolled and leaves the store behind in the test's directory.
"""

import contextlib
import gzip
import json
import os
import random
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pytest

from common.labels import Labels
from tests.tsdb.crash_killer import Said, Writers
from tests.tsdb.crash_model import Model
from tests.tsdb.crash_workload import LEVELS_MS, RETENTION_MS, Write, open_small, writes
from tests.tsdb.crash_writer import OUTSTANDING, Orders
from tests.tsdb.reading import read
from tsdb.embedded.tools.checks import check

ROUNDS = int(os.environ.get("FLEETWATCH_CRASH_ROUNDS", "200"))
SEED = int(os.environ.get("FLEETWATCH_CRASH_SEED", "1"))

# Four of five kills are of the usual life of some stores, the rest of migrations.
LIVES = -(-ROUNDS * 4 // 5 // 20)
MIGRATIONS = -(-LIVES // 4)
START_MS = 1_700_000_000_000
LONGEST_S = 0.2
ALWAYS_MS = 10**18
VERSION_1 = Path(__file__).with_name("crash_version_1.db.gz")

# The kinds of SQL statements that writers were seen to run, and how many were killed at each. Each gets its turn, the
# rare ones too. Telling them by their looks alone, the test needs to know nothing of tables and steps.
KINDS: dict[str, Counter[str]] = defaultdict(Counter)


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    writers = Writers()
    yield writers
    writers.close()


@pytest.mark.parametrize("number", range(LIVES))
def test_kill_at_any_moment(tmp_path: Path, writers: Writers, number: int) -> None:
    life = Life(writers, tmp_path / "life", random.Random(SEED * 1_000_003 + number))
    life.run_and_kill(KINDS["new"])
    for _ in range(19):
        life.run_and_kill(KINDS["old"])
    life.end()


@pytest.mark.parametrize("number", range(MIGRATIONS))
def test_kill_during_migration(tmp_path: Path, writers: Writers, number: int) -> None:
    """A store that the first version left is opened again and again, as if it had never been."""
    choose = random.Random(SEED * 1_000_003 - number - 1)
    for round_number in range(10):
        directory = tmp_path / str(round_number)
        life = Life(writers, directory, choose)
        life.start_with_version_1()
        life.run_and_kill(KINDS["migration"])
        life.run_and_kill(KINDS["old"])
        shutil.rmtree(directory)


@dataclass(slots=True)
class Life:
    """One store, from kill to kill."""

    writers: Writers
    directory: Path
    choose: random.Random
    now_ms: int = START_MS
    model: Model = field(default_factory=Model)

    def __post_init__(self) -> None:
        (self.directory / "data").mkdir(parents=True)

    def start_with_version_1(self) -> None:
        """Begin with a file of schema version 1, made by the program of that time with the writes of this workload.

        It has blocks, sealed journal rows and others, layouts that changed, and series of several targets.
        """
        (self.directory / "data" / "fleetwatch.db").write_bytes(gzip.decompress(VERSION_1.read_bytes()))
        recorded = json.loads(gzip.decompress(VERSION_1.with_name("crash_version_1.json.gz").read_bytes()))
        self.now_ms = recorded["now_ms"]
        for labels, samples in recorded["samples"]:
            for time_ms, value in samples:
                self.model.put(Labels.of(labels), time_ms, value)

    def run_and_kill(self, kinds: Counter[str]) -> None:
        """A writer goes on with the store until it is killed; then all that was acknowledged must be there."""
        orders, delay_s, longest_s = self._orders(kinds)
        said = self.writers.run(orders, kinds, delay_s, longest_s)
        if orders.kill_at:
            # One that does not come up gets its turn more seldom.
            kinds[orders.kill_at[0]] += 1 if said.came_to_it else 4
        try:
            self._take(orders, said)
        except BaseException as error:
            error.add_note(f"seed {SEED}; {orders}; killed after {delay_s} s or {longest_s} s; {said}")
            raise

    def end(self) -> None:
        """With all maintenance done, nothing is left of what the retention removes."""
        store = open_small(self.directory / "data")
        for now_ms in (self.now_ms, self.now_ms + LEVELS_MS[-1]):
            store.maintain(now_ms)
            self.model.expire(now_ms - RETENTION_MS)
            found = read(store, [], -ALWAYS_MS, ALWAYS_MS)
            assert self.model.difference(found) is None
        oldest_ms = min(samples[0][0] for samples in found.values())
        assert oldest_ms >= self.model.horizon_ms - LEVELS_MS[-1]
        store.close()

    def _orders(self, kinds: Counter[str]) -> tuple[Orders, float, float]:
        """What the next writer does, how long after what it is killed, and when at the latest."""
        choose = self.choose
        kill_at = None
        if kinds and choose.random() < 0.7:
            fewest = min(kinds.values())
            kind = choose.choice([kind for kind, count in kinds.items() if count == fewest])
            kill_at = (kind, int(2 ** choose.uniform(0, 4)) - 1)
        orders = Orders(
            directory=str(self.directory / "data"),
            seed=choose.randrange(2**32),
            now_ms=self.now_ms,
            close_after=choose.randrange(1, 60) if choose.random() < 0.15 else None,
            kill_at=kill_at,
            by_itself=choose.random() < 0.7,
        )
        delay_s = choose.choice([0.0, choose.uniform(0, 0.003), choose.uniform(0, 0.1)])
        if kill_at is None:
            return orders, delay_s, choose.uniform(0.001, LONGEST_S)
        # Some live long enough to come to the end of a first maintenance.
        return orders, delay_s, LONGEST_S if choose.random() < 0.9 else 5 * LONGEST_S

    def _take(self, orders: Orders, said: Said) -> None:
        assert said.error is None, said.error
        drawn = list(islice(writes(orders.seed, orders.now_ms), said.acknowledged + OUTSTANDING))
        for write in drawn[: said.acknowledged]:
            self.model.write(write)
        self.model.expire(said.maintained_ms - RETENTION_MS)
        unsure = drawn[said.acknowledged : orders.close_after]
        stored = said.acknowledged + self._check(unsure)
        if stored:
            self.now_ms = max(self.now_ms, drawn[stored - 1].now_ms)
        self.now_ms = max(self.now_ms, said.maintained_ms)

    def _check(self, unsure: Sequence[Write]) -> int:
        """Look at the store, or at a copy of its files so that the next writer finds them as they were left.

        Returns how many of the batches that were not acknowledged are stored.
        """
        directory = self.directory / "data"
        if self.choose.random() < 0.5:
            directory = self.directory / "copy"
            shutil.rmtree(directory, ignore_errors=True)
            shutil.copytree(self.directory / "data", directory)
        with contextlib.closing(open_small(directory)) as store:
            found = read(store, [], -ALWAYS_MS, ALWAYS_MS)
            stored = self.model.settle(found, unsure)
            self.model.forget_removed(found)
            assert set(store.series([], 0, ALWAYS_MS)) >= found.keys()
            if self.choose.random() < 0.1:
                store.maintain(self.now_ms)
                self.model.expire(self.now_ms - RETENTION_MS)
                difference = self.model.difference(read(store, [], -ALWAYS_MS, ALWAYS_MS))
                assert difference is None, f"after maintenance, {difference}"
            checked = check(directory, lambda done, total: None)
            assert checked.findings == []
        return stored
