"""What the stores of this process have in common: catalog, head, lookups, followers.

A subclass makes batches durable, hands their `_parts` to `_show`, and adds whatever pieces it keeps beside the head.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future

import numpy as np

from common.labels import METRIC_NAME, Labels
from common.matchers import Matcher
from tsdb.cardinality import Cardinality, Growth, count_series
from tsdb.catalog import Catalog, Holders
from tsdb.errors import StoreClosedError
from tsdb.exemplars import CAPACITY, ExemplarRing
from tsdb.head import Head
from tsdb.limits import NO_LIMITS, LimitedSeries, SeriesLimits
from tsdb.model import Batch, Frame, IntArray, Layout, SeriesExemplar, Server
from tsdb.pieces import Piece, Wanted, to_frames
from tsdb.tombstones import (
    UNDO_MS,
    Deleted,
    Deletion,
    Selectors,
    Tombstone,
    Tombstones,
    UnknownDeletionError,
    hide,
)
from tsdb.usage import ReadCounts, Usage, metric_usage

# Whose samples are counted together.
_SERIES_COUNTED = 512


class LocalStore(ABC):
    """A store whose index and recent samples live in this process. See tsdb.store.Store for the contract."""

    def __init__(self, limits: SeriesLimits = NO_LIMITS, max_exemplars: int = CAPACITY) -> None:
        self._catalog = Catalog()
        self._limited = None if limits == NO_LIMITS else LimitedSeries(self._catalog, limits)
        self._growth = Growth()
        self._reads = ReadCounts()
        self._head = Head()
        self._exemplars = ExemplarRing(max(0, max_exemplars))
        self._tombstones = Tombstones()
        self._followers: list[Callable[[Batch], None]] = []
        self._samples_appended = 0
        self._closed = False

    # What a subclass does

    @abstractmethod
    def append(self, batch: Batch) -> Future[None]:
        """See Store.append."""

    @abstractmethod
    def _pieces(self, targets: list[int], wanted: Wanted, start_ms: int, end_ms: int) -> Iterator[list[Piece]]:
        """For each of the targets, all pieces of the wanted series, consistent among themselves."""

    @abstractmethod
    def _last_seq(self) -> int:
        """The greatest sequence number of what readers find."""

    @abstractmethod
    def _bury(self, tombstone: Tombstone) -> Deletion:
        """Number a tombstone and show it to readers; where there is a disk, once it is there."""

    @abstractmethod
    def _dig_up(self, deletion_id: int) -> bool:
        """Take a tombstone away; False where there is none, or its samples are being removed."""

    def _has_rollups(self, series_ids: IntArray, start_ms: int, end_ms: int) -> bool:
        """Whether something can be read of the time though there are no samples."""
        return False

    # Writing

    def register_target(self, labels: Labels) -> int:
        """See Store.register_target."""
        self._check_open()
        return self._catalog.target(labels)

    def series_ids(self, labels: Sequence[Labels], target_id: int | None = None, *, partly: bool = False) -> IntArray:
        """See Store.series_ids."""
        self._check_open()
        if self._limited is not None and target_id is not None:
            return self._limited.ids(labels, target_id, partly)
        return self._catalog.index.ids(labels)

    def layout(self, series_ids: IntArray) -> Layout:
        """See Store.layout."""
        self._check_open()
        return self._catalog.layout(series_ids)

    def append_samples(self, labels: Labels, samples: Sequence[tuple[int, float]]) -> None:
        """See Store.append_samples. Each series written so is a target of its own."""
        target_id = self.register_target(Labels.of(job="append_samples", series=str(labels)))
        layout = self.layout(self.series_ids([labels]))
        written = [
            self.append(Batch(target_id, layout, time_ms, np.array([value], dtype=np.float64)))
            for time_ms, value in samples
        ]
        for future in written:
            future.result()

    def append_exemplars(self, exemplars: Sequence[SeriesExemplar]) -> None:
        """See Store.append_exemplars."""
        self._check_open()
        self._exemplars.add(exemplars)

    @property
    def tells_all(self) -> bool:
        """See Store.tells_all."""
        return True

    def follow(self, callback: Callable[[Batch], None]) -> Callable[[], None]:
        """See Store.follow."""
        self._check_open()
        self._followers.append(callback)
        return lambda: self._followers.remove(callback)

    # Reading

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Frame]:
        """See Store.select."""
        self._check_open()
        found = self._catalog.index.resolve(matchers)
        self._reads.note(matchers, found, self._catalog.index)
        return self.select_ids(found, start_ms, end_ms)

    def select_ids(self, series_ids: IntArray, start_ms: int, end_ms: int) -> list[Frame]:
        """As `select`, of the series with these ids, which rise."""
        self._check_open()
        if start_ms > end_ms:
            return []
        tombstones = self._tombstones.active()
        groups = self._groups(self._catalog.holders(series_ids), start_ms, end_ms)
        return to_frames((hide(pieces, tombstones) for pieces in groups), self._catalog.index.labels)

    def _groups(self, held: Holders, start_ms: int, end_ms: int) -> Iterator[Iterable[Piece]]:
        """The pieces of all samples, in groups that have no series in common."""
        own = Wanted(held.own, held.homes)
        yield from self._pieces(np.unique(held.homes).tolist(), own, start_ms, end_ms)
        if len(held.shared):
            shared = Wanted(held.shared)
            yield itertools.chain.from_iterable(self._pieces(held.sharing, shared, start_ms, end_ms))

    def select_exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> list[tuple[Labels, list[SeriesExemplar]]]:
        """See Store.select_exemplars."""
        found = self._exemplars.select(self.resolve_any(selectors), start_ms, end_ms)
        series = self.labels_of(np.fromiter(found, dtype=np.int64, count=len(found)))
        return sorted(zip(series, found.values(), strict=True), key=lambda pair: pair[0])

    def series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int, limit: int | None = None
    ) -> list[Labels]:
        """See Store.series. The range is not looked at."""
        self._check_open()
        return sorted(self.labels_of(self.resolve_any(selectors)))[:limit]

    def label_names(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int, limit: int | None = None
    ) -> list[str]:
        """See Store.label_names. The range is not looked at."""
        self._check_open()
        return self._catalog.index.names(self.resolve_any(selectors) if selectors else None, limit)

    def label_values(
        self,
        name: str,
        selectors: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        limit: int | None = None,
    ) -> list[str]:
        """See Store.label_values. The range is not looked at."""
        self._check_open()
        return self._catalog.index.values(name, self.resolve_any(selectors) if selectors else None, limit)

    def resolve_any(self, selectors: Sequence[Sequence[Matcher]]) -> IntArray:
        """Rising int64 ids of the series that fulfil any of the selectors; of all where there is none."""
        self._check_open()
        found = [self._catalog.index.resolve(matchers) for matchers in selectors or [[]]]
        return found[0] if len(found) == 1 else np.unique(np.concatenate(found))

    def labels_of(self, series_ids: IntArray) -> list[Labels]:
        """The label sets of series ids."""
        return self._catalog.index.labels(series_ids)

    def cardinality(self, limit: int) -> Cardinality:
        """See Store.cardinality."""
        self._check_open()
        return count_series(self._catalog, self._head.extent(), self._growth, limit)

    def usage(self) -> Usage:
        """See Store.usage."""
        self._check_open()
        names, series = self._catalog.index.sizes(METRIC_NAME)
        return Usage(
            self._reads.counted_since_ms,
            metric_usage(zip(names, series.tolist(), strict=True), self._reads.reads()),
        )

    def servers(self) -> list[Server]:
        """See Store.servers."""
        self._check_open()
        return self._catalog.servers()

    # Deleting

    def count_deletable(self, selectors: Selectors, start_ms: int, end_ms: int) -> Deleted:
        """See Store.count_deletable."""
        series = samples = 0
        ids = self.resolve_any(selectors)
        for first in range(0, len(ids), _SERIES_COUNTED):
            for frame in self.select_ids(ids[first : first + _SERIES_COUNTED], start_ms, end_ms):
                series += len(frame.series_ids)
                samples += frame.values.size if frame.present is None else int(frame.present.sum())
        return Deleted(series, samples)

    def delete_series(self, selectors: Selectors, start_ms: int, end_ms: int, now_ms: int) -> Deletion | None:
        """See Store.delete_series."""
        # First the number: what was written up to it is in series that are found after it.
        upto_seq = self._last_seq()
        deleted = self.count_deletable(selectors, start_ms, end_ms)
        ids = self.resolve_any(selectors)
        if not deleted.samples and not self._has_rollups(ids, start_ms, end_ms):
            return None
        deletion = Deletion(0, selectors, start_ms, end_ms, now_ms, now_ms + UNDO_MS, deleted)
        return self._bury(Tombstone(deletion, upto_seq, ids))

    def deletions(self) -> list[Deletion]:
        """See Store.deletions."""
        self._check_open()
        return [tombstone.deletion for tombstone in self._tombstones.active()]

    def generation(self) -> int:
        """See Store.generation."""
        self._check_open()
        return self._tombstones.generation

    def undo_delete(self, deletion_id: int) -> None:
        """See Store.undo_delete."""
        self._check_open()
        if not self._dig_up(deletion_id):
            raise UnknownDeletionError(
                f"there is no delete {deletion_id} that can be undone: it never was, was undone, or its time is over"
            )

    # For subclasses

    def _parts(self, batch: Batch) -> list[Batch]:
        """A batch as one whose samples share the time and one whose samples bring their own, as far as needed."""
        if batch.times_ms is None:
            return [batch]
        own = batch.times_ms != batch.time_ms
        parts = []
        for chosen, times in ((~own, None), (own, batch.times_ms[own])):
            if chosen.any():
                layout = self._catalog.layout(batch.layout.series_ids[chosen])
                parts.append(Batch(batch.target_id, layout, batch.time_ms, batch.values[chosen], times))
        return parts

    def _show(self, seq: int, batch: Batch) -> None:
        """Make a durable batch visible, whose target is known to hold its series."""
        self._head.append(seq, batch)
        self._samples_appended += len(batch.layout)

    def _tell_followers(self, batch: Batch) -> None:
        for callback in tuple(self._followers):
            callback(batch)

    def _figures(self) -> dict[str, float]:
        return {
            "samples_appended_total": float(self._samples_appended),
            "series_refused_total": float(self._limited.refused_total if self._limited else 0),
            **self._catalog.figures(),
            **self._head.figures(),
            **self._exemplars.figures(),
        }

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError("the store is closed")
