"""kill -9 during appends and sealings: whatever was acknowledged is there afterwards, once."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from common.labels import Labels
from tests.tsdb.loader import SERIES, TARGETS
from tests.tsdb.reading import bits, read
from tsdb.embedded import EmbeddedStore

ROUNDS = 6


@pytest.mark.parametrize("seed", [1, 2])
def test_kill_during_load(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    acknowledged: dict[tuple[int, int], int] = {}
    written: dict[tuple[int, int], set[int]] = {}
    sealed = 0.0
    for number in range(ROUNDS):
        lines = load_and_kill(tmp_path, seed * 100 + number, choose.randrange(50, 1200))
        for kind, target, time_ms, value in lines:
            place = (target, time_ms)
            if kind == "a":
                acknowledged[place] = value
            else:
                written.setdefault(place, set()).add(value)
        store = EmbeddedStore(tmp_path)
        sealed = max(sealed, store.stats()["blocks"])
        found = read(store, [], 0, 10**12)
        store.close()
        for target in range(TARGETS):
            for n in (0, SERIES - 1):
                samples = dict(found[Labels.of(target=str(target), n=str(n))])
                check(samples, target, acknowledged, written)
    assert acknowledged
    assert sealed


def load_and_kill(directory: Path, seed: int, lines: int) -> list[tuple[str, int, int, int]]:
    """What a loader said until it was killed, after so many lines or a few more."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tsdb.loader", directory, str(seed)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    said += process.stdout.read().splitlines(keepends=True)
    process.stdout.close()
    process.wait()
    whole = [line.split() for line in said if line.endswith("\n")]
    assert len(whole) >= lines, "the loader ended by itself"
    return [(kind, int(target), int(time_ms), int(value)) for kind, target, time_ms, value in whole]


def check(
    samples: dict[int, int],
    target: int,
    acknowledged: dict[tuple[int, int], int],
    written: dict[tuple[int, int], set[int]],
) -> None:
    """Every acknowledged sample has its value, or one written over it; nothing else is there."""
    for (of_target, time_ms), value in acknowledged.items():
        if of_target == target:
            assert time_ms in samples, f"lost: target {target} at {time_ms}"
            # Repeated times: the last acknowledged value, or a later one that was stored but not acknowledged.
            later = {number for number in written[of_target, time_ms] if number >= value} | {value}
            assert samples[time_ms] in {bits(number) for number in later}
    extra = samples.keys() - {time_ms for of_target, time_ms in written if of_target == target}
    assert not extra
