"""TimescaleStore: a writer to the journal, readers of journal and blocks, and the newest samples in memory.

Series, targets and layouts have numbers of this process; the writer finds those of the database when it writes. So a
scrape never waits for the database, and goes on while it is away: what is written then waits in a spool.

A read takes its newest samples from the head, where there is one, and all others from the database. It looks at the
head first: what is trimmed from it meanwhile is in the database.
"""

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import numpy as np
import psycopg

from common.labels import METRIC_NAME, Labels
from common.matchers import Matcher
from tsdb.cardinality import Cardinality
from tsdb.dsn import shown_dsn
from tsdb.errors import StoreError, StoreOpenError, WriteRefusedError
from tsdb.exemplars import CAPACITY
from tsdb.limits import NO_LIMITS, SeriesLimits
from tsdb.local import LocalStore
from tsdb.model import Batch, Frame, IntArray, LogEntry, LogQuery, SeriesExemplar, Server, is_absent
from tsdb.pieces import Piece, Wanted
from tsdb.rollups import Column, RollupFrame
from tsdb.timescale import exemplar_rows, log_rows, rollup_reading
from tsdb.timescale.block_rows import WINDOW_MS
from tsdb.timescale.class_retention import Classes
from tsdb.timescale.connections import Connections, is_away
from tsdb.timescale.following import Follower
from tsdb.timescale.ids import Ids
from tsdb.timescale.keeping import Keeper
from tsdb.timescale.layouts import LayoutSids
from tsdb.timescale.loading import CatalogLoader
from tsdb.timescale.maintenance import Maintenance, Plan
from tsdb.timescale.migrate import migrate
from tsdb.timescale.narrow import check_narrow
from tsdb.timescale.options import Options
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.reads import Reads, first_line
from tsdb.timescale.recent import Recent
from tsdb.timescale.rollup_reading import Asked
from tsdb.timescale.settings_applied import Settings, apply_settings
from tsdb.timescale.spool import Spool
from tsdb.timescale.tombstone_rows import SharedTombstones
from tsdb.timescale.usage_rows import UsageRows
from tsdb.timescale.writing import JournalWriter
from tsdb.tombstones import Deletion, Tombstone
from tsdb.usage import Usage, metric_usage

log = logging.getLogger(__name__)

# Of the catalog.
_LOAD_TIMEOUT_S = 600.0


class TimescaleStore(LocalStore):
    """A Store in a database, of which many processes have one at a time. See tsdb.store.Store for the contract.

    Raises StoreOpenError where the database cannot be used, or is away; with `options.start_without` it waits for one
    that is away: what is written goes into the spool, and what has to be read raises StoreError until then. With a head
    followers are told of what all processes write, without one of what this one writes.
    """

    def __init__(
        self,
        dsn: str,
        options: Options,
        *,
        retention_ms: int | None = None,
        retention_bytes: int | None = None,
        retention_classes: Classes = (),
        limits: SeriesLimits = NO_LIMITS,
        max_exemplars: int = CAPACITY,
        rollup_after_ms: int | None = None,
        rollup_keep_ms: int | None = None,
    ) -> None:
        super().__init__(limits, max_exemplars)
        self._dsn = dsn
        self._options = options
        self._ids = Ids()
        self._tombstones: SharedTombstones = SharedTombstones(self._ids)
        self._layouts = LayoutSids()
        self._usage_rows = UsageRows(self._reads)
        self._loader = CatalogLoader(self._catalog, self._ids)
        self._recent = Recent(self._head, options.head_ms, _now_ms()) if options.head_ms else None
        try:
            self._connections = Connections(
                dsn,
                reader_dsns=options.read_replicas,
                size=options.pool_size,
                statement_timeout_s=options.statement_timeout_s,
            )
        except psycopg.Error as error:
            raise StoreOpenError(f"{shown_dsn(dsn)} cannot be read as a DSN: {first_line(error)}") from error
        try:
            self._spool = Spool(options.spool, options.spool_bytes)
        except StoreError:
            self._connections.close()
            raise
        self._writer = JournalWriter(
            self._connections,
            self._catalog,
            self._ids,
            self._spool,
            commit_delay_s=options.commit_delay_s,
            shown=self._written,
            split=self._parts,
        )
        self._closing = threading.Lock()
        follower = None
        if self._recent is not None:
            follower = Follower(
                self._catalog, self._ids, self._loader, self._layouts, self._recent, WINDOW_MS, self._tell_followers
            )
        self._database = Reads(
            dsn,
            self._connections,
            self._ids,
            self._layouts,
            self._recent,
            options.statement_timeout_s,
            self._known_writes if options.read_replicas and follower is not None else None,
        )
        self._follower = follower
        self._keeper = self._make_keeper()
        longest_ms = max([keep_ms for _, keep_ms in retention_classes], default=0)
        self._settings = Settings(
            samples_keep_ms=None if retention_ms is None else max(retention_ms, longest_ms),
            logs_keep_ms=retention_ms,
            rollups_keep_ms=rollup_keep_ms,
            narrow=options.narrow,
        )
        plan = Plan(
            retention_ms=retention_ms,
            retention_bytes=retention_bytes,
            rollup_after_ms=rollup_after_ms,
            rollup_keep_ms=rollup_keep_ms,
        )
        self._maintenance = Maintenance(
            self._connections, Partitions(), plan, classes=retention_classes, narrow=options.narrow
        )
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    # Opening

    def _known_writes(self) -> dict[int, int]:
        """By writer the last write that this process knows of."""
        known = {} if self._follower is None else self._follower.read()
        if self._writer.writer_id is not None:
            known[self._writer.writer_id] = self._writer.last_write
        return known

    def _make_keeper(self) -> Keeper:
        following = None if self._follower is None or self._recent is None else (self._follower, self._recent)
        return Keeper(
            self._connections,
            self._catalog,
            self._ids,
            self._loader,
            self._tombstones,
            self._open_database,
            lambda: self._writer.writer_id,
            following,
        )

    def _open(self) -> None:
        where = shown_dsn(self._dsn)
        try:
            self._keeper.open()
        except psycopg.Error as error:
            if not (self._options.start_without and is_away(error)):
                raise StoreOpenError(f"cannot open the database {where}: {first_line(error)}") from error
            log.warning("the database %s is away: what is written waits in the spool: %s", where, first_line(error))
        self._writer.start()
        self._keeper.start()

    def _open_database(self, at_start: bool) -> None:
        self._layouts.forget()
        if self._follower is not None:
            self._follower.forget_numbers()
        server = migrate(self._dsn)
        if self._options.narrow:
            check_narrow(server)
        with self._connections.transaction() as connection:
            apply_settings(connection, server, self._settings)
        with self._connections.transaction(snapshot=True, timeout_s=_LOAD_TIMEOUT_S) as connection:
            self._loader.load(connection, at_start=at_start)
            self._tombstones.refresh(connection, _now_ms(), None)
            if at_start:
                self._exemplars.restore(exemplar_rows.latest(connection, self._ids, self._exemplars.capacity))

    # Writing

    def register_target(self, labels: Labels) -> int:
        """See Store.register_target."""
        target_id = super().register_target(labels)
        if made := self._catalog.changed_servers():
            self._catalog.servers_stored(made)
            self._writer.append_servers(made, replace=False)
        return target_id

    def append(self, batch: Batch) -> Future[None]:
        """See Store.append. The future is done too when the batch is in the spool."""
        self._check_open()
        self._catalog.hold(batch.target_id, batch.layout)
        return self._writer.append(batch)

    def append_exemplars(self, exemplars: Sequence[SeriesExemplar]) -> None:
        """See Store.append_exemplars."""
        self._check_open()
        if entered := self._exemplars.add(exemplars):
            self._writer.append_exemplars(entered)

    def append_logs(self, entries: Sequence[LogEntry]) -> Future[None]:
        """See Store.append_logs."""
        self._check_open()
        return self._writer.append_logs(entries)

    def put_server(self, server: Server) -> None:
        """See Store.put_server. Raises WriteRefusedError where it cannot be stored now."""
        self._check_open()
        self._writer.append_servers([server], replace=True).result()
        self._catalog.put_server(server)
        self._catalog.servers_stored([server])

    def _written(self, batch: Batch, seq: int) -> None:
        """What the writer has committed, in its thread."""
        self._samples_appended += len(batch.layout)
        if self._recent is not None:
            for part in self._parts(batch):
                self._recent.take(seq, part)
        self._tell_followers(batch)

    @property
    def tells_all(self) -> bool:
        """See Store.tells_all."""
        return self._follower is not None

    # Looking up

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Frame]:
        """See Store.select. Raises StoreError where the database is needed and away."""
        self._look_for_news()
        return super().select(matchers, start_ms, end_ms)

    def resolve_any(self, selectors: Sequence[Sequence[Matcher]]) -> IntArray:
        """See LocalStore.resolve_any."""
        self._look_for_news()
        return super().resolve_any(selectors)

    def label_names(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int, limit: int | None = None
    ) -> list[str]:
        """See Store.label_names. The range is not looked at."""
        self._look_for_news()
        return super().label_names(selectors, start_ms, end_ms, limit)

    def label_values(
        self,
        name: str,
        selectors: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        limit: int | None = None,
    ) -> list[str]:
        """See Store.label_values. The range is not looked at."""
        self._look_for_news()
        return super().label_values(name, selectors, start_ms, end_ms, limit)

    def cardinality(self, limit: int) -> Cardinality:
        """See Store.cardinality."""
        self._look_for_news()
        return super().cardinality(limit)

    def servers(self) -> list[Server]:
        """See Store.servers."""
        self._look_for_news()
        return super().servers()

    def usage(self) -> Usage:
        """See Store.usage. Reads of all processes count."""
        self._look_for_news()
        names, series = self._catalog.index.sizes(METRIC_NAME)
        with self._database.snapshot() as connection:
            since_ms, reads = self._usage_rows.read(connection)
        return Usage(since_ms, metric_usage(zip(names, series.tolist(), strict=True), reads))

    def select_exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> list[tuple[Labels, list[SeriesExemplar]]]:
        """See Store.select_exemplars."""
        ids = self.resolve_any(selectors)
        own = self._exemplars.select(ids, start_ms, end_ms)
        with self._database.snapshot() as connection:
            stored = exemplar_rows.select(connection, self._ids, ids, start_ms, end_ms)
        found = exemplar_rows.merged([*stored, *itertools.chain.from_iterable(own.values())])
        series = self.labels_of(np.fromiter(found, dtype=np.int64, count=len(found)))
        return sorted(zip(series, found.values(), strict=True), key=lambda pair: pair[0])

    def select_logs(self, query: LogQuery) -> list[LogEntry]:
        """See Store.select_logs."""
        self._check_open()
        with self._database.snapshot() as connection:
            return log_rows.select(connection, query)

    def _look_for_news(self) -> None:
        """What other processes made meanwhile; while the database is away, what is known has to do."""
        self._check_open()
        try:
            self._keeper.refresh()
        except psycopg.Error as error:
            if not is_away(error):
                raise self._database.error_of(error) from error

    # Reading

    def select_rollups(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        resolution_ms: int,
        columns: Sequence[Column],
    ) -> list[RollupFrame] | None:
        """See tsdb.rollups.RollupStore."""
        self._look_for_news()
        tombstones = self._tombstones.active()
        ids = self._catalog.index.resolve(matchers)
        asked = Asked(start_ms, end_ms, resolution_ms, columns)
        found = self._database.rollups(self._catalog.holders(ids), asked, tombstones)
        if found is None:
            return None
        self._reads.note(matchers, ids, self._catalog.index)
        frames = []
        for series_ids, values in found:
            seen = np.flatnonzero((~is_absent(values)).any(axis=(1, 2)))
            if len(seen):
                labels = self._catalog.index.labels(series_ids[seen])
                kept = values if len(seen) == len(values) else values[seen]
                frames.append(RollupFrame(asked.ends_ms, kept, series_ids[seen], labels, asked.columns))
        return frames

    def _pieces(self, targets: list[int], wanted: Wanted, start_ms: int, end_ms: int) -> Iterator[list[Piece]]:
        return self._database.pieces(targets, wanted, start_ms, end_ms)

    # Deleting

    def deletions(self) -> list[Deletion]:
        """See Store.deletions."""
        self._look_for_news()
        return self._tombstones.listed()

    def generation(self) -> int:
        """See Store.generation."""
        self._look_for_news()
        return self._tombstones.generation

    def clean_tombstones(self) -> None:
        """See Store.clean_tombstones."""
        self._check_open()
        with self._database.changing() as connection:
            self._tombstones.doom_all(connection)
        self._keeper.refresh_tombstones()
        with self._maintaining():
            self._maintenance.clean_tombstones()

    def snapshot(self, name: str) -> None:
        """See Store.snapshot. Raises StoreError: a database is copied from outside."""
        self._check_open()
        raise StoreError("a store in a database has no directory for snapshots: copy it with `fleetwatch db backup`")

    def _last_seq(self) -> int:
        # The one that counts is read when the tombstone is written.
        return 0

    def _has_rollups(self, series_ids: IntArray, start_ms: int, end_ms: int) -> bool:
        if start_ms > end_ms:
            return False
        with self._database.snapshot() as connection:
            return rollup_reading.has_any(connection, self._ids.sids(series_ids), start_ms, end_ms)

    def _bury(self, tombstone: Tombstone) -> Deletion:
        with self._database.changing() as connection:
            deletion = self._tombstones.bury(connection, tombstone).deletion
        self._keeper.refresh_tombstones()
        return deletion

    def _dig_up(self, deletion_id: int) -> bool:
        with self._database.changing() as connection:
            undone = self._tombstones.dig_up(connection, deletion_id, _now_ms())
        self._keeper.refresh_tombstones()
        return undone

    # Running

    def maintain(self, now_ms: int) -> None:
        """See Store.maintain. Raises WriteRefusedError where the database is away; the next call tries again."""
        self._check_open()
        self._growth.mark(now_ms, self._catalog.index.next_id)
        with self._maintaining():
            self._maintenance.run(now_ms)
        if self._usage_rows.due(now_ms):
            self._write_usage()

    def stats(self) -> dict[str, float]:
        """See Store.stats."""
        self._check_open()
        return {
            **self._figures(),
            **self._connections.figures(),
            **self._writer.figures(),
            **self._keeper.figures(),
            **self._maintenance.figures(),
        }

    def close(self) -> None:
        """See Store.close. What is not in the database yet is in the spool then."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._keeper.close()
        self._writer.close()
        # Counts of reads may be lost.
        with contextlib.suppress(WriteRefusedError):
            self._write_usage()
        self._connections.close()

    def catch_up(self) -> None:
        """Have everything that any process has committed until now. Raises StoreError where the database is away."""
        self._check_open()
        try:
            self._keeper.catch_up()
        except psycopg.Error as error:
            raise self._database.error_of(error) from error

    def seal(self, now_ms: int) -> None:
        """Write the blocks of all windows that have ended."""
        self._check_open()
        with self._maintaining():
            self._maintenance.seal(now_ms)

    def compact(self, now_ms: int) -> None:
        """See `seal`: there is nothing else to make smaller."""
        self.seal(now_ms)

    @contextlib.contextmanager
    def _maintaining(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise self._database.refusal_of(error) from error

    def _write_usage(self) -> None:
        with self._database.changing() as connection:
            self._usage_rows.write(connection)
        self._usage_rows.committed()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
