"""The embedded store: append, replay, seal, select, bytes per sample, pauses of appends, label lookups.

    python -m benchmarks.embedded
    python -m benchmarks.embedded --targets 50 --minutes 120 --index-series 1000000

The samples look like a host's: two thirds of the series never change, the rest are counters of whole numbers and of
hundredths, gauges in pages of memory, and a few noisy floats. Goals, for one core: 5 M samples/s appended; 10,000
series over an hour in 0.1 s from the head and 0.25 s from blocks; a lookup with three matchers in 20 ms; no append
waits over 50 ms for sealing, merging, trimming and checkpoints that go on beside it.
"""

import argparse
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil

from common.labels import Labels
from common.matchers import Matcher, MatchType
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.store import LEVELS_MS, SEALING_DELAY_MS
from tsdb.index import SeriesIndex
from tsdb.model import Batch, FloatArray

SERIES = 1000
SCRAPE_MS = 15_000
START_MS = 1_700_000_000_000 // LEVELS_MS[-1] * LEVELS_MS[-1]
HOUR_MS = 3_600_000

T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=10, help=f"of {SERIES} series each")
    parser.add_argument("--minutes", type=int, default=120, help="of simulated scraping, one every 15 s")
    parser.add_argument("--index-series", type=int, default=1_000_000, help="series of the label index; 0: skip it")
    parser.add_argument("--cold-targets", type=int, default=10, help="read from the longest blocks; 0: skip it")
    parser.add_argument("--pause-targets", type=int, default=20, help="targets sealed beside appends; 0: skip it")
    parser.add_argument("--directory", type=Path, help="where to make the store; default: a temporary directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        measure_store(Path(directory), options.targets, options.minutes * 60_000 // SCRAPE_MS)
    if options.cold_targets:
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            measure_cold(Path(directory), options.cold_targets)
    if options.pause_targets:
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            measure_pauses(Path(directory), options.pause_targets)
    if options.index_series:
        measure_index(options.index_series)


def measure_store(directory: Path, targets: int, rows: int) -> None:
    matrix = host_samples(rows)
    samples = targets * rows * SERIES
    print(f"{targets} targets, {SERIES} series each, {rows} scrapes: {samples / 1e6:.1f} M samples")
    resident = psutil.Process().memory_info().rss
    store = EmbeddedStore(directory)
    report("append", samples, lambda: append(store, targets, matrix))
    head_bytes = psutil.Process().memory_info().rss - resident
    print(f"{'':24}head: {head_bytes / targets / SERIES:.0f} bytes of memory a series")
    print(f"{'':24}journal: {size(directory) / samples:.2f} bytes a sample, WAL file included")
    measure_selects(store, "head", min(targets, 10))

    store.close()
    began = time.perf_counter()
    store = EmbeddedStore(directory)
    line("open and replay", samples, time.perf_counter() - began)

    end_ms = START_MS + rows * SCRAPE_MS + 2 * 7_200_000
    report("seal", samples, lambda: store.maintain(end_ms))
    measure_selects(store, "blocks", min(targets, 10))
    blocks = store.stats()["blocks"]
    store.close()
    print(f"{'':24}{blocks:.0f} blocks: {used(directory) / samples:.3f} bytes a sample in used pages")
    print(f"{'':24}{size(directory) / samples:.3f} with the pages that the next journal reuses")


def measure_cold(directory: Path, targets: int) -> None:
    """An hour from blocks of the longest level, by a store that was just opened."""
    store = EmbeddedStore(directory)
    rows = LEVELS_MS[-1] // SCRAPE_MS
    append(store, targets, host_samples(rows))
    end_ms = START_MS + LEVELS_MS[-1] + SEALING_DELAY_MS
    report(f"seal, merge {LEVELS_MS[-1] // HOUR_MS} h", targets * rows * SERIES, lambda: store.maintain(end_ms))
    store.close()
    print(f"{'':24}{used(directory) / targets / rows / SERIES:.3f} bytes a sample in used pages")
    for hour in (0, LEVELS_MS[-1] // HOUR_MS - 1):
        store = EmbeddedStore(directory)
        start_ms = START_MS + hour * HOUR_MS
        report(
            f"select cold, hour {hour}",
            targets * SERIES * HOUR_MS // SCRAPE_MS,
            partial(store.select, [regex("instance", "host.*")], start_ms, start_ms + HOUR_MS - 1),
        )
        store.close()


def host_samples(rows: int) -> FloatArray:
    """float64[rows, SERIES]"""
    random = np.random.default_rng(11)
    # Mostly zeros, flags and small numbers, as in a real scrape.
    still = random.choice([0, 0, 0, 1, 7, 60, 4096, 123_456_789], (1, SERIES * 2 // 3))
    constant = np.repeat(still, rows, axis=0)
    steps = random.poisson(random.lognormal(3, 2, SERIES // 6), (rows, SERIES // 6))
    counters = np.cumsum(steps, axis=0)
    hundredths = np.cumsum(random.integers(0, 1500, (rows, SERIES // 12)), axis=0) / 100
    gauges = np.cumsum(random.integers(-500, 500, (rows, SERIES // 15)), axis=0) * 4096 + 2**33
    noisy = random.normal(50, 10, (rows, SERIES))
    matrix = np.concatenate([constant, counters, hundredths, gauges, noisy], axis=1)
    return np.ascontiguousarray(matrix[:, :SERIES])


def append(store: EmbeddedStore, targets: int, matrix: FloatArray) -> None:
    scraped = []
    for number in range(targets):
        instance = f"host{number}:9100"
        labels = [
            Labels.of(__name__=f"node_metric_{n // 10}", device=f"dev{n % 10}", instance=instance, job="node")
            for n in range(SERIES)
        ]
        target_id = store.register_target(Labels.of(instance=instance, job="node"))
        scraped.append((target_id, store.layout(store.series_ids(labels))))
    futures: list[Future[None]] = []
    for row, values in enumerate(matrix):
        time_ms = START_MS + row * SCRAPE_MS
        for target_id, layout in scraped:
            futures.append(store.append(Batch(target_id, layout, time_ms + target_id, values)))
        if len(futures) >= 100:
            for future in futures:
                future.result()
            futures.clear()
    for future in futures:
        future.result()


def measure_pauses(directory: Path, targets: int) -> None:
    """How long steady appends take to be acknowledged while two and a half hours of samples are sealed and merged."""
    store = EmbeddedStore(directory)
    rows = int(2.5 * HOUR_MS) // SCRAPE_MS
    append(store, targets, host_samples(rows))
    # What was written at full speed would keep the disk busy for a while.
    os.sync()
    end_ms = START_MS + rows * SCRAPE_MS + SEALING_DELAY_MS
    measure_latency(store, end_ms, "nothing", partial(time.sleep, 2))
    measure_latency(store, end_ms + HOUR_MS, "sealing, merging", partial(store.maintain, end_ms))
    print(f"{'':24}WAL file: {(directory / 'fleetwatch.db-wal').stat().st_size / 1e6:.0f} MB")
    store.close()


def measure_latency(store: EmbeddedStore, from_ms: int, what: str, call: Callable[[], None]) -> None:
    done = threading.Event()
    latencies: list[float] = []
    appends = threading.Thread(target=append_steadily, args=(store, from_ms, done, latencies))
    appends.start()
    began = time.perf_counter()
    call()
    seconds = time.perf_counter() - began
    done.set()
    appends.join()
    p50, p99, most = (float(ms) for ms in np.percentile(latencies, (50, 99, 100)) * 1000)
    print(f"{'beside ' + what:24}{seconds * 1000:8.1f} ms      {len(latencies)} appends, one every 10 ms: "
          f"p50 {p50:.1f}, p99 {p99:.1f}, at most {most:.1f} ms")  # fmt: skip


def append_steadily(store: EmbeddedStore, from_ms: int, done: threading.Event, latencies: list[float]) -> None:
    """A batch every 10 ms, whether the one before is acknowledged or not; seconds from when it was due."""
    target_id = store.register_target(Labels.of(job="steady"))
    layout = store.layout(store.series_ids([Labels.of(__name__="steady", n=str(n)) for n in range(SERIES)]))
    values = host_samples(1)[0]
    due = time.perf_counter()
    futures = []
    while not done.is_set():
        future = store.append(Batch(target_id, layout, from_ms, values))
        future.add_done_callback(partial(note_latency, latencies, due))
        futures.append(future)
        from_ms += 1000
        due += 0.01
        time.sleep(max(0.0, due - time.perf_counter()))
    for future in futures:
        future.result()


def note_latency(latencies: list[float], due: float, _: Future[None]) -> None:
    latencies.append(time.perf_counter() - due)


def measure_selects(store: EmbeddedStore, source: str, targets: int) -> None:
    end_ms = START_MS + HOUR_MS - 1
    hosts = Matcher("instance", MatchType.REGEX, "|".join(f"host{n}:9100" for n in range(targets)))
    for what, matchers in (
        ("all series", [hosts]),
        ("one metric", [hosts, Matcher.equal("__name__", "node_metric_80")]),
        ("one series", [Matcher.equal("instance", "host0:9100"), Matcher.equal("__name__", "node_metric_80"),
                        Matcher.equal("device", "dev7")]),
    ):  # fmt: skip
        seconds, frames = best(partial(store.select, matchers, START_MS, end_ms))
        samples = sum(frame.values.size for frame in frames)
        series = sum(len(frame.labels) for frame in frames)
        line(f"select {source}, {what}", samples, seconds, f"{series} series x 1 h")


def measure_index(count: int) -> None:
    index = SeriesIndex()
    resident = psutil.Process().memory_info().rss
    hosts = max(1, count // 1000)
    began = time.perf_counter()
    for host in range(hosts):
        index.ids(
            Labels.of(__name__=f"node_metric_{n // 10}", device=f"dev{n % 10}", instance=f"host{host}:9100", job="node")
            for n in range(1000)
        )
    line(f"index, {len(index):,} series", len(index), time.perf_counter() - began)
    print(f"{'':24}{(psutil.Process().memory_info().rss - resident) / len(index):.0f} bytes of memory a series")
    for selector in (
        [Matcher.equal("__name__", "node_metric_7"), Matcher.equal("job", "node"), regex("instance", "host1.*")],
        [Matcher.equal("job", "node"), regex("device", "dev[1-4]"), Matcher("instance", MatchType.NOT_EQUAL, "")],
        [regex("__name__", "node_metric_(1|2).*"), Matcher("device", MatchType.NOT_EQUAL, "dev1"),
         regex("instance", "host7:9100|host8:9100")],
    ):  # fmt: skip
        seconds, found = best(partial(index.resolve, selector))
        print(f"{'':24}{seconds * 1000:6.2f} ms for {len(found):,} of {{{', '.join(map(str, selector))}}}")


def regex(name: str, pattern: str) -> Matcher:
    return Matcher(name, MatchType.REGEX, pattern)


def best(call: Callable[[], T]) -> tuple[float, T]:
    """Seconds of the quickest of a few runs, and what it gave."""
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - began)
    return min(seconds), result


def report(what: str, samples: int, call: Callable[[], object]) -> None:
    cpu, began = time.process_time(), time.perf_counter()
    call()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    line(what, samples, seconds, f"{cpu:.2f} s of CPU: {samples / cpu / 1e6:.1f} M/s of a core")


def line(what: str, samples: int, seconds: float, more: str = "") -> None:
    print(f"{what:24}{seconds * 1000:8.1f} ms {samples / seconds / 1e6:8.1f} M/s  {more}")


def size(directory: Path) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(directory))


def used(directory: Path) -> int:
    """Bytes in pages that hold something."""
    connection = sqlite3.connect(directory / "fleetwatch.db")
    (page,), (pages,), (free,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "page_count", "freelist_count")
    )
    connection.close()
    return int(page * (pages - free))


if __name__ == "__main__":
    main()
