"""A whole `fleetwatch` in a process of its own, for tests that look at it from outside."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

START_TIMEOUT_S = 60
READY_LINE = "is ready: "

T = TypeVar("T")

CONFIG = """\
global:
  scrape_interval: {interval}
scrape_configs:
  - job_name: fleetwatch
    static_configs:
      - targets: ["localhost:{port}"]
  - job_name: node
    static_configs:
      - targets: ["localhost:{exporter_port}"]
{more_jobs}
exporter:
  listen_address: 127.0.0.1:{exporter_port}
storage:
  path: data
{more_storage}
"""


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def fleetwatch(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a `fleetwatch` command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "fleetwatch", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@dataclass
class FleetwatchProcess:
    """A running `fleetwatch run` and its API. Its files are in `directory`, its log in `directory/stderr`."""

    process: subprocess.Popen[str]
    directory: Path
    port: int
    exporter_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.directory / "stderr").read_text()

    def api(self, endpoint: str, **parameters: str) -> Any:
        """The `data` of an API answer."""
        with urlopen(f"{self.url}/api/v1/{endpoint}?{urlencode(parameters)}", timeout=30) as response:
            return json.load(response)["data"]

    def query(self, expr: str, **parameters: str) -> dict[str, float]:
        """An instant vector as {labels in JSON: value}."""
        result = self.api("query", query=expr, **parameters)["result"]
        return {json.dumps(series["metric"], sort_keys=True): float(series["value"][1]) for series in result}

    def wait_for(
        self, expr: str, condition: Callable[[dict[str, float]], bool], timeout_s: float = 30
    ) -> dict[str, float]:
        """Ask until the answer fulfils a condition."""
        return eventually(lambda: self.query(expr), condition, timeout_s, lambda: f"{expr}\n{self.log}")

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(30)


def eventually(
    ask: Callable[[], T], condition: Callable[[T], bool], timeout_s: float, describe: Callable[[], str] = lambda: ""
) -> T:
    """The first answer that fulfils the condition; fails the test when time runs out."""
    deadline = time.monotonic() + timeout_s
    while not condition(answer := ask()):
        if time.monotonic() > deadline:
            pytest.fail(f"not so after {timeout_s} s: {answer!r}\n{describe()}")
        time.sleep(0.05)  # the process tells of nothing that could be waited for
    return answer


def start(
    directory: Path,
    *,
    interval: str = "1s",
    more_jobs: str = "",
    more_storage: str = "",
    port: int = 0,
    exporter_port: int = 0,
) -> FleetwatchProcess:
    """Start `fleetwatch run` in a directory and wait until it says that it is ready."""
    port, exporter_port = port or free_port(), exporter_port or free_port()
    config = directory / "fleetwatch.yml"
    config.write_text(
        CONFIG.format(
            interval=interval,
            port=port,
            exporter_port=exporter_port,
            more_jobs=more_jobs,
            more_storage=more_storage,
        )
    )
    command = [sys.executable, "-m", "fleetwatch", "run", "--config.file", str(config)]
    with (directory / "stderr").open("a") as stderr:
        process = subprocess.Popen(
            [*command, "--web.listen-address", f"127.0.0.1:{port}"],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"NO_PROXY": "*"},
        )
    running = FleetwatchProcess(process, directory, port, exporter_port)
    assert process.stdout is not None
    if not any(READY_LINE in line for line in process.stdout):
        process.stdout.close()
        pytest.fail(f"fleetwatch run ended with status {process.wait(30)}:\n{running.log}")
    return running


@contextlib.contextmanager
def running(directory: Path, **options: Any) -> Iterator[FleetwatchProcess]:
    """`start`, ended with the block whatever happens."""
    process = start(directory, **options)
    try:
        yield process
    finally:
        process.kill()
        if process.process.stdout:
            process.process.stdout.close()
