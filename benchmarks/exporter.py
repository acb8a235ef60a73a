"""CPU and memory that one scrape of a host costs: Fleetwatch's exporter beside node_exporter.

    python -m benchmarks.exporter [--scrapes 300]

Both serve this host, one after the other, to a client that keeps its connection and asks for gzip as Prometheus does.
Fleetwatch is measured once more with TLS and a password. node_exporter runs once with the collectors that Fleetwatch
has, once with its defaults; where it is not installed only Fleetwatch's figures are printed. CPU is user plus system
time of the process, memory is its resident set.
"""

import argparse
import base64
import contextlib
import dataclasses
import gzip
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from exporter.catalog import COLLECTORS

NODE_EXPORTER_NAMES = ["prometheus-node-exporter", "node_exporter"]
WARM_UP_SCRAPES = 20
USER, PASSWORD = "prometheus", "a secret"
HEADERS = {
    "Accept": "text/plain;version=0.0.4",
    "Accept-Encoding": "gzip",
    "Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
}


@dataclass(frozen=True)
class Running:
    """An exporter process and where it serves."""

    pid: int
    port: int
    tls: bool = False


@dataclass(frozen=True)
class Cost:
    """What scrapes of one exporter cost."""

    samples: int
    cpu_ms: float
    rss_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scrapes", type=int, default=300)
    scrapes = parser.parse_args().scrapes

    with running_fleetwatch() as fleetwatch:
        ours = report("Fleetwatch", measure(fleetwatch, scrapes))
    with tempfile.TemporaryDirectory() as directory, running_fleetwatch(secured(Path(directory))) as fleetwatch:
        guarded = report("Fleetwatch, TLS and basic auth", measure(fleetwatch, scrapes))
    print(f"    TLS and basic auth take {guarded.cpu_ms - ours.cpu_ms:.2f} ms a scrape")
    theirs_too = [name for name in COLLECTORS if name not in ("processes_top", "server_info")]
    same_collectors = ["--collector.disable-defaults", *(f"--collector.{name}" for name in theirs_too)]
    for name, flags in [("node_exporter, same collectors", same_collectors), ("node_exporter, defaults", [])]:
        with running_node_exporter(*flags) as node_exporter:
            if node_exporter is None:
                print("node_exporter is not installed")
                return
            theirs = report(name, measure(node_exporter, scrapes))
        cpu, memory = ours.cpu_ms / theirs.cpu_ms, ours.rss_mib / theirs.rss_mib
        print(f"    Fleetwatch takes {cpu:.2f} of its CPU, {memory:.2f} of its memory")


def report(name: str, cost: Cost) -> Cost:
    print(f"{name:32} {cost.samples:5} samples {cost.cpu_ms:7.2f} ms CPU a scrape {cost.rss_mib:7.1f} MiB resident")
    return cost


def measure(running: Running, scrapes: int) -> Cost:
    connection = connect(running)
    for _ in range(WARM_UP_SCRAPES):
        body = scrape(connection)
    before = cpu_s(running.pid)
    for _ in range(scrapes):
        body = scrape(connection)
    spent = cpu_s(running.pid) - before
    connection.close()
    lines = gzip.decompress(body).splitlines()
    return Cost(sum(not line.startswith(b"#") for line in lines), spent / scrapes * 1000, rss_mib(running.pid))


def connect(running: Running) -> http.client.HTTPConnection:
    if not running.tls:
        return http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", running.port, timeout=20, context=trusting)


def secured(directory: Path) -> Path:
    """A web config file with a certificate and a user."""
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    key: list[str | Path] = [*new_key, "-keyout", directory / "key.pem"]
    command: list[str | Path] = ["openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=localhost", *key]
    subprocess.run([*command, "-out", directory / "cert.pem"], check=True, capture_output=True)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
    web_config = directory / "web.yml"
    web_config.write_text(
        f"tls_server_config: {{cert_file: cert.pem, key_file: key.pem}}\nbasic_auth_users: {{{USER}: {hashed}}}\n"
    )
    return web_config


def scrape(connection: http.client.HTTPConnection) -> bytes:
    connection.request("GET", "/metrics", headers=HEADERS)
    return connection.getresponse().read()


def cpu_s(pid: int) -> float:
    """User and system time of a process (proc_pid_stat(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextlib.contextmanager
def running_fleetwatch(web_config: Path | None = None) -> Iterator[Running]:
    port = free_port()
    command = [sys.executable, "-m", "fleetwatch", "exporter", f"--web.listen-address=127.0.0.1:{port}"]
    if web_config is not None:
        command.append(f"--web.config.file={web_config}")
    with process(command) as pid:
        yield dataclasses.replace(started(pid, port), tls=web_config is not None)


@contextlib.contextmanager
def running_node_exporter(*flags: str) -> Iterator[Running | None]:
    """node_exporter on a free port of this host; None where it is not installed."""
    path = next(filter(None, map(shutil.which, NODE_EXPORTER_NAMES)), None)
    if path is None:
        yield None
        return
    port = free_port()
    with process([path, f"--web.listen-address=127.0.0.1:{port}", *flags]) as pid:
        yield started(pid, port)


@contextlib.contextmanager
def process(command: list[str]) -> Iterator[int]:
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield running.pid
    finally:
        running.terminate()
        running.wait()


def started(pid: int, port: int, timeout_s: float = 20) -> Running:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return Running(pid, port)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def fetch(running: Running) -> bytes:
    """The metrics as text."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    with contextlib.closing(connection):
        return gzip.decompress(scrape(connection))


if __name__ == "__main__":
    main()
