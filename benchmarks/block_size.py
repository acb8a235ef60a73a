"""Bytes on disk per sample of real scrapes: the embedded store beside Prometheus's blocks and victoria-metrics.

    python -m benchmarks.block_size --bodies DIR       bodies in the text format, each named by its time: <ms>.txt
    python -m benchmarks.block_size --minutes 60       scrapes a node_exporter of its own every 15 s first

Every store gets the same samples with their times, as those of a few hosts: for one alone, half-filled pages and files
would hide the rest. Nothing is repeated in time: blocks are as long as the recording. Fleetwatch takes the samples
through append and maintain; Prometheus's blocks are made by promtool; victoria-metrics imports them and merges its
parts. "samples" is what holds times and values, "everything" adds label sets, indexes and empty tables; free pages
that Fleetwatch keeps for what it writes next are told apart. A peer that is not installed is left out. At the end the
codec alone, on one core.
"""

import argparse
import contextlib
import http.client
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np

from common.labels import METRIC_NAME, Labels
from exposition.text import parse_text
from exposition.writer import label_text, number_text
from tsdb.embedded.codec.directory import Directory
from tsdb.embedded.codec.matrix import Packed, pack_matrix
from tsdb.embedded.store import EmbeddedStore
from tsdb.model import ABSENT, Batch, FloatArray, is_absent

T = TypeVar("T")

SCRAPE_S = 15
HALF_HOUR_SCRAPES = 120
HOUR_MS = 3_600_000
NODE_EXPORTER_NAMES = ["prometheus-node-exporter", "node_exporter"]


@dataclass(frozen=True)
class Scrape:
    """One body of one host: its time, and label sets with their values in order."""

    host: Labels
    time_ms: int
    labels: tuple[Labels, ...]
    values: list[float]


@dataclass(frozen=True)
class Size:
    """Bytes on disk."""

    samples: int
    everything: int
    free: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=Path, help="a directory with recorded bodies")
    parser.add_argument("--minutes", type=int, default=5, help="how long to record, without --bodies")
    parser.add_argument("--hosts", type=int, default=10, help="as how many hosts' the recording is written")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if options.bodies is not None:
            bodies = options.bodies
        elif node_exporter := next(filter(None, map(shutil.which, NODE_EXPORTER_NAMES)), None):
            record(node_exporter, bodies := directory / "bodies", options.minutes)
        else:
            print(f"none of {', '.join(NODE_EXPORTER_NAMES)} is installed: give --bodies")
            return
        scrapes = read(bodies, options.hosts)
        samples = sum(len(scrape.values) for scrape in scrapes)
        minutes = (scrapes[-1].time_ms - scrapes[0].time_ms) / 60_000
        print(
            f"{options.hosts} hosts, {len(scrapes) // options.hosts} scrapes each over {minutes:.0f} min, "
            f"{len(scrapes[-1].values)} series each: {samples:,} samples"
        )
        print(f"{'bytes per sample':40}{'samples':>10}{'everything':>12}")
        for what, size in fleetwatch(directory / "fleetwatch", scrapes):
            report(what, size, samples)
        text = directory / "samples.txt"
        write_openmetrics(text, scrapes)
        report("Prometheus, blocks of 2 h", prometheus(text, directory / "prometheus"), samples)
        report("victoria-metrics, merged", victoria_metrics(directory / "victoria-metrics", scrapes), samples)
        measure_codec(scrapes)


def report(what: str, size: Size | None, samples: int) -> None:
    if size is None:
        print(f"{what:40}not installed")
    else:
        free = f"   and {size.free // 1024:,} KiB of free pages" if size.free else ""
        print(f"{what:40}{size.samples / samples:10.3f}{size.everything / samples:12.3f}{free}")


# What is measured


def record(node_exporter: str, bodies: Path, minutes: int) -> None:
    """Scrape a node_exporter of our own, aligned to the interval as a scraper does."""
    bodies.mkdir()
    port = free_port()
    print(f"recording for {minutes} min")
    with process([node_exporter, f"--web.listen-address=127.0.0.1:{port}"], port):
        for _ in range(minutes * 60 // SCRAPE_S):
            time.sleep(SCRAPE_S - time.time() % SCRAPE_S)
            time_ms = round(time.time() * 1000)
            (bodies / f"{time_ms}.txt").write_bytes(request(port, "GET", "/metrics"))


def read(bodies: Path, hosts: int) -> list[Scrape]:
    """The recorded bodies by time, as the scrapes of hosts that have them in common."""
    scrapes = []
    known: dict[tuple[Labels, Labels], Labels] = {}
    names = [Labels.of(instance=f"host{number}:9100", job="node") for number in range(hosts)]
    for path in sorted(bodies.glob("*.txt"), key=lambda path: int(path.stem)):
        samples = parse_text(path.read_bytes()).samples
        values = [sample.value for sample in samples]
        for host in names:
            for sample in samples:
                if (host, sample.labels) not in known:
                    known[host, sample.labels] = sample.labels.replace(**host.as_dict())
            labels = tuple(known[host, sample.labels] for sample in samples)
            scrapes.append(Scrape(host, int(path.stem), labels, values))
    if not scrapes:
        raise SystemExit(f"{bodies} holds no <milliseconds>.txt")
    return scrapes


def fleetwatch(directory: Path, scrapes: list[Scrape]) -> Iterator[tuple[str, Size]]:
    """As recorded and sealed, then with every merge done that its age allows."""
    last_ms = scrapes[-1].time_ms
    store = EmbeddedStore(directory)
    for scrape in scrapes:
        target_id = store.register_target(scrape.host)
        layout = store.layout(store.series_ids(scrape.labels))
        store.append(Batch(target_id, layout, scrape.time_ms, np.array(scrape.values))).result()
    for what, now_ms in (
        ("Fleetwatch, 1 h after", last_ms + HOUR_MS),
        ("Fleetwatch, 3 h after", last_ms + 3 * HOUR_MS),
        ("Fleetwatch, 2 d after", last_ms + 48 * HOUR_MS),
    ):
        # What one round merges another may merge further, and pages are given back by and by.
        for _ in range(20):
            store.maintain(now_ms)
        store.close()
        yield what, fleetwatch_size(directory)
        store = EmbeddedStore(directory)
    store.close()


def fleetwatch_size(directory: Path) -> Size:
    with contextlib.closing(sqlite3.connect(directory / "fleetwatch.db")) as connection:
        # Tables that hold samples, and their indexes.
        (samples,) = connection.execute(
            "SELECT sum(pgsize) FROM dbstat JOIN sqlite_schema USING (name) WHERE tbl_name IN ('blocks', 'chunks')"
        ).fetchone()
        (page_bytes,), (free_pages,) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "freelist_count")
        )
    free = page_bytes * free_pages
    return Size(samples, folder_size(directory) - free, free)


def measure_codec(scrapes: list[Scrape]) -> None:
    """Size and speed of the first host's matrix, in windows of half an hour and as a whole."""
    host = [scrape for scrape in scrapes if scrape.host == scrapes[0].host]
    rows = {labels: row for row, labels in enumerate(dict.fromkeys(chain(*(scrape.labels for scrape in host))))}
    matrix = np.full((len(rows), len(host)), ABSENT)
    for column, scrape in enumerate(host):
        matrix[[rows[labels] for labels in scrape.labels], column] = scrape.values
    print(f"{'codec, one host':40}{'bytes':>10}{'pack M/s':>12}{'unpack M/s':>12}")
    for what, part, thorough in (
        ("half an hour, quick", matrix[:, -HALF_HOUR_SCRAPES:], False),
        ("half an hour, thorough", matrix[:, -HALF_HOUR_SCRAPES:], True),
        ("all, quick", matrix, False),
        ("all, thorough", matrix, True),
    ):
        pack_s, packed = best(partial(pack_matrix, part.copy(), thorough=thorough))
        unpack_s, _ = best(partial(unpack, packed))
        size = len(packed.directory) + sum(map(len, packed.chunks))
        speeds = f"{part.size / pack_s / 1e6:12.1f}{part.size / unpack_s / 1e6:12.1f}"
        print(f"{what:40}{size / np.count_nonzero(~is_absent(part)):10.3f}{speeds}")


def unpack(packed: Packed) -> FloatArray:
    directory = Directory.from_bytes(packed.directory)
    return directory.unpack(np.arange(len(directory.groups)), dict(enumerate(packed.chunks)))


def best(call: Callable[[], T]) -> tuple[float, T]:
    """Seconds of the quickest of a few runs, and what it gave."""
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - began)
    return min(seconds), result


def prometheus(text: Path, directory: Path) -> Size | None:
    promtool = shutil.which("promtool")
    if promtool is None:
        return None
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(text), str(directory)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Size(sum(folder_size(chunks) for chunks in directory.glob("*/chunks")), folder_size(directory))


def victoria_metrics(directory: Path, scrapes: list[Scrape]) -> Size | None:
    path = shutil.which("victoria-metrics")
    if path is None:
        return None
    port = free_port()
    command = [path, f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={directory}", "-retentionPeriod=100y"]
    with process(command, port):
        for scrape in scrapes:
            request(port, "POST", "/api/v1/import/prometheus", lines(scrape, 1).encode())
        request(port, "GET", "/internal/force_flush")
        request(port, "GET", "/internal/force_merge")
        wait_until_merged(port)
    parts = folder_size(directory / "data" / "small") + folder_size(directory / "data" / "big")
    # The folder cache is rebuilt at will.
    return Size(parts, folder_size(directory) - folder_size(directory / "cache"))


def wait_until_merged(port: int) -> None:
    """Forced merges run in the background: wait until none is active."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.5)
        active = [line for line in request(port, "GET", "/metrics").splitlines() if b"vm_active_force_merges" in line]
        if all(line.endswith(b" 0") for line in active):
            return
    raise SystemExit("victoria-metrics did not finish its merge within a minute")


def write_openmetrics(path: Path, scrapes: list[Scrape]) -> None:
    with path.open("w") as file:
        for scrape in scrapes:
            file.write(lines(scrape, 1000))
        file.write("# EOF\n")


def lines(scrape: Scrape, times_per_ms: int) -> str:
    """Sample lines with their time, in milliseconds or (1000) in seconds."""
    written = f"{scrape.time_ms / times_per_ms:.3f}" if times_per_ms > 1 else str(scrape.time_ms)
    return "".join(
        f"{labels.metric_name}{label_text(**labels.without(METRIC_NAME).as_dict())} {number_text(value)} {written}\n"
        for labels, value in zip(scrape.labels, scrape.values, strict=True)
    )


# Processes and files


@contextlib.contextmanager
def process(command: list[str], port: int, timeout_s: float = 30) -> Iterator[None]:
    """A server that listens on a port of this host; ended as a user would."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if running.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield
    finally:
        running.terminate()
        running.wait()


def request(port: int, method: str, path: str, body: bytes | None = None) -> bytes:
    """The body of an answer. Raises SystemExit for a status that is no success."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {content.decode(errors='replace')}")
        return content


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def folder_size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
