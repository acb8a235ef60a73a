"""Numbers of this process and of the database: the same series, target or layout has one of each.

A process numbers what it sees by itself (tsdb.catalog), so that a scrape never waits for the database. The database
numbers for all: sid, target_id, layout_id. What is looked up for whole scrapes is in vectors.
"""

import threading
import weakref

import numpy as np
import numpy.typing as npt

from tsdb.model import IntArray, Layout

UNKNOWN = -1


class Ids:
    """Both numbers of everything that has them. Thread-safe. "Local" ones are this process's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sids: IntArray = np.empty(0, dtype=np.int64)
        self._locals: IntArray = np.empty(0, dtype=np.int64)
        self._target_ids: dict[int, int] = {}
        self._local_targets: dict[int, int] = {}
        self._layout_ids: weakref.WeakKeyDictionary[Layout, int] = weakref.WeakKeyDictionary()
        self.generation = 0
        """Rises when all numbers of the database became void."""

    def forget_all(self) -> None:
        """Say that the database is not the one it was: it lost commits, or another has taken its place."""
        with self._lock:
            self._sids = self._sids[:0]
            self._locals = self._locals[:0]
            self._target_ids = {}
            self._local_targets = {}
            self._layout_ids.clear()
            self.generation += 1

    # Series

    def sids(self, local: IntArray) -> IntArray:
        """int64[N]: the database's numbers of series, UNKNOWN where it has none yet."""
        with self._lock:
            return _looked_up(self._sids, local)

    def locals(self, sids: IntArray) -> IntArray:
        """int64[N]: this process's numbers of series, UNKNOWN where it has not met them."""
        with self._lock:
            return _looked_up(self._locals, sids)

    def learn_series(self, local: IntArray, sids: IntArray) -> None:
        """Say that int64[N] local numbers and int64[N] sids mean the same series."""
        if not len(local):
            return
        with self._lock:
            self._sids = _with_room(self._sids, int(local.max()))
            self._locals = _with_room(self._locals, int(sids.max()))
            self._sids[local] = sids
            self._locals[sids] = local

    def known_sids(self) -> IntArray:
        """All sids that stand for a series of this process, in no order."""
        with self._lock:
            sids: IntArray = self._sids[self._sids != UNKNOWN]
            return sids

    def forget_series(self, sids: IntArray) -> None:
        """Say that the database has dropped series."""
        with self._lock:
            local = _looked_up(self._locals, sids)
            known = local != UNKNOWN
            self._locals[sids[known]] = UNKNOWN
            # Not those that have got a new sid meanwhile.
            same = self._sids[local[known]] == sids[known]
            self._sids[local[known][same]] = UNKNOWN

    # Targets

    def target_id(self, local: int) -> int | None:
        """The database's number of a target."""
        return self._target_ids.get(local)

    def local_target(self, target_id: int) -> int | None:
        """This process's number of a target."""
        return self._local_targets.get(target_id)

    def learn_target(self, local: int, target_id: int) -> None:
        """Say that two numbers mean the same target."""
        with self._lock:
            self._target_ids[local] = target_id
            self._local_targets[target_id] = local

    # Layouts

    def layout_id(self, layout: Layout) -> int | None:
        """The database's number of a layout."""
        with self._lock:
            return self._layout_ids.get(layout)

    def learn_layout(self, layout: Layout, layout_id: int) -> None:
        """Say which number a layout has. It is forgotten with the layout."""
        with self._lock:
            self._layout_ids[layout] = layout_id

    def forget_layouts(self) -> None:
        """Ask the database again for every layout: series of some were dropped there."""
        with self._lock:
            self._layout_ids.clear()


def _looked_up(numbers: IntArray, keys: npt.NDArray[np.integer]) -> IntArray:
    found = np.full(len(keys), UNKNOWN, dtype=np.int64)
    inside = (keys >= 0) & (keys < len(numbers))
    found[inside] = numbers[keys[inside]]
    return found


def _with_room(numbers: IntArray, last: int) -> IntArray:
    if last < len(numbers):
        return numbers
    grown = np.full(last + 1 + last // 8, UNKNOWN, dtype=np.int64)
    grown[: len(numbers)] = numbers
    return grown
