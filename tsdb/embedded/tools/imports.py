"""Old samples into a store: loose samples in any order become batches for `Store.append`.

What is imported belongs to pseudo targets, one for each pair of job and instance among the series, so that a query
of one host does not look through the imported blocks of all others. Samples are gathered until there are many,
sorted, and cut into one batch for each target and time, as if they had been scraped. The last write wins, so the
same file imported again changes nothing.
"""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from common.errors import FleetwatchError
from common.labels import Labels
from tsdb.model import Batch, FloatArray, IntArray
from tsdb.store import Store

SAMPLES_AT_ONCE = 1_000_000
"""What is sorted and appended together: 24 MB. The more, the more series of a target share a batch."""

SeriesIds = Callable[[Sequence[Labels]], IntArray]
"""Makes int64[N] ids of label sets."""

# Batches whose futures are waited for together.
_BATCHES_AT_ONCE = 10_000


class ImportRefusedError(FleetwatchError):
    """A file holds something else than it should; says where. What came before it has been imported."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Loose samples in the order of a file: three vectors of one length."""

    series_ids: IntArray
    times_ms: IntArray
    values: FloatArray

    def __len__(self) -> int:
        return len(self.times_ms)


class Importer:
    """Takes samples and appends them to a store; `sealed` is called when a few million lie in its head.

    Nothing is durable before `flush`, which the owner calls at the end, also where reading the file failed.
    """

    def __init__(self, store: Store, seal: Callable[[], None]) -> None:
        self.appended = 0
        self._store = store
        self._seal = seal
        self._waiting: list[Samples] = []
        self._count = 0
        # The target of each series by id, -1 where it is not known.
        self._targets = np.full(0, -1, dtype=np.int64)

    def series_ids(self, labels: Sequence[Labels]) -> IntArray:
        """int64[N] ids of the series of samples to come."""
        ids = self._store.series_ids(labels)
        if len(ids):
            size = int(ids.max()) + 1
            if size > len(self._targets):
                grown = np.full(2 * size, -1, dtype=np.int64)
                grown[: len(self._targets)] = self._targets
                self._targets = grown
            self._targets[ids] = [self._store.register_target(_target_labels(each)) for each in labels]
        return ids

    def add(self, samples: Samples) -> None:
        """Take samples of series that `series_ids` gave. Raises WriteRefusedError."""
        self._waiting.append(samples)
        self._count += len(samples)
        if self._count >= SAMPLES_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Make everything durable that was added. Raises WriteRefusedError; what it names was not stored."""
        waiting, self._waiting, self._count = self._waiting, [], 0
        if not waiting:
            return
        ids = np.concatenate([part.series_ids for part in waiting])
        times = np.concatenate([part.times_ms for part in waiting])
        values = np.concatenate([part.values for part in waiting])
        targets = self._targets[ids]
        # Stable: of two samples of a series and time, the later one in the file comes last, and is the one kept.
        order = np.lexsort((ids, times, targets))
        places = np.stack((targets, times, ids))[:, order]
        kept = np.append((places[:, 1:] != places[:, :-1]).any(axis=0), True)
        self._append(places[:, kept], values[order][kept])
        self._seal()

    def _append(self, places: IntArray, values: FloatArray) -> None:
        """`places` is int64[3, N], sorted: target, time and series of each value."""
        targets, times, ids = places
        starts = np.flatnonzero(np.append(True, (places[:2, 1:] != places[:2, :-1]).any(axis=0))).tolist()
        layout, layout_key = self._store.layout(ids[:0]), b""
        written: list[Future[None]] = []
        for start, end in itertools.pairwise([*starts, len(values)]):
            key = ids[start:end].tobytes()
            if key != layout_key:
                layout, layout_key = self._store.layout(ids[start:end]), key
            batch = Batch(int(targets[start]), layout, int(times[start]), values[start:end])
            written.append(self._store.append(batch))
            if len(written) == _BATCHES_AT_ONCE:
                _wait_for(written)
        _wait_for(written)
        self.appended += len(values)


def _target_labels(series: Labels) -> Labels:
    return Labels.of(job="import", exported_job=series.get("job"), exported_instance=series.get("instance"))


def _wait_for(written: list[Future[None]]) -> None:
    for future in written:
        future.result()
    written.clear()
