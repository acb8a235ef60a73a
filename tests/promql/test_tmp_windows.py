"""Range functions over random frames against the slow reference, and the edges of windows."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.labels import Labels
from promql import Engine, Matrix
from tests.promql import reference
from tests.promql.frames import FrameStore, frame, random_frames
from tsdb.model import Frame, is_stale

# Errors are relative to the result, and for what cancels to the square of what a double resolves of the terms.
RELATIVE, CANCELLED = 1e-12, 1e-27


def windows_of(frames: list[Frame], start_ms: int, end_ms: int) -> dict[Labels, reference.Window]:
    """The samples of every series in (start, end]."""
    found: dict[Labels, reference.Window] = {}
    for part in frames:
        counts = ~is_stale(part.values) if part.present is None else part.present & ~is_stale(part.values)
        for row, labels in enumerate(part.labels):
            for column in np.flatnonzero(counts[row]):
                if start_ms < part.times_ms[column] <= end_ms:
                    sample = int(part.times_ms[column]), float(part.values[row, column])
                    found.setdefault(labels, []).append(sample)
    return found


def close(got: float, expected: float, scale: float) -> bool:
    if math.isnan(expected) or math.isinf(expected):
        return got == expected or (math.isnan(got) and math.isnan(expected))
    return abs(got - expected) <= RELATIVE * abs(expected) + scale


def scale_of(function: str, window: reference.Window) -> float:
    """What cancellation may cost beyond the relative error."""
    magnitude = math.fsum(abs(value) for _, value in window if math.isfinite(value))
    if function in ("stdvar_over_time", "stddev_over_time"):
        # Deviations are from a rounded mean, as Prometheus's are.
        return 1e-15 * (magnitude**2 if function == "stdvar_over_time" else magnitude * 1e4)
    if function in ("deriv", "rate", "increase", "delta"):
        return 1e-13 * magnitude
    return CANCELLED * magnitude


@settings(max_examples=3000, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    range_s=st.sampled_from([5, 20, 60, 150]),
    step_s=st.sampled_from([1, 7, 30]),
    functions=st.lists(st.sampled_from(sorted(reference.FUNCTIONS)), min_size=4, max_size=4, unique=True),
)
def test_range_functions_equal_the_reference(seed: int, range_s: int, step_s: int, functions: list[str]) -> None:
    frames = random_frames(np.random.default_rng(seed))
    engine = Engine(FrameStore(frames))
    start_ms, end_ms = 20_000, 20_000 + 12 * step_s * 1000
    for function in functions:
        result = engine.range(f"{function}(x[{range_s}s])", start_ms, end_ms, step_s * 1000).value
        assert isinstance(result, Matrix)
        row_of = {labels.without("__name__"): row for row, labels in enumerate(result.labels)}
        for step, time_ms in enumerate(result.times_ms.tolist()):
            expected = {}
            for labels, window in windows_of(frames, time_ms - range_s * 1000, time_ms).items():
                value = reference.FUNCTIONS[function](window, time_ms - range_s * 1000, time_ms)
                if value is not None:
                    expected[labels.without("__name__")] = (value, scale_of(function, window))
            present = {labels for labels, row in row_of.items() if result.present[row, step]}
            assert present == set(expected), (function, time_ms)
            for labels, (value, scale) in expected.items():
                got = float(result.values[row_of[labels], step])
                assert close(got, value, scale), (function, labels, time_ms, got, value)


@settings(max_examples=1500, deadline=None)
@given(seed=st.integers(0, 2**32), q=st.sampled_from([-1.0, 0.0, 0.3, 0.5, 1.0, 1.5, math.nan]))
def test_quantile_over_time_equals_the_reference(seed: int, q: float) -> None:
    frames = random_frames(np.random.default_rng(seed))
    at_ms = 90_000
    result = Engine(FrameStore(frames)).range(f"quantile_over_time({q}, x[1m])", at_ms, at_ms, 1000).value
    assert isinstance(result, Matrix)
    expected = {
        labels.without("__name__"): reference.quantile(q, [value for _, value in window])
        for labels, window in windows_of(frames, at_ms - 60_000, at_ms).items()
    }
    assert set(result.labels) == set(expected)
    for labels, value in zip(result.labels, result.values[:, 0].tolist(), strict=True):
        assert close(value, expected[labels], 0.0)


@settings(max_examples=1500, deadline=None)
@given(seed=st.integers(0, 2**32), lookback_s=st.sampled_from([5, 30, 300]))
def test_selectors_find_the_latest_sample_within_the_lookback(seed: int, lookback_s: int) -> None:
    frames = random_frames(np.random.default_rng(seed))
    start_ms, step_ms = 20_000, 7000
    value = (
        Engine(FrameStore(frames))
        .range("x", start_ms, start_ms + 12 * step_ms, step_ms, lookback_ms=lookback_s * 1000)
        .value
    )
    assert isinstance(value, Matrix)
    got = {
        (labels, int(time_ms)): number
        for labels, row, shown in zip(value.labels, value.values, value.present, strict=True)
        for time_ms, number, there in zip(value.times_ms, row.tolist(), shown, strict=True)
        if there
    }
    expected = {}
    for part in frames:
        present = np.ones(part.values.shape, np.bool_) if part.present is None else part.present
        for row, labels in enumerate(part.labels):
            for time_ms in value.times_ms.tolist():
                within = (part.times_ms > time_ms - lookback_s * 1000) & (part.times_ms <= time_ms) & present[row]
                if within.any():
                    latest = part.values[row, np.flatnonzero(within)[-1] :][:1]
                    if not is_stale(latest)[0]:
                        expected[labels, time_ms] = float(latest[0])
    assert got.keys() == expected.keys()
    for place, number in expected.items():
        assert got[place] == number or (math.isnan(got[place]) and math.isnan(number))


def one_series(values: list[float], interval_ms: int = 10_000) -> FrameStore:
    times = [index * interval_ms for index in range(len(values))]
    return FrameStore([frame(times, [values], [Labels.of(__name__="x")])])


def value_of(store: FrameStore, expr: str, at_ms: int) -> list[float]:
    value = Engine(store).range(expr, at_ms, at_ms, 1000).value
    assert isinstance(value, Matrix)
    numbers: list[float] = value.values[value.present].tolist()
    return numbers


def test_windows_are_open_on_the_left_and_closed_on_the_right() -> None:
    store = one_series([1.0, 2.0, 4.0])
    assert value_of(store, "sum_over_time(x[10s])", 20_000) == [4.0]
    assert value_of(store, "sum_over_time(x[10001ms])", 20_000) == [6.0]
    assert value_of(store, "sum_over_time(x[10s])", 19_999) == [2.0]


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ([1.0, 1e100, 1.0, -1e100], 2.0),
        ([1e308, 1e308, -1e308, -1e308], math.inf),
        ([0.1] * 10, 1.0),
        ([math.inf, 1.0], math.inf),
        ([1e16, 1.0, -1e16], 1.0),
    ],
)
def test_sums_lose_nothing_to_cancellation(values: list[float], total: float) -> None:
    # The sum of the whole, and of the same after samples that would have swamped it.
    assert value_of(one_series(values), "sum_over_time(x[100s])", (len(values) - 1) * 10_000) == [total]
    length_s = len(values) * 10
    after = one_series([1e300, *values])
    assert value_of(after, f"sum_over_time(x[{length_s}s])", length_s * 1000) == [total]


def test_means_do_not_overflow() -> None:
    assert value_of(one_series([1.6e308] * 4), "avg_over_time(x[100s])", 30_000) == [1.6e308]


def test_frames_of_any_shape_give_the_same() -> None:
    """One wide frame, or each of its series a frame of its own."""
    random = np.random.default_rng(7)
    values = np.cumsum(random.random((50, 30)), axis=1)
    labels = [Labels.of(__name__="x", series=f"{row:02}") for row in range(50)]
    times = np.arange(30) * 10_000
    whole = Engine(FrameStore([frame(times, values, labels)]))
    single = Engine(FrameStore([frame(times, values[[row]], [labels[row]]) for row in range(50)]))
    apart = Engine(FrameStore([frame(times + row, values[[row]], [labels[row]]) for row in range(50)]))
    for expr in ("x", "max_over_time(x[1m])", "sum_over_time(x[45s])", "changes(x[1m])"):
        results = [engine.range(expr, 60_000, 200_000, 5500).value for engine in (whole, single, apart)]
        for result in results:
            assert isinstance(result, Matrix)
            assert isinstance(results[0], Matrix)
            assert result.labels == results[0].labels
        assert isinstance(results[0], Matrix)
        assert isinstance(results[1], Matrix)
        np.testing.assert_array_equal(results[0].values, results[1].values)
