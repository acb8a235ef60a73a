"""The store that keeps everything in memory: for tests and trials. Nothing outlives it."""

import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

from tsdb.errors import StoreError
from tsdb.exemplars import CAPACITY
from tsdb.limits import NO_LIMITS, SeriesLimits
from tsdb.local import LocalStore
from tsdb.logwords import words
from tsdb.model import Batch, LogEntry, LogQuery, Server
from tsdb.pieces import Piece, Wanted
from tsdb.tombstones import Deletion, Tombstone


class MemoryStore(LocalStore):
    """A Store without a disk. Followers are called from the appending thread."""

    def __init__(
        self,
        retention_ms: int | None = None,
        limits: SeriesLimits = NO_LIMITS,
        max_exemplars: int = CAPACITY,
    ) -> None:
        super().__init__(limits, max_exemplars)
        self._lock = threading.Lock()
        self._seq = 0
        self._deletions = 0
        self._retention_ms = retention_ms
        self._logs: dict[uuid.UUID, LogEntry] = {}

    def append(self, batch: Batch) -> Future[None]:
        """See Store.append. The future is done on return."""
        self._check_open()
        with self._lock:
            for part in self._parts(batch):
                self._seq += 1
                self._catalog.hold(part.target_id, part.layout)
                self._show(self._seq, part)
        self._tell_followers(batch)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def append_logs(self, entries: Sequence[LogEntry]) -> Future[None]:
        """See Store.append_logs. The future is done on return."""
        self._check_open()
        with self._lock:
            for entry in entries:
                self._logs.setdefault(entry.entry_id, entry)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def select_logs(self, query: LogQuery) -> list[LogEntry]:
        """See Store.select_logs."""
        self._check_open()
        with self._lock:
            entries = list(self._logs.values())
        found = [entry for entry in entries if _matches(query, entry)]
        found.sort(key=lambda entry: (entry.time_ns, entry.entry_id), reverse=True)
        return found[: query.limit]

    def put_server(self, server: Server) -> None:
        """See Store.put_server."""
        self._check_open()
        self._catalog.put_server(server)

    def maintain(self, now_ms: int) -> None:
        """Forget what is older than the retention."""
        self._check_open()
        self._growth.mark(now_ms, self._catalog.index.next_id)
        if self._retention_ms is None:
            return
        cutoff_ms = now_ms - self._retention_ms
        for target_id in self._head.targets():
            self._head.drop(target_id, cutoff_ms, self._seq)
        with self._lock:
            self._logs = {
                entry_id: entry for entry_id, entry in self._logs.items() if entry.time_ns >= cutoff_ms * 1_000_000
            }

    def clean_tombstones(self) -> None:
        """See Store.clean_tombstones. The samples stay hidden until the retention removes them."""
        self._check_open()
        for tombstone in self._tombstones.active():
            self._tombstones.put(tombstone.doomed())

    def snapshot(self, name: str) -> None:
        """See Store.snapshot."""
        raise StoreError("a store in memory has no directory for snapshots")

    def stats(self) -> dict[str, float]:
        """See Store.stats."""
        self._check_open()
        return self._figures()

    def close(self) -> None:
        """See Store.close."""
        self._closed = True

    def _last_seq(self) -> int:
        return self._seq

    def _bury(self, tombstone: Tombstone) -> Deletion:
        with self._lock:
            self._deletions += 1
            numbered = tombstone.numbered(self._deletions)
        self._tombstones.put(numbered)
        return numbered.deletion

    def _dig_up(self, deletion_id: int) -> bool:
        return self._tombstones.undo(deletion_id)

    def _pieces(self, targets: list[int], wanted: Wanted, start_ms: int, end_ms: int) -> Iterator[list[Piece]]:
        return (self._head.pieces(target_id, wanted, start_ms, end_ms) for target_id in targets)


def _matches(query: LogQuery, entry: LogEntry) -> bool:
    return (
        query.start_ns <= entry.time_ns <= query.end_ns
        and query.server_id in (None, entry.server_id)
        and query.log_type in (None, entry.log_type)
        and query.source in (None, entry.source)
        and (not query.text or set(words(query.text)) <= set(words(entry.message)))
    )
