"""A disk that fills up: thresholds over a made-up disk, and a store on a small real one."""

import contextlib
import logging
import os
import time
from pathlib import Path

import numpy as np
import pytest

from common.labels import Labels
from common.matchers import Matcher
from tests.disks import mounted
from tests.tsdb.contract import MINUTE_MS, layout_of, log, metric
from tests.tsdb.reading import read
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.disk_watch import DiskState, DiskThresholds, DiskWatch
from tsdb.embedded.tools.checks import check
from tsdb.errors import WriteRefusedError
from tsdb.model import Batch

FAR_MS = 10**12
LOOKS = 200
LEVELS_MS = (MINUTE_MS, 4 * MINUTE_MS, 12 * MINUTE_MS)
SERIES = 1000


class Disk:
    """1000 blocks of 4096 bytes, 50 of them for root alone."""

    def __init__(self) -> None:
        self.used = 0
        self.looks = 0
        self.now_s = 0.0

    def statvfs(self, path: Path) -> os.statvfs_result:
        self.looks += 1
        free = 1000 - self.used
        return os.statvfs_result((4096, 4096, 1000, free, max(0, free - 50), 0, 0, 0, 0, 255))

    def watch(self, thresholds: DiskThresholds) -> DiskWatch:
        return DiskWatch(Path("data"), thresholds, self.statvfs, lambda: self.now_s)


@pytest.mark.parametrize(
    ("used", "state"),
    [
        (0, DiskState.OK),
        (807, DiskState.OK),
        (808, DiskState.WARN),
        (873, DiskState.WARN),
        (874, DiskState.DROP),
        (921, DiskState.DROP),
        (922, DiskState.REFUSE),
        (1000, DiskState.REFUSE),
    ],
)
def test_states_begin_where_df_says_so(used: int, state: DiskState) -> None:
    disk = Disk()
    disk.used = used
    assert disk.watch(DiskThresholds(85, 92, 97)).look() == state


def test_0_switches_a_state_off() -> None:
    disk = Disk()
    disk.used = 1000
    assert disk.watch(DiskThresholds(85, 92, 0)).look() == DiskState.DROP
    assert disk.watch(DiskThresholds(85, 0, 0)).look() == DiskState.WARN
    assert disk.watch(DiskThresholds(0, 0, 0)).look() == DiskState.OK


def test_each_change_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    watch = disk.watch(DiskThresholds(85, 92, 97))
    with caplog.at_level(logging.INFO):
        for used in (100, 810, 820, 880, 940, 950, 100, 110):
            disk.used = used
            watch.look()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "the disk of data is 85.3 % full: soon the oldest samples will be dropped"),
        ("WARNING", "the disk of data is 92.6 % full: the oldest samples of what is kept shortest are dropped"),
        ("WARNING", "the disk of data is 98.9 % full: new samples are refused until there is room"),
        ("INFO", "the disk of data is 10.5 % full: all is well"),
    ]


def test_appends_look_seldom_and_resume_by_themselves() -> None:
    disk = Disk()
    watch = disk.watch(DiskThresholds(85, 92, 97))
    disk.used = 990
    for _ in range(100):
        assert watch.refusal() is not None
    assert disk.looks == 1
    disk.used = 10
    disk.now_s += 4.9
    assert watch.refusal() is not None
    disk.now_s += 0.1
    assert watch.refusal() is None
    assert disk.looks == 2


def test_what_must_go_brings_it_below_the_threshold() -> None:
    disk = Disk()
    disk.used = 930
    watch = disk.watch(DiskThresholds(85, 92, 97))
    disk.used -= -(-watch.excess_bytes() // 4096)
    assert watch.look() == DiskState.WARN
    assert watch.excess_bytes() == 0


class Life:
    """A store on a small disk: two targets of noise, one of them of a class that is kept shorter."""

    def __init__(self, disk: Path, thresholds: DiskThresholds) -> None:
        self.noise = np.random.default_rng(1)
        self.ballast = disk / "ballast"
        self.thresholds = thresholds
        self.minute = 0
        self.open()

    def open(self) -> None:
        classes = [([Matcher.equal("job", "ci")], 5000 * MINUTE_MS)]
        self.store = EmbeddedStore(
            self.ballast.parent / "data",
            retention_ms=9000 * MINUTE_MS,
            retention_classes=classes,
            disk=self.thresholds,
            levels_ms=LEVELS_MS,
            sealing_delay_ms=0,
        )
        self.layouts = {
            self.store.register_target(Labels.of(job=job)): layout_of(
                self.store, *(metric("x", n=str(n), job=job) for n in range(SERIES))
            )
            for job in ("ci", "node")
        }

    def write_minutes(self, count: int) -> None:
        for _ in range(count):
            for target, layout in self.layouts.items():
                for second in range(0, 60, 5):
                    time_ms = self.minute * MINUTE_MS + second * 1000
                    self.store.append(Batch(target, layout, time_ms, self.noise.normal(size=SERIES))).result()
            self.minute += 1
            self.store.maintain(self.minute * MINUTE_MS)

    def fill(self, share: float) -> None:
        """Somebody else takes so much of the disk that this share is used."""
        self.ballast.unlink(missing_ok=True)
        disk = os.statvfs(self.ballast.parent)
        self.ballast.write_bytes(bytes(int((share * disk.f_blocks - (disk.f_blocks - disk.f_bfree)) * disk.f_frsize)))

    def times(self, job: str) -> list[int]:
        found = read(self.store, [Matcher.equal("job", job)], 0, FAR_MS)
        (times,) = {tuple(ms for ms, _ in samples) for samples in found.values()} or {()}
        return list(times)


def test_a_small_disk_drops_the_oldest_of_the_shortest_class(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=48m") as disk:
        life = Life(disk, DiskThresholds(80, 85, 95))
        life.write_minutes(30)
        life.store.close()  # which leaves no WAL: what goes now are samples
        life.open()
        with contextlib.closing(life.store):
            every_time = life.times("node")
            assert life.times("ci") == every_time
            life.fill(0.89)
            for _ in range(LOOKS):
                life.store.maintain(life.minute * MINUTE_MS)
                if life.store.stats()["disk_state"] < DiskState.DROP:
                    break
                time.sleep(0.05)  # until the thread of the checkpoints has cut the file
            assert life.store.stats()["disk_used_ratio"] < 0.85
            assert life.times("node") == every_time
            left = life.times("ci")
            assert left == every_time[-len(left) :]
            assert 12 <= len(left) < len(every_time)
        assert check(disk / "data", lambda done, total: None).findings == []


def test_a_full_disk_keeps_the_newest_and_refuses(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=48m") as disk:
        life = Life(disk, DiskThresholds(80, 85, 95))
        with contextlib.closing(life.store):
            life.write_minutes(3)
            for _ in range(5):
                life.fill(0.98)
                life.store.maintain(life.minute * MINUTE_MS)
            assert life.store.stats()["disk_state"] == DiskState.REFUSE
            refused = life.store.stats()["batches_refused_total"]
            with pytest.raises(
                WriteRefusedError, match=r"the disk of .*data is 9.\.. % full, .* make room, or shorten"
            ):
                life.write_minutes(1)
            assert life.store.stats()["batches_refused_total"] == refused + 1
            with pytest.raises(WriteRefusedError, match="nothing was stored"):
                life.store.append_logs([log("x", 1)]).result()
            assert life.times("node")[-12:] == [life.minute * MINUTE_MS - ms for ms in range(60_000, 0, -5000)]
            life.ballast.unlink()
            life.store.maintain(life.minute * MINUTE_MS)
            life.write_minutes(1)
            assert life.store.stats()["disk_state"] == DiskState.OK
        assert check(disk / "data", lambda done, total: None).findings == []
