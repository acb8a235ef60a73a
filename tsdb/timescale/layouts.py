"""Layouts as the database knows them: vectors of sids, kept as long as they were used lately."""

import threading
from collections import OrderedDict
from collections.abc import Iterable

import psycopg

from tsdb.model import IntArray
from tsdb.timescale import binary

_MOST = 4096

_LAYOUTS = "SELECT layout_id, sids FROM fleetwatch_data.layouts WHERE layout_id = ANY(%s)"


class LayoutSids:
    """The sids of layouts by their numbers in the database, where they never change. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, IntArray] = OrderedDict()

    def get(self, connection: psycopg.Connection, layout_ids: Iterable[int]) -> dict[int, IntArray]:
        """The sids of layouts, int64[N] each; those that are not known are looked up."""
        wanted = set(layout_ids)
        with self._lock:
            found = {number: self._kept[number] for number in wanted if number in self._kept}
        missing = sorted(wanted - found.keys())
        if missing:
            rows = binary.fetch(connection, _LAYOUTS, (missing,))
            for number, array in zip(rows.int4(0).tolist(), rows.whole(1), strict=True):
                found[number] = binary.int8_array(array)
        with self._lock:
            for number, sids in found.items():
                self._kept[number] = sids
                self._kept.move_to_end(number)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return found

    def forget(self) -> None:
        """Look all of them up again: the numbers may mean something else."""
        with self._lock:
            self._kept.clear()

    def lately(self) -> list[tuple[int, IntArray]]:
        """Those that are kept."""
        with self._lock:
            return list(self._kept.items())
