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
from tsdb.model import Batch, Frame, IntArray, Layout, LogEntry, LogQuery, Server


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

    def series_ids(self, labels: Sequence[Labels]) -> IntArray:
        """int64[N] ids of label sets, made where they are new. Durable with the first batch that uses them."""

    def layout(self, series_ids: IntArray) -> Layout:
        """The interned layout of a vector of series ids."""

    def append(self, batch: Batch) -> Future[None]:
        """Store a batch. The future raises WriteRefusedError when it could not be made durable.

        Late, out-of-order and repeated samples are welcome within the retention; for one series and time the
        write that came last is read.
        """

    def append_samples(self, labels: Labels, samples: Sequence[tuple[int, float]]) -> None:
        """Store (milliseconds, value) pairs of one series and wait until they are durable: for tests."""

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

    def follow(self, callback: Callable[[Batch], None]) -> Callable[[], None]:
        """Call back with every batch once it is durable, from the store's own thread; returns the way out.

        The callback must be quick and must not raise.
        """

    def maintain(self, now_ms: int) -> None:
        """Do the periodic work that is due: seal, compact, apply the retention. Blocks; call it from a thread."""

    def stats(self) -> dict[str, float]:
        """Figures for `/metrics`: name without the `fleetwatch_tsdb_` prefix, value."""

    def close(self) -> None:
        """Flush and close. Idempotent; later calls raise StoreClosedError."""
