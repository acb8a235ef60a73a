"""How soon heavy queries end after they are cancelled: the worst of some moments, for queries of many kinds.

python -m benchmarks.query_cancel
"""

import argparse
import contextlib
import threading
import time

from benchmarks.promql_engine import START_MS, Frames
from promql import Engine, PromQLError
from tsdb.cancellation import Cancellation

QUERIES = [
    "quantile_over_time(0.9, x_total[10m])",
    "deriv(x_total[5m])",
    "stddev_over_time(x_total[30m])",
    "max_over_time(rate(x_total[5m])[30m:15s])",
    "x_total / on (instance, cpu, mode) x_total offset 1m",
    "topk(5, rate(x_total[5m]))",
    "quantile by (mode) (0.9, x_total)",
    "stddev(x_total)",
    'count_values("v", x_total)',
    "x_total or x_total offset 1m",
    'label_replace(x_total, "a", "$1", "cpu", "(.*)")',
    "mad_over_time(x_total[10m])",
    "double_exponential_smoothing(x_total[10m], 0.5, 0.5)",
]
MOMENTS = 6
STEP_MS = 1000
LONGEST_S = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="of a second")
    options = parser.parse_args()
    engine = Engine(Frames(10, 1000))
    for query in QUERIES:
        whole_s, _ = run(engine, query, options.steps, LONGEST_S)
        ends = [run(engine, query, options.steps, whole_s * (n + 0.5) / MOMENTS)[1] for n in range(MOMENTS)]
        print(f"{max(ends) * 1000:6.0f} ms, of {whole_s:4.1f} s or more: {query}", flush=True)


def run(engine: Engine, query: str, steps: int, cancel_after_s: float) -> tuple[float, float]:
    """How long a query ran, and how long it went on after it was cancelled."""
    cancellation = Cancellation()

    def work() -> None:
        start_ms = START_MS + 320_000
        with contextlib.suppress(PromQLError):
            engine.range(query, start_ms, start_ms + (steps - 1) * STEP_MS, STEP_MS, cancellation=cancellation)

    thread = threading.Thread(target=work)
    began = time.perf_counter()
    thread.start()
    thread.join(cancel_after_s)
    cancelled = time.perf_counter()
    cancellation.cancel()
    thread.join()
    ended = time.perf_counter()
    return ended - began, ended - cancelled


if __name__ == "__main__":
    main()
