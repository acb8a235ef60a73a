"""The periodic work of a store in a database, and the order of it: what makes room comes first.

Any number of processes may do it at once. Each step is a transaction of its own: where one fails it is logged and
tried again the next time, and the others go on. What each does is in sealing, deletes, retention and rollups.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import psycopg

from tsdb.errors import StoreError
from tsdb.timescale.class_retention import SERIES_AT_ONCE, Classes, ClassRetention, Expired
from tsdb.timescale.connections import Connections, is_away
from tsdb.timescale.deletes import Deletes
from tsdb.timescale.meta import FOR_EVER_MS
from tsdb.timescale.narrow import NarrowTable
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.retention import Retention
from tsdb.timescale.rollups import RollupMaking
from tsdb.timescale.sealing import Sealing

log = logging.getLogger(__name__)

HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is kept for how long, and when it is moved. Times are milliseconds, None stands for ever and for never.

    A window is sealed `sealing_delay_ms` after its end, but for rows that were written within `settle_s`: no
    transaction that writes lasts longer, and what a follower may sleep on top.
    """

    retention_ms: int | None = None
    retention_bytes: int | None = None
    rollup_after_ms: int | None = None
    rollup_keep_ms: int | None = None
    sealing_delay_ms: int = 5 * 60 * 1000
    settle_s: float = 120


class Maintenance:
    """Does what is due. One call at a time. Raises psycopg.Error where the database is away."""

    def __init__(
        self,
        connections: Connections,
        partitions: Partitions,
        plan: Plan,
        *,
        classes: Classes = (),
        narrow: bool = False,
    ) -> None:
        self._connections = connections
        self._partitions = partitions
        self._plan = plan
        table = NarrowTable() if narrow else None
        self._classes = ClassRetention(connections, partitions, classes, plan.retention_ms)
        self._sealing = Sealing(
            connections, partitions, plan.sealing_delay_ms, plan.settle_s, self._classes if classes else None, table
        )
        self._deletes = Deletes(connections, partitions)
        self._rollups = RollupMaking(connections, partitions)
        self._retention = Retention(connections, partitions)
        self._done_at_ms: dict[str, int] = {}
        self._totals = dict.fromkeys(("sealed_scrapes", "sealed_samples", "block_rows", "maintenance_failures"), 0)
        self._lag_ms = 0
        self._seconds = 0.0

    def run(self, now_ms: int) -> None:
        """Everything that is due."""
        began = time.perf_counter()
        if self._is_due("partitions", now_ms, HOUR_MS):
            self._try("making partitions", self._prepare, now_ms)
        self._expire(now_ms)
        self.seal(now_ms)
        self._try("dropping empty parts of the journal", self._retention.trim_journal)
        self._carry_out_deletes(now_ms)
        self._roll_up(now_ms)
        if self._is_due("unnamed series", now_ms, DAY_MS):
            self._try("dropping series", self._retention.drop_unnamed)
        self._seconds = time.perf_counter() - began

    def seal(self, now_ms: int) -> None:
        """Seal every window that has ended."""
        due = self._try("looking for windows to seal", self._sealing.due, now_ms)
        if due is None:
            # The lag stays what it was: an alert must not end by what it is about.
            return
        self._lag_ms = max((target.waiting_ms for target in due), default=0)
        for target in due:
            what = f"sealing target {target.target_id}"
            while sealed := self._try(what, self._sealing.seal, target.target_id, target.before_ms):
                self._totals["sealed_scrapes"] += sealed.scrapes
                self._totals["sealed_samples"] += sealed.samples
                self._totals["block_rows"] += sealed.rows
                if not sealed.more:
                    break

    def clean_tombstones(self) -> None:
        """Carry out all deletes at once. What is in the journal is removed when it is sealed."""
        self._carry_out_deletes(FOR_EVER_MS)

    def figures(self) -> dict[str, float]:
        """For the stats of a store."""
        return {
            **{f"{name}_total": float(total) for name, total in self._totals.items()},
            "sealing_lag_seconds": self._lag_ms / 1000,
            "maintenance_seconds": self._seconds,
        }

    def _prepare(self, now_ms: int) -> None:
        with self._connections.transaction() as connection:
            self._partitions.ensure_ahead(connection, now_ms)
        with self._connections.transaction() as connection:
            self._partitions.fit(connection)

    def _expire(self, now_ms: int) -> None:
        plan = self._plan
        if self._classes.longest_ms is not None:
            before_ms = now_ms - self._classes.longest_ms
            self._try("dropping old samples", self._retention.expire_samples, before_ms)
        if plan.retention_ms is not None:
            self._try("dropping old logs", self._retention.expire, "logs", now_ms - plan.retention_ms)
        if plan.rollup_keep_ms is not None:
            self._try("dropping old roll-ups", self._retention.expire_rollups, now_ms - plan.rollup_keep_ms)
        if plan.retention_bytes is not None:
            while self._try("dropping the oldest samples", self._retention.shrink, plan.retention_bytes, now_ms):
                pass
        for expired in self._try("looking for expired classes", self._classes.due, now_ms) or []:
            self._expire_class(expired)

    def _expire_class(self, expired: Expired) -> None:
        what = "deleting from expired classes"
        firsts = range(0, len(expired.sids), SERIES_AT_ONCE)
        if None not in [self._try(what, self._classes.delete, expired, first) for first in firsts]:
            self._try(what, self._classes.finish, expired)
            for part in self._try(what, self._classes.emptied, expired) or []:
                self._try(what, self._classes.rewrite, part)

    def _carry_out_deletes(self, now_ms: int) -> None:
        for tombstone in self._try("looking for deletes", self._deletes.doom, now_ms) or []:
            what = f"removing the samples of delete {tombstone.deletion.deletion_id}"
            parts = [
                self._try(what, self._deletes.remove, *part)
                for part in self._try(what, self._deletes.parts, tombstone) or []
            ]
            if None not in parts:
                self._try(what, self._deletes.forget, tombstone)

    def _roll_up(self, now_ms: int) -> None:
        if self._plan.rollup_after_ms is None:
            return
        before_ms = now_ms - self._plan.rollup_after_ms
        for day_ms in self._try("looking for days to roll up", self._rollups.days_to_list, before_ms) or []:
            self._try("listing what is to be rolled up", self._rollups.list_day, day_ms)
        for day_ms, target_id in self._try("looking for what is to be rolled up", self._rollups.due) or []:
            self._try(f"rolling up target {target_id}", self._rollups.make, day_ms, target_id)

    def _is_due(self, what: str, now_ms: int, every_ms: int) -> bool:
        done_ms = self._done_at_ms.get(what)
        due = done_ms is None or now_ms >= done_ms + every_ms
        if due:
            self._done_at_ms[what] = now_ms
        return due

    def _try(self, what: str, step: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T | None:
        """What a step gives; None where it failed, and where others did not let it in."""
        try:
            return step(*arguments, **keywords)
        except psycopg.errors.LockNotAvailable:
            log.debug("%s: somebody else is at work, it is tried again", what)
        except (psycopg.Error, StoreError) as error:
            if isinstance(error, psycopg.Error) and is_away(error):
                raise
            self._totals["maintenance_failures"] += 1
            log.warning("%s failed, it is tried again: %s", what, str(error).strip().partition("\n")[0])
        return None
