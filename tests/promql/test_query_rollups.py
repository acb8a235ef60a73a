"""Queries answered from roll-ups equal those answered from samples, and only those are that do."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.labels import Labels
from common.matchers import Matcher
from promql import Engine, EngineOptions, Matrix
from tests.promql.frames import FrameStore, frame
from tsdb.model import ABSENT, STALE_NAN, Frame
from tsdb.pieces import Piece
from tsdb.rollups import Column, RollupFrame, roll_up

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
START_MS = 20_000 * DAY_MS

# What roll-ups give to the last bit, but for the sign of a zero; sums differ in how they are rounded.
EXACT = ["x", "min_over_time(x[1h])", "max_over_time(x[2h])", "count_over_time(x[1h])", "last_over_time(x[30m])"]
EXACT += ["present_over_time(x[1h])", "x offset 1h", "absent(x)", "sum(x > 2)", "max_over_time(x[1h] offset 5m)"]
EXACT += ["x - x offset 1d", f"max_over_time(x[25h] @ {START_MS // 1000 + 86_400})", "max_over_time(x[3h:10m])"]
ROUNDED = [
    "rate(x[1h])",
    "increase(x[30m] offset 5m)",
    "delta(x[2h])",
    "sum_over_time(x[1h])",
    "avg_over_time(x[2h])",
    "sum_over_time(x[5m])",
]
ALL_OF_IT = [*EXACT, *ROUNDED]


class RolledFrames(FrameStore):
    """Frames and their roll-ups."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        super().__init__(frames)
        self.resolutions: list[int] = []

    def select_rollups(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        resolution_ms: int,
        columns: Sequence[Column],
    ) -> list[RollupFrame] | None:
        self.resolutions.append(resolution_ms)
        rolled = []
        for part in FrameStore(self.frames).select(matchers, start_ms - resolution_ms + 1, end_ms):
            samples = part.values if part.present is None else np.where(part.present, part.values, ABSENT)
            piece = Piece(part.times_ms, np.zeros_like(part.times_ms), part.series_ids, samples)
            ends, values = roll_up(piece, resolution_ms, columns)
            rolled.append(RollupFrame(ends, values, part.series_ids, part.labels, columns))
        return rolled


def days_of_samples(seed: int) -> list[Frame]:
    """Some targets over three days: gaps, restarts, series that end, scrapes on the edges of buckets."""
    random = np.random.default_rng(seed)
    frames = []
    for target in range(3):
        interval_ms = int(random.choice([47_000, MINUTE_MS, 5 * MINUTE_MS, 23 * MINUTE_MS]))
        times = START_MS - 2 * HOUR_MS + np.arange(0, 3 * DAY_MS, interval_ms)
        if random.random() < 0.5:
            times = times + random.integers(0, 900, len(times))
        rows = int(random.integers(1, 5))
        values = np.cumsum(random.integers(-3, 9, (rows, len(times))), axis=1) / 8
        values[random.random(values.shape) < 0.01] = 0.0
        for special in (STALE_NAN, math.nan):
            values[random.random(values.shape) < random.choice([0, 0.02, 0.3])] = special
        present = np.ones(values.shape, np.bool_)
        for row in range(rows):
            first, last = np.sort(random.integers(0, len(times), 2))
            present[row, first:last] = random.random() < 0.5
        present[0, 0] = True
        labels = [Labels.of(__name__="x", target=str(target), series=str(row)) for row in range(rows)]
        frames.append(frame(times, values, labels, None if present.all() else present))
    return frames


def answers(store: FrameStore, expr: str, start_ms: int, step_ms: int, steps: int) -> Matrix:
    result = Engine(store).range(expr, start_ms, start_ms + step_ms * (steps - 1), step_ms)
    assert isinstance(result.value, Matrix)
    return result.value


def assert_same(got: Matrix, expected: Matrix, relative: float) -> None:
    assert got.labels == expected.labels
    assert (got.present == expected.present).all()
    shown = got.present
    np.testing.assert_allclose(got.values[shown], expected.values[shown], rtol=relative, atol=0)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    step_ms=st.sampled_from([5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS]),
    late_ms=st.sampled_from([0, 5 * MINUTE_MS, HOUR_MS]),
)
def test_answers_are_the_same(seed: int, step_ms: int, late_ms: int) -> None:
    frames = days_of_samples(seed)
    for expr in ALL_OF_IT:
        window = START_MS + late_ms, step_ms, 2 * DAY_MS // step_ms + 1
        rolled = RolledFrames(frames)
        got = answers(rolled, expr, *window)
        assert rolled.resolutions
        assert rolled.selects == []
        assert_same(got, answers(FrameStore(frames), expr, *window), 1e-12 if expr in ROUNDED else 0)


@pytest.mark.parametrize(
    ("expr", "resolution_ms"),
    [
        ("x", HOUR_MS),
        ("sum by (target) (x)", HOUR_MS),
        ("x offset 5m", 5 * MINUTE_MS),
        ("max_over_time(x[1h])", HOUR_MS),
        ("max_over_time(x[1h] offset 2h)", HOUR_MS),
        ("max_over_time(x[1h] offset 2h5m)", 5 * MINUTE_MS),
        ("avg_over_time(x[90m])", 5 * MINUTE_MS),
        ("max_over_time(x[1h] offset 1m)", None),
        ("max_over_time(x[61m])", None),
        ("x offset 1s", None),
        ("timestamp(x)", None),
        ("rate(x[1h])", HOUR_MS),
        ("irate(x[1h])", None),
        ("quantile_over_time(0.5, x[1h])", None),
    ],
)
def test_the_coarsest_resolution_that_fits(expr: str, resolution_ms: int | None) -> None:
    rolled = RolledFrames(days_of_samples(1))
    answers(rolled, expr, START_MS, HOUR_MS, 30)
    assert rolled.resolutions == ([] if resolution_ms is None else [resolution_ms])
    assert bool(rolled.selects) == (resolution_ms is None)


@pytest.mark.parametrize(
    ("start_ms", "step_ms", "steps"),
    [(START_MS, HOUR_MS, 24), (START_MS + 1, HOUR_MS, 40), (START_MS, HOUR_MS + 1000, 40)],
)
def test_short_times_and_steps_off_the_grid_are_read_from_samples(start_ms: int, step_ms: int, steps: int) -> None:
    rolled = RolledFrames(days_of_samples(1))
    answers(rolled, "x", start_ms, step_ms, steps)
    assert (rolled.resolutions, len(rolled.selects)) == ([], 1)


def test_the_lookback_has_to_fit() -> None:
    frames = days_of_samples(2)
    window = START_MS, START_MS + 2 * DAY_MS, HOUR_MS
    for lookback_ms, resolution_ms in ((4 * MINUTE_MS, None), (5 * MINUTE_MS, HOUR_MS), (10 * MINUTE_MS, None)):
        rolled, options = RolledFrames(frames), EngineOptions(lookback_ms=lookback_ms)
        got = Engine(rolled, options).range("x", *window).value
        expected = Engine(FrameStore(frames), options).range("x", *window).value
        assert isinstance(got, Matrix)
        assert isinstance(expected, Matrix)
        assert rolled.resolutions == ([] if resolution_ms is None else [resolution_ms])
        assert_same(got, expected, 0)


def test_annotations_stay() -> None:
    frames = days_of_samples(1)
    window = START_MS, START_MS + 2 * DAY_MS, HOUR_MS
    expected = Engine(FrameStore(frames)).range("rate(x[1h])", *window)
    assert len(expected.infos) == 1
    assert Engine(RolledFrames(frames)).range("rate(x[1h])", *window).infos == expected.infos


def test_sums_that_could_overflow_are_made_of_samples() -> None:
    """The mean of samples whose sum is too large for a double is known all the same."""
    times = START_MS + np.arange(0, 3 * DAY_MS, MINUTE_MS)
    frames = [frame(times, [[1e308] * len(times)], [Labels.of(__name__="x")])]
    got = answers(RolledFrames(frames), "avg_over_time(x[1h])", START_MS + HOUR_MS, HOUR_MS, 40)
    np.testing.assert_allclose(got.values, 1e308, rtol=1e-12)
