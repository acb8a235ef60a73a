"""Native histograms: one sample as an object, for parsing and output, and many samples as columns.

A histogram counts observations in buckets: in exponential ones on both sides of zero, whose bounds are powers of
2 ** 2 ** -schema, and in a zero bucket, or in custom ones with bounds of their own (Prometheus's specification of
native histograms; prometheus model/histogram/generic.go). The upper bounds of positive buckets belong to them.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from common.errors import FleetwatchError
from tsdb.model import BoolArray, FloatArray, IntArray

CUSTOM_SCHEMA = -53
"""The schema of histograms with custom bounds."""

MIN_SCHEMA, MAX_SCHEMA = -4, 8

# Above the magnitude of any index: at schema 8 a float64 lies in a bucket from -275,000 to 262,144.
_BIAS = 1 << 20


class HistogramError(FleetwatchError, ValueError):
    """A histogram that makes no sense."""


class ResetHint(enum.IntEnum):
    """What is known of a counter reset before a sample; numbered as in Prometheus's chunks."""

    UNKNOWN = 0
    RESET = 1
    NOT_RESET = 2
    GAUGE = 3


@dataclass(frozen=True, slots=True)
class Histogram:
    """One sample. The keys of `positive` and `negative` are bucket indexes, and empty buckets count for nothing.

    `bounds` are the upper bounds of custom buckets, whose indexes begin at 0; the bucket behind them reaches to +Inf.
    """

    schema: int = 0
    count: float = 0.0
    sum: float = 0.0
    zero_threshold: float = 0.0
    zero_count: float = 0.0
    positive: Mapping[int, float] = field(default_factory=dict)
    negative: Mapping[int, float] = field(default_factory=dict)
    bounds: tuple[float, ...] = ()
    hint: ResetHint = ResetHint.UNKNOWN

    def __post_init__(self) -> None:
        if self.schema != CUSTOM_SCHEMA:
            if not MIN_SCHEMA <= self.schema <= MAX_SCHEMA:
                raise HistogramError(
                    f"schema {self.schema} is neither from {MIN_SCHEMA} to {MAX_SCHEMA} nor {CUSTOM_SCHEMA}"
                )
            if self.bounds:
                raise HistogramError(f"custom bounds need schema {CUSTOM_SCHEMA}, got {self.schema}")
            return
        if self.negative or self.zero_count or self.zero_threshold:
            raise HistogramError("a histogram with custom bounds has neither negative buckets nor a zero bucket")
        if any(low >= high for low, high in zip(self.bounds, self.bounds[1:], strict=False)):
            raise HistogramError(f"custom bounds must increase: {self.bounds}")
        if any(not 0 <= index <= len(self.bounds) for index in self.positive):
            raise HistogramError(f"{len(self.bounds)} custom bounds make buckets 0 to {len(self.bounds)}")


@dataclass(frozen=True, slots=True, eq=False)
class Histograms:
    """N samples as arrays of N, and their B populated buckets as arrays of B, ordered by sample and value.

    `layout` is which of `bounds` a sample has; the first of them, which are none, are those of exponential ones.
    `owner` is the sample of a bucket, `place` where it stands: `side * (index + bias)`, so that places are in the order
    of values. Arrays are never written to.
    """

    schema: IntArray
    count: FloatArray
    sum: FloatArray
    zero_threshold: FloatArray
    zero_count: FloatArray
    hint: IntArray
    layout: IntArray
    bounds: tuple[tuple[float, ...], ...]
    owner: IntArray
    place: IntArray
    population: FloatArray

    @classmethod
    def of(cls, samples: Sequence[Histogram]) -> "Histograms":
        """The columns of samples."""
        layouts: dict[tuple[float, ...], int] = {(): 0}
        layout = [_layout(sample, layouts) for sample in samples]
        buckets = sorted(
            (owner, side * (index + _BIAS), population)
            for owner, sample in enumerate(samples)
            for side, indexed in ((1, sample.positive), (-1, sample.negative))
            for index, population in indexed.items()
            if population != 0
        )
        return cls(
            np.array([sample.schema for sample in samples], dtype=np.int64),
            np.array([sample.count for sample in samples], dtype=np.float64),
            np.array([sample.sum for sample in samples], dtype=np.float64),
            np.array([sample.zero_threshold for sample in samples], dtype=np.float64),
            np.array([sample.zero_count for sample in samples], dtype=np.float64),
            np.array([sample.hint for sample in samples], dtype=np.int64),
            np.array(layout, dtype=np.int64),
            tuple(layouts),
            np.array([owner for owner, _, _ in buckets], dtype=np.int64),
            np.array([place for _, place, _ in buckets], dtype=np.int64),
            np.array([population for _, _, population in buckets], dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.schema)

    @property
    def custom(self) -> BoolArray:
        """Which samples have custom bounds, bool[N]."""
        custom: BoolArray = self.schema == CUSTOM_SCHEMA
        return custom

    @property
    def index(self) -> IntArray:
        """The index of each bucket, int64[B]."""
        return np.abs(self.place) - _BIAS

    @property
    def negative(self) -> BoolArray:
        """Which buckets lie below zero, bool[B]."""
        return self.place < 0

    def sample(self, row: int) -> Histogram:
        """One sample as an object."""
        own = slice(*np.searchsorted(self.owner, [row, row + 1]).tolist())
        buckets = list(zip(self.place[own].tolist(), self.population[own].tolist(), strict=True))
        return Histogram(
            int(self.schema[row]),
            float(self.count[row]),
            float(self.sum[row]),
            float(self.zero_threshold[row]),
            float(self.zero_count[row]),
            {place - _BIAS: population for place, population in buckets if place > 0},
            {-place - _BIAS: population for place, population in reversed(buckets) if place < 0},
            self.bounds[int(self.layout[row])],
            ResetHint(int(self.hint[row])),
        )

    def edges(self) -> tuple[FloatArray, FloatArray]:
        """The bounds of each bucket, lower ones and upper ones, float64[B]."""
        index, schema, negative = self.index, self.schema[self.owner], self.negative
        inner, outer = exponential_bound(index - 1, schema), exponential_bound(index, schema)
        low, high = np.where(negative, -outer, inner), np.where(negative, -inner, outer)
        layout = self.layout[self.owner]
        # Schemas, not layouts: custom buckets without any bound have the layout of none.
        custom = schema == CUSTOM_SCHEMA
        for number in np.unique(layout[custom]).tolist():
            own = custom & (layout == number)
            edges = np.array([-np.inf, *self.bounds[number], np.inf])
            low[own], high[own] = edges[index[own]], edges[index[own] + 1]
        return low, high


def places(index: IntArray, negative: BoolArray) -> IntArray:
    """Where buckets stand, from their indexes and sides."""
    place: IntArray = np.where(negative, -1, 1) * (index + _BIAS)
    return place


def exponential_bound(index: IntArray, schema: IntArray) -> FloatArray:
    """The upper bounds of positive exponential buckets: 2 ** (index * 2 ** -schema).

    The last bucket of finite numbers ends at the greatest of them (prometheus getBoundExponential).
    """
    exponents = np.ldexp(index.astype(np.float64), -np.clip(schema, MIN_SCHEMA, MAX_SCHEMA))
    with np.errstate(over="ignore"):
        bounds = np.exp2(exponents)
    return np.where(exponents == 1024, np.finfo(np.float64).max, bounds)


def _layout(sample: Histogram, layouts: dict[tuple[float, ...], int]) -> int:
    return layouts.setdefault(sample.bounds, len(layouts)) if sample.schema == CUSTOM_SCHEMA else 0
