"""JournalWriter: what is appended goes into the database, a transaction for what came in the same moment.

One thread takes what waits, and stores it as one write (tsdb.timescale.committing). Where the database cannot take it
now, the write goes into the spool under the number that it has, and counts as stored once it is on disk. From then on
everything goes into the spool, behind it, until the database has all of it again: order is kept.

While the database is away another thread knocks, so that nobody waits for a server that does not answer. What waits in
memory is bounded: beyond that, and when the spool is full, writes are refused, which is what the scraper hears of it.
"""

import itertools
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import psycopg

from tsdb.catalog import Catalog
from tsdb.errors import StoreClosedError, StoreError, WriteRefusedError
from tsdb.model import Batch, LogEntry, SeriesExemplar, Server
from tsdb.timescale.committing import Committer, Outcome, is_refusal
from tsdb.timescale.connections import Connections
from tsdb.timescale.ids import Ids
from tsdb.timescale.spool import Spool
from tsdb.timescale.writes import Write, WriteId, of_batch, of_exemplars, of_logs, of_servers

log = logging.getLogger(__name__)

MAX_BYTES = 64 << 20
"""What may wait in memory."""

# What one transaction takes. The first statement of a series costs some 50 us.
_MOST_SAMPLES = 250_000
_MOST_NEW_SERIES = 5000

# For each statement. Writes wait while one is under way, but for one of the spool that took too long before.
_TIMEOUT_S = 5.0
_MOST_TIMEOUT_S = 60.0

_KNOCK_EVERY_S = 1.0
_KNOCK_TIMEOUT_S = 3.0
_KNOCK = "SELECT FROM fleetwatch_data.writers LIMIT 0"
# The same complaint is repeated that often.
_COMPLAIN_EVERY_S = 60.0


@dataclass(slots=True, eq=False)
class _Waiting:
    """What was appended by one call: what is shown once it is stored, and who is told."""

    write: Write
    bytes: int
    samples: int
    batch: Batch | None
    future: Future[None] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class JournalWriter:
    """Stores what is appended; thread-safe. Begins with `start`: what came before waits until then.

    What comes within `commit_delay_s` shares a transaction. `split` gives the batches that a batch is stored as.
    `shown` is called in the writer's thread with each batch that was appended and the number of its last row, in the
    order of the commits and before its future is done; for one in the spool that is the last number known.
    """

    def __init__(
        self,
        connections: Connections,
        catalog: Catalog,
        ids: Ids,
        spool: Spool,
        *,
        commit_delay_s: float,
        shown: Callable[[Batch, int], None],
        split: Callable[[Batch], list[Batch]] = lambda batch: [batch],
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.writer_id: int | None = None
        """Of this run in the table `writers`, once it has written."""
        self._connections = connections
        self._catalog = catalog
        self._spool = spool
        self._commit_delay_s = commit_delay_s
        self._shown = shown
        self._split = split
        self._max_bytes = max_bytes
        self._committer = Committer(connections, catalog, ids)
        self._name = uuid.uuid4()
        self._numbers = itertools.count(1)
        self._last_seq = 0
        # Guards what follows.
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._away = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._timeout_s = _TIMEOUT_S
        self._complaint, self._complained_at = "", 0.0
        self._commit_seconds = 0.0
        self._writes = self._replayed = self._spooled = self._refused = self._dropped = 0

    @property
    def last_write(self) -> int:
        """The number of this run's last write in the database; 0 for none."""
        return self._committer.confirmed(self._name)

    def start(self) -> None:
        """Begin to write, first of all what is in the spool."""
        self._thread.start()

    def append(self, batch: Batch) -> Future[None]:
        """See Store.append. Raises ValueError for a batch that is none."""
        if batch.values.dtype != np.float64 or (batch.times_ms is not None and batch.times_ms.dtype != np.int64):
            raise ValueError(f"a batch of {batch.values.dtype} values; they are float64, and times are int64")
        return self._enqueue(lambda: of_batch(batch), batch)

    def append_logs(self, entries: Sequence[LogEntry]) -> Future[None]:
        """See Store.append_logs."""
        return self._enqueue(lambda: of_logs(entries))

    def append_exemplars(self, exemplars: Sequence[SeriesExemplar]) -> Future[None]:
        """Store exemplars. The future is as that of Store.append."""
        return self._enqueue(lambda: of_exemplars(exemplars))

    def append_servers(self, servers: Sequence[Server], *, replace: bool) -> Future[None]:
        """Store servers; without `replace` those stay as they are whose id or name is there."""
        return self._enqueue(lambda: of_servers(servers, replace))

    def figures(self) -> dict[str, float]:
        """For the stats of a store."""
        return {
            "writes_total": float(self._writes),
            "writes_spooled_total": float(self._spooled),
            "writes_replayed_total": float(self._replayed),
            "writes_dropped_total": float(self._dropped),
            "batches_refused_total": float(self._refused),
            "write_queue_bytes": float(self._waiting_bytes),
            "last_commit_seconds": self._commit_seconds,
            "database_away": float(self._away),
            **self._spool.figures(),
        }

    def close(self) -> None:
        """Store what waits, in the database or else in the spool, and end. Idempotent."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is None:
            self._thread.start()
        self._thread.join()
        self._spool.close()

    def _enqueue(self, make: Callable[[], Write], batch: Batch | None = None) -> Future[None]:
        try:
            write = make()
        except WriteRefusedError as error:
            return self._refuse_one(error)
        waiting = _Waiting(write, write.bytes, len(batch.layout) if batch is not None else 0, batch)
        with self._changed:
            if self._closing:
                raise StoreClosedError("the store is closed")
            if self._waiting_bytes + waiting.bytes <= self._max_bytes or not self._waiting:
                self._waiting.append(waiting)
                self._waiting_bytes += waiting.bytes
                if len(self._waiting) == 1 or self._is_plenty():
                    self._changed.notify_all()
                return waiting.future
        return self._refuse_one(
            WriteRefusedError(
                f"nothing was stored: {self._waiting_bytes} bytes wait for the database or the spool, which are slower "
                "than what comes in"
            )
        )

    def _refuse_one(self, error: WriteRefusedError) -> Future[None]:
        self._refused += 1
        future: Future[None] = Future()
        future.set_exception(error)
        return future

    # In the thread

    def _run(self) -> None:
        while (turn := self._next_turn()) is not None:
            taken = [waiting for waiting in turn if waiting.future.set_running_or_notify_cancel()]
            try:
                if not taken:
                    self._replay()
                elif self._away or not self._spool.empty or self._is_flooded():
                    self._to_spool(WriteId(self._name, next(self._numbers)), taken)
                    if not self._away:
                        self._replay()
                else:
                    self._to_database(WriteId(self._name, next(self._numbers)), taken)
            except Exception as error:
                log.exception("a write failed in a way that was not foreseen")
                self._refuse(taken, error)
                if not self._away and not self._spool.empty:
                    # It may be the first of the spool, which would be tried again at once.
                    self._lose(error)

    def _next_turn(self) -> list[_Waiting] | None:
        """What is to be written now; an empty list for a write of the spool; None at the end."""
        with self._changed:
            while True:
                if self._waiting:
                    left_s = self._waiting[0].since + self._commit_delay_s - time.monotonic()
                    if left_s <= 0 or self._is_plenty() or self._closing:
                        return self._take()
                elif self._closing:
                    return None
                if not self._spool.empty and not self._away and not self._closing:
                    return []
                self._changed.wait(left_s if self._waiting else None)

    def _is_plenty(self) -> bool:
        return self._waiting_bytes >= 8 * _MOST_SAMPLES

    def _is_flooded(self) -> bool:
        """Whether the database does not keep up with what comes in."""
        return self._waiting_bytes > self._max_bytes // 2

    def _take(self) -> list[_Waiting]:
        """As much as one transaction takes, from the front."""
        taken: list[_Waiting] = []
        samples = new_series = 0
        while self._waiting and samples < _MOST_SAMPLES and new_series < _MOST_NEW_SERIES:
            waiting = self._waiting.popleft()
            self._waiting_bytes -= waiting.bytes
            taken.append(waiting)
            samples += waiting.samples
            new_series += self._committer.new_series(waiting.write)
        return taken

    def _to_database(self, write_id: WriteId, taken: list[_Waiting]) -> None:
        started = time.perf_counter()
        try:
            outcome = self._commit(write_id, self._parts(taken), _TIMEOUT_S)
        except (psycopg.Error, StoreError) as error:
            self._lose(error)
            self._to_spool(write_id, taken)
            return
        self._commit_seconds = time.perf_counter() - started
        self._writes += 1
        self._note(write_id, outcome)
        seqs = iter(outcome.seqs)
        for place, waiting in enumerate(taken):
            seq = max(itertools.islice(seqs, len(waiting.write.batches)), default=self._last_seq)
            if place in outcome.refused:
                self._refuse([waiting], outcome.refused[place])
            else:
                self._done(waiting, seq)

    def _to_spool(self, write_id: WriteId, taken: list[_Waiting]) -> None:
        try:
            self._spool.append(write_id, Write.join(self._parts(taken)), self._catalog)
        except WriteRefusedError as error:
            self._refuse(taken, error)
            return
        self._spooled += 1
        for waiting in taken:
            self._done(waiting, self._last_seq)

    def _replay(self) -> None:
        """Store the first write of the spool."""
        try:
            first = self._spool.first(self._catalog)
            if first is None:
                return
            write_id, write = first
            outcome = self._commit(write_id, list(write.parts()), self._timeout_s)
        except (psycopg.Error, StoreError) as error:
            if isinstance(error, psycopg.errors.QueryCanceled):
                self._timeout_s = min(2 * self._timeout_s, _MOST_TIMEOUT_S)
            self._lose(error)
            return
        self._timeout_s = _TIMEOUT_S
        for reason in outcome.refused.values():
            self._dropped += 1
            log.error("the database does not take something that was in the spool, and it is dropped: %s", reason)
        self._spool.remove_first()
        self._replayed += 1
        self._note(write_id, outcome)
        if self._spool.empty:
            log.info("the database has everything that was in the spool")

    def _parts(self, taken: Sequence[_Waiting]) -> list[Write]:
        """What was appended, with batches as they are stored."""
        for waiting in taken:
            if waiting.batch is not None and waiting.batch.times_ms is not None:
                waiting.write = Write(batches=self._split(waiting.batch))
        return [waiting.write for waiting in taken]

    def _commit(self, write_id: WriteId, parts: Sequence[Write], timeout_s: float) -> Outcome:
        try:
            return self._committer.commit(write_id, parts, timeout_s)
        except (psycopg.Error, StoreError) as error:
            if not is_refusal(error):
                raise
        # One of them is to blame, and the others are not to suffer for it.
        return self._committer.commit(write_id, parts, timeout_s, apart=True)

    def _note(self, write_id: WriteId, outcome: Outcome) -> None:
        self._last_seq = max(outcome.seqs, default=self._last_seq)
        if write_id.writer == self._name and outcome.writer_id is not None:
            self.writer_id = outcome.writer_id
        self._complaint = ""

    def _done(self, waiting: _Waiting, seq: int) -> None:
        if waiting.batch is not None:
            self._shown(waiting.batch, seq)
        waiting.future.set_result(None)

    def _refuse(self, taken: Sequence[_Waiting], error: Exception) -> None:
        for waiting in taken:
            if not waiting.future.done():
                self._refused += 1
                refusal = error if isinstance(error, WriteRefusedError) else _refusal(error)
                waiting.future.set_exception(refusal)

    # While the database is away

    def _lose(self, error: Exception) -> None:
        """Go on with the spool until the database is back."""
        complaint = str(error).partition("\n")[0]
        now = time.monotonic()
        if complaint != self._complaint or now > self._complained_at + _COMPLAIN_EVERY_S:
            log.warning("the database takes nothing now, and what is written waits in the spool: %s", complaint)
            self._complaint, self._complained_at = complaint, now
        with self._changed:
            self._away = True
        threading.Thread(target=self._knock, name="database-knocking", daemon=True).start()

    def _knock(self) -> None:
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._closing, _KNOCK_EVERY_S):
                    return
            try:
                with self._connections.transaction(timeout_s=_KNOCK_TIMEOUT_S) as connection:
                    connection.execute(_KNOCK)
            except psycopg.Error:
                continue
            with self._changed:
                self._away = False
                self._changed.notify_all()
            return


def _refusal(error: Exception) -> WriteRefusedError:
    reason = str(error).partition("\n")[0]
    refusal = WriteRefusedError(f"nothing was stored: the database does not take it: {reason}")
    refusal.__cause__ = error
    return refusal
