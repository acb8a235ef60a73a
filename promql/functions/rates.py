"""`rate`, `increase`, `delta`, `irate` and `idelta`.

The extrapolation is that of prometheus promql/functions.go extrapolatedRate: to the edges of the window where the
first and last sample are near them, else by half the mean distance of samples; for counters never beyond zero.
"""

from dataclasses import dataclass

import numpy as np

from promql.summation import window_sums
from promql.windows import Reducer, Windows, pick
from tsdb.model import BoolArray, FloatArray, IntArray

# Samples are near the edge of a window when they are closer than this many times their mean distance.
_NEAR = 1.1
# More than products are off by rounding.
_ROUNDING = 1 + 1e-9

Reduced = tuple[FloatArray, BoolArray]


def extrapolated(*, counter: bool, per_second: bool) -> Reducer:
    """The reducer of rate (both), increase (a counter, not per second) and delta (neither)."""

    def reduce(windows: Windows) -> Reduced:
        first = windows.first(windows.values)
        grown = windows.last(windows.values) - first
        if counter:
            grown = _with_resets(windows, grown)
        sampled = Sampled(windows.counts, first, windows.first(windows.times_ms), windows.last(windows.times_ms))
        return extrapolate(grown, sampled, windows, counter=counter, per_second=per_second)

    return reduce


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Of the samples in windows how many there are, the first, and the first and last times; all [1 or S, K]."""

    counts: IntArray | FloatArray
    first: FloatArray
    first_ms: IntArray | FloatArray
    last_ms: IntArray | FloatArray


def extrapolate(grown: FloatArray, sampled: Sampled, windows: Windows, *, counter: bool, per_second: bool) -> Reduced:
    """What grew from the first sample of windows to the last, float64[S, K], extrapolated to the whole windows.

    Of the windows only ends and length are looked at.
    """
    first_ms, last_ms = sampled.first_ms, sampled.last_ms
    sampled_s = (last_ms - first_ms) / 1000
    mean_distance = sampled_s / (sampled.counts - 1)
    to_start = (first_ms - (windows.ends_ms - windows.range_ms)) / 1000
    to_end = (windows.ends_ms - last_ms) / 1000
    to_start = np.where(to_start >= mean_distance * _NEAR, mean_distance / 2, to_start)
    to_end = np.where(to_end >= mean_distance * _NEAR, mean_distance / 2, to_end)
    if counter:
        # To where the counter was zero; of most it is far away, which two products tell.
        near_zero = (sampled.first >= 0) & (sampled.first * sampled_s <= grown * to_start * _ROUNDING)
        if near_zero.any():
            to_zero = sampled_s * (sampled.first / grown)
            to_start = np.where(near_zero & (grown > 0) & (to_zero < to_start), to_zero, to_start)
    factor = (sampled_s + to_start + to_end) / sampled_s
    if per_second:
        factor = factor / (windows.range_ms / 1000)
    return grown * factor, sampled.counts >= 2


def _with_resets(windows: Windows, grown: FloatArray) -> FloatArray:
    """Growth plus what the counter lost at each reset within the window."""
    before = windows.values[:, :-1]
    dropped = windows.values[:, 1:] < before
    rows = dropped.any(axis=1)
    if not rows.any():
        return grown
    lost = np.where(dropped, before, 0.0)
    # Element j is the step from sample j to j + 1: the last sample begins none.
    return grown + window_sums(windows, lost, windows.low, windows.high - 1)


def instant_change(*, counter: bool, per_second: bool) -> Reducer:
    """The reducer of irate (both) and idelta (neither), from the last two samples of a window."""

    def reduce(windows: Windows) -> Reduced:
        index = np.maximum(windows.high - 2, 0)
        before, after = pick(windows.values, index), windows.last(windows.values)
        change = after - before
        if counter:
            change = np.where(after < before, after, change)
        elapsed_ms = windows.last(windows.times_ms) - pick(windows.times_ms, index)
        if per_second:
            change = change / (elapsed_ms / 1000)
        return change, (windows.counts >= 2) & (elapsed_ms > 0)

    return reduce
