"""Memory of many active series: what the index, the catalog and the head take, and what a start takes.

    python -m benchmarks.head
    python -m benchmarks.head --targets 100 --minutes 75
    python -m benchmarks.head --selects           1000 series x 1 h out of the head, of few and of many targets

Every target is scraped once in 15 s of simulated time, and the store is maintained once in a minute. Label sets are as
many and as long as those of node_exporter 1.11 behind a scrape config with two labels of its own: 5.7 labels each.
Two thirds of the series do not change. Goals: 1.3 kB of resident memory a series, all included, no growth after the
second sealing, and a start that never takes more than 1.1 x of that. For the selects: 20 ms of CPU.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import psutil

from benchmarks.embedded import HOUR_MS, SCRAPE_MS, SERIES, START_MS, host_samples
from common.labels import Labels
from common.matchers import Matcher, MatchType
from tsdb.embedded import EmbeddedStore
from tsdb.model import Batch, Layout

MINUTE_MS = 60_000
ROWS_A_MINUTE = MINUTE_MS // SCRAPE_MS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=500, help=f"of {SERIES} series each")
    parser.add_argument("--minutes", type=int, default=105, help="of simulated scraping")
    parser.add_argument("--directory", type=Path, help="where to make the store; default: a temporary directory")
    parser.add_argument("--selects", action="store_true", help="measure reads instead")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        report_start(options.open)
        return
    if options.selects:
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            measure_selects(Path(directory))
        return
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        steady = Run(Path(directory), options.targets).scrape(options.minutes)
        measure_start(directory, options.targets * SERIES, steady)


class Run:
    """Targets and their store."""

    def __init__(self, directory: Path, targets: int) -> None:
        self.series = targets * SERIES
        print(f"{targets} targets of {SERIES} series; the process without them: {resident() / 1e6:.0f} MB")
        self.store = EmbeddedStore(directory)
        self.targets: list[tuple[int, Layout]] = []
        base = resident()
        began = time.perf_counter()
        ids = [self.store.series_ids(list(label_sets(number))) for number in range(targets)]
        seconds = time.perf_counter() - began
        made = resident()
        self.line("index", made - base, f"{self.series / seconds / 1000:.0f} thousand new series a second")
        for number, vector in enumerate(ids):
            target_id = self.store.register_target(Labels.of(instance=f"host{number}:9100", job="node"))
            self.targets.append((target_id, self.store.layout(vector)))
        del ids
        self.line("layouts", resident() - made)

    def scrape(self, minutes: int) -> int:
        """Resident bytes at the end."""
        matrix = host_samples(minutes * ROWS_A_MINUTE)
        began = time.perf_counter()
        sealed = 0.0
        highest = before = 0
        for minute in range(minutes):
            for row in range(minute * ROWS_A_MINUTE, (minute + 1) * ROWS_A_MINUTE):
                for future in list(self.append(START_MS + row * SCRAPE_MS, matrix[row])):
                    future.result()
            before = resident()
            self.store.maintain(START_MS + (minute + 1) * MINUTE_MS)
            highest = max(highest, before, resident())
            stats = self.store.stats()
            if stats["blocks"] != sealed or minute + 1 == minutes:
                sealed = stats["blocks"]
                head = f"{stats['head_bytes'] / self.series:.0f} of them the head's"
                self.line(f"minute {minute + 1}", resident(), f"{head}; {before / self.series:.0f} before maintenance")
        seconds = time.perf_counter() - began
        self.line("highest", highest, f"{self.series * len(matrix) / seconds / 1e6:.1f} M samples/s, sealing included")
        self.store.close()
        return resident()

    def append(self, time_ms: int, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Iterator[Future[None]]:
        """A scrape of every target."""
        for target_id, layout in self.targets:
            yield self.store.append(Batch(target_id, layout, time_ms + target_id, values.copy()))

    def line(self, what: str, size_bytes: int, more: str = "") -> None:
        print(f"{what:12}{size_bytes / self.series:8.0f} bytes a series  {more}", flush=True)


def label_sets(number: int) -> Iterator[Labels]:
    """A host's series: a fifth has no label of its own, three fifths have one of few values, and a fifth has two."""
    common = {"instance": f"host{number}:9100", "job": "node", "datacenter": f"dc{number % 3}", "environment": "prod"}
    for n in range(SERIES // 5):
        yield Labels.of(common, __name__=f"node_memory_Metric{n}_bytes")
        for device in range(3):
            yield Labels.of(common, __name__=f"node_network_metric{n}_total", device=f"eth{device}")
        yield Labels.of(common, __name__="node_cpu_seconds_total", cpu=f"{n // 8}", mode=f"mode{n % 8}")


def measure_start(directory: str, series: int, steady: int) -> None:
    command = [sys.executable, "-m", "benchmarks.head", "--open", directory]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(
        f"start       {found['resident'] / series:8.0f} bytes a series  {found['seconds']:.1f} s, peak "
        f"{found['peak'] / series:.0f}: {found['peak'] / steady:.2f} x of before the restart"
    )


def report_start(directory: Path) -> None:
    """In a process of its own: what opening a store takes."""
    began = time.perf_counter()
    store = EmbeddedStore(directory)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "resident": resident(), "peak": peak_resident()}))
    store.close()


def measure_selects(directory: Path) -> None:
    """Of 1000 targets with 20 series each."""
    targets, series, rows = 1000, 20, HOUR_MS // SCRAPE_MS
    store = EmbeddedStore(directory)
    written = []
    for number in range(targets):
        job = Labels.of(instance=f"host{number}:9100", job="node")
        ids = store.series_ids([Labels.of(job, __name__=f"metric_{n}") for n in range(series)])
        written.append((store.register_target(job), store.layout(ids)))
    # Those of a third of the series change.
    matrix = np.where(np.arange(series) % 3 == 0, host_samples(rows)[:, -series:], 7.0)
    for row, values in enumerate(matrix):
        for target_id, layout in written:
            last = store.append(Batch(target_id, layout, START_MS + row * SCRAPE_MS + target_id, values))
        last.result()
    fifty = Matcher("instance", MatchType.REGEX, "host[1-4]?[0-9]:9100")
    for name, matcher in (
        ("1000 targets x 1 series", Matcher.equal("__name__", "metric_0")),
        ("1000 targets x 1 series that does not change", Matcher.equal("__name__", "metric_1")),
        ("50 targets x 20 series", fifty),
    ):
        seconds = []
        for _ in range(15):
            began = time.process_time()
            frames = store.select([matcher], START_MS, START_MS + 2 * HOUR_MS)
            seconds.append(time.process_time() - began)
        found = sum(len(frame.labels) for frame in frames)
        print(f"{name:46}{min(seconds) * 1000:8.1f} ms of CPU for {found} series x 1 h", flush=True)
    store.close()


def peak_resident() -> int:
    """The most that was ever resident. Not of getrusage: what that says goes back to before exec."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main()
