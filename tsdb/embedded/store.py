"""EmbeddedStore: the head and the journal take what is written, blocks keep it, reads merge both.

The order of things is what keeps a sample from being lost or read twice:
- a batch is in the head only after its journal row is committed, and its future is done only after that;
- a window's blocks appear in one transaction with the mark that its journal rows are sealed, after which the head
  forgets it; the rows are removed later;
- a merged block appears in the transaction that hides those it replaces;
- a read looks at the head first and at the blocks after, all of them in one transaction, so that a window sealed
  meanwhile is seen twice, which merges, and never missed.
"""

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

from common.matchers import Matcher
from tsdb.embedded import journal, logs, tombstone_rows
from tsdb.embedded.blocks import BlockReader
from tsdb.embedded.catalog_rows import CatalogRows
from tsdb.embedded.database import Database, Durability
from tsdb.embedded.deletes import Deletes
from tsdb.embedded.disk_watch import NO_WATCH, DiskThresholds, DiskWatch
from tsdb.embedded.exemplar_rows import ExemplarRows
from tsdb.embedded.journal import Journal
from tsdb.embedded.maintenance import Maintenance, Plan
from tsdb.embedded.retention import Retention, expired_until_ms
from tsdb.embedded.retention_classes import Classes, RetentionClasses, stored_classes
from tsdb.embedded.rollups import rows as rollup_rows
from tsdb.embedded.rollups.making import RollupMaking
from tsdb.embedded.rollups.reading import Buckets, RollupReader
from tsdb.embedded.sealing import Sealing
from tsdb.embedded.tools import backup
from tsdb.embedded.usage_rows import UsageRows
from tsdb.embedded.writer import Writer
from tsdb.errors import StoreError, WriteRefusedError
from tsdb.exemplars import CAPACITY
from tsdb.limits import NO_LIMITS, SeriesLimits
from tsdb.local import LocalStore
from tsdb.model import Batch, IntArray, LogEntry, LogQuery, SeriesExemplar, Server
from tsdb.pieces import Piece, Wanted
from tsdb.rollups import Column, RollupFrame
from tsdb.tombstones import Deletion, Tombstone

log = logging.getLogger(__name__)

LEVELS_MS = (30 * 60 * 1000, 2 * 3600 * 1000, 8 * 3600 * 1000)
"""What blocks span: first what is sealed, then what several of those are merged into. Each divides the next.

A read decodes whole blocks: an hour from one of a day takes three times as long as from one of eight hours, which are
larger by one or two in a hundred.
"""

SEALING_DELAY_MS = 5 * 60 * 1000
"""How long after its end a window is sealed: rules and live charts look at minutes, and find them in the head."""

CACHE_BYTES = 64 * 1024 * 1024
"""For decoded blocks."""

SNAPSHOTS = "snapshots"
"""The directory in that of the store."""


class EmbeddedStore(LocalStore):
    """A Store in a directory. See tsdb.store.Store for the contract, and open_store.

    An append waits `commit_delay_s` for others to share its transaction. With `read_only` the directory is not
    locked: the store reads what another process writes, series and unsealed samples as of opening; what would write
    raises StoreError. Without `retention_classes` those count that it had last. Raises StoreOpenError where the
    directory cannot be used, of it StoreLockedError where another process does.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        retention_ms: int | None = None,
        retention_bytes: int | None = None,
        retention_classes: Classes | None = None,
        durability: Durability = "normal",
        limits: SeriesLimits = NO_LIMITS,
        read_only: bool = False,
        cache_bytes: int = CACHE_BYTES,
        rollup_after_ms: int | None = None,
        rollup_keep_ms: int | None = None,
        max_exemplars: int = CAPACITY,
        disk: DiskThresholds = NO_WATCH,
        levels_ms: Sequence[int] = LEVELS_MS,
        sealing_delay_ms: int = SEALING_DELAY_MS,
        commit_delay_s: float = 0.0,
    ) -> None:
        super().__init__(limits, max_exemplars)
        if any(longer % shorter for shorter, longer in itertools.pairwise(levels_ms)):
            raise ValueError(f"each of the levels must divide the next, not {levels_ms} ms")
        self._read_only = read_only
        self._commit_delay_s = commit_delay_s
        self._synced = durability == "full"
        self._waiting: list[tuple[Batch, Future[None]]] = []
        self._waiting_lock = threading.Lock()
        self._maintenance_lock = threading.Lock()
        self._blocks = 0
        self._commit_seconds = 0.0
        self._refused = 0
        self._catalog_rows = CatalogRows(self._catalog)
        self._exemplar_rows = ExemplarRows(self._exemplars)
        self._usage_rows = UsageRows(self._reads)
        self._journal = Journal()
        self._block_reader = BlockReader(cache_bytes)
        self._database = Database(Path(directory), durability, read_only)
        self._disk = DiskWatch(Path(directory), disk)
        self._rollup_reader = RollupReader(self._database, self._head, self._block_reader, self._catalog)
        plan = Plan(tuple(levels_ms), sealing_delay_ms, retention_ms, retention_bytes, rollup_after_ms, rollup_keep_ms)
        try:
            self._load()
            self._writer = Writer(self._database, self._catalog_rows, self._exemplar_rows)
            self._maintenance = self._make_maintenance(plan, retention_classes)
        except BaseException:
            self._database.close()
            raise

    # Writing

    def append(self, batch: Batch) -> Future[None]:
        """See Store.append."""
        future: Future[None] = Future()
        with self._waiting_lock:
            self._check_writable()
            if (reason := self._disk.refusal()) is not None:
                self._refused += 1
                future.set_exception(WriteRefusedError(reason))
                return future
            self._waiting.append((batch, future))
            if len(self._waiting) == 1:
                self._writer.submit(self._commit_waiting)
        return future

    def append_exemplars(self, exemplars: Sequence[SeriesExemplar]) -> None:
        """See Store.append_exemplars."""
        with self._waiting_lock:
            self._check_writable()
            # Batches that wait take them along.
            if self._exemplar_rows.add(exemplars) and not self._waiting:
                self._writer.submit(self._write_catalog)

    def append_logs(self, entries: Sequence[LogEntry]) -> Future[None]:
        """See Store.append_logs."""
        entries = list(entries)

        def write() -> None:
            if (reason := self._disk.refusal()) is not None:
                raise WriteRefusedError(reason)
            with self._writer.transaction() as connection:
                logs.insert(connection, entries)

        with self._waiting_lock:
            self._check_writable()
            return self._writer.submit(write)

    def put_server(self, server: Server) -> None:
        """See Store.put_server. Raises WriteRefusedError where it cannot be stored now."""
        with self._waiting_lock:
            self._check_writable()
            self._catalog.put_server(server)
            written = self._writer.submit(self._write_catalog)
        written.result()

    # Reading

    def select_logs(self, query: LogQuery) -> list[LogEntry]:
        """See Store.select_logs."""
        self._check_open()
        with self._database.reader() as connection:
            return logs.select(connection, query)

    def select_rollups(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        resolution_ms: int,
        columns: Sequence[Column],
    ) -> list[RollupFrame] | None:
        """See tsdb.rollups.RollupStore."""
        self._check_open()
        tombstones = self._tombstones.active()
        asked = Buckets(start_ms, end_ms, resolution_ms, columns)
        found = self._catalog.index.resolve(matchers)
        rollups = self._rollup_reader.select(found, asked, self._maintenance.expired_until_ms, tombstones)
        if rollups is not None:
            self._reads.note(matchers, found, self._catalog.index)
        return rollups

    def _pieces(self, targets: list[int], wanted: Wanted, start_ms: int, end_ms: int) -> Iterator[list[Piece]]:
        start_ms = max(start_ms, self._maintenance.expired_until_ms)
        heads = [self._head.pieces(target_id, wanted, start_ms, end_ms) for target_id in targets]
        with self._database.reader() as connection:
            blocks = self._block_reader.pieces_of(connection, targets, wanted, start_ms, end_ms)
            for of_target, head in zip(blocks, heads, strict=True):
                yield of_target + head

    # Running

    def maintain(self, now_ms: int) -> None:
        """See Store.maintain. Raises WriteRefusedError where it cannot write; the next call tries again."""
        self._growth.mark(now_ms, self._catalog.index.next_id)
        with self._maintaining():
            self._maintenance.run(now_ms)
            if self._usage_rows.due(now_ms):
                self._writer.submit(self._write_usage).result()

    def seal(self, now_ms: int) -> None:
        """See Maintenance.seal."""
        with self._maintaining():
            self._maintenance.seal(now_ms)

    def compact(self, now_ms: int) -> None:
        """See Maintenance.compact."""
        with self._maintaining():
            self._maintenance.compact(now_ms)

    def clean_tombstones(self) -> None:
        """See Store.clean_tombstones. What is not sealed yet is removed when it is."""
        with self._maintaining():
            self._maintenance.clean_tombstones()

    def snapshot(self, name: str) -> None:
        """See Store.snapshot. What was acknowledged before the call is in it. Raises BackupError."""
        self._check_open()
        directory = self._database.path.parent
        backup.back_up(directory, directory / SNAPSHOTS / name, lambda done, total: None)

    def stats(self) -> dict[str, float]:
        """See Store.stats."""
        self._check_open()
        return {
            **self._figures(),
            **self._block_reader.figures(),
            "journal_rows": float(self._journal.rows),
            "blocks": float(self._blocks),
            "bytes_on_disk": float(self._database.size_bytes()),
            "last_commit_seconds": self._commit_seconds,
            "batches_refused_total": float(self._refused),
            **self._disk.figures(),
        }

    def close(self) -> None:
        """See Store.close."""
        with self._waiting_lock:
            if self._closed:
                return
            self._closed = True
            self._writer.stopping = True
            rest = None if self._read_only else self._writer.submit(self._write_usage)
        # Counts of reads, and numbers given out that no batch has used: nobody was told that they are durable.
        if rest is not None:
            with contextlib.suppress(WriteRefusedError):
                rest.result()
        with self._maintenance_lock:
            self._database.close()

    # In the writer thread

    def _write_usage(self) -> None:
        with self._writer.transaction() as connection:
            self._usage_rows.write(connection)
        self._usage_rows.committed()

    def _write_catalog(self) -> None:
        with self._writer.transaction():
            pass

    def _commit_waiting(self) -> None:
        """One transaction for all batches that wait, and those that come in the next moment."""
        if self._commit_delay_s:
            time.sleep(self._commit_delay_s)
        with self._waiting_lock:
            taken, self._waiting = self._waiting, []
        taken = [(batch, future) for batch, future in taken if future.set_running_or_notify_cancel()]
        started = time.perf_counter()
        try:
            parts = [part for batch, _ in taken for part in self._parts(batch)]
            numbered = list(enumerate(parts, self._journal.last_seq + 1))
            for part in parts:
                self._catalog.hold(part.target_id, part.layout)
            with self._writer.transaction([part.layout for part in parts]) as connection:
                self._journal.insert(connection, numbered)
        except BaseException as error:
            self._refused += len(taken)
            for _, future in taken:
                future.set_exception(error)
            if not isinstance(error, WriteRefusedError):
                raise
            return
        self._commit_seconds = time.perf_counter() - started
        for seq, part in numbered:
            self._show(seq, part)
            self._journal.inserted(seq, part.layout.layout_id)
        # Followers first: who writes and then reads is not to get what they know from before.
        for batch, future in taken:
            self._tell_followers(batch)
            future.set_result(None)

    # Maintenance

    @contextlib.contextmanager
    def _maintaining(self) -> Iterator[None]:
        self._check_writable()
        with self._maintenance_lock:
            self._check_writable()
            yield
            self._count_blocks()

    def _make_maintenance(self, plan: Plan, retention_classes: Classes | None) -> Maintenance:
        with self._database.reader() as connection:
            classes = stored_classes(connection) if retention_classes is None else retention_classes
            expired_ms = expired_until_ms(connection)
        by_class = RetentionClasses(classes, self.labels_of)
        sealing = Sealing(
            self._database, self._writer, self._head, self._journal, plan.levels_ms, self._tombstones, by_class
        )
        self._deletes = Deletes(self._database, self._writer, self._tombstones, sealing)
        retention = Retention(
            self._database, self._writer, self._head, self._journal, self._catalog, self._catalog_rows
        )
        rollups = RollupMaking(self._database, self._writer)
        return Maintenance(plan, sealing, self._deletes, retention, rollups, by_class, self._disk, expired_ms)

    # Deletes

    def _last_seq(self) -> int:
        return self._journal.last_seq

    def _has_rollups(self, series_ids: IntArray, start_ms: int, end_ms: int) -> bool:
        with self._database.reader() as connection:
            days = rollup_rows.without(connection, series_ids, start_ms, end_ms) if start_ms <= end_ms else ()
            return any(True for _ in days)

    def _bury(self, tombstone: Tombstone) -> Deletion:
        self._check_writable()
        return self._deletes.add(tombstone)

    def _dig_up(self, deletion_id: int) -> bool:
        self._check_writable()
        return self._deletes.undo(deletion_id)

    # Counting and loading

    def _count_blocks(self) -> None:
        with self._database.reader() as connection:
            (self._blocks,) = connection.execute("SELECT count(*) FROM blocks").fetchone()

    def _load(self) -> None:
        """Read the catalog and replay the journal into the head."""
        with self._database.reader() as connection:
            self._catalog_rows.load(connection)
            self._exemplar_rows.load(connection)
            for tombstone in tombstone_rows.load(connection, self.resolve_any):
                self._tombstones.put(tombstone)
            self._usage_rows.load(connection)
            (self._journal.last_seq,) = connection.execute(
                "SELECT max(coalesce((SELECT max(last_seq) FROM blocks), 0),"
                " coalesce((SELECT max(upto_seq) FROM sealings), 0))"
            ).fetchone()
            latest_ms: int | None = None
            for seq, batch, sealed in journal.replay(connection, self._catalog):
                if sealed:
                    self._journal.sealed.append(seq)
                else:
                    self._show(seq, batch)
                self._journal.inserted(seq, batch.layout.layout_id)
                latest_ms = batch.time_ms
        self._samples_appended = 0
        self._count_blocks()
        if self._database.last_ending == "machine stopped" and not self._synced:
            latest = "none" if latest_ms is None else datetime.fromtimestamp(latest_ms / 1000, UTC).isoformat()
            log.warning(
                "the machine stopped while the store was open: what was written in the last moments before it may be "
                "missing; the last batch that is not sealed is of %s (storage.embedded.durability: full prevents this)",
                latest,
            )

    def _check_writable(self) -> None:
        self._check_open()
        if self._read_only:
            raise StoreError(f"{self._database.path.parent} was opened for reading only")
