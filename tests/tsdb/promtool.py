"""promtool as a second opinion: blocks made of OpenMetrics text, and text of blocks."""

import subprocess
from pathlib import Path

import pytest

from tests.components import require


def make_blocks(text: Path, blocks: Path) -> None:
    """A Prometheus TSDB of an OpenMetrics file."""
    _run("create-blocks-from", "openmetrics", str(text), str(blocks))
    (blocks / "wal").mkdir()  # promtool reads no directory without one


def dump(blocks: Path) -> bytes:
    """All samples of a TSDB as OpenMetrics text; skips where promtool is too old to write it."""
    if "dump-openmetrics" not in _run("--help").decode():
        pytest.skip("this promtool is too old: it has no `tsdb dump-openmetrics`")
    return _run("dump-openmetrics", str(blocks))


def _run(*arguments: str) -> bytes:
    done = subprocess.run([require("promtool"), "tsdb", *arguments], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
