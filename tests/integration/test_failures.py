"""What keeps a process from starting is one clear line and exit status 1, never a traceback."""

import re
import socket
from pathlib import Path

import pytest

from tests.disks import fill, mounted
from tests.fleetwatch_process import eventually, fleetwatch, free_port, running

CONFIG = "scrape_configs: []\n"


def refused(*arguments: str, cwd: Path) -> str:
    done = fleetwatch(*arguments, cwd=cwd)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def run(tmp_path: Path, config: str, *arguments: str) -> str:
    (tmp_path / "f.yml").write_text(config)
    address = f"127.0.0.1:{free_port()}"
    return refused("run", "--config.file", "f.yml", "--web.listen-address", address, *arguments, cwd=tmp_path)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ("scrape_configs:\n- job_name: a\n  foo: 1\n", "fleetwatch: f.yml:3: scrape_configs[0].foo: unknown key"),
        (
            "global:\n  scrape_interval: 5 s\n",
            "fleetwatch: f.yml:2: global.scrape_interval: not a valid duration string",
        ),
        ("scrape_configs: [\n", "fleetwatch: f.yml:2: not valid YAML"),
        ("storage:\n  path: 1\n  retention: 0s\n", "fleetwatch: f.yml:3: storage.retention: must be longer than 0"),
        (
            "exporter:\n  listen_address: nine\n",
            'fleetwatch: f.yml:2: exporter.listen_address: "nine" is no listen address',
        ),
    ],
)
def test_wrong_config(tmp_path: Path, config: str, line: str) -> None:
    assert run(tmp_path, config).startswith(line)


def test_missing_config(tmp_path: Path) -> None:
    assert refused("run", "--config.file", "none.yml", cwd=tmp_path) == (
        "fleetwatch: none.yml: cannot be read: No such file or directory"
    )


def test_taken_port(tmp_path: Path) -> None:
    (tmp_path / "f.yml").write_text(CONFIG)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = refused("run", "--config.file", "f.yml", "--web.listen-address", address, cwd=tmp_path)
    assert line == (
        f"fleetwatch: cannot listen on {address}: another process listens there; stop it or set --web.listen-address"
    )


def test_taken_exporter_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = run(tmp_path, f"exporter:\n  listen_address: {address}\n")
    assert line == (
        f"fleetwatch: cannot listen on {address}: another process listens there; stop it or set exporter.listen_address"
    )


def test_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = run(tmp_path, CONFIG, "--storage.path", str(tmp_path / "file" / "data"))
    assert re.match(rf"fleetwatch: .*{re.escape(str(tmp_path / 'file' / 'data'))}.*[Nn]ot a directory", line)


def test_second_process_on_the_same_store(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        line = run(tmp_path, CONFIG, "--storage.path", str(tmp_path / "data"))
    assert str(process.process.pid) in line


def test_check_config_lists_everything(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_text("globl: {}\nscrape_configs:\n- job_name: a\n- job_name: a\n")
    good = tmp_path / "good.yml"
    good.write_text(CONFIG)
    done = fleetwatch("check", "config", str(bad), str(good))
    assert done.returncode == 1
    assert f"{bad}:1: globl: unknown key" in done.stderr
    assert f"{bad}:4: scrape_configs[1].job_name" in done.stderr
    assert done.stdout == f"{good}: valid: 0 jobs, 0 static targets, 0 target files\n"


def test_an_unanswered_query(tmp_path: Path) -> None:
    line = refused("query", "--url", f"http://127.0.0.1:{free_port()}", "up", cwd=tmp_path)
    assert line.endswith("does not answer: [Errno 111] Connection refused")


def test_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    """What was stored is there, what is scraped meanwhile is refused aloud, and writing goes on by itself."""
    with mounted(tmp_path / "disk", "size=6m") as disk, running(disk, interval="200ms") as process:
        count = 'count_over_time(up{job="node"}[1h])'
        process.wait_for(count, lambda answer: sum(answer.values()) >= 3)
        fill(disk / "ballast")
        eventually(lambda: process.log, lambda log: "scrape was not stored" in log, 30)
        stored = process.query(count)
        assert sum(stored.values()) >= 3
        (disk / "ballast").unlink()
        process.wait_for(count, lambda answer: sum(answer.values()) >= sum(stored.values()) + 3)
        assert "Traceback" not in process.log
