"""A fleet on one machine: simulated servers, two scrapers, a server that follows, and TimescaleDB between them.

    python -m benchmarks.fleet                      1000 servers x 500 series every 15 s, for 10 minutes
    python -m benchmarks.fleet --minutes 2 --servers 200

Each part is a process of its own; the servers are shared out among the scrapers by hashmod. The time of warming up, in
which all series are made, is left out of everything but the missed scrapes. "Freshness" is from the moment at which a
body was made until the server's query API answers with it; it is asked every 100 ms for the clocks of some servers.
The database is one of tests.postgres, and ends with the run.

Goals: no missed scrape, p99 of start lateness under 1 s, p99 of freshness under 2 s, on two cores.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import numpy as np
import psutil

from tests.fleetwatch_process import free_port
from tests.postgres import PostgresServer, running
from tsdb.timescale.migrate import migrate

SCRAPERS = 2
POLL_S = 0.1
MARKERS = 40
CONFIG = """\
global: {{scrape_interval: {interval}}}
scrape_configs:
- job_name: node
  file_sd_configs: [{{files: [targets.json]}}]
  relabel_configs:
  - {{source_labels: [instance], modulus: {scrapers}, target_label: __tmp_hash, action: hashmod}}
  - {{source_labels: [__tmp_hash], regex: '{shard}', action: keep}}
storage: {{path: '{dsn}'}}
"""
SERVER_CONFIG = "storage: {{path: '{dsn}'}}\n"
BUCKET = re.compile(r'^fleetwatch_target_scrape_lateness_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.M)

http = build_opener(ProxyHandler({}))


@dataclass
class Part:
    """A process of Fleetwatch, where it listens, and the metrics and seconds of CPU it had at the last look."""

    name: str
    port: int
    process: psutil.Process

    def get(self, path: str, **parameters: str) -> str:
        """The body of an answer."""
        with http.open(f"http://127.0.0.1:{self.port}{path}?{urlencode(parameters)}", timeout=30) as response:
            text: str = response.read().decode()
            return text

    def cpu_s(self) -> float:
        """Seconds on a processor until now."""
        return float(sum(self.process.cpu_times()[:2]))


@dataclass
class Look:
    """What the parts have counted at one moment. `lateness` is by upper bound how many scrapes started no later."""

    cpu_s: dict[str, float]
    samples: float
    scrapes: float
    failed: float
    missed: float
    refused: float
    spool_bytes: float
    spooled: float
    lateness: dict[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--series", type=int, default=500, help="of each server")
    parser.add_argument("--interval", default="15s", help="between two scrapes of a server")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--warm-up", type=float, default=45, help="seconds before the measuring begins")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running("timescale") as database, contextlib.ExitStack() as stack:
        directory = Path(name)
        dsn = database.create_database()
        migrate(dsn)
        simulation = ("simulate", "--servers", str(options.servers), "--series", str(options.series))
        parts = [stack.enter_context(part(directory, "simulation", *simulation, "--targets-file", "targets.json"))]
        for shard in range(SCRAPERS):
            config = CONFIG.format(interval=options.interval, scrapers=SCRAPERS, shard=shard, dsn=dsn)
            (directory / f"scraper-{shard}.yml").write_text(config)
            arguments = ("scraper", "--config.file", f"scraper-{shard}.yml")
            parts.append(stack.enter_context(part(directory, f"scraper {shard}", *arguments)))
        (directory / "server.yml").write_text(SERVER_CONFIG.format(dsn=dsn))
        parts.append(stack.enter_context(part(directory, "server", "server", "--config.file", "server.yml")))
        freshness(parts[-1], options.warm_up)
        before = look(parts, database)
        began = time.monotonic()
        ages = freshness(parts[-1], options.minutes * 60)
        report(before, look(parts, database), time.monotonic() - began, ages)


@contextlib.contextmanager
def part(directory: Path, name: str, *arguments: str) -> Iterator[Part]:
    """A `fleetwatch` command that is ready."""
    port = free_port()
    command = [sys.executable, "-m", "fleetwatch", *arguments, "--web.listen-address", f"127.0.0.1:{port}"]
    with (directory / "log").open("a") as log:
        process = subprocess.Popen(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | {"NO_PROXY": "*"}
        )
    try:
        assert process.stdout is not None
        if not any("is ready: " in line for line in process.stdout):
            raise RuntimeError(f"{name} did not start:\n{(directory / 'log').read_text()}")
        yield Part(name, port, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout:
            process.stdout.close()


def freshness(server: Part, seconds: float) -> list[float]:
    """The age in seconds of each body of the markers when the server first answers with it."""
    choice = "|".join(f"server-{n:04d}:9100" for n in range(1, MARKERS + 1))
    known: dict[str, float] = {}
    ages = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        polled = time.monotonic()
        answer = server.get("/api/v1/query", query=f'node_time_seconds{{instance=~"{choice}"}}')
        now_s = time.time()
        for series in json.loads(answer)["data"]["result"]:
            instance, made_s = series["metric"]["instance"], float(series["value"][1])
            if instance in known and made_s != known[instance]:
                ages.append(now_s - made_s)
            known[instance] = made_s
        time.sleep(max(0.0, polled + POLL_S - time.monotonic()))
    return ages


def look(parts: Sequence[Part], database: PostgresServer) -> Look:
    """Ask all of them."""
    cpu_s = {part.name: part.cpu_s() for part in parts} | {"database": database_cpu_s(database)}
    metrics = [part.get("/metrics") for part in parts if part.name.startswith("scraper")]
    lateness: dict[float, float] = {}
    for text in metrics:
        for bound, count in BUCKET.findall(text):
            lateness[float(bound)] = lateness.get(float(bound), 0.0) + float(count)
    names = (
        "fleetwatch_target_samples_total",
        "fleetwatch_target_scrapes_total",
        "fleetwatch_target_scrapes_failed_total",
        "fleetwatch_target_scrapes_missed_total",
        "fleetwatch_target_writes_refused_total",
        "fleetwatch_tsdb_spool_bytes",
        "fleetwatch_tsdb_writes_spooled_total",
    )
    samples, scrapes, failed, missed, refused, spool_bytes, spooled = (
        sum([value(text, name) for text in metrics]) for name in names
    )
    return Look(cpu_s, samples, scrapes, failed, missed, refused, spool_bytes, spooled, lateness)


def value(text: str, name: str) -> float:
    """Of a metric without labels."""
    found = re.search(rf"^{name} (\S+)$", text, re.M)
    if found is None:
        raise RuntimeError(f"the scraper's metrics have no {name}")
    return float(found[1])


def database_cpu_s(database: PostgresServer) -> float:
    """Seconds that all processes of the server took until now, those that have ended too."""
    postmaster, *children = database.processes()
    spent = postmaster.cpu_times()
    total = spent.user + spent.system + spent.children_user + spent.children_system
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(child.cpu_times()[:2])
    return float(total)


def report(before: Look, after: Look, seconds: float, ages: Sequence[float]) -> None:
    samples, scrapes = after.samples - before.samples, after.scrapes - before.scrapes
    late = {bound: count - before.lateness[bound] for bound, count in after.lateness.items()}
    print(f"{seconds:.0f} s, {scrapes:.0f} scrapes, {samples / seconds:,.0f} samples/s")
    print(
        f"missed {after.missed - before.missed:.0f} (and {before.missed:.0f} while warming up), "
        f"failed {after.failed - before.failed:.0f}, refused {after.refused - before.refused:.0f}"
    )
    print(f"start lateness    p50 {quantile(late, 0.5) * 1000:7.1f} ms   p99 {quantile(late, 0.99) * 1000:7.1f} ms")
    p50, p99, most = np.quantile(ages, [0.5, 0.99, 1]).tolist() if ages else (np.nan,) * 3
    print(f"freshness         p50 {p50:7.2f} s    p99 {p99:7.2f} s    most {most:.2f} s   of {len(ages)} scrapes")
    for name, spent in after.cpu_s.items():
        print(f"CPU of {name:12} {(spent - before.cpu_s[name]) / seconds:6.1%} of a core")
    database_s = after.cpu_s["database"] - before.cpu_s["database"]
    print(f"database          {database_s / samples * 1e6:.2f} us of CPU a sample")
    print(
        f"spool             {after.spool_bytes:.0f} bytes, {after.spooled - before.spooled:.0f} writes went through it"
    )


def quantile(buckets: dict[float, float], share: float) -> float:
    """Of a histogram's cumulative buckets, evenly spread in each; the highest bound for what lies above it."""
    wanted = buckets[np.inf] * share
    low = counted = 0.0
    for bound, count in sorted(buckets.items()):
        if count >= wanted:
            return low if bound == np.inf else low + (bound - low) * (wanted - counted) / max(count - counted, 1)
        low, counted = bound, count
    return low


if __name__ == "__main__":
    main()
