"""A host keeps its id."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from exporter.collectors.server_info import ServerInfoCollector, ServerInfoOptions
from exporter.errors import ExporterError
from exporter.identity import FILE, server_id, state_directory
from exporter.roots import Roots
from exporter.settings import ExporterSettings
from exposition.formats import Format
from exposition.text import parse_text
from exposition.writer import write

MACHINE_ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def unwritable(tmp_path: Path) -> Path:
    """A state directory that cannot be made, by root neither: a file is in its place."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file/state"


def test_the_id_is_made_once(tmp_path: Path) -> None:
    directory = tmp_path / "deep/state"
    first = server_id(directory)

    assert uuid.UUID(first).version == 4
    assert server_id(directory) == first
    assert [path.name for path in directory.iterdir()] == [FILE]
    assert (directory / FILE).stat().st_mode & 0o777 == 0o644


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    code = "import sys, pathlib, exporter.identity as i; print(i.server_id(pathlib.Path(sys.argv[1])))"
    started = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / "state"], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]

    assert len({process.communicate()[0] for process in started}) == 1


@pytest.mark.parametrize("text", ["", "nonsense\n", "\x00\x00\x00"])
def test_a_damaged_file_is_no_new_identity(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)

    with pytest.raises(ExporterError, match="is no UUID: put back this host's id, or remove the file"):
        server_id(tmp_path)
    assert (tmp_path / FILE).read_text() == text


def test_without_a_directory_the_machine_id_serves(
    unwritable: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine_id = tmp_path / "machine-id"
    machine_id.write_text(f"{MACHINE_ID}\n")
    derived = server_id(unwritable, machine_id)

    assert derived == server_id(unwritable, machine_id)
    assert MACHINE_ID not in derived.replace("-", "")
    assert "cannot be read" in caplog.records[0].__dict__["reason"]
    machine_id.write_text("f" * 32)
    assert server_id(unwritable, machine_id) != derived


def test_without_anything_lasting_there_is_an_error(unwritable: Path, tmp_path: Path) -> None:
    with pytest.raises(ExporterError, match="set --state"):
        server_id(unwritable, tmp_path / "gone")


@pytest.mark.parametrize("text", ["", "uninitialized\n", MACHINE_ID[1:], MACHINE_ID.replace("0", "g"), "\u00e9"])
def test_hosts_without_a_machine_id_of_their_own_are_not_taken_for_one(
    text: str, unwritable: Path, tmp_path: Path
) -> None:
    (tmp_path / "machine-id").write_text(text)

    with pytest.raises(ExporterError, match=f"this host has no lasting id.*{tmp_path}/machine-id"):
        server_id(unwritable, tmp_path / "machine-id")


def test_a_damaged_file_costs_the_metric_and_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_text("nonsense")
    settings = ExporterSettings(state_directory=str(tmp_path))
    registry = settings.registry("linux")
    try:
        body = write(registry.collect(["server_info", "loadavg"]), Format.TEXT).decode()
    finally:
        registry.close()

    assert "fleetwatch_server_info" not in body
    assert 'node_scrape_collector_success{collector="server_info"} 0' in body
    assert "node_load1 " in body
    assert f"{tmp_path}/{FILE} holds 'nonsense', which is no UUID" in caplog.records[0].__dict__["error"]


def test_a_registry_alone_makes_no_identity(tmp_path: Path) -> None:
    ExporterSettings(state_directory=str(tmp_path / "state")).registry("linux").close()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "user_id", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/x:/var/lib/y", "HOME": "/root"}, 0, "/var/lib/x"),
        ({"HOME": "/root"}, 0, "/var/lib/fleetwatch"),
        ({"HOME": "/home/a", "XDG_STATE_HOME": "/state"}, 1000, "/state/fleetwatch"),
        ({"HOME": "/home/a"}, 1000, "/home/a/.local/state/fleetwatch"),
    ],
)
def test_where_state_is_kept(environment: dict[str, str], user_id: int, expected: str) -> None:
    assert state_directory(environment, user_id) == Path(expected)


def test_the_metric(tmp_path: Path) -> None:
    collector = ServerInfoCollector(Roots(), ServerInfoOptions(state_directory=str(tmp_path)))
    (sample,) = parse_text(write(collector.collect(), Format.TEXT)).samples

    assert sample.labels.metric_name == "fleetwatch_server_info"
    assert sample.labels.get("server_id") == (tmp_path / FILE).read_text().strip()
    assert sample.labels.get("hostname") == os.uname().nodename
