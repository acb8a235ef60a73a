"""Debian's prometheus-node-exporter in a process of its own, to compare with."""

import contextlib
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from tests.components import require
from tests.fleetwatch_process import free_port

START_TIMEOUT_S = 20


@contextlib.contextmanager
def node_exporter(*flags: str) -> Iterator[str]:
    """The URL of a running node_exporter's metrics; it ends with the block. Skips the test where there is none."""
    path = require("node_exporter")
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [path, f"--web.listen-address={address}", *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until_it_answers(f"http://{address}/")
        yield f"http://{address}/metrics"
    finally:
        process.terminate()
        process.wait(timeout=10)


def node_exporter_version() -> tuple[int, ...]:
    """Like (1, 11), of the node_exporter that the tests run. Skips the test where there is none."""
    done = subprocess.run([require("node_exporter"), "--version"], capture_output=True, text=True, check=True)
    match = re.search(r"version (\d+)\.(\d+)", done.stdout + done.stderr)
    if match is None:
        raise AssertionError(f"node_exporter --version says no version: {done.stdout}")
    return int(match[1]), int(match[2])


def wait_until_it_answers(url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def fetch(url: str, **headers: str) -> tuple[bytes, str]:
    """The body and the Content-Type of a GET."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as response:
        return response.read(), response.headers["Content-Type"]
