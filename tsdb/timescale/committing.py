"""One write as one transaction: stored once, however often it is tried.

Every run of a process that writes has a row in `writers`, with a name of its own and the number of its last write. A
transaction begins by raising that number to its own. Where that has been done, the write was committed before: a
connection that broke during COMMIT left it open, and the lock of the row makes who asks wait for a server process that
is still at it.

The number also tells when the database has lost what it had committed, as after a failover to a replica that lagged
behind: then it is lower than the last one known. Everything that was learned of such a database is void.
"""

import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import psycopg

from tsdb.catalog import Catalog
from tsdb.errors import StoreError
from tsdb.timescale import binary
from tsdb.timescale.connections import Connection, Connections, blames_data
from tsdb.timescale.copying import JournalRow, copy_journal
from tsdb.timescale.ids import Ids
from tsdb.timescale.inserts import insert_exemplars, insert_logs, insert_servers
from tsdb.timescale.locks import Lock, share
from tsdb.timescale.partitions import Partitions, Relation
from tsdb.timescale.resolving import Resolved, Resolver
from tsdb.timescale.writes import Write, WriteId

log = logging.getLogger(__name__)

_CLAIM = """
UPDATE fleetwatch_data.writers SET last_write = %(number)s, seen_at = now()
WHERE name = %(name)s AND last_write >= %(confirmed)s AND last_write < %(number)s
RETURNING writer_id, (SELECT value FROM fleetwatch_data.meta WHERE key = 'series_epoch')::int8,
    ARRAY(SELECT nextval('fleetwatch_data.journal_seq') FROM generate_series(1, %(rows)s))
"""
_LAST_WRITE = "SELECT last_write FROM fleetwatch_data.writers WHERE name = %s"
_REGISTER = "INSERT INTO fleetwatch_data.writers (name) VALUES (%s) ON CONFLICT (name) DO NOTHING"

_NOW = "SELECT (extract(epoch FROM now()) * 1000)::bigint"

_DAY_MS = 24 * 3600 * 1000
_DAY_NS = _DAY_MS * 1_000_000
_ATTEMPTS = 3


@dataclass(slots=True, eq=False)
class Outcome:
    """What became of a write. `seqs` has the number of each batch's row; none where it was stored before.

    `refused` has those parts, by their place, that the database does not take, and why.
    """

    stored_before: bool = False
    seqs: Sequence[int] = ()
    writer_id: int | None = None
    refused: dict[int, Exception] = field(default_factory=dict)


class _LostCommitsError(Exception):
    """The database is not as this process left it."""


class Committer:
    """Stores writes. For one thread."""

    def __init__(self, connections: Connections, catalog: Catalog, ids: Ids) -> None:
        self._connections = connections
        self._ids = ids
        self._resolver = Resolver(catalog, ids)
        self._partitions = Partitions()
        self._confirmed: dict[uuid.UUID, int] = {}
        self._epoch: int | None = None
        self._days: set[tuple[Relation, int]] = set()

    def new_series(self, write: Write) -> int:
        """How many series may have to be made for a write, at most."""
        return self._resolver.new_series(write)

    def confirmed(self, writer: uuid.UUID) -> int:
        """The greatest number of a writer that is known to be committed; 0 for none."""
        return self._confirmed.get(writer, 0)

    def commit(self, write_id: WriteId, parts: Sequence[Write], timeout_s: float, *, apart: bool = False) -> Outcome:
        """Store the parts of a write together. Raises psycopg.Error and StoreError, and then nothing is stored.

        With `apart` those parts are left out that the database does not take.
        """
        try:
            return self._try(write_id, parts, timeout_s, apart)
        except _LostCommitsError:
            log.error(
                "the database has lost writes that it had acknowledged, or another one has taken its place: series "
                "and targets are looked up anew"
            )
            self._resolver.forget_all()
            self._confirmed.clear()
        except psycopg.errors.CheckViolation:
            # A row without a partition: it was dropped, or nobody made one for so long.
            self._days.clear()
        return self._try(write_id, parts, timeout_s, apart)

    def _try(self, write_id: WriteId, parts: Sequence[Write], timeout_s: float, apart: bool) -> Outcome:
        self._make_partitions(parts)
        outcome = Outcome()
        done: list[Resolved] = []
        with self._connections.transaction(timeout_s=timeout_s) as connection:
            share(connection, Lock.SERIES)
            claim = self._claim(connection, write_id, sum([len(part.batches) for part in parts]))
            if claim is None:
                outcome.stored_before = True
            elif apart:
                done = self._insert_apart(connection, write_id, claim, parts, outcome)
            else:
                done = [self._insert(connection, write_id, claim, Write.join(parts), claim.seqs)]
        self._confirmed[write_id.writer] = write_id.number
        if claim is not None:
            outcome.writer_id, outcome.seqs = claim.writer_id, claim.seqs
        for resolved in done:
            self._resolver.learn(resolved)
        return outcome

    def _claim(self, connection: Connection, write_id: WriteId, rows: int) -> "_Claim | None":
        """What this write may use, or None where it is stored already."""
        name, number, confirmed = write_id.writer, write_id.number, self.confirmed(write_id.writer)
        parameters = {"name": name, "number": number, "confirmed": confirmed, "rows": rows}
        for _ in range(_ATTEMPTS):
            claimed = binary.fetch(connection, _CLAIM, parameters)
            if len(claimed):
                self._notice(int(claimed.int8(1)[0]))
                return _Claim(int(claimed.int4(0)[0]), binary.int8_array(claimed.whole(2)[0]).tolist())
            last = binary.fetch(connection, _LAST_WRITE, (name,)).int8(0)
            if not len(last) and not confirmed:
                connection.execute(_REGISTER, (name,))
            elif not len(last) or last[0] < confirmed:
                raise _LostCommitsError
            elif last[0] >= number:
                return None
        raise StoreError(f"the row of writer {name} changes while it is looked at")

    def _notice(self, epoch: int) -> None:
        if epoch != self._epoch:
            self._resolver.forget_layouts()
            self._epoch = epoch

    def _insert(
        self, connection: Connection, write_id: WriteId, claim: "_Claim", write: Write, seqs: Sequence[int]
    ) -> Resolved:
        resolved = self._resolver.resolve(connection, write)
        rows = [
            JournalRow(
                seq,
                claim.writer_id,
                write_id.number,
                resolved.target_ids[batch.target_id],
                resolved.layout_ids[batch.layout],
                batch,
            )
            for seq, batch in zip(seqs, write.batches, strict=True)
        ]
        if rows:
            copy_journal(connection, rows)
        if write.logs:
            insert_logs(connection, write.logs)
        if write.exemplars:
            local = np.array([exemplar.series_id for exemplar in write.exemplars], dtype=np.int64)
            insert_exemplars(connection, write.exemplars, self._resolver.sids_of(resolved, local))
        if write.servers or write.made_servers:
            insert_servers(connection, write.servers, write.made_servers)
        return resolved

    def _insert_apart(
        self, connection: Connection, write_id: WriteId, claim: "_Claim", parts: Sequence[Write], outcome: Outcome
    ) -> list[Resolved]:
        done = []
        used = 0
        for place, part in enumerate(parts):
            first, used = used, used + len(part.batches)
            try:
                with connection.transaction():
                    done.append(self._insert(connection, write_id, claim, part, claim.seqs[first:used]))
            except (psycopg.Error, StoreError) as error:
                if not is_refusal(error):
                    raise
                outcome.refused[place] = error
        return done

    def _make_partitions(self, parts: Sequence[Write]) -> None:
        """For days that had no rows yet in this run, in a transaction that is short, as others wait for it."""
        days: set[tuple[Relation, int]] = {("journal", time.time_ns() // _DAY_NS)}
        for part in parts:
            days |= {("logs", entry.time_ns // _DAY_NS) for entry in part.logs}
            days |= {("exemplars", exemplar.time_ms // _DAY_MS) for exemplar in part.exemplars}
        if days <= self._days:
            return
        with self._connections.transaction() as connection:
            # The journal goes by the clock of the database, which may show another day.
            (now_ms,) = binary.fetch(connection, _NOW).int8(0).tolist()
            missing: set[tuple[Relation, int]] = (days - self._days) | {("journal", now_ms // _DAY_MS)}
            for relation, day in sorted(missing):
                self._partitions.ensure(connection, relation, day * _DAY_MS, (day + 1) * _DAY_MS - 1)
        self._days |= days


@dataclass(frozen=True, slots=True)
class _Claim:
    writer_id: int
    seqs: list[int]


def is_refusal(error: Exception) -> bool:
    """Whether the database will never take what was written, and not only now."""
    return blames_data(error) if isinstance(error, psycopg.Error) else isinstance(error, StoreError)
