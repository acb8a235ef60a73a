"""Range queries as whole HTTP requests, beside Prometheus and VictoriaMetrics over the same samples.

    python -m benchmarks.promql
    python -m benchmarks.promql --only fleetwatch --store memory: --repeat 9

10,000 series of ten targets, 240 samples each, 220 steps. Each request is one curl of its own, the answer thrown away;
the fastest of some counts. Result caches are off. Fleetwatch holds the samples in an embedded store as it would after
an hour, sealed but for what is in the head. At the end 100 small dashboard queries are asked one after the other, on
one connection. Peers that are not on PATH are left out.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
import psutil
import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from benchmarks.promql_engine import SAMPLES, SCRAPE_MS, START_MS, STEPS, Frames
from common.labels import Labels
from promql import Engine
from server.app import create_app, make_runner
from server.deps import BuildInfo, Dependencies
from tsdb import open_store
from tsdb.model import Batch

TARGETS, SERIES = 10, 1000
FIRST_S = (START_MS + 330_000) // 1000
QUERIES = [
    "sum by (mode) (rate(x_total[5m]))",
    "rate(x_total[5m])",
    "sum(x_total)",
    "max_over_time(x_total[10m])",
    "quantile_over_time(0.9, x_total[10m])",
    "topk(5, rate(x_total[5m]))",
]
SMALL = [
    'sum by (mode) (rate(x_total{{instance="{host}"}}[5m]))',
    'rate(x_total{{instance="{host}",cpu="{cpu}"}}[5m])',
    'x_total{{instance="{host}",cpu="{cpu}",mode="idle"}}',
    '1 - avg(rate(x_total{{instance="{host}",mode="idle"}}[5m]))',
    'max_over_time(x_total{{instance="{host}",cpu="{cpu}",mode="user"}}[10m])',
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="requests of each query; the fastest counts")
    parser.add_argument("--only", choices=["fleetwatch", "prometheus", "victoriametrics"])
    parser.add_argument("--store", help="open_store's name of a store; default: a directory that is removed")
    options = parser.parse_args()
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for server, start in (
            ("prometheus", prometheus),
            ("victoriametrics", victoriametrics),
            ("fleetwatch", fleetwatch),
        ):
            if options.only in (None, server):
                with start(Path(name), options.store) as running:
                    if running is None:
                        print(f"{server}: not installed")
                    else:
                        figures[server] = measure(server, *running, options.repeat)
    print(f"\n{'seconds':40}" + "".join(f"{server:>18}" for server in figures))
    for row, query in enumerate([*QUERIES, "small queries, p50", "small queries, p99"]):
        print(f"{query:40}" + "".join(f"{times[row]:18.3f}" for times in figures.values()))


def measure(name: str, port: int, process: psutil.Process, repeat: int) -> list[float]:
    """Seconds of each query, then the median and 99th percentile of the small ones."""
    figures = []
    for query in QUERIES:
        before = reset_peak(process)
        seconds, size = min(curl(port, query) for _ in range(repeat))
        peak = peak_bytes(process)
        print(
            f"{name}: {query}: {seconds:.3f} s, {size / 1e6:.1f} MB, RSS {before >> 20}, at most {peak >> 20} MiB",
            flush=True,
        )
        figures.append(seconds)
    small = small_queries(port)
    return [*figures, statistics.median(small), sorted(small)[int(0.99 * len(small))]]


def reset_peak(process: psutil.Process) -> int:
    """Forget the greatest resident size of a process (proc(5), clear_refs); returns what it is now."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    return int(process.memory_info().rss)


def peak_bytes(process: psutil.Process) -> int:
    """The greatest resident size since then."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def parameters(query: str, step_s: int = SCRAPE_MS // 1000, steps: int = STEPS) -> str:
    """Of a range query; `nocache` is VictoriaMetrics's."""
    span = {"start": FIRST_S, "end": FIRST_S + (steps - 1) * step_s, "step": step_s}
    return urlencode({"query": query, "nocache": 1} | span)


def curl(port: int, query: str) -> tuple[float, int]:
    """Seconds and bytes of a request."""
    address = f"http://127.0.0.1:{port}/api/v1/query_range?{parameters(query)}"
    command = ["curl", "-sf", "-o", "/dev/null", "-w", "%{time_total} %{size_download}", address]
    seconds, size = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    if int(size) < 1000:
        raise SystemExit(f"an answer of {size} bytes to {query}")
    return float(seconds), int(size)


def small_queries(port: int) -> list[float]:
    """Seconds of 100 queries of a dashboard, each of a few series."""
    connection = HTTPConnection("127.0.0.1", port)
    times_s = []
    for number in range(120):
        query = SMALL[number % len(SMALL)].format(host=f"host{number % TARGETS}:9100", cpu=number % 100)
        began = time.perf_counter()
        connection.request("GET", f"/api/v1/query_range?{parameters(query)}")
        connection.getresponse().read()
        times_s.append(time.perf_counter() - began)
    connection.close()
    return times_s[20:]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


Running = tuple[int, psutil.Process]


@contextlib.contextmanager
def fleetwatch(directory: Path, store: str | None) -> Iterator[Running | None]:
    port = free_port()
    ready, told = multiprocessing.Pipe(duplex=False)
    arguments = (port, store or str(directory / "fleetwatch"), told)
    process = multiprocessing.get_context("spawn").Process(target=serve, args=arguments, daemon=True)
    process.start()
    try:
        ready.recv()
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.join()


def serve(port: int, path: str, told: Connection) -> None:
    """The server's process."""
    store = open_store(path)
    written = []
    for number, frame in enumerate(Frames(TARGETS, SERIES).select([], 0, 0)):
        target_id = store.register_target(Labels.of(instance=f"host{number}:9100", job="node"))
        layout = store.layout(store.series_ids(frame.labels))
        for time_ms, row in zip(frame.times_ms.tolist(), frame.values.T, strict=True):
            written.append(store.append(Batch(target_id, layout, time_ms, np.ascontiguousarray(row))))
    for future in written:
        future.result()
    store.maintain(START_MS + SAMPLES * SCRAPE_MS)
    deps = Dependencies(
        store=store,
        engine=Engine(store),
        build=BuildInfo("benchmark"),
        registry=CollectorRegistry(),
        ready=lambda: True,
    )
    uvloop.run(serve_for_ever(deps, port, told))


async def serve_for_ever(deps: Dependencies, port: int, told: Connection) -> None:
    runner = make_runner(create_app(deps))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    told.send("ready")
    await asyncio.Event().wait()


def exposition(samples: Path, divisor: int) -> None:
    """The samples as text, their times divided."""
    with samples.open("w") as file:
        for frame in Frames(TARGETS, SERIES).select([], 0, 0):
            times = [f"{time_ms / divisor:.3f}" if divisor > 1 else str(time_ms) for time_ms in frame.times_ms.tolist()]
            for labels, row in zip(frame.labels, frame.values.tolist(), strict=True):
                name = str(labels).replace(", ", ",")  # OpenMetrics has no spaces there
                file.write("".join([f"{name} {value!r} {at}\n" for value, at in zip(row, times, strict=True)]))
        file.write("# EOF\n")


@contextlib.contextmanager
def prometheus(directory: Path, _: str | None) -> Iterator[Running | None]:
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        yield None
        return
    port = free_port()
    exposition(directory / "samples", 1000)
    (directory / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    make_blocks = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "samples", "data"]
    subprocess.run(make_blocks, cwd=directory, check=True, capture_output=True)
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    command += ["--storage.tsdb.retention.time=100y", f"--web.listen-address=127.0.0.1:{port}"]
    with running(command, directory, port, "/-/ready") as process:
        yield port, process


@contextlib.contextmanager
def victoriametrics(directory: Path, _: str | None) -> Iterator[Running | None]:
    if not (executable := shutil.which("victoria-metrics")):
        yield None
        return
    port = free_port()
    command = [executable, f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={directory / 'victoria'}"]
    command += ["-retentionPeriod=100y", "-search.disableCache"]
    with running(command, directory, port, "/health") as process:
        exposition(directory / "samples", 1)
        address = f"http://127.0.0.1:{port}"
        with (directory / "samples").open("rb") as samples:
            size = (directory / "samples").stat().st_size
            headers = {"Content-Length": str(size)}
            urlopen(Request(f"{address}/api/v1/import/prometheus", samples, headers)).close()
        urlopen(f"{address}/internal/force_flush").close()
        yield port, process


@contextlib.contextmanager
def running(command: list[str], directory: Path, port: int, ready: str) -> Iterator[psutil.Process]:
    with subprocess.Popen(command, cwd=directory, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(300):
                with contextlib.suppress(OSError):
                    urlopen(f"http://127.0.0.1:{port}{ready}").close()
                    break
                time.sleep(0.1)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
