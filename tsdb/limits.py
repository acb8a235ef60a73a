"""Limits on how many series a store makes, in all and for each target.

Series that are known are never refused. What is counted are the series that the store has, also those that get no
samples any more, until it drops them; report series like `up` count too, but are not refused.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.labels import Labels
from tsdb.catalog import Catalog
from tsdb.errors import SeriesLimitError
from tsdb.model import IntArray

REFUSED_ID = -1
"""Stands for a series that was not made."""


@dataclass(frozen=True, slots=True)
class SeriesLimits:
    """The most series of the store and of each target; 0 is no limit."""

    series: int = 0
    series_per_target: int = 0


NO_LIMITS = SeriesLimits()


@dataclass(frozen=True, slots=True)
class _Room:
    """How many series more a limit allows, negative where there are too many already, and what it says."""

    left: int
    key: str
    limit: int
    present: int
    whose: str


class LimitedSeries:
    """Makes series within the limits, of which there is one. Thread-safe."""

    def __init__(self, catalog: Catalog, limits: SeriesLimits) -> None:
        self._catalog = catalog
        self._limits = limits
        self._lock = threading.Lock()
        # Series that threads are about to make.
        self._coming = 0
        # By target, no less than the series it has: to count them takes a look at all series.
        self._most: dict[int, int] = {}
        self.refused_total = 0

    def ids(self, labels: Sequence[Labels], target_id: int, partly: bool = False) -> IntArray:
        """int64[N] ids of a target's series, made where they are new.

        Beyond a limit no series is made and SeriesLimitError raised; with `partly` those are made that there is room
        for, in the order given, and the others have REFUSED_ID.
        """
        with self._lock:
            allowed, coming = self._allowed(labels, target_id, partly)
            self._coming += coming
            # Known ones too: they may be another target's so far.
            self._most[target_id] += len(allowed)
        try:
            ids = self._catalog.index.ids(allowed)
        finally:
            with self._lock:
                self._coming -= coming
        if len(allowed) == len(labels):
            return ids
        made = dict(zip(allowed, ids.tolist(), strict=True))
        return np.array([made.get(one, REFUSED_ID) for one in labels], dtype=np.int64)

    def _allowed(self, labels: Sequence[Labels], target_id: int, partly: bool) -> tuple[Sequence[Labels], int]:
        """Those of the label sets that are known or may be made, and at most how many are to be made."""
        if target_id in self._most and self._room(target_id).left >= len(labels):
            return labels, len(labels)
        known = self._catalog.index.find(labels) >= 0
        new = list(dict.fromkeys([one for one, is_known in zip(labels, known.tolist(), strict=True) if not is_known]))
        self._most[target_id] = self._catalog.series_of_target(target_id)
        room = self._room(target_id)
        if not new or room.left >= len(new):
            return labels, len(new)
        if not partly:
            self.refused_total += len(new)
            raise SeriesLimitError(
                f"series limit exceeded: {len(new)} new series, and {room.whose} has {room.present} of the "
                f"{room.limit} that {room.key} allows: raise it, or drop series by metric_relabel_configs",
                room.limit,
                self._catalog.target_labels(target_id),
            )
        refused = set(new[max(0, room.left) :])
        self.refused_total += len(refused)
        return [one for one in labels if one not in refused], len(new) - len(refused)

    def _room(self, target_id: int) -> _Room:
        """What the limit allows that is the closest."""
        rooms = []
        if limit := self._limits.series:
            present = len(self._catalog.index) + self._coming
            rooms.append(_Room(limit - present, "storage.limits.series", limit, present, "the store"))
        if limit := self._limits.series_per_target:
            present = self._most[target_id]
            whose = f"the target {self._catalog.target_labels(target_id)}"
            rooms.append(_Room(limit - present, "storage.limits.series_per_target", limit, present, whose))
        return min(rooms, key=lambda room: room.left)
