"""How near the engine's estimates of memory are to what queries take: 300 range queries of many kinds.

    python -m benchmarks.query_memory
    python -m benchmarks.query_memory --show 20

Peaks are those of all that Python and numpy allocate from the fetch to the last byte of the answer, by tracemalloc. Of
queries that take less than a few megabytes nobody minds how near the estimate is: they are left out.
"""

import argparse
import gc
import random
import tracemalloc

import numpy as np

from benchmarks.promql_engine import MODES, SAMPLES, SCRAPE_MS, START_MS
from common.labels import Labels
from promql import Engine
from promql.memory import MemoryBudget
from server.jsonout import write_result
from tsdb import open_store
from tsdb.model import Batch
from tsdb.store import Store

TARGETS, SERIES, QUERIES = 10, 400, 300
LEAST_BYTES = 4 << 20
WITHIN = 0.2

SELECTORS = ["x_total", "y", 'x_total{mode="idle"}', 'y{mode=~"idle|user|system"}', 'x_total{instance=~"host[0-4].*"}']
RATES = ["rate", "increase", "max_over_time", "avg_over_time", "sum_over_time", "last_over_time", "changes", "deriv"]
GROUPINGS = ["", " by (mode)", " by (instance)", " by (instance, cpu)", " without (mode)"]
AGGREGATIONS = ["sum", "avg", "max", "count", "stddev", "group"]


def expression(chosen: random.Random) -> str:
    """One of the kinds that dashboards ask."""
    selector, other = chosen.choice(SELECTORS), chosen.choice(SELECTORS[:2])
    series = f"{chosen.choice(RATES)}({selector}[{chosen.choice([2, 5, 10])}m])"
    kind = chosen.randrange(12)
    if kind < 2:
        return series
    if kind == 2:
        return f"{selector} * 8{chosen.choice(['', '', ' > 50_000'])}"
    if kind < 6:
        return f"{chosen.choice(AGGREGATIONS)}{chosen.choice(GROUPINGS)} ({chosen.choice([series, selector])})"
    if kind == 6:
        return f"{chosen.choice(['topk', 'bottomk'])}({chosen.choice([3, 20])}, {series})"
    if kind == 7:
        return f"quantile{chosen.choice(GROUPINGS)} (0.9, {series})"
    if kind == 8:
        return f"{other} / on (instance, cpu, mode) {other} offset 1m"
    if kind == 9:
        return f"sum by (mode) ({series}) / count by (mode) ({series})"
    if kind == 10:
        return f"max_over_time({series}[10m:1m])"
    return chosen.choice(
        [f"{selector} and on (instance, cpu, mode) y", f'label_replace({series}, "m", "$1", "mode", "(.*)")']
    )


def filled() -> Store:
    store = open_store("memory:")
    numbers = np.random.default_rng(1)
    for target in range(TARGETS):
        target_id = store.register_target(Labels.of(instance=f"host{target}"))
        labels = [
            Labels.of(
                __name__=name, cpu=str(n // len(MODES)), instance=f"host{target}:9100", mode=MODES[n % len(MODES)]
            )
            for name in ("x_total", "y")
            for n in range(SERIES)
        ]
        layout = store.layout(store.series_ids(labels))
        total = numbers.random(2 * SERIES) * 1e5
        for sample in range(SAMPLES):
            total = total + np.where(np.arange(2 * SERIES) < SERIES, numbers.random(2 * SERIES), 0)
            noise = np.where(np.arange(2 * SERIES) < SERIES, 0, numbers.random(2 * SERIES))
            time_ms = START_MS + target * 731 + sample * SCRAPE_MS
            store.append(Batch(target_id, layout, time_ms, np.round(total + noise, 3)))
    return store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7, help="another is another 300 queries")
    parser.add_argument("--show", type=int, default=8, help="of the queries whose estimates are worst")
    options = parser.parse_args()
    engine, chosen, budget = Engine(filled()), random.Random(options.seed), MemoryBudget()
    found: list[tuple[float, int, int, int, str]] = []
    tracemalloc.start()
    while len(found) < QUERIES:
        query, steps = expression(chosen), chosen.choice([50, 220, 600])
        step_ms = 200 * SCRAPE_MS // steps
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        with budget.claim() as claim:
            start_ms = START_MS + 620_000
            result = engine.range(query, start_ms, start_ms + (steps - 1) * step_ms, step_ms, memory=claim)
            answer = list(write_result(result.value))
            peak = tracemalloc.get_traced_memory()[1] - before
            del result, answer
            if max(peak, claim.taken_bytes) >= LEAST_BYTES:
                found.append((claim.taken_bytes / peak - 1, peak, claim.taken_bytes, steps, query))
    near = sum(abs(error) <= WITHIN for error, *_ in found)
    print(f"{near / len(found):.1%} of {len(found)} estimates are within {WITHIN:.0%}")
    for error, peak, estimate, steps, query in sorted(found, key=lambda row: -abs(row[0]))[: options.show]:
        print(f"  {error:+7.1%}  peak {peak / 1e6:6.1f} MB, estimate {estimate / 1e6:6.1f} MB, {steps} steps  {query}")


if __name__ == "__main__":
    main()
