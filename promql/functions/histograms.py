"""`histogram_quantile`, `histogram_quantiles` and `histogram_fraction` over classic histograms.

Histograms with the same bucket bounds are computed together: their cumulative counts are columns, float64[B, C], one
for each histogram and step. Where buckets are missing at some steps, the columns are split by which ones are there.
The rules are those of prometheus promql/quantile.go (BucketQuantile, BucketFraction).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from common.labels import Labels
from promql.annotations import Annotations
from promql.vector import StepVector, group_ids
from tsdb.model import BoolArray, FloatArray, IntArray

_BUCKET_LABEL = "le"
# Counts that differ less, relative to their sum, differ by floating point error only.
_INSIGNIFICANT = 1e-12
_SMALLEST_NORMAL = float(np.finfo(np.float64).smallest_normal)

BucketFunction = Callable[[FloatArray, FloatArray, IntArray, IntArray], FloatArray]
"""From bounds [B], counts [B, C] and the histogram and step [C] of each column to a value for each, [C]."""


@dataclass(frozen=True, slots=True, eq=False)
class Histograms:
    """Classic histograms found in a vector: for each the row of each of its buckets."""

    labels: list[Labels]
    buckets: list[dict[float, list[int]]]


def find_histograms(vector: StepVector, annotations: Annotations, position: int) -> Histograms:
    """Group the rows by their labels without `le`; rows whose `le` is no number are warned of and left out."""
    bounds = [_bound(series, annotations, position) for series in vector.labels]
    rows = [row for row, bound in enumerate(bounds) if bound is not None]
    histogram_of, keys = group_ids(vector.labels[row].without(_BUCKET_LABEL) for row in rows)
    buckets: list[dict[float, list[int]]] = [{} for _ in keys]
    for row, histogram in zip(rows, histogram_of.tolist(), strict=True):
        bound = bounds[row]
        if bound is not None:
            buckets[histogram].setdefault(bound, []).append(row)
    return Histograms(keys, buckets)


def _bound(series: Labels, annotations: Annotations, position: int) -> float | None:
    text = series.get(_BUCKET_LABEL)
    try:
        return float(text)
    except ValueError:
        annotations.bad_bucket_label(text, series.metric_name, position)
        return None


def evaluate_histograms(vector: StepVector, histograms: Histograms, function: BucketFunction) -> StepVector:
    """A value for each histogram and step that has any bucket."""
    shape = (len(histograms.labels), vector.values.shape[1])
    values, present = np.full(shape, np.nan), np.zeros(shape, np.bool_)
    kind_of, kinds = group_ids(tuple(sorted(buckets)) for buckets in histograms.buckets)
    for kind, bounds in enumerate(kinds):
        members = np.flatnonzero(kind_of == kind)
        all_bounds = np.array(bounds, dtype=np.float64)
        counts, shown = _columns(vector, [histograms.buckets[m] for m in members.tolist()], all_bounds)
        for columns, used in _by_buckets_there(shown):
            histogram, step = members[columns // shape[1]], columns % shape[1]
            values[histogram, step] = function(all_bounds[used], counts[np.ix_(used, columns)], histogram, step)
            present[histogram, step] = True
    return StepVector.of(histograms.labels, values, present, drop_name=True).compact()


def _columns(
    vector: StepVector, buckets: list[dict[float, list[int]]], bounds: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Counts and presence [B, histograms * K]; buckets of equal bound (`1` and `1.0`) are added up."""
    steps = vector.values.shape[1]
    counts = np.zeros((len(bounds), len(buckets), steps))
    shown = np.zeros(counts.shape, np.bool_)
    most = max(len(rows) for of_histogram in buckets for rows in of_histogram.values())
    for which in range(most):
        for place, bound in enumerate(bounds.tolist()):
            having = [i for i, of_histogram in enumerate(buckets) if len(of_histogram[bound]) > which]
            rows = [buckets[i][bound][which] for i in having]
            there = vector.present[rows]
            counts[place, having] += np.where(there, vector.values[rows], 0.0)
            shown[place, having] |= there
    return counts.reshape(len(bounds), -1), shown.reshape(len(bounds), -1)


def _by_buckets_there(shown: BoolArray) -> Iterator[tuple[IntArray, IntArray]]:
    """Columns that have the same buckets, with those; columns without any are left out."""
    complete = shown.all(axis=0)
    if complete.any():
        yield np.flatnonzero(complete), np.arange(len(shown))
    rest = np.flatnonzero(~complete & shown.any(axis=0))
    if len(rest):
        patterns, pattern_of = np.unique(shown[:, rest].T, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            yield rest[pattern_of.reshape(-1) == number], np.flatnonzero(pattern)


def bucket_quantiles(quantiles: FloatArray, bounds: FloatArray, counts: FloatArray) -> tuple[FloatArray, BoolArray]:
    """The quantile of each column, float64[C], and where counts that decrease had to be raised, bool[C]."""
    outside = np.where(quantiles < 0, -np.inf, np.where(quantiles > 1, np.inf, np.nan))
    inside = (quantiles >= 0) & (quantiles <= 1)
    if bounds[-1] != np.inf:
        return np.where(inside, np.nan, outside), np.zeros(len(quantiles), np.bool_)
    counts, forced = _monotonic(counts)
    if len(bounds) < 2:
        return np.where(inside, np.nan, outside), forced & inside
    observations = counts[-1]
    rank = quantiles * observations
    reached = counts[:-1] >= rank
    bucket = _first(reached)
    below = np.maximum(bucket - 1, 0)
    column = np.arange(counts.shape[1])
    start = np.where(bucket > 0, bounds[below], 0.0)
    count_below = np.where(bucket > 0, counts[below, column], 0.0)
    share = (rank - count_below) / (counts[bucket, column] - count_below)
    result = start + (bounds[bucket] - start) * share
    result = np.where((bucket == 0) & (bounds[0] <= 0), bounds[0], result)
    result = np.where(bucket == len(bounds) - 1, bounds[-2], result)
    result = np.where(observations == 0, np.nan, result)
    return np.where(inside, result, outside), forced & inside


def _first(found: BoolArray) -> IntArray:
    """The first row of each column from which on it is true, by bisection as Go's sort.Search does it, int64[C].

    What it finds matters where a count is NaN, for then a column is not false first and true after.
    """
    column = np.arange(found.shape[1])
    low, high = np.zeros(found.shape[1], np.int64), np.full(found.shape[1], len(found))
    for _ in range(len(found).bit_length()):
        middle = (low + high) // 2
        open_, hit = low < high, found[np.minimum(middle, len(found) - 1), column]
        low, high = np.where(open_ & ~hit, middle + 1, low), np.where(open_ & hit, middle, high)
    return low


def _monotonic(counts: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Counts that never decrease from bucket to bucket, and in which columns one had to be raised."""
    repaired = counts.copy()
    forced = np.zeros(counts.shape[1], np.bool_)
    previous = repaired[0]
    for place in range(1, len(repaired)):
        current = repaired[place]
        same = _almost_equal(previous, current)
        less = ~same & (current < previous)
        forced |= less
        repaired[place] = previous = np.where(same | less, previous, current)
    return repaired, forced


def _almost_equal(a: FloatArray, b: FloatArray) -> BoolArray:
    difference, magnitude = np.abs(a - b), np.abs(a) + np.abs(b)
    tiny = (a == 0) | (b == 0) | (magnitude < _SMALLEST_NORMAL)
    limit = np.where(tiny, _INSIGNIFICANT * _SMALLEST_NORMAL, _INSIGNIFICANT * magnitude)
    equal: BoolArray = (a == b) | (difference < limit) | (np.isnan(a) & np.isnan(b))
    return equal


def bucket_fractions(lower: FloatArray, upper: FloatArray, bounds: FloatArray, counts: FloatArray) -> FloatArray:
    """The share of observations between two values in each column, float64[C]."""
    if bounds[-1] != np.inf:
        return np.full(counts.shape[1], np.nan)
    observations = counts[-1]
    share = (_rank_of(upper, bounds, counts) - _rank_of(lower, bounds, counts)) / observations
    share = np.where(lower >= upper, 0.0, share)
    return np.where((observations == 0) | np.isnan(lower) | np.isnan(upper), np.nan, share)


def _rank_of(values: FloatArray, bounds: FloatArray, counts: FloatArray) -> FloatArray:
    """How many observations lie below a value, by linear interpolation in its bucket, float64[C]."""
    column = np.arange(counts.shape[1])
    starts = np.concatenate(([0.0 if bounds[0] > 0 else -np.inf], bounds[:-1]))
    count_before = np.concatenate((np.zeros((1, counts.shape[1])), counts[:-1]))
    bucket = np.minimum(np.searchsorted(bounds, values, side="right"), len(bounds) - 1)
    start, count, before = starts[bucket], counts[bucket, column], count_before[bucket, column]
    inner = before + (count - before) * (values - start) / (bounds[bucket] - start)
    inner = np.where(start == -np.inf, count, inner)
    rank = np.where(values <= start, before, np.where(values == np.inf, counts[-1], inner))
    capped: FloatArray = np.minimum(rank, counts[-1])
    return capped
