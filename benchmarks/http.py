"""The HTTP API: small instant queries per second, and a range answer of two million points, beside Prometheus.

    python -m benchmarks.http
    python -m benchmarks.http --seconds 10 --connections 8 --only fleetwatch

Server and client are processes of their own; both servers hold the same samples: SERIES series with one sample every
five minutes, so that with the lookback each has a value at every step. Latencies are the client's. Besides, the
writing of the JSON alone is timed in this process, on arrays of three kinds.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import numpy as np
import psutil
import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from common.labels import Labels
from promql import Engine
from promql.result import Matrix
from server.app import create_app, make_runner
from server.deps import BuildInfo, Dependencies
from server.jsonout import write_result
from tsdb import open_store
from tsdb.model import Batch

SERIES = 1000
STEPS = 2000
STEP_S = 15
START_S = 1_700_000_000
SAMPLE_EVERY_S = 300

INSTANT = {"query": 'load{instance="host7:9100"}', "time": str(START_S + 7200)}
RANGE = {"query": "load", "start": str(START_S), "end": str(START_S + (STEPS - 1) * STEP_S), "step": str(STEP_S)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="of small queries")
    parser.add_argument("--connections", type=int, default=8, help="that ask small queries one after the other")
    parser.add_argument("--only", choices=["fleetwatch", "prometheus"])
    options = parser.parse_args()

    print(f"{SERIES} series, {SERIES * STEPS:,} points in the range answer, {options.connections} connections")
    if options.only != "prometheus":
        json_alone()
        with fleetwatch() as (url, process):
            uvloop.run(measure("fleetwatch", url, process, options.seconds, options.connections))
    if options.only != "fleetwatch":
        if shutil.which("prometheus") and shutil.which("promtool"):
            with prometheus() as (url, process):
                uvloop.run(measure("prometheus", url, process, options.seconds, options.connections))
        else:
            print("prometheus: not installed")


def json_alone() -> None:
    """The time from arrays to the bytes of the answer."""
    random = np.random.default_rng(1)
    shape = (SERIES, STEPS)
    labels = [Labels.of(__name__="load", instance=f"host{index}:9100") for index in range(SERIES)]
    times_ms = START_S * 1000 + 1000 * STEP_S * np.arange(STEPS, dtype=np.int64)
    complete = np.ones(shape, dtype=bool)
    for kind, values, present in (
        ("whole numbers", np.floor(random.random(shape) * 1e9), complete),
        ("three decimals", np.round(random.random(shape) * 100, 3), complete),
        ("full precision", random.random(shape), complete),
        ("full precision, a tenth absent", random.random(shape), random.random(shape) < 0.9),
    ):
        seconds, size = best_of_three(Matrix(times_ms, labels, values, present))
        print(f"  JSON alone, {kind}: {seconds:.2f} s, {size / 1e6:.0f} MB")


def best_of_three(matrix: Matrix) -> tuple[float, int]:
    """Seconds and bytes."""
    times_s = []
    for _ in range(3):
        started = time.perf_counter()
        size = sum(map(len, write_result(matrix)))
        times_s.append(time.perf_counter() - started)
    return min(times_s), size


async def measure(name: str, url: str, process: psutil.Process, seconds: float, connections: int) -> None:
    """Ask, and print what it took."""
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(url, connector=connector) as session:
        await wait_until_ready(session)
        await small_queries(session, 1, connections)  # warm up
        cpu_before_s = cpu_s(process)
        latencies_s = np.array(await small_queries(session, seconds, connections))
        cpu_each_s = (cpu_s(process) - cpu_before_s) / len(latencies_s)
        median, p99 = np.percentile(latencies_s, [50, 99]) * 1000
        rate = len(latencies_s) / seconds
        print(
            f"{name}: {rate:.0f} instant queries/s, p50 {median:.1f} ms, p99 {p99:.1f} ms, "
            f"{cpu_each_s * 1e6:.0f} us CPU each"
        )
        for encoding in ("identity", "gzip"):
            cpu_before_s, started = cpu_s(process), time.perf_counter()
            async with session.get(
                "/api/v1/query_range", params=RANGE, headers={"Accept-Encoding": encoding}, auto_decompress=False
            ) as response:
                first_s = time.perf_counter() - started
                size = 0
                async for chunk in response.content.iter_any():
                    size += len(chunk)
            whole_s = time.perf_counter() - started
            print(
                f"{name}: range answer, {encoding}: {whole_s:.2f} s ({first_s:.2f} s to its first byte), "
                f"{size / 1e6:.0f} MB, {cpu_s(process) - cpu_before_s:.2f} s CPU"
            )


async def wait_until_ready(session: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with session.get("/-/ready") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.1)


async def small_queries(session: aiohttp.ClientSession, seconds: float, connections: int) -> list[float]:
    """The latencies of queries asked one after the other on each connection."""
    latencies_s: list[float] = []
    end = time.perf_counter() + seconds

    async def ask() -> None:
        while (started := time.perf_counter()) < end:
            async with session.get("/api/v1/query", params=INSTANT) as response:
                body = await response.read()
            if b'"value"' not in body:
                raise SystemExit(f"unexpected answer: {body.decode()}")
            latencies_s.append(time.perf_counter() - started)

    await asyncio.gather(*(ask() for _ in range(connections)))
    return latencies_s


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def values() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """float64[samples, series]."""
    count = STEPS * STEP_S // SAMPLE_EVERY_S + 1
    return np.round(np.random.default_rng(1).random((count, SERIES)) * 100, 3)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def fleetwatch() -> Iterator[tuple[str, psutil.Process]]:
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.join()


def serve(port: int) -> None:
    """The server's process."""
    store = open_store("memory:")
    labels = [Labels.of(__name__="load", instance=f"host{index}:9100") for index in range(SERIES)]
    layout = store.layout(store.series_ids(labels))
    target_id = store.register_target(Labels.of(instance="all"))
    for index, row in enumerate(values()):
        time_ms = (START_S + index * SAMPLE_EVERY_S) * 1000
        store.append(Batch(target_id, layout, time_ms, row)).result()
    deps = Dependencies(
        store=store,
        engine=Engine(store),
        build=BuildInfo("benchmark"),
        registry=CollectorRegistry(),
        ready=lambda: True,
    )
    uvloop.run(serve_for_ever(deps, port))


async def serve_for_ever(deps: Dependencies, port: int) -> None:
    runner = make_runner(create_app(deps))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


@contextlib.contextmanager
def prometheus() -> Iterator[tuple[str, psutil.Process]]:
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        with (Path(directory) / "samples").open("w") as samples:
            for series, column in enumerate(values().T.tolist()):
                for index, value in enumerate(column):
                    time_s = START_S + index * SAMPLE_EVERY_S
                    samples.write(f'load{{instance="host{series}:9100"}} {value} {time_s}\n')
            samples.write("# EOF\n")
        (Path(directory) / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
        make_blocks = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "samples", "data"]
        subprocess.run(make_blocks, cwd=directory, check=True, capture_output=True)
        command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
        command += ["--storage.tsdb.retention.time=100y", f"--web.listen-address=127.0.0.1:{port}"]
        process = subprocess.Popen(command, cwd=directory, stderr=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
