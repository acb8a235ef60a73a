"""The newest samples of all targets, in memory: what most queries and rules look at, without asking the database.

A head that is complete from a time on, which rises. What this process writes enters when it is committed, what others
write when the follower has read it (tsdb.timescale.following).
"""

import threading

from tsdb.head import Head, last_time_ms
from tsdb.model import Batch
from tsdb.pieces import Piece, Wanted

NEVER_MS = 1 << 62
"""Later than every time."""

_ANY_SEQ = 1 << 62


class Recent:
    """Fills a head and trims it. Thread-safe."""

    def __init__(self, head: Head, keep_ms: int, now_ms: int) -> None:
        self._head = head
        self._keep_ms = keep_ms
        self._lock = threading.Lock()
        self._floor_ms = now_ms - keep_ms
        self._loaded = False
        # What came before the past was loaded: a head takes what is older as late.
        self._waiting: list[tuple[int, Batch]] = []

    @property
    def floor_ms(self) -> int:
        """What is older does not enter."""
        return self._floor_ms

    @property
    def complete_from_ms(self) -> int:
        """From when on everything is here. To be asked after `pieces`: what was trimmed meanwhile is before it."""
        return self._floor_ms if self._loaded else NEVER_MS

    def take(self, seq: int, batch: Batch) -> None:
        """Take in a batch of now."""
        if last_time_ms(batch) < self._floor_ms:
            return
        with self._lock:
            if self._loaded:
                self._head.append(seq, batch)
            else:
                self._waiting.append((seq, batch))

    def put(self, seq: int, batch: Batch) -> None:
        """Take in a batch of the past."""
        self._head.append(seq, batch)

    def loaded(self) -> None:
        """Say that the past is here."""
        with self._lock:
            for seq, batch in self._waiting:
                self._head.append(seq, batch)
            self._waiting = []
            self._loaded = True

    def pieces(self, target_id: int, wanted: Wanted, start_ms: int, end_ms: int) -> list[Piece]:
        """The target's samples of the wanted series, from start to end, both included, as far as they are here."""
        return self._head.pieces(target_id, wanted, max(start_ms, self._floor_ms), end_ms)

    def trim(self, now_ms: int) -> None:
        """Forget what is too old, a sixtieth of the whole at a time."""
        floor_ms = now_ms - self._keep_ms
        if floor_ms < self._floor_ms + self._keep_ms // 60:
            return
        with self._lock:
            self._waiting = [(seq, batch) for seq, batch in self._waiting if last_time_ms(batch) >= floor_ms]
        # First this: a reader that looks at the head after it knows that the database has the rest.
        self._floor_ms = floor_ms
        for target_id in self._head.targets():
            self._head.drop(target_id, floor_ms, _ANY_SEQ)
