"""CPU per scraped sample, socket to durable store: Fleetwatch beside Prometheus, on the same targets.

    python -m benchmarks.scrape --targets 200 --seconds 60

One process serves N targets, each a real node_exporter body whose values move from scrape to scrape, gzipped for who
asks. Fleetwatch scrapes them into an embedded store in a process of its own, then Prometheus does the same where it is
installed. CPU is user plus system time of the whole process between two moments, after the first scrapes are done.
"""

import argparse
import asyncio
import gzip
import json
import multiprocessing
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from common.yamlfile import load
from scraper.config import ScrapeSettings
from scraper.manager import ScrapeManager
from tsdb import open_store

VARIANTS = 16
WARM_UP_INTERVALS = 5
MAINTAIN_EVERY_S = 10

BUDGET_S_PER_MILLION = 1.35


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--interval", type=int, default=1, help="scrape interval in seconds")
    parser.add_argument("--body", type=Path, help="an exposition in the text format instead of node_exporter's")
    parser.add_argument("--no-compression", action="store_true", help="ask for bodies without gzip")
    parser.add_argument("--only", choices=["fleetwatch", "prometheus"])
    options = parser.parse_args()

    body = options.body.read_bytes() if options.body else node_exporter_body()
    lines = [line for line in body.splitlines() if line and not line.startswith(b"#")]
    print(f"{options.targets} targets x {len(lines)} series ({len(body)} bytes) every {options.interval} s")
    with tempfile.TemporaryDirectory() as directory, serving(body) as port:
        config = Path(directory, "prometheus.yml")
        write_config(config, port, options)
        figures = []
        if options.only != "prometheus":
            figures.append(("fleetwatch", run_fleetwatch(config, Path(directory, "fleetwatch"), options)))
        prometheus = shutil.which("prometheus")
        if options.only != "fleetwatch" and prometheus:
            figures.append(("prometheus", run_prometheus(prometheus, config, Path(directory, "prometheus"), options)))
        for name, found in figures:
            show(name, found)


def show(name: str, found: dict[str, Any]) -> None:
    per_million = found["cpu_s"] / found["samples"] * 1e6
    rate, of_a_core = found["samples"] / found["seconds"], found["cpu_s"] / found["seconds"] * 100
    late = "" if "late_p99_ms" not in found else f", p99 lateness {found['late_p99_ms']:.1f} ms"
    missed = "" if "missed" not in found else f", {found['missed']:.0f} missed, {found['failed']:.0f} failed"
    print(
        f"{name:<12}{per_million:6.2f} CPU s per million samples, {rate:9.0f} samples/s, "
        f"{of_a_core:5.1f} % of a core, {found['rss_bytes'] / 2**20:6.0f} MiB{missed}{late}"
    )


def write_config(path: Path, port: int, options: argparse.Namespace) -> None:
    targets = "".join(
        f'      - targets: ["127.0.0.1:{port}"]\n'
        f'        labels: {{instance: "host{number}", __metrics_path__: "/{number}/metrics"}}\n'
        for number in range(options.targets)
    )
    # Prometheus before 2.49 does not know the key.
    compression = "    enable_compression: false\n" if options.no_compression else ""
    path.write_text(
        f"global:\n  scrape_interval: {options.interval}s\n  scrape_timeout: {options.interval}s\n"
        f"scrape_configs:\n  - job_name: node\n{compression}"
        f"    static_configs:\n{targets}"
    )


# The targets


def node_exporter_body() -> bytes:
    """A real body, from a node_exporter that runs for a moment."""
    executable = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
    if executable is None:
        raise SystemExit("needs prometheus-node-exporter on PATH, or --body FILE")
    port = free_port()
    command = [executable, f"--web.listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            return fetch(f"http://127.0.0.1:{port}/metrics")
        finally:
            process.terminate()


def variants(body: bytes, count: int) -> list[bytes]:
    """The body again and again, a third of its values moved on each time, as those of a busy host are."""
    generator = random.Random(1)
    made = [body]
    for _ in range(count - 1):
        lines = []
        for line in made[-1].split(b"\n"):
            series, _, value = line.rpartition(b" ")
            if series and not line.startswith(b"#") and re.fullmatch(rb"[0-9.e+]+", value) and generator.random() < 0.3:
                line = series + b" " + repr(round(float(value) * 1.001 + 1, 2)).encode()
            lines.append(line)
        made.append(b"\n".join(lines))
    return made


def serve(body: bytes, ready: Connection) -> None:
    plain = variants(body, VARIANTS)
    zipped = [gzip.compress(variant) for variant in plain]
    turn = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal turn
        turn += 1
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=zipped[turn % VARIANTS], headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=plain[turn % VARIANTS], headers=headers)

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/{number}/metrics", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    uvloop.run(run())


@contextmanager
def serving(body: bytes) -> Iterator[int]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(body, theirs))
    process.start()
    theirs.close()  # so that a child that dies is noticed
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


# Fleetwatch


def run_fleetwatch(config: Path, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    ours, theirs = multiprocessing.Pipe()
    arguments = (config, data, options.seconds, options.interval, theirs)
    process = multiprocessing.get_context("spawn").Process(target=scrape, args=arguments)
    process.start()
    theirs.close()
    found: dict[str, Any] = ours.recv()
    process.join()
    return found


def scrape(config: Path, data: Path, seconds: int, interval_s: int, result: Connection) -> None:
    async def run() -> dict[str, Any]:
        store = open_store(str(data))
        registry = CollectorRegistry()
        manager = ScrapeManager(store, registry)
        await manager.apply(load(config, ScrapeSettings), config.parent)
        await asyncio.sleep(WARM_UP_INTERVALS * interval_s)
        start, cpu, before = time.monotonic(), time.process_time(), own_figures(registry)
        while time.monotonic() < start + seconds:
            await asyncio.sleep(min(MAINTAIN_EVERY_S, start + seconds - time.monotonic()))
            await asyncio.to_thread(store.maintain, time.time_ns() // 1_000_000)
        found: dict[str, Any] = {"seconds": time.monotonic() - start, "cpu_s": time.process_time() - cpu}
        after = own_figures(registry)
        found["rss_bytes"] = psutil.Process().memory_info().rss
        for name in ("samples", "missed", "failed"):
            found[name] = after[name] - before[name]
        found["late_p99_ms"] = late_p99_ms(before["lateness"], after["lateness"])
        await manager.stop()
        store.close()
        return found

    result.send(uvloop.run(run()))


def own_figures(registry: CollectorRegistry) -> dict[str, Any]:
    def value(name: str) -> float:
        return registry.get_sample_value(name) or 0.0

    buckets = {
        sample.labels["le"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "fleetwatch_target_scrape_lateness_seconds_bucket"
    }
    return {
        "samples": value("fleetwatch_target_samples_total"),
        "missed": value("fleetwatch_target_scrapes_missed_total"),
        "failed": value("fleetwatch_target_scrapes_failed_total"),
        "lateness": buckets,
    }


def late_p99_ms(before: dict[str, float], after: dict[str, float]) -> float:
    """The upper bound of the bucket with the 99th percentile."""
    counts = {float(bound): after[bound] - before.get(bound, 0) for bound in after}
    return min(bound for bound, count in counts.items() if count >= 0.99 * counts[float("inf")]) * 1000


# Prometheus


def run_prometheus(executable: str, config: Path, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    port = free_port()
    command = [
        executable,
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with subprocess.Popen(command) as process:
        try:
            fetch(f"http://127.0.0.1:{port}/-/ready")
            time.sleep(WARM_UP_INTERVALS * options.interval)
            start, cpu, samples = time.monotonic(), cpu_s(process.pid), appended(port)
            time.sleep(options.seconds)
            return {
                "seconds": time.monotonic() - start,
                "cpu_s": cpu_s(process.pid) - cpu,
                "samples": appended(port) - samples,
                "rss_bytes": psutil.Process(process.pid).memory_info().rss,
            }
        finally:
            process.terminate()


def cpu_s(pid: int) -> float:
    """User and system time of a process (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def appended(port: int) -> float:
    """Scraped samples so far: without the five report series of each scrape, as for Fleetwatch."""
    query = "sum(scrape_samples_scraped)"
    text = fetch(f"http://127.0.0.1:{port}/metrics").decode()
    counter = r'^prometheus_tsdb_head_samples_appended_total{type="float"} (\S+)'
    total = sum(float(value) for value in re.findall(counter, text, re.M))
    per_scrape = json.loads(fetch(f"http://127.0.0.1:{port}/api/v1/query?query={query}"))["data"]["result"]
    count = json.loads(fetch(f"http://127.0.0.1:{port}/api/v1/query?query=count(up)"))["data"]["result"]
    scraped, targets = float(per_scrape[0]["value"][1]), float(count[0]["value"][1])
    return total * scraped / (scraped + 5 * targets)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def fetch(url: str, timeout_s: float = 20) -> bytes:
    """Fetch, waiting for the server to be up."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urlopen(url, timeout=5) as response:
                found: bytes = response.read()
                return found
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    main()
