"""EmbeddedStore: the head and the journal take what is written, blocks keep it, reads merge both.

The order of things is what keeps a sample from being lost or read twice:
- a batch is in the head only after its journal row is committed, and its future is done only after that;
- a window's blocks appear in one transaction with the mark that its journal rows are sealed, after which the head
  forgets it; the rows are removed later, those of all targets together, as they lie in the file;
- a read looks at the head first and at the blocks after, so that a window sealed meanwhile is seen twice, which
  merges, and never missed.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

from tsdb.embedded import blocks, journal, logs
from tsdb.embedded.catalog_rows import CatalogRows
from tsdb.embedded.database import Database
from tsdb.errors import WriteRefusedError
from tsdb.head import last_time_ms
from tsdb.local import LocalStore
from tsdb.model import Batch, LogEntry, LogQuery, Server
from tsdb.pieces import Piece, Wanted, join

WINDOW_MS = 2 * 3600 * 1000
"""What a block spans. At the usual 15 s between scrapes, 480 samples a series."""

SEALING_DELAY_MS = 10 * 60 * 1000
"""How long after its end a window is sealed: rules and live charts look at minutes, and find them in the head."""

# What a transaction of the retention removes at most, so that appends do not wait for it.
_EXPIRED_BLOCKS_AT_ONCE = 50
_EXPIRED_LOGS_AT_ONCE = 2000
# The same for sealed journal rows.
_TRIMMED_ROWS_AT_ONCE = 500


class EmbeddedStore(LocalStore):
    """A Store in a directory. See tsdb.store.Store for the contract, and open_store.

    An append waits `commit_delay_s` for others to share its transaction. Raises StoreOpenError where the directory
    cannot be used, of it StoreLockedError where another process does.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        retention_ms: int | None = None,
        window_ms: int = WINDOW_MS,
        sealing_delay_ms: int = SEALING_DELAY_MS,
        commit_delay_s: float = 0.0,
    ) -> None:
        super().__init__()
        self._retention_ms = retention_ms
        self._window_ms = window_ms
        self._sealing_delay_ms = sealing_delay_ms
        self._commit_delay_s = commit_delay_s
        self._catalog_rows = CatalogRows(self._catalog)
        self._waiting: list[tuple[Batch, Future[None]]] = []
        self._waiting_lock = threading.Lock()
        self._maintenance = threading.Lock()
        self._sealed_until_ms: int | None = None
        # Journal rows that are in blocks, still to be removed.
        self._sealed_seqs: list[int] = []
        self._last_seq = 0
        self._last_block_id = 0
        self._journal_rows = 0
        self._blocks = 0
        self._commit_seconds = 0.0
        self._refused = 0
        self._database = Database(Path(directory))
        try:
            self._load()
        except BaseException:
            self._database.close()
            raise

    # Writing

    def append(self, batch: Batch) -> Future[None]:
        """See Store.append."""
        future: Future[None] = Future()
        with self._waiting_lock:
            self._check_open()
            self._waiting.append((batch, future))
            if len(self._waiting) == 1:
                self._database.in_writer(self._commit_waiting)
        return future

    def append_logs(self, entries: Sequence[LogEntry]) -> Future[None]:
        """See Store.append_logs."""
        entries = list(entries)

        def write() -> None:
            with self._transaction() as connection:
                logs.insert(connection, entries)

        with self._waiting_lock:
            self._check_open()
            return self._database.in_writer(write)

    def put_server(self, server: Server) -> None:
        """See Store.put_server. Raises WriteRefusedError where it cannot be stored now."""
        with self._waiting_lock:
            self._check_open()
            self._catalog.put_server(server)
            written = self._database.in_writer(self._write_catalog)
        written.result()

    # Reading

    def select_logs(self, query: LogQuery) -> list[LogEntry]:
        """See Store.select_logs."""
        self._check_open()
        with self._database.reader() as connection:
            return logs.select(connection, query)

    def _pieces(self, targets: list[int], wanted: Wanted, start_ms: int, end_ms: int) -> Iterator[list[Piece]]:
        heads = [self._head.pieces(target_id, wanted, start_ms, end_ms) for target_id in targets]
        with self._database.reader() as connection:
            for target_id, head in zip(targets, heads, strict=True):
                yield blocks.pieces(connection, self._catalog, target_id, wanted, start_ms, end_ms) + head

    # Running

    def maintain(self, now_ms: int) -> None:
        """See Store.maintain. Raises WriteRefusedError where it cannot write; the next call tries again."""
        self._check_open()
        with self._maintenance:
            before_ms = (now_ms - self._sealing_delay_ms) // self._window_ms * self._window_ms
            if self._sealed_until_ms is None or before_ms > self._sealed_until_ms:
                for target_id in self._head.targets():
                    self._seal(target_id, before_ms)
                self._sealed_until_ms = before_ms
            self._trim_journal()
            if self._retention_ms is not None:
                self._expire(now_ms - self._retention_ms)

    def stats(self) -> dict[str, float]:
        """See Store.stats."""
        self._check_open()
        return {
            **self._figures(),
            "journal_rows": float(self._journal_rows),
            "blocks": float(self._blocks),
            "bytes_on_disk": float(self._database.size_bytes()),
            "last_commit_seconds": self._commit_seconds,
            "batches_refused_total": float(self._refused),
        }

    def close(self) -> None:
        """See Store.close."""
        with self._waiting_lock:
            if self._closed:
                return
            self._closed = True
            rest = self._database.in_writer(self._write_catalog)
        # Numbers given out that no batch has used: nobody was told that they are durable.
        with contextlib.suppress(WriteRefusedError):
            rest.result()
        with self._maintenance:
            self._database.close()

    # In the writer thread

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that also stores whatever is new in the catalog."""
        with self._database.transaction() as connection:
            self._catalog_rows.write(connection)
            yield connection
        self._catalog_rows.committed()

    def _write_catalog(self) -> None:
        with self._transaction():
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
            numbered = list(enumerate(parts, self._last_seq + 1))
            with self._transaction() as connection:
                journal.insert(connection, [journal.to_row(seq, part) for seq, part in numbered])
        except BaseException as error:
            self._refused += len(taken)
            for _, future in taken:
                future.set_exception(error)
            if not isinstance(error, WriteRefusedError):
                raise
            return
        self._commit_seconds = time.perf_counter() - started
        self._journal_rows += len(numbered)
        for seq, part in numbered:
            self._show(seq, part)
            self._samples_appended += len(part.layout)
            self._last_seq = seq
        for _, future in taken:
            future.set_result(None)
        for batch, _ in taken:
            self._tell_followers(batch)

    # Maintenance

    def _seal(self, target_id: int, before_ms: int) -> None:
        """Move what the head holds of a target from before a time into blocks, by whole batches."""
        upto_seq = self._last_seq
        leaving = self._head.before(target_id, before_ms, upto_seq)
        if not leaving.seqs:
            return
        sealed = [
            block
            for piece in [*join(leaving.rows), *leaving.loose]
            for block in blocks.encode(piece, self._window_ms, self._catalog)
        ]

        def write() -> None:
            with self._transaction() as connection:
                for block_id, block in enumerate(sealed, self._last_block_id + 1):
                    blocks.insert(connection, block_id, target_id, block)
                journal.mark_sealed(connection, target_id, before_ms, upto_seq)
            self._last_block_id += len(sealed)
            self._blocks += len(sealed)
            self._sealed_seqs += leaving.seqs
            self._head.drop(target_id, before_ms, upto_seq)

        self._check_open()
        self._database.in_writer(write).result()

    def _trim_journal(self) -> None:
        """Remove sealed rows, a little at once."""
        self._sealed_seqs.sort()
        while self._sealed_seqs:
            seqs = self._sealed_seqs[:_TRIMMED_ROWS_AT_ONCE]

            def write(seqs: list[int] = seqs) -> None:
                with self._transaction() as connection:
                    journal.delete(connection, seqs)
                self._journal_rows -= len(seqs)

            self._check_open()
            self._database.in_writer(write).result()
            del self._sealed_seqs[: len(seqs)]

    def _expire(self, before_ms: int) -> None:
        """Remove blocks and logs from before a time, a little at once."""

        def write() -> bool:
            with self._transaction() as connection:
                gone = blocks.delete_before(connection, before_ms, _EXPIRED_BLOCKS_AT_ONCE)
                logs_gone = logs.delete_before(connection, before_ms * 1_000_000, _EXPIRED_LOGS_AT_ONCE)
            self._blocks -= gone
            return gone > 0 or logs_gone > 0

        self._check_open()
        while self._database.in_writer(write).result():
            self._check_open()

    def _load(self) -> None:
        """Read the catalog and replay the journal into the head."""
        with self._database.reader() as connection:
            self._catalog_rows.load(connection)
            for target_id, layout_id in connection.execute("SELECT DISTINCT target_id, layout_id FROM blocks"):
                self._catalog.hold(target_id, self._catalog.layout_by_id(layout_id))
            self._blocks, self._last_block_id, self._last_seq = connection.execute(
                "SELECT count(*), coalesce(max(block_id), 0), coalesce(max(last_seq), 0) FROM blocks"
            ).fetchone()
            sealings = journal.sealings(connection)
            for seq, batch in journal.replay(connection, self._catalog):
                before_ms, upto_seq = sealings.get(batch.target_id, (0, -1))
                if seq <= upto_seq and last_time_ms(batch) < before_ms:
                    self._sealed_seqs.append(seq)
                else:
                    self._show(seq, batch)
                self._journal_rows += 1
                self._last_seq = max(self._last_seq, seq)
