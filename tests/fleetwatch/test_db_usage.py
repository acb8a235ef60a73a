"""`fleetwatch db usage`, beside a running process and alone."""

import contextlib
import time
from pathlib import Path

import yaml

from common.labels import Labels
from common.matchers import Matcher
from tests.fleetwatch import db_command
from tests.fleetwatch_process import FleetwatchProcess
from tsdb.embedded import EmbeddedStore


def make_store(directory: Path) -> None:
    with contextlib.closing(EmbeddedStore(directory)) as store:
        for name, count in (("large", 5), ("dotted.name", 3), ("read", 9), ("up", 2)):
            for number in range(count):
                store.append_samples(Labels.of(__name__=name, n=str(number)), [(1000, 1.0)])
        store.select([Matcher.equal("__name__", "read")], 0, 2000)


def test_unread_metrics_come_first_with_a_rule(tmp_path: Path) -> None:
    make_store(tmp_path / "data")
    shown = db_command.text("usage", "--storage.path", tmp_path / "data")
    table, rule = shown.split("\n\n")
    heading, *rows = [line.split() for line in table.splitlines()]
    assert heading[:2] == ["metric", "series"]
    assert [row[:4] for row in rows[:3]] == [
        ["large", "5", "0", "never"],
        ["dotted.name", "3", "0", "never"],
        ["up", "2", "0", "never"],
    ]
    assert rows[3][:3] == ["read", "9", "1"]
    assert "# Nobody has read these for 30d" in rule
    assert "# Mind that reads are counted only since 20" in rule
    assert yaml.safe_load(rule) == {
        "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": r"dotted\.name|large", "action": "drop"}]
    }


def test_as_json(tmp_path: Path) -> None:
    make_store(tmp_path / "data")
    found = db_command.answer("usage", "--limit", "1", "--storage.path", tmp_path / "data")
    assert found["metrics"] == [{"name": "large", "series": 5, "reads": 0, "last_read_ms": None, "unused": True}]
    assert found["drop_rule"]["regex"] == "large"
    assert abs(found["counted_since_ms"] - time.time() * 1000) < 600_000


def test_a_longer_count_needs_no_warning(tmp_path: Path) -> None:
    make_store(tmp_path / "data")
    shown = db_command.text("usage", "--unused-for", "0s", "--storage.path", tmp_path / "data")
    assert "Mind" not in shown
    assert r"  regex: dotted\.name|large|read" in shown


def test_a_store_where_all_is_read_has_no_rule(tmp_path: Path) -> None:
    with contextlib.closing(EmbeddedStore(tmp_path / "data")) as store:
        store.append_samples(Labels.of(__name__="read"), [(1000, 1.0)])
        store.select([Matcher.equal("__name__", "read")], 0, 2000)
    assert "metric_relabel_configs" not in db_command.text("usage", "--storage.path", tmp_path / "data")
    assert db_command.answer("usage", "--storage.path", tmp_path / "data")["drop_rule"] is None


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    said = db_command.text("usage", "--unused-for", "soon", "--storage.path", tmp_path, status=1)
    assert said.startswith("fleetwatch: --unused-for: ")
    assert said.count("\n") == 1
    assert "there is no store in" in db_command.text("usage", "--storage.path", tmp_path, status=1)


def test_beside_a_running_process(fleetwatch_run: FleetwatchProcess) -> None:
    data = fleetwatch_run.directory / "data"
    found = db_command.answer("usage", "--limit", "0", "--storage.path", data)
    assert len(found["metrics"]) > 100
    live = fleetwatch_run.api("fleetwatch/usage")
    assert {metric["name"] for metric in live["metrics"]} >= {metric["name"] for metric in found["metrics"]}
    assert {metric["name"]: metric["reads"] for metric in live["metrics"]}["up"] >= 1
    counts = fleetwatch_run.api("status/tsdb", limit="5")
    assert counts["headStats"]["numSeries"] > 100
    assert len(counts["fleetwatch"]["seriesCountByTarget"]) == 2
