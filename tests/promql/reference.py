"""Range functions the slow and plain way: one window, one sample at a time, in Python floats.

Written from the documentation of the functions and the reading of prometheus promql/functions.go, and sharing no
code with the engine.
"""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

Window = list[tuple[int, float]]
"""Samples as (milliseconds, value), in order, at least one."""


def _rate(window: Window, start_ms: int, end_ms: int, counter: bool, per_second: bool) -> float | None:
    if len(window) < 2:
        return None
    (first_ms, first), (last_ms, last) = window[0], window[-1]
    grown = last - first
    if counter:
        for (_, before), (_, after) in itertools.pairwise(window):
            if after < before:
                grown += before
    to_start, to_end = (first_ms - start_ms) / 1000, (end_ms - last_ms) / 1000
    sampled = (last_ms - first_ms) / 1000
    mean = sampled / (len(window) - 1)
    if to_start >= mean * 1.1:
        to_start = mean / 2
    if counter and grown > 0 and first >= 0:
        to_zero = sampled * (first / grown)
        to_start = min(to_start, to_zero)
    if to_end >= mean * 1.1:
        to_end = mean / 2
    factor = (sampled + to_start + to_end) / sampled
    if per_second:
        factor /= (end_ms - start_ms) / 1000
    return grown * factor


def _instant(window: Window, counter: bool, per_second: bool) -> float | None:
    if len(window) < 2:
        return None
    (before_ms, before), (after_ms, after) = window[-2:]
    change = after if counter and after < before else after - before
    return change / ((after_ms - before_ms) / 1000) if per_second else change


def _sum(values: list[float]) -> float:
    if all(map(math.isfinite, values)):
        return math.fsum(values)
    total = 0.0
    for value in values:
        total += value
    return total


def _best(values: list[float], better: Callable[[float, float], bool]) -> tuple[int, float]:
    place, best = 0, values[0]
    for index, value in enumerate(values):
        if better(value, best) or math.isnan(best):
            place, best = index, value
    return place, best


def _variance(values: list[float]) -> float:
    if not all(map(math.isfinite, values)):
        return math.nan
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    return float(sum((value - mean) ** 2 for value in exact) / len(exact))


def quantile(q: float, values: list[float]) -> float:
    """NaN sorts first."""
    if math.isnan(q):
        return math.nan
    if not 0 <= q <= 1:
        return math.inf if q > 1 else -math.inf
    ordered = sorted(values, key=lambda value: (not math.isnan(value), value if value == value else 0.0))
    rank = q * (len(ordered) - 1)
    lower = math.floor(rank)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] * (1 - (rank - lower)) + ordered[upper] * (rank - lower)


def _mad(values: list[float]) -> float:
    if any(map(math.isnan, values)):
        return math.nan
    median = quantile(0.5, values)
    return quantile(0.5, [abs(value - median) for value in values])


def _line(window: Window, origin_ms: int) -> tuple[float, float] | None:
    """Slope and intercept, exactly."""
    if len(window) < 2:
        return None
    values = [value for _, value in window]
    if all(value == values[0] for value in values):
        return (0.0, values[0]) if math.isfinite(values[0]) else (math.nan, math.nan)
    if not all(map(math.isfinite, values)):
        return math.nan, math.nan
    x = [Fraction(time_ms - origin_ms, 1000) for time_ms, _ in window]
    y = [Fraction(value) for value in values]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    return float(slope), float(mean_y - slope * mean_x)


def _values(window: Window) -> list[float]:
    return [value for _, value in window]


def _time_of(window: Window, better: Callable[[float, float], bool]) -> float:
    return window[_best(_values(window), better)[0]][0] / 1000


def _steps(window: Window, counts: Callable[[float, float], bool]) -> float:
    return float(sum(counts(before, after) for before, after in itertools.pairwise(_values(window))))


def _slope(window: Window) -> float | None:
    line = _line(window, window[0][0])
    return None if line is None else line[0]


FUNCTIONS: dict[str, Callable[[Window, int, int], float | None]] = {
    "rate": lambda window, start_ms, end_ms: _rate(window, start_ms, end_ms, counter=True, per_second=True),
    "increase": lambda window, start_ms, end_ms: _rate(window, start_ms, end_ms, counter=True, per_second=False),
    "delta": lambda window, start_ms, end_ms: _rate(window, start_ms, end_ms, counter=False, per_second=False),
    "irate": lambda window, _, __: _instant(window, counter=True, per_second=True),
    "idelta": lambda window, _, __: _instant(window, counter=False, per_second=False),
    "count_over_time": lambda window, _, __: float(len(window)),
    "present_over_time": lambda window, _, __: 1.0,
    "sum_over_time": lambda window, _, __: _sum(_values(window)),
    "avg_over_time": lambda window, _, __: _sum(_values(window)) / len(window),
    "max_over_time": lambda window, _, __: _best(_values(window), lambda value, best: value > best)[1],
    "min_over_time": lambda window, _, __: _best(_values(window), lambda value, best: value < best)[1],
    "ts_of_max_over_time": lambda window, _, __: _time_of(window, lambda value, best: value >= best),
    "ts_of_min_over_time": lambda window, _, __: _time_of(window, lambda value, best: value <= best),
    "ts_of_first_over_time": lambda window, _, __: window[0][0] / 1000,
    "ts_of_last_over_time": lambda window, _, __: window[-1][0] / 1000,
    "first_over_time": lambda window, _, __: window[0][1],
    "last_over_time": lambda window, _, __: window[-1][1],
    "stdvar_over_time": lambda window, _, __: _variance(_values(window)),
    "stddev_over_time": lambda window, _, __: math.sqrt(_variance(_values(window))),
    "mad_over_time": lambda window, _, __: _mad(_values(window)),
    "changes": lambda window, _, __: _steps(window, lambda a, b: a != b and not (math.isnan(a) and math.isnan(b))),
    "resets": lambda window, _, __: _steps(window, lambda a, b: b < a),
    "deriv": lambda window, _, __: _slope(window),
}
"""From the samples in (start, end] and those bounds to the value, or None where there is none."""
