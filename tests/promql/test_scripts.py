"""Runs the PromQL scripts: our own, to the last digits, and Prometheus's, where they are at hand.

Our own lie beside this file. Prometheus's are data of its project and no part of this repository: the folder is named
by FLEETWATCH_PROMQLTEST, else looked for beside the checkout. What needs native histograms or start timestamps is
counted apart.
"""

import os
import sys
from pathlib import Path

import pytest

from promql.testing import run_file
from promql.testing.__main__ import format_failure, summary

HERE = Path(__file__).parent
OWN_SCRIPTS = sorted(HERE.glob("*.test"))
FOREIGN_FOLDER = Path(os.environ.get("FLEETWATCH_PROMQLTEST") or HERE.parents[1].parent / "shared" / "promqltest")
FOREIGN_SCRIPTS = sorted(FOREIGN_FOLDER.glob("*.test"))


@pytest.mark.parametrize("path", OWN_SCRIPTS, ids=lambda path: path.stem)
def test_own_script(path: Path) -> None:
    report = run_file(path, exact=True)
    assert report.passed > 0
    assert not report.failed, "\n".join(format_failure(path, failure) for failure in report.failed)


@pytest.mark.skipif(not FOREIGN_SCRIPTS, reason=f"no Prometheus scripts in {FOREIGN_FOLDER}")
@pytest.mark.parametrize("path", FOREIGN_SCRIPTS, ids=lambda path: path.stem)
def test_prometheus_script(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run_file(path, skip_unsupported=True)
    with capsys.disabled():
        sys.stdout.write(f"\n{summary(report)}")
    assert not report.failed, "\n".join(format_failure(path, failure) for failure in report.failed)
