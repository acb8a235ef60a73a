"""`deriv`, `predict_linear` and `double_exponential_smoothing`: a trend through the samples of a window."""

import numpy as np

from promql.errors import ExecutionError
from promql.summation import RunningSum
from promql.windows import Reducer, WindowGroup, Windows
from tsdb.model import BoolArray, FloatArray, IntArray

Reduced = tuple[FloatArray, BoolArray]


def _regression(windows: Windows, group: WindowGroup, origins_ms: IntArray) -> tuple[FloatArray, FloatArray]:
    """Least squares through the samples of each window: slope per second, and value at the origin."""
    first = group.at(windows.values, 0)
    constant = np.ones(first.shape, np.bool_)

    def seconds(place: int) -> FloatArray:
        return (group.at(windows.times_ms, place) - origins_ms) / 1000

    x, y = seconds(0), first
    sums = [RunningSum(x), RunningSum(x * x), RunningSum(y), RunningSum(x * y)]
    for place in range(1, group.length):
        x, y = seconds(place), group.at(windows.values, place)
        constant &= y == first
        for running, term in zip(sums, (x, x * x, y, x * y), strict=True):
            running.add(term)
    sum_x, sum_xx, sum_y, sum_xy = (running.value() for running in sums)
    count = group.length
    slope = (sum_xy - sum_x * sum_y / count) / (sum_xx - sum_x * sum_x / count)
    intercept = sum_y / count - slope * sum_x / count
    slope = np.where(constant, np.where(np.isinf(first), np.nan, 0.0), slope)
    intercept = np.where(constant, np.where(np.isinf(first), np.nan, first), intercept)
    return slope, intercept


def deriv(windows: Windows) -> Reduced:
    """The slope per second of the line of least squares."""
    slopes = np.full((len(windows.labels), len(windows.ends_ms)), np.nan)
    for group in windows.by_length():
        if group.length >= 2:
            slopes[group.index] = _regression(windows, group, group.at(windows.times_ms, 0))[0]
    return slopes, windows.counts >= 2


def predict_linear(seconds_ahead: FloatArray, at_ms: IntArray) -> Reducer:
    """The reducer for the line's value some seconds after each step; float64[K], int64[K]."""

    def reduce(windows: Windows) -> Reduced:
        predicted = np.full((len(windows.labels), len(windows.ends_ms)), np.nan)
        for group in windows.by_length():
            if group.length >= 2:
                slope, intercept = _regression(windows, group, at_ms[group.steps])
                predicted[group.index] = slope * seconds_ahead[group.steps] + intercept
        return predicted, windows.counts >= 2

    return reduce


def double_exponential_smoothing(smoothing: FloatArray, trend: FloatArray) -> Reducer:
    """The reducer of Holt's linear method for factors of each step, float64[K], all in (0, 1).

    Raises ExecutionError where a factor is not.
    """
    for name, factors in (("smoothing", smoothing), ("trend", trend)):
        bad = factors[(factors <= 0) | (factors >= 1)]
        if len(bad):
            short = "sf" if name == "smoothing" else "tf"
            raise ExecutionError(f"invalid {name} factor. Expected: 0 < {short} < 1, got: {bad[0]:f}")

    def reduce(windows: Windows) -> Reduced:
        smoothed = np.full((len(windows.labels), len(windows.ends_ms)), np.nan)
        for group in windows.by_length():
            if group.length >= 2:
                factors = smoothing[group.steps], trend[group.steps]
                smoothed[group.index] = _holt(windows, group, *factors)
        return smoothed, windows.counts >= 2

    return reduce


def _holt(windows: Windows, group: WindowGroup, smoothing: FloatArray, trend: FloatArray) -> FloatArray:
    level = group.at(windows.values, 0)
    slope = group.at(windows.values, 1) - level
    for place in range(1, group.length):
        previous = level
        level = smoothing * group.at(windows.values, place) + (1 - smoothing) * (level + slope)
        slope = trend * (level - previous) + (1 - trend) * slope
    return level
