"""kill -9 at every statement of a delete: all of its samples are hidden or none, and what is gone stays gone."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tsdb.delete_crash_data import DELETED_END_MS, LEVELS_MS, NOW_MS, make
from tests.tsdb.reading import Samples, read
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.tools.checks import check

FAR_MS = 10**12
STEP = 17
"""So many statements lie between two kills, and between those of one start and the next."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "store"
    make(directory)
    return directory


@pytest.fixture(scope="module")
def writer() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.tsdb.delete_crash_writer"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        yield process


def opened(directory: Path) -> contextlib.closing[EmbeddedStore]:
    return contextlib.closing(EmbeddedStore(directory, levels_ms=LEVELS_MS, sealing_delay_ms=0))


def without_deleted(samples: Samples) -> Samples:
    left = {
        labels: [(ms, value) for ms, value in kept if labels.metric_name != "x" or ms > DELETED_END_MS]
        for labels, kept in samples.items()
    }
    return {labels: kept for labels, kept in left.items() if kept}


@pytest.mark.parametrize("start", [0, STEP // 2])
def test_kill_at_every_statement(made: Path, writer: subprocess.Popen[str], tmp_path: Path, start: int) -> None:
    assert writer.stdin is not None
    assert writer.stdout is not None
    with opened(shutil.copytree(made, tmp_path / "whole")) as store:
        whole = read(store, [], 0, FAR_MS)
    number, ended, kills = start, "killed", 0
    while ended == "killed":
        directory = shutil.copytree(made, tmp_path / str(number))
        writer.stdin.write(f"{directory} {number}\n")
        acknowledged, ended = writer.stdout.readline().split()
        kills += ended == "killed"
        with opened(directory) as store:
            found = read(store, [], 0, FAR_MS)
            assert found == without_deleted(whole) or (acknowledged == "not" and found == whole), number
            deletions = store.deletions()
            store.maintain(NOW_MS)
            assert read(store, [], 0, FAR_MS) == found
            if found == whole:
                assert deletions == []
        assert check(directory, lambda done, total: None).findings == []
        with opened(directory) as store:
            assert read(store, [], 0, FAR_MS) == found
            store.clean_tombstones()
            store.maintain(3 * NOW_MS)
            store.maintain(3 * NOW_MS)
            assert store.deletions() == []
            assert read(store, [], 0, FAR_MS) == found
        shutil.rmtree(directory)
        number += STEP
    assert ended == "done"
    assert kills > 5
