"""The Store protocol: the one door between the rooms above and the samples.

All methods are synchronous and thread-safe. Writes return a `concurrent.futures.Future` that is done when the
data is durable (asyncio callers use `asyncio.wrap_future`); what they wrote is visible to readers at the latest
then. Reads may block on I/O: event loops call them through `asyncio.to_thread`. Time bounds are inclusive.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from common.labels import Labels
from common.matchers import Matcher
from tsdb.cardinality import Cardinality
from tsdb.model import Batch, Frame, IntArray, Layout, LogEntry, LogQuery, SeriesExemplar, Server
from tsdb.tombstones import Deleted, Deletion, Selectors
from tsdb.usage import Usage


class Queryable(Protocol):
    """What PromQL needs of a store."""

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Frame]:
        """All samples of the series that fulfil every matcher, with start_ms <= time <= end_ms.

        A series is in one frame at most, a frame has at least one series and one time, a series without a
        sample in the range is left out, and a time occurs once. The order of frames and of the series in
        them is not defined.
        """


class Store(Queryable, Protocol):
    """A store of samples, logs and servers. Implementations pass tests/tsdb/contract.py."""

    # Writing samples

    def register_target(self, labels: Labels) -> int:
        """The id of a target by its labels, the same after a restart.

        Makes the row of the server that the target's `instance` label names, port cut off, where it is new.
        """

    def series_ids(self, labels: Sequence[Labels], target_id: int | None = None, *, partly: bool = False) -> IntArray:
        """int64[N] ids of label sets, made where they are new. Durable with the first batch that uses them.

        The limits of the store hold for the series of a target: where they would be exceeded, SeriesLimitError is
        raised and none made; with `partly` those are made that there is room for, and the others have
        tsdb.limits.REFUSED_ID. Without a target nothing is refused.
        """

    def layout(self, series_ids: IntArray) -> Layout:
        """The interned layout of a vector of series ids."""

    def append(self, batch: Batch) -> Future[None]:
        """Store a batch. The future raises WriteRefusedError when it could not be made durable.

        Late, out-of-order and repeated samples are welcome within the retention; for one series and time the
        write that came last is read.
        """

    def append_samples(self, labels: Labels, samples: Sequence[tuple[int, float]]) -> None:
        """Store (milliseconds, value) pairs of one series and wait until they are durable: for tests."""

    def append_exemplars(self, exemplars: Sequence[SeriesExemplar]) -> None:
        """Take exemplars: readers find them from now on, and they are durable with the next commit.

        Those that do not enter (see tsdb.exemplars) are counted in the stats, and nothing is raised for them.
        """

    # Looking up series

    def series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int, limit: int | None = None
    ) -> list[Labels]:
        """Label sets that fulfil any of the selectors and may have samples in the range, sorted.

        No selector means every series. The range is a hint: a store may answer with more, never with less.
        """

    def label_names(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int, limit: int | None = None
    ) -> list[str]:
        """Sorted names of the labels of those series."""

    def label_values(
        self,
        name: str,
        selectors: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        limit: int | None = None,
    ) -> list[str]:
        """Sorted values of one label over those series."""

    def select_exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> list[tuple[Labels, list[SeriesExemplar]]]:
        """The exemplars of the series that fulfil any of the selectors, in the range.

        By series, sorted by labels; a series' exemplars rise in time, and one without any is left out.
        """

    # Deleting

    def delete_series(self, selectors: Selectors, start_ms: int, end_ms: int, now_ms: int) -> Deletion | None:
        """Hide what the series that fulfil any of the selectors have in the range, from readers that begin after it.

        Returns the delete once it is durable, None where there was nothing. What is written later is not hidden. It
        can be undone for 24 hours; after that `maintain` removes the samples for good. Raises WriteRefusedError.
        """

    def count_deletable(self, selectors: Selectors, start_ms: int, end_ms: int) -> Deleted:
        """What `delete_series` would hide."""

    def deletions(self) -> list[Deletion]:
        """The deletes whose samples are not all removed yet, oldest first."""

    def generation(self) -> int:
        """A number that rises when readers find the past changed by other things than writes: deletes, mostly.

        It says nothing of the retention, which goes on all the time.
        """

    def undo_delete(self, deletion_id: int) -> None:
        """Show what a delete hid. Raises UnknownDeletionError where there is none that can be undone."""

    def clean_tombstones(self) -> None:
        """Begin at once to remove the samples of all deletes, which cannot be undone any more. Blocks."""

    def snapshot(self, name: str) -> None:
        """Make a copy of the store, as it is at this moment, in its directory `snapshots/NAME`. Blocks.

        Raises StoreError where that is not possible, as without a directory.
        """

    # Counting

    def cardinality(self, limit: int) -> Cardinality:
        """What series there are, counted, the `limit` greatest of each kind."""

    def usage(self) -> Usage:
        """The metrics there are, and when they were read by `select`; in no order."""

    # Logs and servers

    def append_logs(self, entries: Sequence[LogEntry]) -> Future[None]:
        """Store log entries; an entry_id that is already there is left as it is."""

    def select_logs(self, query: LogQuery) -> list[LogEntry]:
        """Matching entries, newest first."""

    def put_server(self, server: Server) -> None:
        """Make or replace the row of a server."""

    def servers(self) -> list[Server]:
        """All servers by name."""

    # Running

    @property
    def tells_all(self) -> bool:
        """Whether followers are told of what all processes write; otherwise of what this one writes."""

    def follow(self, callback: Callable[[Batch], None]) -> Callable[[], None]:
        """Call back with every batch once it is durable, from the store's own thread; returns the way out.

        The future of the batch is done after that. The callback must be quick and must not raise.
        """

    def maintain(self, now_ms: int) -> None:
        """Do the periodic work that is due: seal, compact, apply the retention. Blocks; call it from a thread."""

    def stats(self) -> dict[str, float]:
        """Figures for `/metrics`: name without the `fleetwatch_tsdb_` prefix, value."""

    def close(self) -> None:
        """Flush and close. Idempotent; later calls raise StoreClosedError."""
