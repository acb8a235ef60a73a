"""Exemplars: a ring of the latest, shared by all series, with Prometheus's rules for what enters it.

Follows prometheus tsdb/exemplar.go. The ring holds `capacity` exemplars; a new one pushes out the oldest, whichever
its series. Within a series they rise in time. It differs in one place: of two exemplars of a series with the same time
and value the order of their labels decides which comes first, where Prometheus takes a hash.
"""

import enum
import threading
from collections import Counter, deque
from collections.abc import Iterable

from common.labels import Labels
from tsdb.model import IntArray, SeriesExemplar

CAPACITY = 100_000
"""As many as Prometheus keeps by default (storage.exemplars.max_exemplars)."""

MAX_LABELS_LENGTH = 128
"""Characters in the names and values of an exemplar's labels (OpenMetrics 1.0)."""


class Refusal(enum.Enum):
    """Why an exemplar does not enter. Values are the `reason` labels of the metric that counts them."""

    LABELS_TOO_LONG = "labels_too_long"
    OUT_OF_ORDER = "out_of_order"


class ExemplarRing:
    """The latest exemplars, in memory. Safe for concurrent readers and writers. A capacity of 0 keeps none."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.refused: Counter[Refusal] = Counter()
        self._lock = threading.Lock()
        self._by_series: dict[int, deque[SeriesExemplar]] = {}
        # The series of each exemplar in the order in which they came.
        self._arrivals: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._arrivals)

    def add(self, exemplars: Iterable[SeriesExemplar]) -> list[SeriesExemplar]:
        """Those that entered. One that its series has as its latest is passed over; refused ones are counted."""
        entered: list[SeriesExemplar] = []
        if not self.capacity:
            return entered
        with self._lock:
            for exemplar in exemplars:
                held = self._by_series.get(exemplar.series_id)
                if _labels_length(exemplar.labels) > MAX_LABELS_LENGTH:
                    self.refused[Refusal.LABELS_TOO_LONG] += 1
                elif held and _is_same(held[-1], exemplar):
                    continue
                elif held and _order(exemplar) < _order(held[-1]):
                    self.refused[Refusal.OUT_OF_ORDER] += 1
                else:
                    self._enter(exemplar)
                    entered.append(exemplar)
        return entered

    def restore(self, exemplars: Iterable[SeriesExemplar]) -> None:
        """Put back what was in a ring, in the order in which it entered."""
        with self._lock:
            for exemplar in exemplars:
                self._enter(exemplar)

    def select(self, series_ids: IntArray, start_ms: int, end_ms: int) -> dict[int, list[SeriesExemplar]]:
        """By series the exemplars of an inclusive range of time, rising; series without any are left out."""
        with self._lock:
            found = {}
            for series_id in self._by_series.keys() & set(series_ids.tolist()):
                chosen = [one for one in self._by_series[series_id] if start_ms <= one.time_ms <= end_ms]
                if chosen:
                    found[series_id] = chosen
            return found

    def figures(self) -> dict[str, float]:
        """For the stats of a store."""
        with self._lock:
            return {
                "exemplars": float(len(self._arrivals)),
                "exemplar_series": float(len(self._by_series)),
                **{f"exemplars_refused_{reason.value}_total": float(self.refused[reason]) for reason in Refusal},
            }

    def _enter(self, exemplar: SeriesExemplar) -> None:
        if len(self._arrivals) == self.capacity:
            oldest = self._arrivals.popleft()
            self._by_series[oldest].popleft()
            if not self._by_series[oldest]:
                del self._by_series[oldest]
        self._arrivals.append(exemplar.series_id)
        self._by_series.setdefault(exemplar.series_id, deque()).append(exemplar)


def _labels_length(labels: Labels) -> int:
    return sum([len(name) + len(value) for name, value in labels])


def _is_same(latest: SeriesExemplar, exemplar: SeriesExemplar) -> bool:
    """Whether a target only shows again what it showed before: times count where the target gave one."""
    same_time = latest.time_ms == exemplar.time_ms or not (latest.own_time or exemplar.own_time)
    return same_time and latest.value == exemplar.value and latest.labels == exemplar.labels


def _order(exemplar: SeriesExemplar) -> tuple[int, float, Labels]:
    return exemplar.time_ms, exemplar.value, exemplar.labels
