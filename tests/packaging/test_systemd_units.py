"""The systemd units: systemd understands them, and they give away little."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.components import require

UNITS = sorted((Path(__file__).parents[2] / "configs/systemd").glob("*.service"))
MOST_EXPOSED = 2.0


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_exposure_is_low(unit: Path) -> None:
    command: list[str | Path] = [require("systemd-analyze"), "security", "--offline=true", "--no-pager", unit]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)

    assert level is not None
    assert float(level[1]) <= MOST_EXPOSED


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_line(unit: Path, tmp_path: Path) -> None:
    # The program that the unit names is not installed here.
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.M))
    command: list[str | Path] = [require("systemd-analyze"), "verify", "--man=no", copy]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_host_and_a_server_have_their_unit() -> None:
    assert [unit.name for unit in UNITS] == ["fleetwatch-exporter.service", "fleetwatch.service"]
