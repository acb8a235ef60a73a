"""What histograms say of their observations: mean, quantiles, variance (prometheus promql/quantile.go, functions.go).

Buckets and zero buckets become the cells of a padded matrix, a row for each sample, in the order of values.
"""

from dataclasses import dataclass

import numpy as np

from promql.histograms.model import Histograms
from tsdb.model import BoolArray, FloatArray, IntArray


def means(histograms: Histograms) -> FloatArray:
    """Sums by counts, float64[N]."""
    with np.errstate(all="ignore"):
        mean: FloatArray = histograms.sum / histograms.count
    return mean


def variances(histograms: Histograms) -> FloatArray:
    """The population variance, float64[N], each observation taken for the middle of its bucket.

    That is the geometric mean of the bounds, the arithmetic one of custom bounds, and 0 in the zero bucket.
    """
    cells = _cells(histograms)
    custom = histograms.custom[:, np.newaxis]
    with np.errstate(all="ignore"):
        geometric = np.copysign(np.sqrt(cells.low * cells.high), cells.high)
        middle = np.where((cells.low <= 0) & (cells.high >= 0), 0.0, geometric)
        middle = np.where(custom, (cells.low + cells.high) / 2, middle)
        squares = (middle - means(histograms)[:, np.newaxis]) ** 2 * cells.population
        sums: FloatArray = np.where(cells.population != 0, squares, 0.0).sum(axis=1)
        variance: FloatArray = sums / histograms.count
    return variance


def quantiles(histograms: Histograms, wanted: FloatArray) -> FloatArray:
    """A quantile of each sample, float64[N]; NaN of no observations, -Inf and +Inf outside of 0 to 1.

    Within a bucket observations are spread evenly over the logarithm, in custom and zero buckets over the value. They
    are counted from the nearer end, but from below where some are NaN, which are in the count and in no bucket.
    """
    cells = _cells(histograms)
    if cells.population.shape[1] == 0:
        found = np.full(len(histograms), np.nan)
    else:
        with np.errstate(all="ignore"):
            found = _inside(histograms, cells, wanted)
    found = np.where((histograms.count == 0) | np.isnan(wanted), np.nan, found)
    return np.where(wanted < 0, -np.inf, np.where(wanted > 1, np.inf, found))


def fractions(histograms: Histograms, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Which part of the observations lies between two bounds each, float64[N]; NaN of none, or where a bound is NaN.

    Within a bucket they are spread as for quantiles; of a custom bucket open below all lie at its lower end, of one
    open above all at its upper one.
    """
    cells = _cells(histograms)
    with np.errstate(all="ignore"):
        below = _ranks(histograms, cells, upper) - _ranks(histograms, cells, lower)
        fraction = np.where(lower >= upper, 0.0, below / histograms.count)
    return np.where((histograms.count == 0) | np.isnan(lower) | np.isnan(upper), np.nan, fraction)


def _ranks(histograms: Histograms, cells: "_Cells", bounds: FloatArray) -> FloatArray:
    """How many observations are below a bound each; all that were counted, where it is above all buckets."""
    bound = bounds[:, np.newaxis]
    linear = (bound - cells.low) / (cells.high - cells.low)
    linear = np.where(np.isneginf(cells.low), 1.0, linear)
    log_low, log_high = np.log2(np.abs(cells.low)), np.log2(np.abs(cells.high))
    part = (np.log2(np.abs(bound)) - log_low) / (log_high - log_low)
    straight = histograms.custom[:, np.newaxis] | ((cells.low <= 0) & (cells.high >= 0))
    within = np.where(straight, linear, part)
    within = np.where(cells.low >= bound, 0.0, np.where(cells.high <= bound, 1.0, within))
    counted: FloatArray = np.where(cells.population != 0, within * cells.population, 0.0).sum(axis=1)
    beyond = ((cells.population == 0) | (cells.high <= bound)).all(axis=1)
    return np.where(beyond, histograms.count, np.minimum(counted, histograms.count))


def _inside(histograms: Histograms, cells: "_Cells", wanted: FloatArray) -> FloatArray:
    has_nan = np.isnan(histograms.sum)
    upwards = has_nan | (wanted < 0.5)
    rank = np.where(upwards, wanted, 1 - wanted) * histograms.count
    counted = np.where(upwards[:, np.newaxis], cells.population, cells.population[:, ::-1]).cumsum(axis=1)
    populated = np.where(upwards[:, np.newaxis], cells.population, cells.population[:, ::-1]) != 0
    reached = populated & (counted >= rank[:, np.newaxis])
    # Where rounding or NaN keep a rank from being reached, the last populated cell is as near as one comes.
    last = populated.shape[1] - 1 - populated[:, ::-1].argmax(axis=1)
    place = np.where(reached.any(axis=1), reached.argmax(axis=1), last)
    rows = np.arange(len(place))
    count = np.minimum(counted[rows, place], histograms.count)
    cell = np.where(upwards, place, populated.shape[1] - 1 - place)
    low, high, population = (array[rows, cell] for array in (cells.low, cells.high, cells.population))
    into = np.where(upwards, rank - (count - population), count - rank) / population
    result = _interpolated(low, high, into, histograms.custom)
    return np.where(count < rank, np.where(has_nan, np.nan, high), result)


def _interpolated(low: FloatArray, high: FloatArray, into: FloatArray, custom: BoolArray) -> FloatArray:
    """The value some part of the way into buckets; open custom ones have only the bound they have."""
    first, last = custom & np.isneginf(low), custom & np.isposinf(high)
    low = np.where(first & (high > 0), 0.0, low)
    linear = low + (high - low) * into
    log_low, log_high = np.log2(np.abs(low)), np.log2(np.abs(high))
    above = np.exp2(log_low + (log_high - log_low) * into)
    below = -np.exp2(log_high + (log_low - log_high) * (1 - into))
    exponential = np.where(low > 0, above, below)
    result = np.where(custom | ((low <= 0) & (high >= 0)), linear, exponential)
    return np.where(first & (high <= 0), high, np.where(last & ~first, low, result))


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Bounds and populations of buckets and zero buckets, float64[N, W]; behind a row's last the population is 0."""

    low: FloatArray
    high: FloatArray
    population: FloatArray


def _cells(histograms: Histograms) -> _Cells:
    zeros = np.flatnonzero(histograms.zero_count != 0)
    low, high = histograms.edges()
    zero_low, zero_high = _zero_edges(histograms, zeros)
    owner = np.concatenate([histograms.owner, zeros])
    low, high = np.concatenate([low, zero_low]), np.concatenate([high, zero_high])
    population = np.concatenate([histograms.population, histograms.zero_count[zeros]])
    # Zero buckets stand between negative and positive places.
    place = np.concatenate([histograms.place, np.zeros(len(zeros), np.int64)])
    order = np.lexsort((place, owner))
    owner = owner[order]
    column: IntArray = np.arange(len(owner)) - np.searchsorted(owner, owner)
    shape = (len(histograms), int(column.max()) + 1 if len(column) else 0)
    matrices = [np.zeros(shape) for _ in range(3)]
    for matrix, array in zip(matrices, (low, high, population), strict=True):
        matrix[owner, column] = array[order]
    return _Cells(*matrices)


def _zero_edges(histograms: Histograms, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    """The zero bucket ends at 0 where all other observations are on one side of it."""
    samples = len(histograms)
    has_negative = np.bincount(histograms.owner[histograms.negative], minlength=samples)[rows] > 0
    has_positive = np.bincount(histograms.owner[~histograms.negative], minlength=samples)[rows] > 0
    threshold = histograms.zero_threshold[rows]
    low = np.where(has_positive & ~has_negative, 0.0, -threshold)
    return low, np.where(has_negative & ~has_positive, 0.0, threshold)
