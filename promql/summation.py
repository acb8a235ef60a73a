"""Compensated sums, as exact as Prometheus's Kahan-Neumaier loops, without a loop over samples.

All are built on the error-free transformation of a sum, s + e = a + b with s = fl(a + b) (Knuth's TwoSum; Ogita, Rump,
Oishi: Accurate Sum and Dot Product, 2005), or on splitting numbers at a common power of two so that the high parts
add up without rounding (Rump's ExtractVector).
"""

import numpy as np

from promql.windows import Windows, pick
from tsdb.model import BoolArray, FloatArray, IntArray

# The low parts of prefix sums are themselves rounded: sums over windows are exact enough as long as no sample is
# smaller than the sum of all magnitudes by this factor and the number of samples.
_SAFE_DYNAMIC_RANGE = 2.0**50
# With at most this many members, or more groups than members, groups are summed member by member.
_MEMBERWISE = 32


def two_sum(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The rounded sum and its rounding error."""
    total = a + b
    b_rounded = total - a
    return total, (a - (total - b_rounded)) + (b - b_rounded)


class RunningSum:
    """Neumaier's sum of arrays of one shape, added one by one."""

    def __init__(self, first: FloatArray) -> None:
        self._total, self._error = first, np.zeros(first.shape)

    def add(self, term: FloatArray) -> None:
        """Add an array."""
        self._total, rounding = two_sum(self._total, term)
        self._error += rounding

    def value(self) -> FloatArray:
        """The sum so far; infinite or NaN where a plain sum is."""
        return rounded(self._total, self._error)


def window_sums(windows: Windows, values: FloatArray, low: IntArray, high: IntArray) -> FloatArray:
    """Sums of values[s, low:high] for each window: float64[S, K]. Empty ranges, high <= low, are zero.

    `values` is float64[S, T] like the windows' own.
    """
    rows, width = values.shape
    prefix = np.zeros((rows, width + 1))
    np.cumsum(values, axis=1, out=prefix[:, 1:])
    before, after = prefix[:, :-1], prefix[:, 1:]
    added = after - before
    rounding = (before - (after - added)) + (values - added)
    low = np.minimum(low, width)
    high = np.clip(high, low, width)
    if not rounding.any():
        exact: FloatArray = pick(prefix, high) - pick(prefix, low)
        return exact
    errors = np.zeros(prefix.shape)
    np.cumsum(rounding, axis=1, out=errors[:, 1:])
    total, rest = two_sum(pick(prefix, high), -pick(prefix, low))
    sums: FloatArray = total + (rest + (pick(errors, high) - pick(errors, low)))
    unsafe = ~_is_safe(values, prefix[:, -1])
    if unsafe.any():
        sums[unsafe] = _sums_one_by_one(windows, values, low, high, unsafe)
    return sums


def _is_safe(values: FloatArray, total: FloatArray) -> BoolArray:
    """For which rows prefix sums tell the sums of windows: finite, and of moderate dynamic range; bool[S]."""
    magnitudes = np.abs(values)
    smallest = np.min(magnitudes, axis=1, where=magnitudes > 0, initial=np.inf)
    within = magnitudes.sum(axis=1) * values.shape[1] <= smallest * _SAFE_DYNAMIC_RANGE
    safe: BoolArray = np.isfinite(total) & within
    return safe


def _sums_one_by_one(
    windows: Windows, values: FloatArray, low: IntArray, high: IntArray, rows: BoolArray
) -> FloatArray:
    """Each window of some rows summed from its samples."""
    shape = (int(rows.sum()), len(windows.ends_ms))
    own = rows if len(low) > 1 else slice(None)
    ranges = Windows(
        [labels for labels, wanted in zip(windows.labels, rows.tolist(), strict=True) if wanted],
        windows.drop_name[rows],
        windows.times_ms,
        values[rows],
        low[own],
        high[own],
        windows.ends_ms,
        windows.range_ms,
    )
    sums = np.zeros(shape)
    for group in ranges.by_length():
        running = RunningSum(group.at(ranges.values, 0))
        for place in range(1, group.length):
            running.add(group.at(ranges.values, place))
        sums[group.index] = running.value()
    return sums


def group_sums(values: FloatArray, starts: IntArray) -> FloatArray:
    """Sums over runs of rows: values[starts[g] : starts[g + 1]] for each group, float64[G, K].

    `values` is float64[S, K] with the rows of a group together, in the order they are to be added in.
    """
    return rounded(*group_sum_parts(values, starts))


def group_sum_parts(values: FloatArray, starts: IntArray) -> tuple[FloatArray, FloatArray]:
    """The same before they are `rounded`: sums, and what they lack."""
    sizes = np.diff(starts, append=len(values))
    largest = int(sizes.max(initial=0))
    if largest <= max(_MEMBERWISE, len(starts)):
        return _memberwise_sums(values, starts, sizes, largest)
    parts = [_split_sum(rows) for rows in np.split(values, starts[1:])]
    return np.stack([total for total, _ in parts]), np.stack([error for _, error in parts])


def rounded(total: FloatArray, error: FloatArray) -> FloatArray:
    """Sums of two parts; infinite or NaN where plain sums are."""
    return np.where(np.isfinite(error), total + error, total)


def _memberwise_sums(
    values: FloatArray, starts: IntArray, sizes: IntArray, largest: int
) -> tuple[FloatArray, FloatArray]:
    """All groups at once: their first members, then their second ones, ..."""
    total, error = values[starts].copy(), np.zeros((len(starts), values.shape[1]))
    for member in range(1, largest):
        groups = np.flatnonzero(sizes > member)
        total[groups], rounding = two_sum(total[groups], values[starts[groups] + member])
        error[groups] += rounding
    return total, error


def _split_sum(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The sum of many rows: plain sums of two parts of each number, of which the first is exact."""
    largest = np.maximum(rows.max(axis=0), -rows.min(axis=0))
    exponent = np.frexp(largest)[1] + (len(rows) - 1).bit_length() + 1
    splitter = np.ldexp(1.0, exponent)
    high, low = np.zeros((2, rows.shape[1]))
    size = max(1, (1 << 15) // rows.shape[1])
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        leading = (chunk + splitter) - splitter
        high += leading.sum(axis=0)
        low += (chunk - leading).sum(axis=0)
    exact = np.isfinite(largest) & (exponent < 1024)
    return np.where(exact, high, rows.sum(axis=0)), np.where(exact, low, 0.0)
