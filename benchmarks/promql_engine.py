"""The PromQL engine alone: range queries over frames in memory, without store, HTTP and JSON.

    python -m benchmarks.promql_engine
    python -m benchmarks.promql_engine --targets 1000 --series 10

10,000 series of 240 samples, 220 steps: once as ten targets of a thousand series each, once as a thousand targets of
ten, whose frames are too small to be worth a numpy call each.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np

from common.labels import Labels
from common.matchers import Matcher
from promql import Engine, Matrix
from tsdb.model import Frame

SAMPLES, STEPS, SCRAPE_MS = 240, 220, 15_000
START_MS = 1_700_000_000_000
MODES = ["idle", "user", "system", "iowait", "irq", "nice", "softirq", "steal"]
QUERIES = [
    "sum by (mode) (rate(x_total[5m]))",
    "rate(x_total[5m])",
    "sum(x_total)",
    "max_over_time(x_total[10m])",
    "quantile_over_time(0.9, x_total[10m])",
    "topk(5, rate(x_total[5m]))",
    "avg by (instance) (x_total)",
    "sum_over_time(x_total[5m])",
    "stddev_over_time(x_total[5m])",
    "deriv(x_total[5m])",
    "x_total / on (instance, cpu, mode) x_total",
    "quantile by (mode) (0.9, x_total)",
]


class Frames:
    """The same frames for every selector."""

    def __init__(self, targets: int, series: int) -> None:
        random = np.random.default_rng(1)
        self._frames = [self._target(random, target, series) for target in range(targets)]

    def _target(self, random: np.random.Generator, target: int, series: int) -> Frame:
        """Counters of a target, scraped at an offset of its own with a few milliseconds of jitter."""
        offset_ms = random.integers(0, SCRAPE_MS)
        times_ms = START_MS + offset_ms + np.arange(SAMPLES) * SCRAPE_MS + random.integers(0, 5, SAMPLES)
        growth = np.round(random.random((series, SAMPLES)) * SCRAPE_MS / 1000, 2)
        values = np.cumsum(growth, axis=1) + random.random((series, 1)) * 1e5
        labels = [
            Labels.of(
                __name__="x_total",
                cpu=str(number // len(MODES)),
                instance=f"host{target}:9100",
                job="node",
                mode=MODES[number % len(MODES)],
            )
            for number in range(series)
        ]
        return Frame(times_ms, values, np.arange(series), labels)

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Frame]:
        return self._frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, help="default: 10, then 1000")
    parser.add_argument("--series", type=int, default=10, help="of each target, where --targets is given")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each query; the fastest counts")
    options = parser.parse_args()
    for targets, series in [(options.targets, options.series)] if options.targets else [(10, 1000), (1000, 10)]:
        print(f"{targets} targets of {series} series, {SAMPLES} samples, {STEPS} steps")
        engine = Engine(Frames(targets, series))
        for query in QUERIES:
            measure(engine, query, options.repeat)


def measure(engine: Engine, query: str, repeat: int) -> None:
    start_ms = START_MS + 320_000
    seconds = []
    for _ in range(repeat):
        began = time.perf_counter()
        result = engine.range(query, start_ms, start_ms + (STEPS - 1) * SCRAPE_MS, SCRAPE_MS)
        seconds.append(time.perf_counter() - began)
    count = len(result.value.labels) if isinstance(result.value, Matrix) else 1
    print(f"  {min(seconds):6.3f} s  {count:6} series  {query}")


if __name__ == "__main__":
    main()
