"""`fleetwatch db delete` and `db undelete` on a store of one's own, and beside a running process."""

from pathlib import Path

import pytest

from tests.fleetwatch import db_command
from tests.fleetwatch.db_command import LONG_AGO_MS, SERIES, make_store
from tests.fleetwatch_process import FleetwatchProcess


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make_store(tmp_path / "data", rows=100)
    return tmp_path / "data"


def samples(data: Path) -> int:
    exported = db_command.run("export", "-", "--storage.path", data)
    return sum(not line.startswith(b"#") for line in exported.splitlines())


def test_what_is_deleted_is_hidden_listed_and_brought_back(data: Path) -> None:
    before = samples(data)
    end = str(LONG_AGO_MS / 1000 + 15 * 49)
    wish: list[str | Path] = [
        "delete",
        "--match",
        'x{n="3"}',
        "--match",
        'x{n="4"}',
        "--end",
        end,
        "--storage.path",
        data,
    ]
    assert db_command.answer(*wish, "--dry-run") == {"series": 2, "samples": 100}
    assert samples(data) == before
    done = db_command.answer(*wish, "--yes")
    assert (done["id"], done["series"], done["samples"]) == (1, 2, 100)
    assert samples(data) == before - 100
    assert db_command.answer(*wish, "--yes") == {"series": 0, "samples": 0}
    (listed,) = db_command.answer("undelete", "--storage.path", data)
    assert listed == {**done, "match": ['{__name__="x",n="3"}', '{__name__="x",n="4"}']}
    assert "1: 100 samples of 2 series" in db_command.text("undelete", "--storage.path", data)
    assert db_command.answer("undelete", "1", "--storage.path", data) == {"series": 2, "samples": 100}
    assert samples(data) == before
    assert "nothing that was deleted" in db_command.text("undelete", "--storage.path", data)
    assert "there is no delete 1" in db_command.text("undelete", "1", "--storage.path", data, status=1)


def test_it_asks_first(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer_no(question: str, **_: object) -> bool:
        asked.append(question)
        raise SystemExit(1)

    monkeypatch.setattr("typer.confirm", answer_no)
    db_command.run("delete", "--match", "x", "--storage.path", data, status=1)
    assert asked == [f"Delete {101 * SERIES:,} samples of {SERIES} series?"]
    assert samples(data) == 101 * SERIES


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--match", "x{"], "--match x{: 1:3: parse error: unexpected end of input inside braces"),
        (["--match", "x", "--start", "noon"], '--start: cannot parse "noon" to a valid timestamp; write seconds'),
    ],
)
def test_a_wrong_flag_is_named(data: Path, arguments: list[str], fault: str) -> None:
    assert fault in db_command.text("delete", *arguments, "--storage.path", data, status=1)


def test_a_running_process_is_to_be_asked_instead(fleetwatch_run: FleetwatchProcess) -> None:
    data = fleetwatch_run.directory / "data"
    said = db_command.text("delete", "--match", "up", "--yes", "--storage.path", data, status=1)
    assert f"in use by process {fleetwatch_run.process.pid}" in said
    assert "POST /api/v1/admin/tsdb/delete_series" in said
    assert db_command.answer("delete", "--match", "up", "--dry-run", "--storage.path", data)["series"] == 2
    said = db_command.text("undelete", "1", "--storage.path", data, status=1)
    assert "POST /api/v1/fleetwatch/deletions/1/undo" in said
