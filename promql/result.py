"""What a query answers: one of five values, with its annotations.

    Scalar, String   instant queries of these types
    Vector           instant queries of an instant vector
    RangeVector      instant queries of a range selector or subquery: samples at their own times
    Matrix           range queries, whatever the type of their expression: samples on the step grid

All times are milliseconds since the epoch. Arrays belong to the reader and share no memory with a store's.
"""

from dataclasses import dataclass, field

from common.labels import Labels
from promql.stats import QueryStats
from tsdb.model import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number at one time."""

    time_ms: int
    value: float


@dataclass(frozen=True, slots=True)
class String:
    """A text at one time."""

    time_ms: int
    value: str


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """One sample for each of S series, all at `time_ms`; `values` is float64[S]. In the order of evaluation."""

    time_ms: int
    labels: list[Labels]
    values: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class RangeVector:
    """The samples of S series at their own times: for each series int64[n] and float64[n], n >= 1.

    Sorted by labels; staleness markers are left out.
    """

    labels: list[Labels]
    times_ms: list[IntArray]
    values: list[FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """S series over the K steps of a range query, sorted by labels.

    `times_ms` is int64[K], `values` float64[S, K] and `present` bool[S, K]; values are undefined where not present.
    Each series has at least one sample.
    """

    times_ms: IntArray
    labels: list[Labels]
    values: FloatArray
    present: BoolArray


Value = Scalar | String | Vector | RangeVector | Matrix


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A value and its annotations, which are complete texts as Prometheus's API gives them, without duplicates.

    For example `PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)`.
    """

    value: Value
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)
    stats: QueryStats = field(default_factory=QueryStats)
