"""A power cut: the store opens, and holds a beginning of what was written, whole batches all of them.

Two ways to cut. One copies the files of a live store and damages the end of the -wal file. The other runs a writer
under strace and rebuilds what the disk could hold at any moment: what was synced, and any part of the rest.
"""

import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from common.labels import Labels
from tests.components import missing
from tests.tsdb.crash_model import Model
from tests.tsdb.crash_trace import COMMAND, Disk, Event, read_trace
from tests.tsdb.crash_workload import RETENTION_MS, Write, open_small, writes
from tests.tsdb.crash_writer import Orders, batch_of, encode
from tests.tsdb.reading import Samples, read
from tsdb.embedded.database import Durability
from tsdb.model import Layout

START_MS = 1_700_000_000_000
ALWAYS_MS = 10**18
SEED = int(os.environ.get("FLEETWATCH_CRASH_SEED", "1"))
CUTS = int(os.environ.get("FLEETWATCH_POWER_CUTS", "60"))


def stored_batches(found: Samples) -> int:
    """How many of the batches of a workload are stored, by the greatest number in what was found."""
    values = (struct.unpack("<d", struct.pack("<Q", value))[0] for samples in found.values() for _, value in samples)
    return int(max((value for value in values if value < 10**9), default=0)) // 16


def check(directory: Path, written: Sequence[Write], stored_range: range, horizon_ms: int, maintained: bool) -> int:
    """Open what a power cut left; how many batches are in it, which are the first ones and nothing else."""
    store = open_small(directory)
    found = read(store, [], -ALWAYS_MS, ALWAYS_MS)
    stored = stored_batches(found)
    assert stored in stored_range
    model = Model()
    model.horizon_ms = horizon_ms
    for write in written[:stored]:
        model.write(write)
    assert model.difference(found) is None
    # And it can go on.
    store.append_samples(written[0].series[0], [(START_MS, 1.0)])
    if maintained:
        store.maintain(written[-1].now_ms)
    store.close()
    return stored


# Damage


def wal_end(path: Path) -> tuple[int, int]:
    """The generation of a -wal file and where its last commit ends (https://www.sqlite.org/fileformat2.html#walformat).

    For a file that is whole; frames from before it was last begun anew are told by their salts.
    """
    content = path.read_bytes()
    if len(content) < 32:
        return 0, 0
    numbers: tuple[int, ...] = struct.unpack(">6I", content[:24])
    _, _, page_bytes, generation, salt_1, salt_2 = numbers
    end = 32
    for start in range(32, len(content), 24 + page_bytes):
        _, database_pages, *salts = struct.unpack(">4I", content[start : start + 16])
        if salts != [salt_1, salt_2]:
            break
        if database_pages:
            end = start + 24 + page_bytes
    return generation, end


def synced_end(directory: Path) -> int:
    """Up to where the -wal file was synced for a checkpoint (https://www.sqlite.org/walformat.html, CkptInfo)."""
    shm = (directory / "fleetwatch.db-shm").read_bytes()
    wal = (directory / "fleetwatch.db-wal").read_bytes()
    frames = max(int.from_bytes(shm[at : at + 4], sys.byteorder) for at in (96, 128))
    return 32 + frames * (24 + int.from_bytes(wal[8:12], "big"))


@pytest.mark.parametrize("number", range(-(-CUTS // 10)))
def test_damaged_end_of_the_wal(tmp_path: Path, number: int) -> None:
    choose = random.Random(SEED * 1_000_003 + number)
    store = open_small(tmp_path / "data")
    layouts: dict[tuple[object, ...], Layout] = {}
    wal = tmp_path / "data" / "fleetwatch.db-wal"
    written: list[Write] = []
    ends: list[tuple[int, int]] = []
    horizon_ms = 0
    for write in islice(writes(choose.randrange(2**32), START_MS), choose.randrange(20, 150)):
        store.append(batch_of(store, layouts, write)).result()
        written.append(write)
        ends.append(wal_end(wal))
        if choose.random() < 0.1:
            store.maintain(write.now_ms)
            horizon_ms = write.now_ms - RETENTION_MS
    shutil.copytree(tmp_path / "data", tmp_path / "left")
    generation, end = wal_end(tmp_path / "left" / "fleetwatch.db-wal")
    synced = synced_end(tmp_path / "data")
    store.close()
    for copy in range(10):
        directory = tmp_path / f"copy{copy}"
        shutil.copytree(tmp_path / "left", directory)
        (directory / "fleetwatch.db-shm").unlink()
        damaged = choose.randint(min(synced, end), end)
        damage(directory / "fleetwatch.db-wal", damaged, choose)
        safe = sum(began < generation or ended <= damaged for began, ended in ends)
        check(directory, written, range(safe, safe + 1), horizon_ms, maintained=copy == 0)


def damage(wal: Path, offset: int, choose: random.Random) -> None:
    """Cut the file off, or change a byte or all that follow."""
    content = bytearray(wal.read_bytes())
    match choose.randrange(4):
        case 0:
            del content[offset:]
        case 1 if offset < len(content):
            content[offset] ^= 1 << choose.randrange(8)
        case 2:
            content[offset:] = bytes(len(content) - offset)
        case _:
            content[offset:] = choose.randbytes(len(content) - offset)
    wal.write_bytes(content)


@pytest.mark.parametrize(
    ("how", "durability", "warned"),
    [
        ("power", "normal", True),
        ("power", "full", False),
        ("killed", "normal", False),
        ("closed", "normal", False),
    ],
)
def test_what_was_lost_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str, durability: Durability, warned: bool
) -> None:
    """Where the machine stopped under a store, and not where the store was closed, or its process alone ended."""
    store = open_small(tmp_path / "data", durability)
    store.append_samples(Labels.of(__name__="x"), [(START_MS, 1.0)])
    if how == "closed":
        store.close()
    shutil.copytree(tmp_path / "data", tmp_path / "left")
    store.close()
    lock = tmp_path / "left" / "lock"
    if how == "power":
        # As the machine's next start finds it: with the boot id of the last one.
        pid, _ = lock.read_text().split()
        lock.write_text(f"{pid} 00000000-0000-4000-8000-000000000000")
    open_small(tmp_path / "left", durability).close()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == warned
    if warned:
        assert "the machine stopped while the store was open: what was written in the last moments" in said[0]
        assert "2023-11-14T22:13:20" in said[0]


# A disk that loses what was not synced


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_writes_that_were_not_synced(tmp_path: Path, durability: Durability) -> None:
    """With `full`, not one acknowledged batch is lost."""
    choose = random.Random(SEED)
    orders = Orders(str(tmp_path / "data"), choose.randrange(2**32), START_MS, 250, None, False, durability)
    written = list(islice(writes(orders.seed, orders.now_ms), 250))
    events = traced(tmp_path, orders)
    moments = set(choose.sample(range(len(events)), CUTS))
    disk = Disk(Path(orders.directory))
    acknowledged = acknowledged_before_sync = safe = 0
    horizon_ms = -ALWAYS_MS
    lost = 0
    for moment, event in enumerate(events):
        disk.take(event)
        if event.kind == "said":
            kind, _, text = event.data.decode().strip().partition(" ")
            acknowledged = int(text) if kind == "a" else acknowledged
            horizon_ms = int(text) - RETENTION_MS if kind == "m" else horizon_ms
        elif event.file.endswith("-wal"):
            acknowledged_before_sync = acknowledged if event.kind == "sync" else acknowledged_before_sync
            safe = acknowledged_before_sync if event.kind == "synced" else safe
        if moment in moments:
            directory = tmp_path / f"cut{moment}"
            disk.cut(directory, choose)
            at_least = acknowledged if durability == "full" else safe
            stored_range = range(at_least, len(written) + 1)
            stored = check(directory, written, stored_range, horizon_ms, maintained=choose.random() < 0.1)
            lost += max(0, acknowledged - stored)
            shutil.rmtree(directory)
    assert acknowledged == len(written)
    assert bool(lost) == (durability == "normal")


def traced(directory: Path, orders: Orders) -> list[Event]:
    """What a writer does until it has closed its store."""
    if shutil.which("strace") is None:
        missing("strace is not installed: apt-get install strace")
    trace = directory / "trace"
    command = [*COMMAND, "-o", str(trace), sys.executable, "-m", "tests.tsdb.crash_writer"]
    done = subprocess.run(command, input=encode(orders), capture_output=True, check=False)
    if b"ptrace" in done.stderr:
        missing(f"strace may not watch processes here: {done.stderr.decode().strip()}")
    assert done.stdout.splitlines()[-1] == b"x 0", done
    return read_trace(trace, Path(orders.directory))
