"""The `*_over_time` functions, `changes`, `resets`, `irate` and `idelta`: one value from the samples of a window.

Semantics are those of prometheus promql/functions.go.
"""

import numpy as np

from promql.quantiles import quantile_last_axis
from promql.summation import RunningSum, window_sums
from promql.windows import Reducer, Windows, pick
from tsdb.model import BoolArray, FloatArray

Reduced = tuple[FloatArray, BoolArray]


def _any_sample(windows: Windows) -> BoolArray:
    return windows.counts > 0


def _full(windows: Windows, value: float) -> FloatArray:
    return np.full((len(windows.labels), len(windows.ends_ms)), value)


def last_over_time(windows: Windows) -> Reduced:
    """The latest sample."""
    return windows.last(windows.values), _any_sample(windows)


def first_over_time(windows: Windows) -> Reduced:
    """The earliest sample."""
    return windows.first(windows.values), _any_sample(windows)


def ts_of_last_over_time(windows: Windows) -> Reduced:
    """The time of the latest sample in seconds."""
    return windows.last(windows.times_ms) / 1000, _any_sample(windows)


def ts_of_first_over_time(windows: Windows) -> Reduced:
    """The time of the earliest sample in seconds."""
    return windows.first(windows.times_ms) / 1000, _any_sample(windows)


def count_over_time(windows: Windows) -> Reduced:
    """How many samples."""
    return windows.counts.astype(np.float64), _any_sample(windows)


def present_over_time(windows: Windows) -> Reduced:
    """1 where there is any sample."""
    return _full(windows, 1.0), _any_sample(windows)


def sum_over_time(windows: Windows) -> Reduced:
    """The sum."""
    return window_sums(windows, windows.values, windows.low, windows.high), _any_sample(windows)


def avg_over_time(windows: Windows) -> Reduced:
    """The mean; where the sum would overflow, the sum of the parts each sample has in the mean."""
    sums, shown = sum_over_time(windows)
    means = sums / windows.counts
    # The sum of a window that has an infinite sample is its mean, too: those go the longer way in vain.
    if np.isinf(means[:, shown[0]] if len(shown) == 1 else means[shown]).any():
        for group in windows.by_length():
            mean = RunningSum(group.at(windows.values, 0) / group.length)
            for place in range(1, group.length):
                mean.add(group.at(windows.values, place) / group.length)
            means[group.index] = np.where(np.isinf(means[group.index]), mean.value(), means[group.index])
    return means, shown


def max_over_time(windows: Windows) -> Reduced:
    """The greatest sample; NaN only where all are."""
    return _extremum(windows, np.fmax), _any_sample(windows)


def min_over_time(windows: Windows) -> Reduced:
    """The least sample; NaN only where all are."""
    return _extremum(windows, np.fmin), _any_sample(windows)


def _extremum(windows: Windows, better: np.ufunc) -> FloatArray:
    """Two overlapping runs of a power of two samples cover each window (a sparse table)."""
    counts = np.maximum(windows.counts, 1)
    level_of_window = np.frexp(counts.astype(np.float64))[1] - 1
    best = _full(windows, np.nan)
    runs, level = windows.values, 0
    for wanted in np.unique(level_of_window).tolist():
        while level < wanted:
            half = 1 << level
            runs, level = better(runs[:, :-half], runs[:, half:]), level + 1
        left = pick(runs, np.clip(windows.low, 0, runs.shape[1] - 1))
        right = pick(runs, np.clip(windows.high - (1 << level), 0, runs.shape[1] - 1))
        best = np.where(level_of_window == wanted, better(left, right), best)
    return best


def ts_of_max_over_time(windows: Windows) -> Reduced:
    """The time in seconds of the greatest sample, the latest of equals."""
    return _time_of_extremum(windows, np.fmax)


def ts_of_min_over_time(windows: Windows) -> Reduced:
    """The time in seconds of the least sample, the latest of equals."""
    return _time_of_extremum(windows, np.fmin)


def _time_of_extremum(windows: Windows, better: np.ufunc) -> Reduced:
    seconds = _full(windows, np.nan)
    for group in windows.by_length():
        samples, times_ms = group.take(windows.values), group.take(windows.times_ms)
        best = better.reduce(samples, axis=-1, keepdims=True)
        # Where all are NaN, any is as good as the last.
        is_best = (samples == best) | np.isnan(best)
        last = group.length - 1 - is_best[..., ::-1].argmax(axis=-1)
        chosen = np.take_along_axis(np.broadcast_to(times_ms, samples.shape), last[..., np.newaxis], axis=-1)
        seconds[group.index] = chosen[..., 0] / 1000
    return seconds, _any_sample(windows)


def stdvar_over_time(windows: Windows) -> Reduced:
    """The population variance."""
    means, shown = avg_over_time(windows)
    variances = _full(windows, np.nan)
    for group in windows.by_length():
        mean = means[group.index]
        squares = RunningSum((group.at(windows.values, 0) - mean) ** 2)
        for place in range(1, group.length):
            squares.add((group.at(windows.values, place) - mean) ** 2)
        variances[group.index] = squares.value() / group.length
    return variances, shown


def stddev_over_time(windows: Windows) -> Reduced:
    """The population standard deviation."""
    variances, shown = stdvar_over_time(windows)
    return np.sqrt(variances), shown


def quantile_over_time(quantiles: FloatArray) -> Reducer:
    """The reducer for a quantile for each step, float64[K]."""

    def reduce(windows: Windows) -> Reduced:
        results = _full(windows, np.nan)
        wanted = np.broadcast_to(quantiles, results.shape)
        for group in windows.by_length():
            results[group.index] = quantile_last_axis(group.take(windows.values), wanted[group.index])
        return results, _any_sample(windows)

    return reduce


def mad_over_time(windows: Windows) -> Reduced:
    """The median of the absolute deviations from the median; NaN where any sample is."""
    results = _full(windows, np.nan)
    for group in windows.by_length():
        samples = group.take(windows.values)
        has_nan = np.isnan(samples).any(axis=-1)
        half = np.full(samples.shape[:-1], 0.5)
        medians = quantile_last_axis(samples, half)
        deviations = quantile_last_axis(np.abs(samples - medians[..., np.newaxis]), half)
        results[group.index] = np.where(has_nan, np.nan, deviations)
    return results, _any_sample(windows)


def changes(windows: Windows) -> Reduced:
    """How often the value differs from the one before; NaN does not differ from NaN."""
    before, after = windows.values[:, :-1], windows.values[:, 1:]
    return _count_steps(windows, (before != after) & ~(np.isnan(before) & np.isnan(after)))


def resets(windows: Windows) -> Reduced:
    """How often the value is less than the one before."""
    return _count_steps(windows, windows.values[:, 1:] < windows.values[:, :-1])


def _count_steps(windows: Windows, counted: BoolArray) -> Reduced:
    """How many of the steps from a sample to the next, bool[S, T - 1], are counted."""
    so_far = np.zeros((len(counted), counted.shape[1] + 1), np.int32)
    np.cumsum(counted, axis=1, out=so_far[:, 1:])
    steps = windows.last(so_far) - windows.first(so_far)
    return steps.astype(np.float64), _any_sample(windows)
