"""A queryable made of frames as a test wants them, and frames at random."""

from collections.abc import Sequence

import numpy as np

from common.labels import Labels
from common.matchers import Matcher, matches_all
from tsdb.model import STALE_NAN, BoolArray, FloatArray, Frame, IntArray


class FrameStore:
    """Hands out frames cut to the asked time, and remembers what was asked."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = frames
        self.selects: list[tuple[str, int, int]] = []

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Frame]:
        self.selects.append((",".join(map(str, matchers)), start_ms, end_ms))
        selected = []
        for frame in self.frames:
            columns = (frame.times_ms >= start_ms) & (frame.times_ms <= end_ms)
            rows = [i for i, labels in enumerate(frame.labels) if matches_all(tuple(matchers), labels)]
            present = None
            if frame.present is not None:
                rows = [row for row in rows if frame.present[row, columns].any()]
                present = frame.present[rows][:, columns]
            if rows and columns.any():
                labels = [frame.labels[row] for row in rows]
                values = np.ascontiguousarray(frame.values[rows][:, columns])
                selected.append(Frame(frame.times_ms[columns], values, frame.series_ids[rows], labels, present))
        return selected


def frame(
    times_ms: IntArray | list[int],
    values: FloatArray | list[list[float]],
    labels: list[Labels],
    present: BoolArray | None = None,
) -> Frame:
    """A frame from what a test writes down."""
    rows = np.array(values, dtype=np.float64)
    return Frame(np.array(times_ms, dtype=np.int64), rows, np.arange(len(rows)), labels, present)


def random_frames(random: np.random.Generator, name: str = "x") -> list[Frame]:
    """A few frames of one metric: wide and narrow, dense and with gaps, counters with resets, markers and NaN."""
    frames = []
    for number in range(random.integers(1, 5)):
        rows, width = int(random.choice([1, 2, 5, 40])), int(random.integers(1, 25))
        interval = int(random.choice([5000, 10_000, 15_000]))
        times = random.integers(0, interval) + np.arange(width) * interval
        if random.random() < 0.5:
            times = times + random.integers(0, 500, width)
        values = _random_values(random, rows, width)
        present = None
        kind = random.random()
        if kind < 0.3:
            present = random.random((rows, width)) < 0.7
        elif kind < 0.6:
            # The same gaps in many series: a target that was down.
            present = np.repeat(random.random((1, width)) < 0.7, rows, axis=0)
            present[: rows // 4] = True
        if present is not None and not present.any():
            present = None
        labels = [Labels.of(__name__=name, target=str(number), series=str(row)) for row in range(rows)]
        frames.append(frame(times, values, labels, present))
    return frames


def _random_values(random: np.random.Generator, rows: int, width: int) -> FloatArray:
    kind = random.integers(0, 4)
    if kind == 0:
        values = np.cumsum(random.random((rows, width)) * 10, axis=1)
        reset = random.random((rows, width)) < 0.15
        values = np.where(reset, values % 7, values)
    elif kind == 1:
        values = random.integers(-3, 4, (rows, width)).astype(np.float64)
    elif kind == 2:
        values = random.normal(0, 1, (rows, width)) * 10.0 ** random.integers(-3, 9, (rows, width))
    else:
        values = np.repeat(random.normal(50, 20, (rows, 1)), width, axis=1)
    if random.random() < 0.3:
        values[random.random((rows, width)) < 0.1] = np.nan
    if random.random() < 0.2:
        values[random.random((rows, width)) < 0.1] = random.choice([np.inf, -np.inf])
    if random.random() < 0.4:
        values[random.random((rows, width)) < 0.1] = STALE_NAN
    return values
