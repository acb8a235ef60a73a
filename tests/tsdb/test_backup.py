"""Snapshots: what they hold, what an interrupted one leaves, and what is refused on the way back."""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from common.labels import Labels
from tests.tsdb.reading import bits, read
from tsdb.backup_directories import BackupError
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.database import DATABASE_FILE
from tsdb.embedded.tools.backup import MANIFEST_FILE, back_up, restore
from tsdb.errors import StoreOpenError
from tsdb.model import Batch

SERIES = 20
FAR_FUTURE_MS = 10**12


def no_report(_done: int, _total: int) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "data")
    yield store
    store.close()


class Writer:
    """Writes batch after batch in a thread: the n-th at n seconds, each value n. `acknowledged` is the last one."""

    def __init__(self, store: EmbeddedStore) -> None:
        self.acknowledged = -1
        self.written = -1
        self._store = store
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._target = store.register_target(Labels.of(job="node"))
        names = [Labels.of(__name__="x", n=str(n)) for n in range(SERIES)]
        self._layout = store.layout(store.series_ids(names))

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def reach(self, number: int) -> None:
        """Wait until so many batches are acknowledged."""
        reached = threading.Event()
        leave = self._store.follow(lambda batch: reached.set() if batch.time_ms >= number * 1000 else None)
        assert reached.wait(30)
        leave()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.written += 1
            values = np.full(SERIES, float(self.written))
            self._store.append(Batch(self._target, self._layout, self.written * 1000, values)).result()
            self.acknowledged = self.written


def test_a_backup_beside_a_writer_is_a_prefix_of_what_was_acknowledged(store: EmbeddedStore, tmp_path: Path) -> None:
    with Writer(store) as writer:
        writer.reach(200)
        store.maintain(FAR_FUTURE_MS)  # some of it in blocks
        for number in range(3):
            writer.reach(writer.acknowledged + 100)
            before = writer.acknowledged
            back_up(tmp_path / "data", tmp_path / f"backup{number}", no_report)
            after = writer.written
            restore(tmp_path / f"backup{number}", tmp_path / f"restored{number}", no_report)
            restored = EmbeddedStore(tmp_path / f"restored{number}")
            found = read(restored, [], 0, FAR_FUTURE_MS)
            restored.close()

            assert len(found) == SERIES
            samples = found[Labels.of(__name__="x", n="0")]
            assert samples == [(n * 1000, bits(n)) for n in range(len(samples))]
            assert all(other == samples for other in found.values())
            assert before < len(samples) <= after + 1


def test_the_manifest_says_what_is_there(store: EmbeddedStore, tmp_path: Path) -> None:
    store.append_samples(Labels.of(__name__="x"), [(1000, 1.0)])
    seen: list[tuple[int, int]] = []

    def report(done: int, total: int) -> None:
        assert not (tmp_path / "to" / "backup").exists()
        seen.append((done, total))

    back_up(tmp_path / "data", tmp_path / "to" / "backup", report)

    assert sorted(entry.name for entry in (tmp_path / "to").iterdir()) == ["backup"]
    manifest = json.loads((tmp_path / "to" / "backup" / MANIFEST_FILE).read_text())
    assert manifest["bytes"] == (tmp_path / "to" / "backup" / DATABASE_FILE).stat().st_size
    assert seen[-1] == (2 * manifest["bytes"], 2 * manifest["bytes"])


def test_an_interrupted_backup_leaves_nothing(store: EmbeddedStore, tmp_path: Path) -> None:
    store.append_samples(Labels.of(__name__="x"), [(1000, 1.0)])

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(tmp_path / "data", tmp_path / "backup", interrupt)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data"]


def test_what_is_there_is_not_overwritten(store: EmbeddedStore, tmp_path: Path) -> None:
    store.append_samples(Labels.of(__name__="x"), [(1000, 1.0)])
    backup = tmp_path / "backup"
    backup.mkdir()
    back_up(tmp_path / "data", backup, no_report)
    with pytest.raises(BackupError, match="backup is there already and not an empty directory"):
        back_up(tmp_path / "data", backup, no_report)
    with pytest.raises(BackupError, match="data is there already and not an empty directory"):
        restore(backup, tmp_path / "data", no_report)
    assert read(store, [], 0, 2000)


def test_a_damaged_backup_is_not_restored(store: EmbeddedStore, tmp_path: Path) -> None:
    store.append_samples(Labels.of(__name__="x"), [(1000, 1.0)])
    back_up(tmp_path / "data", tmp_path / "backup", no_report)
    with (tmp_path / "backup" / DATABASE_FILE).open("r+b") as file:
        file.seek(5000)
        file.write(b"x")

    with pytest.raises(BackupError, match=r"fleetwatch\.db is damaged: its checksum is another than the manifest's"):
        restore(tmp_path / "backup", tmp_path / "restored", no_report)
    assert not any((tmp_path / "restored").iterdir())


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "is no backup, or one that was interrupted"),
        ("{", "manifest.json cannot be read"),
        ({"format": "tar"}, "is of format tar 1: this Fleetwatch knows fleetwatch-backup 1"),
        ({"schema_version": 99}, "was made by a newer Fleetwatch: its schema version is 99"),
    ],
)
def test_what_is_no_backup_is_refused(
    manifest: str | dict[str, object] | None, message: str, store: EmbeddedStore, tmp_path: Path
) -> None:
    back_up(tmp_path / "data", tmp_path / "backup", no_report)
    path = tmp_path / "backup" / MANIFEST_FILE
    if manifest is None:
        path.unlink()
    else:
        path.write_text(
            manifest if isinstance(manifest, str) else json.dumps({**json.loads(path.read_text()), **manifest})
        )
    with pytest.raises(BackupError, match=message):
        restore(tmp_path / "backup", tmp_path / "restored", no_report)


def test_there_must_be_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreOpenError, match=r"there is no store in .*: it has no file fleetwatch\.db"):
        back_up(tmp_path, tmp_path / "backup", no_report)
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as connection:
        connection.execute("CREATE TABLE t (a)")
    with pytest.raises(StoreOpenError, match="is an SQLite file, but not a Fleetwatch store"):
        back_up(tmp_path, tmp_path / "backup", no_report)
    assert [entry.name for entry in tmp_path.iterdir()] == [DATABASE_FILE]
