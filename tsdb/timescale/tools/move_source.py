"""An embedded store as a whole, for being copied elsewhere: its samples in pieces of bounded size, its logs in turn.

What deletes hide is left out, and so is what is past the retention. Series that several targets have are a group of
their own, as only together their samples say which was written last.
"""

import itertools
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from common.labels import Labels
from tsdb.catalog import Catalog
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.blocks import REMOVED
from tsdb.embedded.migrations import COUNTED_SINCE
from tsdb.embedded.rollups import rows as rollup_rows
from tsdb.embedded.rollups.rows import DAY_MS
from tsdb.errors import StoreError
from tsdb.model import FloatArray, IntArray, LogEntry, SeriesExemplar, is_absent
from tsdb.pieces import Piece, Wanted, join
from tsdb.rollups import Column
from tsdb.tombstones import hide

# Of whom a piece has samples at most.
_SERIES_AT_ONCE = 1024
_ALWAYS_MS = 2**62


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Series that are copied together: `series_ids` int64[N] of the targets `holders`, of which one is the usual case.

    `spans` are inclusive ranges of time that have all the samples.
    """

    series_ids: IntArray
    holders: Sequence[int]
    spans: list[tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class RolledUp:
    """A day of a target of which there are roll-ups and no samples any more: int64[N] series, in rising order."""

    target_id: int
    start_ms: int
    series_ids: IntArray


class MoveSource(EmbeddedStore):
    """The store in a directory, opened for reading. Raises StoreOpenError."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, read_only=True)

    @property
    def catalog(self) -> Catalog:
        """Its series and targets."""
        return self._catalog

    def identity(self) -> str:
        """A text that no other store has; a copy of the store has it too."""
        with self._database.reader() as connection:
            (made_ms,) = connection.execute("SELECT value FROM meta WHERE key = ?", (COUNTED_SINCE,)).fetchone()
        first = str(self._catalog.target_labels(0)) if self._catalog.targets_from(0) else ""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{made_ms} {first}"))

    def groups(self) -> list[Group]:
        """The series by who holds them, in an order that stays the same; those of several targets last."""
        held = self._catalog.holders(self.resolve_any([]))
        spans = self._spans()
        groups = [
            Group(held.own[held.homes == target_id], [target_id], spans.get(target_id, []))
            for target_id in range(len(self._catalog.targets_from(0)))
        ]
        if len(held.shared):
            together = itertools.chain.from_iterable(spans.get(target_id, []) for target_id in held.sharing)
            groups.append(Group(held.shared, held.sharing, sorted(set(together))))
        return [group for group in groups if len(group.series_ids) and group.spans]

    def pieces(self, group: Group, start_ms: int, end_ms: int) -> Iterator[list[Piece]]:
        """The group's samples from start to end, both included, some series after the other; each in one piece."""
        tombstones = self._tombstones.active()
        for first in range(0, len(group.series_ids), _SERIES_AT_ONCE):
            wanted = Wanted(group.series_ids[first : first + _SERIES_AT_ONCE])
            found = itertools.chain.from_iterable(self._pieces(list(group.holders), wanted, start_ms, end_ms))
            yield join(hide(found, tombstones))

    def rolled_up(self) -> list[RolledUp]:
        """The days that only roll-ups are left of, in an order that stays the same; deleted series are left out."""
        spans = self._spans()
        deletes = self._tombstones.active()
        found = []
        with self._database.reader() as connection:
            for target_id in range(len(self._catalog.targets_from(0))):
                for day in rollup_rows.days_of(connection, target_id, -_ALWAYS_MS, _ALWAYS_MS):
                    if _overlaps(spans.get(target_id, ()), day.start_ms + 1, day.start_ms + DAY_MS):
                        continue
                    hidden = [
                        delete.series_ids
                        for delete in deletes
                        if _overlaps([(delete.deletion.start_ms, delete.deletion.end_ms)], day.first_ms, day.last_ms)
                    ]
                    left = np.setdiff1d(day.series_ids, np.concatenate([[REMOVED], *hidden]))
                    if len(left):
                        found.append(RolledUp(target_id, day.start_ms, left))
        return found

    def rollups(self, day: RolledUp, resolution_ms: int, rows: IntArray) -> tuple[IntArray, FloatArray]:
        """Ends int64[B] of the day's buckets, and all columns float64[R, B, C] of some of its series."""
        with self._database.reader() as connection:
            stored = rollup_rows.day_at(connection, day.target_id, day.start_ms)
            if stored is None:
                raise StoreError(f"the roll-ups of target {day.target_id} have gone while they were copied: try again")
            order = np.argsort(stored.series_ids)
            places = order[np.searchsorted(stored.series_ids, day.series_ids[rows], sorter=order)]
            values = rollup_rows.read(connection, stored, resolution_ms, np.sort(places), tuple(Column))
            return stored.ends_ms(resolution_ms), values[np.argsort(np.argsort(places))]

    def logs(self, after: int, limit: int) -> list[tuple[int, LogEntry]]:
        """Log entries with their numbers, which rise, from the first one after a number."""
        with self._database.reader() as connection:
            rows = connection.execute(
                "SELECT log_id, entry_id, time_ns, server_id, log_type, source, message, fields FROM logs"
                " WHERE log_id > ? ORDER BY log_id LIMIT ?",
                (after, limit),
            ).fetchall()
        return [
            (
                log_id,
                LogEntry(
                    uuid.UUID(bytes=entry_id),
                    time_ns,
                    uuid.UUID(bytes=server_id),
                    log_type,
                    source,
                    message,
                    orjson.loads(fields),
                ),
            )
            for log_id, entry_id, time_ns, server_id, log_type, source, message, fields in rows
        ]

    def count_logs(self) -> int:
        """How many log entries there are."""
        with self._database.reader() as connection:
            (count,) = connection.execute("SELECT count(*) FROM logs").fetchone()
            return int(count)

    def exemplars(self) -> list[SeriesExemplar]:
        """All exemplars."""
        found = self._exemplars.select(self.resolve_any([]), -_ALWAYS_MS, _ALWAYS_MS)
        return [exemplar for some in found.values() for exemplar in some]

    def target_labels(self, target_id: int) -> Labels:
        """The labels of a target."""
        return self._catalog.target_labels(target_id)

    def _spans(self) -> dict[int, list[tuple[int, int]]]:
        """By target the ranges of time of its blocks, and of what is in none yet."""
        spans: dict[int, list[tuple[int, int]]] = {}
        with self._database.reader() as connection:
            for target_id, start_ms, end_ms in connection.execute("SELECT target_id, start_ms, end_ms FROM blocks"):
                spans.setdefault(target_id, []).append((start_ms, end_ms))
        everything = Wanted(self.resolve_any([]))
        for target_id in self._head.targets():
            for piece in self._head.pieces(target_id, everything, -_ALWAYS_MS, _ALWAYS_MS):
                if len(piece.times_ms):
                    spans.setdefault(target_id, []).append((int(piece.times_ms[0]), int(piece.times_ms[-1])))
        return spans


def _overlaps(spans: Iterable[tuple[int, int]], start_ms: int, end_ms: int) -> bool:
    return any(from_ms <= end_ms and to_ms >= start_ms for from_ms, to_ms in spans)


def samples_of(pieces: Sequence[Piece]) -> int:
    """How many samples there are in pieces."""
    return sum([int((~is_absent(piece.values)).sum()) for piece in pieces])
