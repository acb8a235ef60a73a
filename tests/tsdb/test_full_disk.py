"""A disk that fills up and is freed again at any moment: refusals are clear, reads go on, nothing stored is lost."""

import contextlib
import os
import random
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disks import fill, mounted
from tests.tsdb.crash_model import Model
from tests.tsdb.crash_workload import RETENTION_MS, Write, open_small, writes
from tests.tsdb.crash_writer import batch_of
from tests.tsdb.reading import read
from tsdb.errors import StoreOpenError, WriteRefusedError
from tsdb.model import Layout

START_MS = 1_700_000_000_000
ALWAYS_MS = 10**18


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "size=16m") as disk:
        yield disk


class Life:
    """A store on a small disk, and what it must hold."""

    def __init__(self, disk: Path, seed: int) -> None:
        self.choose = random.Random(seed)
        self.ballast = disk / "ballast"
        self.directory = disk / "data"
        self.store = open_small(self.directory)
        self.model = Model()
        self.writes = writes(seed, START_MS)
        self.layouts: dict[tuple[object, ...], Layout] = {}
        self.refused_writes = self.refused_maintenance = 0
        self.messages: set[str] = set()

    def write(self) -> Write:
        """Append a batch, which is stored whole or refused in one clear line."""
        write = next(self.writes)
        try:
            self.store.append(batch_of(self.store, self.layouts, write)).result()
            self.model.write(write)
        except WriteRefusedError as error:
            self.messages.add(str(error))
            self.refused_writes += 1
        return write

    def maintain(self, now_ms: int) -> None:
        """Seal, merge and remove, as far as there is room."""
        self.model.expire(now_ms - RETENTION_MS)
        try:
            self.store.maintain(now_ms)
        except WriteRefusedError as error:
            self.messages.add(str(error))
            self.refused_maintenance += 1

    def check(self) -> None:
        """All that was not refused can be read, and nothing else."""
        assert self.model.difference(read(self.store, [], -ALWAYS_MS, ALWAYS_MS)) is None

    def fill(self, left_bytes: int) -> None:
        """Leave so much room and no more."""
        self.free()
        fill(self.ballast)
        os.truncate(self.ballast, max(0, self.ballast.stat().st_size - left_bytes))

    def free(self) -> None:
        """Make room."""
        self.ballast.unlink(missing_ok=True)

    def wait_for_room(self) -> None:
        """Until the WAL, which may fill the disk by itself, has been emptied into the database."""
        deadline = time.monotonic() + 10
        refused = -1
        while refused != self.refused_writes + self.refused_maintenance:
            assert time.monotonic() < deadline, self.messages
            refused = self.refused_writes + self.refused_maintenance
            self.maintain(self.write().now_ms)

    def reopen(self) -> None:
        """Close as things are, and open with room."""
        self.store.close()
        self.free()
        self.layouts.clear()
        self.store = open_small(self.directory)


@pytest.mark.parametrize("seed", range(4))
def test_full_now_and_then(disk: Path, seed: int) -> None:
    """While batches come in, windows are sealed and merged, and the store is closed and opened."""
    life = Life(disk, seed)
    choose = life.choose
    for number in range(400):
        if number % 25 == 10:
            life.fill(4096 * choose.choice([0, 1, 2, 5, 10, 20, 50, 100]))
        if number % 25 == 0:
            life.free()
        write = life.write()
        if choose.random() < 0.2:
            life.maintain(write.now_ms)
        if choose.random() < 0.1:
            life.check()
        if number in (85, 185):
            life.reopen()
    assert life.refused_writes
    assert life.refused_maintenance
    path = life.directory / "fleetwatch.db"
    assert life.messages == {f"nothing was stored: the disk of {path} is full; writing goes on once there is room"}
    life.free()
    life.wait_for_room()
    refused = life.refused_writes, life.refused_maintenance
    write = life.write()
    life.maintain(write.now_ms)
    life.check()
    life.reopen()
    life.check()
    life.write()
    assert (life.refused_writes, life.refused_maintenance) == refused
    life.store.close()
    integrity(life.directory)


def integrity(directory: Path) -> None:
    """What SQLite says of a file that nobody has open."""
    with contextlib.closing(sqlite3.connect(directory / "fleetwatch.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_opened_on_a_full_disk(disk: Path) -> None:
    """It opens, or says why not; nothing is lost either way."""
    life = Life(disk, 7)
    for _ in range(100):
        write = life.write()
    life.maintain(write.now_ms)
    opened = []
    for pages in (0, 1, 4, 8, 9, 12, 40):
        life.store.close()
        life.fill(4096 * pages)
        life.layouts.clear()
        try:
            life.store = open_small(life.directory)
            opened.append(pages)
            life.check()
            life.write()
        except StoreOpenError as error:
            life.messages.add(str(error))
            life.free()
            life.store = open_small(life.directory)
        life.free()
        life.write()
        life.check()
    life.store.close()
    assert opened
    assert len(opened) < 7
    unclear = {message for message in life.messages if not re.search(r"disk of .* is full|its disk is full", message)}
    assert not unclear


def test_closed_on_a_full_disk(disk: Path) -> None:
    """What finds no room in the database stays in the -wal file for the next process."""
    life = Life(disk, 8)
    for _ in range(5):
        for _ in range(40):
            write = life.write()
        life.fill(0)
        life.reopen()
        life.check()
        life.maintain(write.now_ms)
    assert not life.messages
    life.store.close()


def test_new_on_a_full_disk(disk: Path) -> None:
    fill(disk / "ballast")
    with pytest.raises(StoreOpenError, match=r"No space left on device|disk is full"):
        open_small(disk / "data")
    (disk / "ballast").unlink()
    open_small(disk / "data").close()
