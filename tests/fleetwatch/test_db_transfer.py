"""`fleetwatch db export` and `db import`, in both formats, through files and pipes."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from exposition.openmetrics import parse_openmetrics
from tests.fleetwatch import db_command
from tests.fleetwatch.db_command import SERIES, make_store
from tests.fleetwatch_process import FleetwatchProcess

SAMPLES = SERIES * 501


def piped(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "fleetwatch", "db", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that tests only read."""
    directory = tmp_path_factory.mktemp("store") / "data"
    make_store(directory)
    return directory


@pytest.mark.parametrize("file_format", ["openmetrics", "parquet"])
def test_a_store_moves_through_a_file(file_format: str, data: Path, tmp_path: Path) -> None:
    db_command.run("export", tmp_path / "file", "--format", file_format, "--storage.path", data)
    assert db_command.answer("import", tmp_path / "file", "--storage.path", tmp_path / "other")["samples"] == SAMPLES
    exported = [db_command.run("export", "-", "--storage.path", path) for path in (data, tmp_path / "other")]
    assert exported[0] == exported[1]
    assert exported[0].count(b"\n") == SAMPLES + 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "other"]


def test_through_pipes(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(piped("export", "-", "--format", "parquet", "--storage.path", data).stdout)
    assert db_command.answer("import", tmp_path / "file", "--storage.path", tmp_path / "other")["samples"] == SAMPLES
    text = db_command.run("export", "-", "--storage.path", tmp_path / "other")
    said = piped("import", "-", "--json", "--storage.path", tmp_path / "third", stdin=text).stdout
    assert json.loads(said)["samples"] == SAMPLES


def test_parquet_does_not_come_through_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"PAR1xxxx",))
    writer.start()
    said = db_command.text("import", tmp_path / "pipe", "--storage.path", tmp_path / "data", status=1)
    writer.join()
    assert said == "fleetwatch: Parquet is read from its end, which a pipe does not allow: import a file\n"


def test_selectors_and_times(data: Path) -> None:
    selectors = ["--match", 'x{n="1"}', "--match", 'x{n=~"2|3"}']
    times = ["--start", "2023-11-14T22:13:35Z", "--end", "1700000030"]
    text = db_command.run("export", "-", "--storage.path", data, *selectors, *times)
    found = [(sample.labels.get("n"), sample.time_ms) for sample in parse_openmetrics(text).samples]
    assert found == [(n, time_ms) for n in "123" for time_ms in (1_700_000_015_000, 1_700_000_030_000)]


def test_export_beside_a_running_process(fleetwatch_run: FleetwatchProcess) -> None:
    text = db_command.run("export", "-", "--match", "up", "--storage.path", fleetwatch_run.directory / "data")
    assert len({sample.labels for sample in parse_openmetrics(text).samples}) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "-", "--format", "csv"], "there is no format csv: --format is one of openmetrics, parquet"),
        (["export", "-", "--match", "up{"], "--match up{: "),
        (["export", "-", "--start", "soon"], '--start: cannot parse "soon" to a valid timestamp; write seconds'),
        (["export", "nowhere/file"], "cannot write nowhere/file: No such file or directory"),
        (["import", "nothing"], "cannot read nothing: No such file or directory"),
    ],
)
def test_a_wrong_flag_is_one_line(arguments: list[str], message: str, data: Path) -> None:
    said = db_command.text(*arguments, "--storage.path", data, status=1)
    assert said.startswith(f"fleetwatch: {message}")
    assert said.count("\n") == 1


def test_a_failed_export_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    db_command.run("export", tmp_path / "file", "--storage.path", tmp_path / "nothing", status=1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_link_stays_a_link_and_a_pipe_a_pipe(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    db_command.run("export", tmp_path / "link", "--match", 'x{n="1"}', "--storage.path", data)
    assert (tmp_path / "link").readlink() == Path("file")
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    db_command.run("export", tmp_path / "pipe", "--match", 'x{n="1"}', "--storage.path", data)
    reader.join()
    assert read == [(tmp_path / "file").read_bytes()]
    assert read[0].endswith(b"# EOF\n")
    assert (tmp_path / "pipe").is_fifo()


def test_a_full_disk_is_one_line(data: Path) -> None:
    said = db_command.text("export", "/dev/full", "--storage.path", data, status=1)
    assert said == "fleetwatch: cannot write /dev/full: No space left on device\n"


def test_a_bad_line_is_named_with_what_was_imported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"good 1 1\ngood 2 2\nbad\n")
    said = db_command.text("import", tmp_path / "file", "--storage.path", tmp_path / "data", status=1)
    assert said.startswith(f"fleetwatch: {tmp_path}/file, line 3: column 4: expected a blank and a value")
    assert said.endswith("(the 2 samples before it are in the store)\n")
    assert db_command.run("export", "-", "--storage.path", tmp_path / "data").count(b"good") == 2
