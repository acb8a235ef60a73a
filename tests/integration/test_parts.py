"""The parts as processes of their own: exporter, scraper, and a server over what they left."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

from tests.fleetwatch_process import eventually, free_port


@contextmanager
def part(*arguments: str, cwd: Path) -> Iterator[None]:
    """A `fleetwatch` command from its ready line to SIGTERM, which must end it cleanly."""
    with subprocess.Popen(
        [sys.executable, "-m", "fleetwatch", *arguments], cwd=cwd, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert any("is ready: " in line for line in process.stdout)
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


def fetch(url: str) -> str:
    with urlopen(url, timeout=30) as response:
        text: str = response.read().decode()
        return text


def count_of_up(port: int) -> float:
    answer = json.loads(fetch(f"http://127.0.0.1:{port}/api/v1/query?query={quote('sum(count_over_time(up[1h]))')}"))
    result = answer["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


def test_exporter_scraper_and_server_apart(tmp_path: Path) -> None:
    exporter_port, port = free_port(), free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 100ms}\n"
        "scrape_configs:\n"
        "- job_name: node\n"
        f"  static_configs: [{{targets: ['127.0.0.1:{exporter_port}']}}]\n"
    )
    listen = ("--config.file", config.name, "--web.listen-address", f"127.0.0.1:{port}")
    with part("exporter", "--web.listen-address", f"127.0.0.1:{exporter_port}", cwd=tmp_path):
        assert "node_cpu_seconds_total{" in fetch(f"http://127.0.0.1:{exporter_port}/metrics")
        with part("scraper", *listen, cwd=tmp_path):
            scraped = eventually(lambda: count_of_up(port), lambda count: count >= 3, 30)
            assert fetch(f"http://127.0.0.1:{port}/-/ready") == "Fleetwatch Server is Ready.\n"
    with part("server", *listen, cwd=tmp_path):
        assert count_of_up(port) >= scraped
        targets = json.loads(fetch(f"http://127.0.0.1:{port}/api/v1/targets"))["data"]
        assert targets["activeTargets"] == []
    assert (tmp_path / "data").is_dir()


def test_the_exporter_needs_no_server_packages(tmp_path: Path) -> None:
    code = "import sys, exporter.app, fleetwatch.exporter_process; print({'numpy', 'sqlalchemy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_an_exporters_install_says_what_the_other_commands_need(tmp_path: Path) -> None:
    code = "import sys; sys.modules['watchfiles'] = None; sys.argv = ['fleetwatch', 'run']; import fleetwatch.__main__"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "fleetwatch: the package watchfiles is missing, only the exporter is installed here: "
        "pip install 'fleetwatch[server]'\n"
    )
