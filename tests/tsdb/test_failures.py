"""A full disk and a directory that cannot be written: refused in one line, and all goes on afterwards."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from common.labels import Labels
from tests.disks import fill, mounted
from tests.tsdb.contract import layout_of, metric, write
from tests.tsdb.reading import bits, read
from tsdb.embedded import EmbeddedStore
from tsdb.errors import StoreOpenError, WriteRefusedError


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "size=3m") as disk:
        yield disk


def test_full_disk(small_disk: Path) -> None:
    store = EmbeddedStore(small_disk / "data", levels_ms=(60_000, 240_000), sealing_delay_ms=0)
    target = store.register_target(Labels.of(job="node"))
    names = [metric("x", n=str(n)) for n in range(100)]
    layout = layout_of(store, *names)
    random = np.random.default_rng(3)
    kept = [row for row in range(20) if write(store, target, layout, row * 1000, [row] * 100).result() is None]

    ballast = small_disk / "ballast"
    fill(ballast)
    messages = set()
    refused = 0
    for row in range(20, 420):
        noise = random.normal(size=100).tolist()
        try:
            write(store, target, layout, row * 1000, noise).result()
            kept.append(row)
        except WriteRefusedError as error:
            messages.add(str(error))
            refused += 1
    path = small_disk / "data" / "fleetwatch.db"
    assert messages == {f"nothing was stored: the disk of {path} is full; writing goes on once there is room"}
    with pytest.raises(WriteRefusedError, match="is full"):
        store.maintain(10**9)
    # A series that is first met while the disk is full, and one that is met again.
    fresh = metric("fresh")
    with pytest.raises(WriteRefusedError):
        store.append_samples(fresh, [(1000, 1.0)])
    found = read(store, [], 0, 10**9)
    assert fresh not in found
    assert [ms // 1000 for ms, _ in found[names[0]]] == kept
    assert store.stats()["batches_refused_total"] == refused + 1

    ballast.unlink()
    write(store, target, layout, 1_000_000, [7] * 100).result()
    store.append_samples(fresh, [(1000, 1.0)])
    store.maintain(10**9)
    store.close()
    store = EmbeddedStore(small_disk / "data")
    found = read(store, [], 0, 10**9)
    assert [ms // 1000 for ms, _ in found[names[99]]] == [*kept, 1000]
    assert found[names[99]][-1] == (1_000_000, bits(7))
    assert found[fresh] == [(1000, bits(1))]
    store.close()


def test_read_only_directory(tmp_path: Path) -> None:
    """On a read-only mount, which refuses root too."""
    with mounted(tmp_path / "disk", "ro") as disk:
        for directory in (disk, disk / "data"):
            with pytest.raises(StoreOpenError, match=r"cannot use .* as data directory: Read-only file system$"):
                EmbeddedStore(directory)
