"""The rule packs: Prometheus takes them, and the metrics of our own in them exist."""

import contextlib
import re
import subprocess
from pathlib import Path

import pytest

from tests.components import require
from tsdb import open_store
from tsdb.timescale.options import Options

RULES = sorted((Path(__file__).parents[2] / "configs" / "rules").glob("*.yml"))
OWN = re.compile(r"fleetwatch_tsdb_(\w+)")


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.name)
def test_promtool_takes_them(file: Path) -> None:
    done = subprocess.run([require("promtool"), "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_metric_of_a_store_in_a_database_exists(tmp_path: Path) -> None:
    away = Options(spool=tmp_path / "spool", start_without=True)
    with contextlib.closing(open_store("postgresql://127.0.0.1:1/d", timescale=away)) as store:
        names = store.stats().keys()
    used = {name for file in RULES for name in OWN.findall(file.read_text())}
    assert len(used) >= 7
    assert used - names == set()
