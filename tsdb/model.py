"""The data model: batches in, frames out, and the values that are no numbers.

Times are int64 milliseconds since the epoch (UTC). Values are float64, kept bit for bit: two NaN payloads carry
meaning, so code tells them apart by their bits and never by `isnan`.
"""

import uuid
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from common.labels import Labels

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

STALE_NAN_BITS = 0x7FF0000000000002
"""Marks a series as ended at this time (prometheus model/value StaleNaN)."""

ABSENT_BITS = 0x7FF0000000000004
"""Marks a series of a layout that has no sample at this time; never leaves the store."""

STALE_NAN = np.array([STALE_NAN_BITS], dtype=np.uint64).view(np.float64)[0]
ABSENT = np.array([ABSENT_BITS], dtype=np.uint64).view(np.float64)[0]


def is_stale(values: FloatArray) -> BoolArray:
    """Which values are staleness markers; same shape as `values`."""
    stale: BoolArray = np.ascontiguousarray(values).view(np.uint64) == STALE_NAN_BITS
    return stale


def is_absent(values: FloatArray) -> BoolArray:
    """Which values say that there is no sample; same shape as `values`."""
    absent: BoolArray = np.ascontiguousarray(values).view(np.uint64) == ABSENT_BITS
    return absent


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Layout:
    """The series of a target in exposition order. Interned by the store; equal ids mean equal vectors.

    `series_ids` is int64[N], read-only, without duplicates.
    """

    layout_id: int
    series_ids: IntArray

    def __len__(self) -> int:
        return len(self.series_ids)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one scrape yields: one time and a vector of values, in the order of the layout.

    `values` is float64[N]; ABSENT where a series has no sample. `times_ms` is int64[N] where samples bring times
    of their own, else None and all are at `time_ms`. A store keeps one batch for each (target_id, time_ms): the
    same one written again is stored once. The arrays belong to the store from append on: do not write to them.
    """

    target_id: int
    layout: Layout
    time_ms: int
    values: FloatArray
    times_ms: IntArray | None = None

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.layout),):
            raise ValueError(f"{self.values.shape} values for a layout of {len(self.layout)} series")
        if self.times_ms is not None and self.times_ms.shape != self.values.shape:
            raise ValueError(f"{self.times_ms.shape} times for {self.values.shape} values")


@dataclass(frozen=True, slots=True)
class SeriesExemplar:
    """An exemplar of a series. `own_time` says whether the target gave the time, or else the scrape did."""

    series_id: int
    time_ms: int
    value: float
    labels: Labels
    own_time: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Samples of series that share their timestamps, as a store hands them to a query.

    `times_ms` is int64[T], strictly rising. `values` is float64[S, T], C order. `present` is bool[S, T], or None
    where every sample is there; values at absent places are undefined. `labels` has S entries, `series_ids` is
    int64[S]. Staleness markers are samples like others here: whoever reads decides.
    """

    times_ms: IntArray
    values: FloatArray
    series_ids: IntArray
    labels: list[Labels]
    present: BoolArray | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """One monitored host."""

    server_id: uuid.UUID
    name: str
    description: str = ""
    labels: dict[str, str] = field(default_factory=dict)


def server_id_of(name: str) -> uuid.UUID:
    """The id of a server that is made for a host name: the same in every store and process."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, name)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One log line. `entry_id` is a UUIDv7; `time_ns` is nanoseconds since the epoch, as Loki's API has it."""

    entry_id: uuid.UUID
    time_ns: int
    server_id: uuid.UUID
    log_type: str
    source: str
    message: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which log entries: all conditions hold. Newest first, at most `limit`.

    `text` is words that must all occur in the message (full-text search, case-insensitive).
    """

    start_ns: int
    end_ns: int
    server_id: uuid.UUID | None = None
    log_type: str | None = None
    source: str | None = None
    text: str | None = None
    limit: int = 1000
