"""Random samples: counters that restart, gauges with NaN and infinities, a histogram, labels that change.

Every target has its own interval and offset; all times are on a grid of 250 ms, so that a script can load them.
"""

import random
from dataclasses import dataclass

import numpy as np

from common.labels import Labels
from tsdb.model import STALE_NAN, FloatArray, IntArray

GRID_MS = 250
NOISE = 2.0**-51
SPAN_MS = 1_500_000
BOUNDS = ("0.1", "0.5", "1", "2.5", "+Inf")


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The samples of one series."""

    labels: Labels
    times_ms: IntArray
    values: FloatArray


def random_series(seed: int) -> list[Series]:
    """The series of a few targets of three jobs."""
    numbers = np.random.default_rng(seed)
    series: list[Series] = []
    for job in "abc":
        for instance in range(random.Random(f"{seed}{job}").randint(1, 3)):
            series += _target(numbers, {"job": job, "instance": f"{instance}"})
    # Prometheus takes series in the order they were made, we in the order of their labels: limitk shows it.
    return sorted(series, key=lambda one: one.labels)


def _target(random: np.random.Generator, target: dict[str, str]) -> list[Series]:
    interval_ms = int(random.choice([5_000, 15_000, 17_250, 60_000]))
    times = np.arange(int(random.integers(0, interval_ms // GRID_MS)) * GRID_MS, SPAN_MS, interval_ms)
    if random.random() < 0.5:
        times = np.unique(times + random.integers(0, 8, len(times)) * GRID_MS)
    made: list[Series] = []

    def add(name: str, values: FloatArray, **labels: str) -> None:
        made.append(Series(Labels.of(target, __name__=name, **labels), times, values))

    count = len(times)
    for code in ("200", "404", "503")[: int(random.integers(1, 4))]:
        add("requests_total", _counter(random, count, 20), code=code)
    add("level", random.integers(-20, 20, count) / 8)
    add("level", random.integers(-3, 3, count).astype(np.float64), kind="small")
    add("temperature", random.normal(20, 10, count))
    add("up", (random.random(count) < 0.8).astype(np.float64))
    buckets = np.cumsum([_counter(random, count, 6) for _ in BOUNDS], axis=0)
    if random.random() < 0.3:
        buckets[1] += random.integers(0, 8, count)
    for bound, values in zip(BOUNDS, buckets, strict=True):
        add("latency_bucket", values, le=bound)
    add("latency_count", buckets[-1].copy())
    add("latency_sum", buckets[-1] * 0.75)
    versions = random.integers(0, 2, count // 20 + 1).repeat(20)[:count]
    for version in (0, 1):
        shown = np.where(versions == version, 1.0, float(STALE_NAN))
        add("target_info", shown, version=f"v{version}", region="north" if target["job"] == "a" else "south")
    # Two versions at a time are an error, or not, at another moment of info(): their markers must stay.
    return [series if series.labels.metric_name == "target_info" else _damaged(random, series) for series in made]


def _counter(random: np.random.Generator, count: int, most: int) -> FloatArray:
    values = np.cumsum(random.integers(0, most, count)).astype(np.float64)
    for at in np.flatnonzero(random.random(count) < 0.03):
        values[at:] -= values[at] - random.integers(0, 3)
    return np.asarray(values)


def _damaged(random: np.random.Generator, series: Series) -> Series:
    """With gaps, markers and values that are no numbers."""
    values, times = series.values.copy(), series.times_ms
    kept = random.random(len(times)) > random.choice([0.0, 0.05, 0.4])
    if random.random() < 0.4:
        first, last = np.sort(random.integers(0, len(times), 2))
        kept[first:last] = False
    for special in (float(STALE_NAN), float("nan"), float("inf"), float("-inf")):
        if random.random() < (0.4 if special != special else 0.1):
            values[random.random(len(times)) < 0.04] = special
    kept[0] = True
    return Series(series.labels, times[kept], values[kept])


def with_noise(series: list[Series]) -> list[Series]:
    """The same series with other last bits; markers and what is no number stay."""
    random = np.random.default_rng(0)
    noisy = []
    for one in series:
        factors = 1 + random.choice([-NOISE, NOISE], len(one.values))
        values = np.multiply(one.values, factors, out=one.values.copy(), where=np.isfinite(one.values))
        noisy.append(Series(one.labels, one.times_ms, values))
    return noisy
