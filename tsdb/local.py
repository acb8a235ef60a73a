"""What the stores of this process have in common: catalog, head, lookups, followers.

A subclass makes batches durable, hands their `_parts` to `_show`, and adds whatever pieces it keeps beside the head.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import numpy as np

from common.labels import Labels
from common.matchers import Matcher
from tsdb.catalog import Catalog
from tsdb.errors import StoreClosedError
from tsdb.head import Head
from tsdb.model import Batch, Frame, IntArray, Layout, Server
from tsdb.pieces import Piece, Wanted, to_frames


class LocalStore(ABC):
    """A store whose index and recent samples live in this process. See tsdb.store.Store for the contract."""

    def __init__(self) -> None:
        self._catalog = Catalog()
        self._head = Head()
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

    # Writing

    def register_target(self, labels: Labels) -> int:
        """See Store.register_target."""
        self._check_open()
        return self._catalog.target(labels)

    def series_ids(self, labels: Sequence[Labels]) -> IntArray:
        """See Store.series_ids."""
        self._check_open()
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

    def follow(self, callback: Callable[[Batch], None]) -> Callable[[], None]:
        """See Store.follow."""
        self._check_open()
        self._followers.append(callback)
        return lambda: self._followers.remove(callback)

    # Reading

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Frame]:
        """See Store.select."""
        self._check_open()
        ids = self._catalog.index.resolve(matchers)
        held = self._catalog.holders(ids)
        if start_ms > end_ms:
            return []
        labels_of = self._catalog.index.labels
        frames = []
        own = Wanted(held.own, held.homes)
        for pieces in self._pieces(np.unique(held.homes).tolist(), own, start_ms, end_ms):
            frames += to_frames(pieces, labels_of)
        if len(held.shared):
            shared = Wanted(held.shared)
            pooled = itertools.chain.from_iterable(self._pieces(held.sharing, shared, start_ms, end_ms))
            frames += to_frames(list(pooled), labels_of)
        return frames

    def series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int, limit: int | None = None
    ) -> list[Labels]:
        """See Store.series. The range is not looked at."""
        self._check_open()
        ids = self._resolve_any(selectors)
        index = self._catalog.index
        return sorted(index.labels_from(0) if ids is None else index.labels(ids))[:limit]

    def label_names(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int, limit: int | None = None
    ) -> list[str]:
        """See Store.label_names. The range is not looked at."""
        self._check_open()
        return self._catalog.index.names(self._resolve_any(selectors))[:limit]

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
        return self._catalog.index.values(name, self._resolve_any(selectors))[:limit]

    def servers(self) -> list[Server]:
        """See Store.servers."""
        self._check_open()
        return self._catalog.servers()

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
        """Make a durable batch visible."""
        self._catalog.hold(batch.target_id, batch.layout)
        self._head.append(seq, batch)

    def _tell_followers(self, batch: Batch) -> None:
        for callback in tuple(self._followers):
            callback(batch)

    def _resolve_any(self, selectors: Sequence[Sequence[Matcher]]) -> IntArray | None:
        """Rising ids of the series that fulfil any of the selectors; None, all, where there is none."""
        if not selectors:
            return None
        found = [self._catalog.index.resolve(matchers) for matchers in selectors]
        return found[0] if len(found) == 1 else np.unique(np.concatenate(found))

    def _figures(self) -> dict[str, float]:
        return {
            "samples_appended_total": float(self._samples_appended),
            **self._catalog.figures(),
            **self._head.figures(),
        }

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError("the store is closed")
