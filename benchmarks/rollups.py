"""Range queries over weeks at a step of an hour: from roll-ups, and the same from samples.

    python -m benchmarks.rollups
    python -m benchmarks.rollups --scrape 15 --after 0

1000 series of ten targets over 30 days: half are counters of hundredths, a quarter noisy gauges, a quarter stand still.
What is older than `--after` days is rolled up; the days since are computed from samples on the way.
"""

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from common.labels import Labels
from common.matchers import Matcher
from promql import Engine, EngineOptions, Matrix
from tsdb.embedded import EmbeddedStore
from tsdb.model import Batch, FloatArray, Frame, Layout

TARGETS, SERIES = 10, 100
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
START_MS = 20_000 * DAY_MS
QUERIES = [
    "sum(x_total)",
    "x_total",
    "sum by (instance) (rate(x_total[1h]))",
    "max_over_time(x_total[1h])",
    "avg_over_time(x_total[6h])",
    "sum_over_time(x_total[90m])",
]


class Samples:
    """A store as if it had no roll-ups."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Frame]:
        return self._store.select(matchers, start_ms, end_ms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--scrape", type=int, default=60, help="seconds between samples")
    parser.add_argument("--after", type=int, default=7, help="days after which samples are rolled up")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        # Windows of a day are sealed as they are: a quicker way to the same blocks.
        with closing(EmbeddedStore(name, levels_ms=(DAY_MS,))) as store:
            fill(store, options.days, options.scrape * 1000)
        now_ms = START_MS + options.days * DAY_MS
        rolled = EmbeddedStore(name, levels_ms=(DAY_MS,), rollup_after_ms=options.after * DAY_MS)
        with closing(rolled) as store:
            started = time.perf_counter()
            store.maintain(now_ms + HOUR_MS)
            print(f"rolled up in {time.perf_counter() - started:.1f} s")
            sizes(Path(name) / "fleetwatch.db")
            for query in QUERIES:
                measure(store, query, now_ms)


def fill(store: EmbeddedStore, days: int, scrape_ms: int) -> None:
    random = np.random.default_rng(1)
    steps = DAY_MS // scrape_ms
    targets = [made(store, target) for target in range(TARGETS)]
    offsets_ms = random.integers(1, scrape_ms, TARGETS).tolist()
    totals = np.zeros((TARGETS, SERIES))
    for day in range(days):
        for number, (target_id, layout) in enumerate(targets):
            rows = a_day(random, steps, totals[number])
            totals[number] = rows[-1]
            for step, row in enumerate(rows):
                time_ms = START_MS + day * DAY_MS + step * scrape_ms + offsets_ms[number]
                written = store.append(Batch(target_id, layout, time_ms, row))
            written.result()
        store.maintain(START_MS + (day + 1) * DAY_MS + HOUR_MS)


def made(store: EmbeddedStore, target: int) -> tuple[int, Layout]:
    target_id = store.register_target(Labels.of(job="node", instance=str(target)))
    series = [Labels.of(__name__="x_total", instance=str(target), n=str(n)) for n in range(SERIES)]
    return target_id, store.layout(store.series_ids(series))


def a_day(random: np.random.Generator, steps: int, before: FloatArray) -> FloatArray:
    """float64[steps, SERIES]"""
    half, quarter = SERIES // 2, SERIES // 4
    rows = np.full((steps, SERIES), 7.0)
    rows[:, :half] = before[:half] + np.cumsum(np.round(random.random((steps, half)) * 20, 2), axis=0)
    rows[:, half : half + quarter] = np.round(50 + 10 * random.standard_normal((steps, quarter)), 1)
    return rows


def sizes(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for name, table in (("blocks", "chunks"), ("roll-ups", "rollups")):
            (size,) = connection.execute(f"SELECT sum(length(samples)) FROM {table}").fetchone()
            print(f"{name}: {size or 0:,} bytes")


def measure(store: EmbeddedStore, query: str, now_ms: int) -> None:
    window = START_MS + DAY_MS, now_ms, HOUR_MS
    answers, seconds = [], []
    for source in (store, Samples(store)):
        engine = Engine(source, EngineOptions(max_samples=10**9))
        started = time.perf_counter()
        answers.append(engine.range(query, *window).value)
        seconds.append(time.perf_counter() - started)
    rolled, sampled = answers
    if not isinstance(rolled, Matrix) or not isinstance(sampled, Matrix):
        raise TypeError(f"{query} is not a range query")
    np.testing.assert_allclose(rolled.values, sampled.values, rtol=1e-9)
    print(f"{query:40} {seconds[0]:7.3f} s from roll-ups, {seconds[1]:7.3f} s from samples")


if __name__ == "__main__":
    main()
