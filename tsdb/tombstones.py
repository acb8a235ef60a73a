"""Deletes: samples that readers do not get, until they are removed for good or the delete is undone.

A tombstone hides what some series had in a time range when it was made: samples written later, with greater sequence
numbers, are not hidden. Hiding is one step in every read, where the pieces of head and blocks come together.
"""

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.matchers import Matcher
from tsdb.errors import StoreError
from tsdb.model import ABSENT, BoolArray, IntArray
from tsdb.pieces import Piece

UNDO_MS = 24 * 3600 * 1000
"""How long a delete can be undone."""

Selectors = Sequence[Sequence[Matcher]]


class UnknownDeletionError(StoreError):
    """There is no such delete, or it can no longer be undone."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """How much a delete hides."""

    series: int
    samples: int


@dataclass(frozen=True, slots=True)
class Deletion:
    """A delete. It can be undone until `expires_ms`; 0 says that its samples are being removed."""

    deletion_id: int
    selectors: Selectors
    start_ms: int
    end_ms: int
    created_ms: int
    expires_ms: int
    deleted: Deleted


@dataclass(frozen=True, slots=True, eq=False)
class Tombstone:
    """What a delete hides: samples of the series, up to a sequence number. `series_ids` is int64[N], rising.

    N is 0 where all of the series have been dropped since.
    """

    deletion: Deletion
    upto_seq: int
    series_ids: IntArray

    def numbered(self, deletion_id: int) -> "Tombstone":
        """The same, with its number."""
        return replace(self, deletion=replace(self.deletion, deletion_id=deletion_id))

    def doomed(self) -> "Tombstone":
        """The same, of which the samples are being removed."""
        return replace(self, deletion=replace(self.deletion, expires_ms=0))

    def touches(self, times_ms: IntArray, seqs: IntArray, series_ids: IntArray) -> bool:
        """Whether any place in a matrix of series by times is hidden."""
        return bool(self._columns(times_ms, seqs).any() and self._rows(series_ids).any())

    def hide(self, piece: Piece) -> list[Piece]:
        """The samples of a piece that are not hidden."""
        columns = self._columns(piece.times_ms, piece.seqs)
        if not columns.any():
            return [piece]
        rows = self._rows(piece.series_ids)
        if not rows.any():
            return [piece]
        parts = []
        if not rows.all():
            parts.append(Piece(piece.times_ms, piece.seqs, piece.series_ids[~rows], piece.values[~rows]))
        if not columns.all():
            values = piece.values[rows]
            values[:, columns] = ABSENT
            parts.append(Piece(piece.times_ms, piece.seqs, piece.series_ids[rows], values))
        return parts

    def _columns(self, times_ms: IntArray, seqs: IntArray) -> BoolArray:
        deletion = self.deletion
        return (times_ms >= deletion.start_ms) & (times_ms <= deletion.end_ms) & (seqs <= self.upto_seq)

    def _rows(self, series_ids: IntArray) -> BoolArray:
        if not len(self.series_ids):
            return np.zeros(len(series_ids), dtype=np.bool_)
        # A piece has few series, a delete may have hundreds of thousands.
        places = np.searchsorted(self.series_ids, series_ids)
        places[places == len(self.series_ids)] = 0
        found: BoolArray = self.series_ids[places] == series_ids
        return found


def hide(pieces: Iterable[Piece], tombstones: Collection[Tombstone]) -> list[Piece]:
    """The samples of pieces that none of the tombstones hides."""
    left = list(pieces)
    for tombstone in tombstones:
        left = [part for piece in left for part in tombstone.hide(piece)]
    return left


class Tombstones:
    """The tombstones of a store. Thread-safe.

    A read takes `active` before it looks at any sample: what is removed meanwhile stays hidden for it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_id: dict[int, Tombstone] = {}
        self._active: tuple[Tombstone, ...] = ()
        self._generation = 0

    @property
    def generation(self) -> int:
        """Rises with each delete that is made, undone or carried out."""
        return self._generation

    def renew(self) -> None:
        """Raise the generation."""
        with self._lock:
            self._generation += 1

    def active(self) -> tuple[Tombstone, ...]:
        """All of them, in the order in which they were made."""
        return self._active

    def doomed(self) -> list[Tombstone]:
        """Those whose samples are being removed."""
        return [tombstone for tombstone in self._active if tombstone.deletion.expires_ms == 0]

    def put(self, tombstone: Tombstone) -> None:
        """Add one, or replace the one of the same delete."""
        with self._lock:
            made = tombstone.deletion.deletion_id not in self._by_id
            self._by_id[tombstone.deletion.deletion_id] = tombstone
            self._active = tuple(self._by_id.values())
            self._generation += made

    def remove(self, deletion_id: int) -> None:
        """Forget one."""
        with self._lock:
            del self._by_id[deletion_id]
            self._active = tuple(self._by_id.values())
            self._generation += 1

    def undo(self, deletion_id: int) -> bool:
        """Forget one, unless its samples are being removed; whether there was one."""
        with self._lock:
            tombstone = self._by_id.get(deletion_id)
            if tombstone is None or tombstone.deletion.expires_ms == 0:
                return False
            del self._by_id[deletion_id]
            self._active = tuple(self._by_id.values())
            self._generation += 1
            return True
