"""What the processes that are killed write: batches without end, the same ones for the same seed.

The checking process draws the same batches, so that the writer only has to say how many were acknowledged. Every
batch carries its own number in some of its values. They come in order, late, again with other values, and with times
of their own; layouts change, series come, go and come back, several targets write to one series.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from common.labels import Labels
from tests.tsdb.reading import bits
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.database import Durability
from tsdb.model import ABSENT, ABSENT_BITS, STALE_NAN

LEVELS_MS = (2_000, 8_000, 24_000)
"""What the blocks span: sealed windows, and what they are merged into."""

RETENTION_MS = 60_000
TARGETS = 3

_STEADY_SERIES = 4
_LATEST_MS = 50_000
_ODD_VALUES = [STALE_NAN, ABSENT, -0.0, float("inf"), np.array([0x7FF8000000ABCDEF], dtype=np.uint64).view("f8")[0]]


@dataclass(frozen=True, slots=True)
class Write:
    """A batch by labels; `now_ms` is the clock at the time of writing."""

    now_ms: int
    target: int
    series: tuple[Labels, ...]
    time_ms: int
    values: tuple[float, ...]
    times_ms: tuple[int, ...] | None

    def samples(self) -> Iterator[tuple[Labels, int, int]]:
        """(labels, milliseconds, bits of the value) of the samples that are there."""
        for place, labels in enumerate(self.series):
            value = bits(self.values[place])
            if value != ABSENT_BITS:
                yield labels, self.time_ms if self.times_ms is None else self.times_ms[place], value


def open_small(directory: Path, durability: Durability = "normal") -> EmbeddedStore:
    """A store whose windows are sealed as they end, merged and removed within a minute of the clock of `maintain`."""
    return EmbeddedStore(
        directory, levels_ms=LEVELS_MS, sealing_delay_ms=0, retention_ms=RETENTION_MS, durability=durability
    )


def target_labels(target: int) -> Labels:
    """The labels of a target."""
    return Labels.of(job="crash", instance=f"host{target}:9100")


def writes(seed: int, now_ms: int) -> Iterator[Write]:
    """Batches without end; the clock starts at `now_ms` and runs on for every `TARGETS` of them, at a pace or other."""
    choose = random.Random(seed)
    pace_ms = choose.choice([300, 1_000, 4_000])
    last_ms = now_ms
    number = 0
    while True:
        # A long silence now and then, in which all that was stored passes out of the retention.
        now_ms += choose.randrange(pace_ms // 2, 2 * pace_ms) if choose.random() < 0.995 else 2 * RETENTION_MS
        for target in range(TARGETS):
            number += 1
            series = [_series(target, "steady", n) for n in range(_STEADY_SERIES)]
            series += [_series(target, "churn", now_ms // 7_000 % 40), _series(None, "shared", 0)]
            if choose.random() < 0.1:
                choose.shuffle(series)
            time_ms = now_ms
            if choose.random() < 0.2:
                time_ms = choose.choice([last_ms, now_ms - choose.randrange(_LATEST_MS)])
            times_ms = None
            if choose.random() < 0.1:
                spread_ms = choose.choice([5, _LATEST_MS // 2])
                times_ms = tuple(time_ms - choose.randrange(-3, spread_ms) for _ in series)
            yield Write(now_ms, target, tuple(series), time_ms, tuple(_values(choose, number, len(series))), times_ms)
            last_ms = time_ms


def _values(choose: random.Random, number: int, count: int) -> Iterator[float]:
    """A constant, a value that is sometimes none, and the number of the batch."""
    yield 7.0
    yield choose.choice(_ODD_VALUES) if choose.random() < 0.1 else number / 4
    for place in range(2, count):
        yield float(number * 16 + place)


@cache
def _series(target: int | None, name: str, n: int) -> Labels:
    return Labels.of({"__name__": name, "n": str(n), "target": "all" if target is None else str(target)})
