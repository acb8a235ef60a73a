"""An embedded store's samples copied into a database, straight into blocks.

What is copied together is a group of series (a target's, as a rule) over eight hours: one transaction, which notes how
far the group has come, reads back what it wrote, and counts. So an interrupted copy goes on where it was, and a copy of
the same store that was made later brings what is new in it. All block rows have the number of one write, taken at the
first start: what other processes have written since is newer.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import psycopg

from tsdb.errors import StoreError
from tsdb.model import Batch, IntArray, Layout
from tsdb.pieces import Piece, join
from tsdb.timescale import binary, block_rows, meta, rollup_rows
from tsdb.timescale.binary import at_least, at_most
from tsdb.timescale.block_rows import WINDOW_MS, BlockRows
from tsdb.timescale.connections import Connections
from tsdb.timescale.ids import Ids
from tsdb.timescale.locks import Lock, share
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.resolving import Resolved, Resolver
from tsdb.timescale.tools.inspection import row_of
from tsdb.timescale.tools.move_source import Group, MoveSource, samples_of
from tsdb.timescale.windows import last_start_ms, shares
from tsdb.timescale.writes import Write

UNIT_MS = 4 * WINDOW_MS
"""What a transaction takes of a group's time: as much as the embedded store's largest blocks span."""

_TIMEOUT_S = 3600.0
_SERIES_OF_A_LAYOUT = 1024
_NO_DELETES: IntArray = np.empty(0, dtype=np.int64)

_BEGIN = """
INSERT INTO fleetwatch_data.meta VALUES (%s, nextval('fleetwatch_data.journal_seq')::text) ON CONFLICT DO NOTHING
"""

_READ = "SELECT value FROM fleetwatch_data.meta WHERE key = %s"

# Another process that copies the same store waits here.
_ALONE = "SELECT value FROM fleetwatch_data.meta WHERE key = %s FOR UPDATE"

_EPOCH = "SELECT value FROM fleetwatch_data.meta WHERE key = 'series_epoch'"

_NOTE = """
INSERT INTO fleetwatch_data.meta VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""

_WRITTEN = f"""
SELECT {block_rows.COLUMNS} FROM fleetwatch_data.block
WHERE sid = ANY(%s) AND seq = %s AND ts >= %s::timestamptz AND ts <= %s::timestamptz
"""


class MoveError(StoreError):
    """What was read back is not what was written."""


class _Progress(msgspec.Struct, frozen=True):
    """Up to where a group is copied, and how many samples of it."""

    until_ms: int = meta.NEVER_MS
    samples: int = 0


@dataclass(frozen=True, slots=True)
class Moved:
    """What the database has of a store, copied now or before. Past the retention of the database are `too_old`."""

    series: int
    samples: int
    too_old: int


class SampleMover:
    """Copies the samples of a store. For one thread."""

    def __init__(self, source: MoveSource, connections: Connections) -> None:
        self._source = source
        self._connections = connections
        self._ids = Ids()
        self._resolver = Resolver(source.catalog, self._ids)
        self._partitions = Partitions()
        self._key = f"move {source.identity()}"
        self._seq = 0
        self._epoch: str | None = None
        self._too_old = 0

    def run(self, report: Callable[[int, int], None]) -> Moved:
        """Copy what is not there yet; `report` is told how many units are done, of about how many.

        Raises MoveError, and psycopg.Error.
        """
        groups = self._source.groups()
        with self._connections.transaction() as connection:
            connection.execute(_BEGIN, (self._key,))
            self._seq = int(row_of(connection, _READ, self._key)[0])
        total = sum([len(_starts(group, 0)) for group in groups])
        done = samples = 0
        for group in groups:
            of_group = 0
            for progress in self._copy(group):
                done, of_group = done + 1, progress.samples
                report(min(done, total), total)
            samples += of_group
        return Moved(sum([len(group.series_ids) for group in groups]), samples, self._too_old)

    def _copy(self, group: Group) -> Iterator[_Progress]:
        """Copy a group, one unit after the other."""
        # They are known for as long as somebody has them.
        layouts = [
            self._source.catalog.layout(group.series_ids[first : first + _SERIES_OF_A_LAYOUT])
            for first in range(0, len(group.series_ids), _SERIES_OF_A_LAYOUT)
        ]
        with self._connections.transaction(timeout_s=_TIMEOUT_S) as connection:
            resolved = self._resolved(connection, group, layouts)
            progress = self._progress(connection, group)
        self._resolver.learn(resolved)
        last_ms = max([end_ms for _, end_ms in group.spans])
        for start_ms in _starts(group, resolved.target_ids[group.holders[0]]):
            if start_ms + UNIT_MS - 1 > progress.until_ms:
                from_ms, to_ms = max(start_ms, progress.until_ms + 1), min(start_ms + UNIT_MS - 1, last_ms)
                progress = self._copy_unit(group, layouts, from_ms, to_ms)
            yield progress

    def _copy_unit(self, group: Group, layouts: Sequence[Layout], from_ms: int, to_ms: int) -> _Progress:
        with self._connections.transaction(timeout_s=_TIMEOUT_S) as connection:
            resolved = self._resolved(connection, group, layouts)
            connection.execute(_ALONE, (self._key,))
            before = self._progress(connection, group)
            if before.until_ms >= to_ms:
                return before
            kept_from_ms = max(from_ms, meta.read_ms(connection, meta.EXPIRED_UNTIL))
            target_id = resolved.target_ids[group.holders[0]]
            samples = 0
            for pieces in self._source.pieces(group, from_ms, to_ms):
                kept = [piece.within(kept_from_ms, to_ms) for piece in pieces]
                self._too_old += samples_of(pieces) - samples_of(kept)
                samples += self._write(connection, target_id, self._with_sids(kept, resolved))
            progress = _Progress(to_ms, before.samples + samples)
            connection.execute(_NOTE, (self._key_of(group), msgspec.json.encode(progress).decode()))
        self._resolver.learn(resolved)
        return progress

    def _resolved(self, connection: psycopg.Connection, group: Group, layouts: Sequence[Layout]) -> Resolved:
        """The numbers of the group's targets and series, which stay until the transaction ends."""
        share(connection, Lock.MAINTENANCE)
        share(connection, Lock.SERIES)
        (epoch,) = row_of(connection, _EPOCH)
        if epoch != self._epoch:
            self._ids.forget_layouts()
            self._epoch = epoch
        nothing = [np.zeros(len(layout)) for layout in layouts]
        named = [
            Batch(holder, layout, 0, values)
            for holder in group.holders
            for layout, values in zip(layouts, nothing, strict=True)
        ]
        return self._resolver.resolve(connection, Write(batches=named))

    def _with_sids(self, pieces: Sequence[Piece], resolved: Resolved) -> list[Piece]:
        """Those that have a time, their series by the numbers of the database."""
        found = []
        for piece in pieces:
            if len(piece.times_ms):
                sids = self._ids.sids(piece.series_ids)
                new = np.isin(piece.series_ids, resolved.local)
                sids[new] = resolved.sids[np.searchsorted(resolved.local, piece.series_ids[new])]
                found.append(Piece(piece.times_ms, piece.seqs, sids, piece.values))
        return found

    def _write(self, connection: psycopg.Connection, target_id: int, pieces: Sequence[Piece]) -> int:
        """Write pieces with sids as block rows; how many samples are there then. Raises MoveError."""
        if not pieces:
            return 0
        rows: list[BlockRows] = []
        for some in shares(pieces, target_id, _NO_DELETES).values():
            for piece in join(some):
                rows += block_rows.rows_of(piece, self._seq)
        first_ms = min([some.ts_ms for some in rows])
        last_ms = max([int(piece.times_ms[-1]) for piece in pieces])
        self._partitions.ensure(connection, "block", first_ms, last_ms)
        block_rows.copy(connection, rows)
        rollup_rows.outdate(connection, pieces)
        sids = np.unique(np.concatenate([piece.series_ids for piece in pieces]))
        bounds = at_least(first_ms), at_most(last_ms)
        written = block_rows.pieces_of(binary.fetch(connection, _WRITTEN, (sids.tolist(), self._seq, *bounds)))
        from_ms = min([int(piece.times_ms[0]) for piece in pieces])
        samples, found = samples_of(pieces), samples_of([piece.within(from_ms, last_ms) for piece in written])
        if found != samples:
            raise MoveError(
                f"of {samples:,} samples of target {target_id} between {from_ms} and {last_ms} ms the database has "
                f"{found:,}: nothing of them was kept"
            )
        return samples

    def _progress(self, connection: psycopg.Connection, group: Group) -> _Progress:
        row = connection.execute(_READ, (self._key_of(group),)).fetchone()
        return _Progress() if row is None else msgspec.json.decode(row[0], type=_Progress)

    def _key_of(self, group: Group) -> str:
        """That of a target stays when others come to share its series, which are a group of their own then."""
        return f"{self._key} {group.holders[0] if len(group.holders) == 1 else 'shared'}"


def _starts(group: Group, target_id: int) -> list[int]:
    """The starts of the units that have samples, in the windows of a target of the database."""
    starts: set[int] = set()
    for from_ms, to_ms in group.spans:
        first = last_start_ms(target_id, from_ms)
        starts.update(range(first - first // WINDOW_MS % 4 * WINDOW_MS, to_ms + 1, UNIT_MS))
    return sorted(starts)
