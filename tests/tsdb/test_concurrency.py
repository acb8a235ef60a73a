"""Several writers, several readers and the maintenance at once: a batch is seen whole or not at all, and stays."""

import random
import threading
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from common.labels import Labels
from common.matchers import Matcher
from tests.tsdb.crash_workload import LEVELS_MS
from tsdb.embedded import EmbeddedStore
from tsdb.model import Batch, Frame

WRITERS = 3
READERS = 2
TARGETS_OF_A_WRITER = 2
SERIES = 12
SECONDS = 8.0
STEP_MS = 250
ALWAYS_MS = 10**12


class Target:
    """What one target writes: every series the same number at a time, the times in a random order."""

    def __init__(self, store: EmbeddedStore, number: int) -> None:
        self.number = number
        self._store = store
        self._choose = random.Random(number)
        self._target_id = store.register_target(Labels.of(job="node", instance=str(number)))
        self._written = 0
        # By time: the number that is acknowledged, and the greatest that is or will be written.
        self.acknowledged: dict[int, int] = {}
        self.begun: dict[int, int] = {}

    def write(self) -> None:
        """A batch in order, late, or once more with a greater number; three of them may be on their way."""
        ahead = [self._next() for _ in range(3)]
        futures = [self._store.append(batch) for _, _, batch in ahead]
        for (time_ms, number, _), future in zip(ahead, futures, strict=True):
            future.result()
            self.acknowledged[time_ms] = number

    def _next(self) -> tuple[int, int, Batch]:
        self._written += 1
        time_ms = self._written * STEP_MS
        if self._choose.random() < 0.15:
            time_ms = self._choose.randint(1, self._written) * STEP_MS
        self.begun[time_ms] = self._written
        order = self._choose.sample(range(SERIES), SERIES) if self._choose.random() < 0.05 else range(SERIES)
        labels = [Labels.of(__name__="x", target=str(self.number), n=str(n)) for n in order]
        layout = self._store.layout(self._store.series_ids(labels))
        return time_ms, self._written, Batch(self._target_id, layout, time_ms, np.full(SERIES, float(self._written)))


def look(store: EmbeddedStore, target: Target, choose: random.Random) -> None:
    """Read a target, or the end of it, while it is written."""
    must = dict(target.acknowledged)
    start_ms = choose.choice([0, max(must, default=0) - 20 * STEP_MS, choose.randint(0, max(must, default=0))])
    frames = store.select([Matcher.equal("target", str(target.number))], start_ms, ALWAYS_MS)
    may = dict(target.begun)
    found = seen(frames)
    for time_ms, number in must.items():
        if time_ms >= start_ms:
            assert found[time_ms] >= number, f"target {target.number} at {time_ms}: {found[time_ms]}, not {number}"
    for time_ms, value in found.items():
        assert value <= may[time_ms]


def seen(frames: list[Frame]) -> dict[int, float]:
    """By time the number that all series have; each of them must be there with it."""
    numbers: defaultdict[int, list[float]] = defaultdict(list)
    for frame in frames:
        for row in range(len(frame.labels)):
            present = slice(None) if frame.present is None else frame.present[row]
            for time_ms, value in zip(
                frame.times_ms[present].tolist(), frame.values[row, present].tolist(), strict=True
            ):
                numbers[time_ms].append(value)
    for time_ms, values in numbers.items():
        assert len(values) == SERIES, f"{len(values)} of {SERIES} series at {time_ms}"
        assert len(set(values)) == 1, f"a batch is torn at {time_ms}: {values}"
    return {time_ms: values[0] for time_ms, values in numbers.items()}


class Loops:
    """Threads that call something again and again, until time is over or one of them fails."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self.rounds: defaultdict[str, int] = defaultdict(int)

    def start(self, name: str, call: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._run, args=(name, call), name=name)
        self._threads.append(thread)
        thread.start()

    def end_after(self, seconds: float) -> None:
        self._over.wait(seconds)
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _run(self, name: str, call: Callable[[], None]) -> None:
        try:
            while not self._over.is_set():
                call()
                self.rounds[name] += 1
        except BaseException as error:  # noqa: BLE001  # raised again in the test's own thread
            self._failures.append(error)
            self._over.set()


def test_batches_are_seen_whole(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "data", levels_ms=LEVELS_MS, sealing_delay_ms=0)
    targets = [Target(store, number) for number in range(WRITERS * TARGETS_OF_A_WRITER)]
    loops = Loops()
    for number in range(WRITERS):
        loops.start(f"writer {number}", partial(write_all, targets[number::WRITERS]))
    for number in range(READERS):
        loops.start(f"reader {number}", partial(look_at_one, store, targets, random.Random(number)))
    loops.start("maintenance", partial(maintain, store, targets))
    loops.end_after(SECONDS)
    store.close()
    assert min(loops.rounds.values()) > 2, loops.rounds
    store = EmbeddedStore(tmp_path / "data", levels_ms=LEVELS_MS, sealing_delay_ms=0)
    for target in targets:
        frames = store.select([Matcher.equal("target", str(target.number))], 0, ALWAYS_MS)
        assert seen(frames) == target.acknowledged
    assert store.stats()["blocks"] > 0
    store.close()


def write_all(targets: list[Target]) -> None:
    for target in targets:
        target.write()


def look_at_one(store: EmbeddedStore, targets: list[Target], choose: random.Random) -> None:
    look(store, choose.choice(targets), choose)


def maintain(store: EmbeddedStore, targets: list[Target]) -> None:
    store.maintain(max(max(target.acknowledged.copy(), default=0) for target in targets))
