"""`fleetwatch db` over real stores, one of them in use by a running process."""

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest
import typer

from fleetwatch.db_cli import db_app
from tests.disks import mounted
from tests.fleetwatch import db_command
from tests.fleetwatch.db_command import LONG_AGO_MS, SERIES, make_store
from tests.fleetwatch_process import FleetwatchProcess


def test_the_default_path_is_that_of_a_run_without_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "there is no store in data:" in db_command.text("status", status=1)


def test_a_config_file_says_where_the_store_is(tmp_path: Path) -> None:
    config = tmp_path / "fleetwatch.yml"
    config.write_text("storage: {path: elsewhere}\n")
    make_store(tmp_path / "elsewhere")
    assert db_command.answer("status", "--config.file", config)["series"] == SERIES
    said = db_command.text("status", "--config.file", config, "--storage.path", tmp_path / "no", status=1)
    assert f"there is no store in {tmp_path}/no:" in said


def test_the_documentation_names_every_command() -> None:
    text = (Path(__file__).parents[2] / "docs" / "db.md").read_text()
    assert isinstance(group := typer.main.get_command(db_app), typer.core.TyperGroup)
    assert [name for name in group.commands if f"| `db {name}" not in text] == []


# Beside a running process


def test_status_names_the_process_that_has_the_store(fleetwatch_run: FleetwatchProcess) -> None:
    data = fleetwatch_run.directory / "data"
    found = db_command.answer("status", "--storage.path", data)
    assert found["locked_by"] == fleetwatch_run.process.pid
    assert found["series"] > 100
    assert found["targets"] == 2
    assert found["journal_rows"] > 0
    assert found["samples"] > found["series"]
    assert f"process {fleetwatch_run.process.pid}" in db_command.text("status", "--storage.path", data)


def test_check_and_backup_beside_a_running_process(fleetwatch_run: FleetwatchProcess, tmp_path: Path) -> None:
    data = fleetwatch_run.directory / "data"
    assert "all is sound" in db_command.text("check", "--storage.path", data)
    db_command.run("backup", tmp_path / "backup", "--storage.path", data)
    db_command.run("restore", tmp_path / "backup", "--storage.path", tmp_path / "restored")
    assert "all is sound" in db_command.text("check", "--storage.path", tmp_path / "restored")
    assert db_command.answer("status", "--storage.path", tmp_path / "restored")["series"] > 100


@pytest.mark.parametrize("command", ["compact", "import"])
def test_what_writes_is_refused_beside_a_running_process(
    command: str, fleetwatch_run: FleetwatchProcess, tmp_path: Path
) -> None:
    (tmp_path / "samples.om").write_bytes(b"up 1 1\n# EOF\n")
    arguments = [tmp_path / "samples.om"] if command == "import" else []
    said = db_command.text(command, *arguments, "--storage.path", fleetwatch_run.directory / "data", status=1)
    assert f"in use by process {fleetwatch_run.process.pid}" in said
    assert said.count("\n") == 1


# On a store of one's own


def test_status_of_a_store_that_nobody_has(tmp_path: Path) -> None:
    make_store(tmp_path / "data")
    # What a process that was killed leaves: its id, which another process may have by now, and no lock.
    (tmp_path / "data" / "lock").write_text(str(os.getpid()))
    found = db_command.answer("status", "--storage.path", tmp_path / "data")
    assert found["locked_by"] is None
    assert (found["series"], found["targets"], found["journal_rows"]) == (SERIES, 1, 1)
    assert found["samples"] == SERIES * 501
    assert (found["first_ms"], found["last_ms"]) == (LONG_AGO_MS, LONG_AGO_MS + 2 * 10**9)
    assert sum(found["blocks_by_level"].values()) > 0
    assert found["bytes_per_sample"] == pytest.approx((found["bytes_on_disk"] - found["bytes_free"]) / found["samples"])
    shown = db_command.text("status", "--storage.path", tmp_path / "data")
    assert "2023-11-14 22:13:20 to 2023-12-08 01:46:40 UTC" in shown
    assert "nobody" in shown


def test_compact_gives_free_pages_back(tmp_path: Path) -> None:
    make_store(tmp_path / "data", rows=2000)
    before = db_command.answer("status", "--storage.path", tmp_path / "data")
    sizes = db_command.answer("compact", "--storage.path", tmp_path / "data")
    after = db_command.answer("status", "--storage.path", tmp_path / "data")
    assert sizes["bytes_after"] < sizes["bytes_before"]
    assert after["bytes_free"] == 0
    assert after["samples"] == before["samples"]
    assert "all is sound" in db_command.text("check", "--storage.path", tmp_path / "data")


def test_compact_refuses_without_the_room_it_takes(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=20m") as disk:
        make_store(disk / "data", rows=6000)
        status = db_command.answer("status", "--storage.path", disk / "data")
        live = status["bytes_on_disk"] - status["bytes_free"]
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "ballast").write_bytes(bytes(free - int(1.8 * live)))
        said = db_command.text("compact", "--storage.path", disk / "data", status=1)
        assert "fleetwatch.db cannot be shrunk: that takes" in said
        assert "all is sound" in db_command.text("check", "--storage.path", disk / "data")


def test_check_names_what_is_damaged(tmp_path: Path) -> None:
    make_store(tmp_path / "data")
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "fleetwatch.db")) as connection:
        (block_id,) = connection.execute("SELECT min(block_id) FROM blocks").fetchone()
        connection.execute("UPDATE blocks SET end_ms = end_ms + 1 WHERE block_id = ?", (block_id,))
        connection.commit()
    said = db_command.text("check", "--storage.path", tmp_path / "data", status=1)
    assert f"block {block_id} of target 0: its times are" in said
    assert said.endswith("1 finding\n")
    found = db_command.answer("check", "--storage.path", tmp_path / "data", status=1)["findings"]
    assert [finding["place"] for finding in found] == [f"block {block_id} of target 0"]


@pytest.mark.parametrize("arguments", [["status"], ["check"], ["compact"], ["backup", "backup"], ["export", "-"]])
def test_a_directory_without_a_store_is_named_and_left_alone(arguments: list[str], tmp_path: Path) -> None:
    said = db_command.text(*arguments, "--storage.path", tmp_path / "no", status=1)
    assert said == f"fleetwatch: there is no store in {tmp_path}/no: it has no file fleetwatch.db; set --storage.path\n"
    assert not any(tmp_path.iterdir())
