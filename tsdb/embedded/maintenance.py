"""The periodic work of a store, and the order of it: what makes room comes first, for a disk that is full.

One call at a time, from a thread that may wait. What each step does is in sealing, deletes, retention and rollups.
"""

from dataclasses import dataclass

from tsdb.embedded.deletes import Deletes
from tsdb.embedded.disk_watch import DiskState, DiskWatch
from tsdb.embedded.retention import FOR_EVER_MS, Retention
from tsdb.embedded.retention_classes import RetentionClasses
from tsdb.embedded.rollups.making import RollupMaking
from tsdb.embedded.sealing import Sealing


@dataclass(frozen=True, slots=True)
class Plan:
    """What is kept for how long, and when it is moved. Times are milliseconds, None stands for ever and for never.

    `levels_ms` are what blocks span, each divides the next. A window is sealed `sealing_delay_ms` after its end.
    """

    levels_ms: tuple[int, ...]
    sealing_delay_ms: int
    retention_ms: int | None
    retention_bytes: int | None
    rollup_after_ms: int | None
    rollup_keep_ms: int | None

    def sealable_before_ms(self, now_ms: int) -> int:
        """The end of the last window that can be sealed."""
        return (now_ms - self.sealing_delay_ms) // self.levels_ms[0] * self.levels_ms[0]


class Maintenance:
    """Does what is due of a store. All of it raises WriteRefusedError where it cannot write; the next call goes on."""

    def __init__(
        self,
        plan: Plan,
        sealing: Sealing,
        deletes: Deletes,
        retention: Retention,
        rollups: RollupMaking,
        classes: RetentionClasses,
        disk: DiskWatch,
        expired_until_ms: int,
    ) -> None:
        self.expired_until_ms = expired_until_ms
        """What is older is past the retention and not read, though a block may still have it."""
        self._plan = plan
        self._sealing = sealing
        self._deletes = deletes
        self._retention = retention
        self._rollups = rollups
        self._classes = classes
        self._disk = disk
        self._sealed_until_ms: int | None = None
        self._rolled_up_at_ms: int | None = None
        self._dropped_at_ms: int | None = None

    def run(self, now_ms: int) -> None:
        """Everything that is due."""
        before_ms = self._plan.sealable_before_ms(now_ms)
        self._expire(now_ms)
        self._retention.sweep()
        self._retention.trim_journal()
        if self._disk.look() >= DiskState.DROP:
            self._retention.make_room(self._disk.excess_bytes(), self._plan.levels_ms[0], self._plan.retention_ms)
        self._deletes.doom(now_ms)
        if self._sealed_until_ms is None or before_ms > self._sealed_until_ms:
            self._sealing.seal(before_ms)
            self._sealed_until_ms = before_ms
            self._retention.trim_journal()
            self._retention.regroup_series()
            self._expire(now_ms)
        self._sealing.merge(before_ms)
        self._deletes.purge()
        if self._rolled_up_at_ms is None or before_ms > self._rolled_up_at_ms:
            self._roll_up(now_ms)
            self._rolled_up_at_ms = before_ms
        self._clean()
        if self._dropped_at_ms is None or now_ms >= self._dropped_at_ms + self._plan.levels_ms[-1]:
            self._retention.drop_series()
            self._dropped_at_ms = now_ms

    def seal(self, now_ms: int) -> None:
        """Seal every window that has ended, late samples too, which `run` leaves to the end of the next one."""
        self._sealing.seal(self._plan.sealable_before_ms(now_ms))
        self._retention.trim_journal()

    def compact(self, now_ms: int) -> None:
        """As `run`, with nothing put off: late samples are sealed now, and few small blocks merged too."""
        self.seal(now_ms)
        self._expire(now_ms)
        self._sealing.merge(self._plan.sealable_before_ms(now_ms), fewest_strays=1)
        self._deletes.purge()
        self._clean()

    def clean_tombstones(self) -> None:
        """Carry out all deletes now. What is not sealed yet is removed when it is."""
        self._deletes.doom(FOR_EVER_MS)
        self._retention.trim_journal()
        self._deletes.purge()
        self._clean()

    def _expire(self, now_ms: int) -> None:
        """Remove what is past its retention.

        Classes may have changed: what is of one that is kept longer now must be in it before the shorter ones go.
        """
        keep_ms = self._plan.retention_ms
        if keep_ms is not None:
            before_ms = max(self.expired_until_ms, now_ms - self._classes.longest_ms(keep_ms))
            self._retention.forget_before(before_ms)
            self._retention.expire_all(before_ms)
            self.expired_until_ms = before_ms
        self._retention.classify(self._classes, self._sealing)
        if keep_ms is not None:
            self._retention.expire_default(max(self.expired_until_ms, now_ms - keep_ms))
        self._retention.expire_classes(now_ms)

    def _roll_up(self, now_ms: int) -> None:
        if self._plan.rollup_after_ms is not None:
            self._rollups.make(now_ms - self._plan.rollup_after_ms, self.expired_until_ms)
        if self._plan.rollup_keep_ms is not None:
            self._rollups.expire(now_ms - self._plan.rollup_keep_ms)

    def _clean(self) -> None:
        """Remove what merges and the retention have left, and give its space back."""
        self._retention.sweep()
        if self._plan.retention_bytes is not None:
            self._retention.shrink(self._plan.retention_bytes, self._plan.levels_ms[0])
        self._retention.give_back()
