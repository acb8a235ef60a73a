"""The file system of a store is watched, so that its end comes in steps: a warning, then the oldest samples go, and at
last new ones are refused, while reads go on.

How full it is, is what `df` says: of the bytes that are used or free for an ordinary user, the share that is used.
"""

import enum
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

_INTERVAL_S = 5.0
"""At most so often an append looks."""

# Of what is free, a step takes one part at most.
_STEPS = 4
_LEAST_STEP_BYTES = 1024 * 1024


class DiskState(enum.IntEnum):
    """What is done about the disk. Numbers are the values of the metric."""

    OK = 0
    WARN = 1
    DROP = 2
    REFUSE = 3


@dataclass(frozen=True, slots=True)
class DiskThresholds:
    """From which per cent of the file system on each state begins; 0 is never."""

    warn: float = 85
    drop: float = 92
    refuse: float = 97

    def state(self, used_per_cent: float) -> DiskState:
        """The state at some per cent."""
        for state, begins in (
            (DiskState.REFUSE, self.refuse),
            (DiskState.DROP, self.drop),
            (DiskState.WARN, self.warn),
        ):
            if begins and used_per_cent >= begins:
                return state
        return DiskState.OK


NO_WATCH = DiskThresholds(0, 0, 0)
"""Fills the disk to its end."""


class DiskWatch:
    """Watches the file system of a directory. Thread-safe. Each change of the state is one line in the log."""

    def __init__(
        self,
        directory: Path,
        thresholds: DiskThresholds,
        statvfs: Callable[[Path], os.statvfs_result] = os.statvfs,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._thresholds = thresholds
        self._statvfs = statvfs
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looked_at_s = -_INTERVAL_S
        self.state = DiskState.OK
        self.used_per_cent = 0.0

    def figures(self) -> dict[str, float]:
        """For `Store.stats`."""
        return {"disk_state": float(self.state), "disk_used_ratio": self.used_per_cent / 100}

    def look(self) -> DiskState:
        """Look now."""
        disk = self._statvfs(self._directory)
        used = disk.f_blocks - disk.f_bfree
        with self._lock:
            self._looked_at_s = self._monotonic()
            self.used_per_cent = 100 * used / max(1, used + disk.f_bavail)
            before, self.state = self.state, self._thresholds.state(self.used_per_cent)
        if self.state != before:
            level = logging.WARNING if self.state > before else logging.INFO
            log.log(
                level, "the disk of %s is %.1f %% full: %s", self._directory, self.used_per_cent, self._consequence()
            )
        return self.state

    def refusal(self) -> str | None:
        """Why nothing is stored now, and what to do; None where it is. Looks, unless that was seconds ago."""
        if self._monotonic() - self._looked_at_s >= _INTERVAL_S:
            self.look()
        if self.state < DiskState.REFUSE:
            return None
        return (
            f"nothing was stored: the disk of {self._directory} is {self.used_per_cent:.1f} % full, and from "
            f"{self._thresholds.refuse:g} % on (storage.embedded.disk.refuse) nothing is; make room, or shorten "
            "storage.retention: writing goes on by itself"
        )

    def excess_bytes(self) -> int:
        """How much is to go now, so that the disk is below `drop` in the end: removing takes room on the way."""
        disk = self._statvfs(self._directory)
        used = disk.f_blocks - disk.f_bfree
        allowed = (used + disk.f_bavail) * self._thresholds.drop / 100
        excess_bytes = max(0, int((used - allowed) * disk.f_frsize) + 1)
        return min(excess_bytes, max(_LEAST_STEP_BYTES, disk.f_bavail * disk.f_frsize // _STEPS))

    def _consequence(self) -> str:
        match self.state:
            case DiskState.OK:
                return "all is well"
            case DiskState.WARN:
                return "soon the oldest samples will be dropped" if self._thresholds.drop else "make room"
            case DiskState.DROP:
                return "the oldest samples of what is kept shortest are dropped"
            case DiskState.REFUSE:
                return "new samples are refused until there is room"
