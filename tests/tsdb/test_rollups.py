"""Roll-ups of random samples against plain Python."""

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.labels import Labels
from tests.tsdb.reading import bits
from tsdb.model import ABSENT, ABSENT_BITS, STALE_NAN, STALE_NAN_BITS
from tsdb.pieces import Piece
from tsdb.rollups import Column, RollupFrame, bucket_end, roll_up

MINUTE_MS = 60_000
RESOLUTION_MS = 10 * MINUTE_MS
NAN = float("nan")

values = st.one_of(
    st.sampled_from([ABSENT, STALE_NAN, NAN, math.inf, -math.inf, 0.0, -0.0, 1e308, 1e-30]),
    st.integers(-5, 5).map(float),
    st.floats(-1e6, 1e6),
)
times = st.lists(st.integers(-45, 45), min_size=1, max_size=30, unique=True).map(
    lambda minutes: [minute * MINUTE_MS for minute in sorted(minutes)]
)


def expected(samples: list[tuple[int, float]]) -> dict[Column, float]:
    """All columns of a bucket: (milliseconds before its end, value) of its samples, in order."""
    latest = [value for age_ms, value in samples if age_ms < 5 * MINUTE_MS]
    ages = [age_ms for age_ms, value in samples if bits(value) != STALE_NAN_BITS]
    numbers = [value for _, value in samples if bits(value) != STALE_NAN_BITS]
    columns = dict.fromkeys(Column, ABSENT) | {Column.LATEST: latest[-1] if latest else ABSENT}
    if not numbers:
        return columns
    real = [value for value in numbers if not math.isnan(value)]
    lost = sum(before for before, after in itertools.pairwise(numbers) if after < before)
    return columns | {
        Column.MIN: min(real, default=NAN),
        Column.MAX: max(real, default=NAN),
        Column.SUM: total(numbers),
        Column.COUNT: float(len(numbers)),
        Column.FIRST: numbers[0],
        Column.LAST: numbers[-1],
        Column.FIRST_AGE: ages[0],
        Column.LAST_AGE: ages[-1],
        Column.LOST: lost,
    }


def total(numbers: list[float]) -> float:
    """As exact as can be; what is no number, or overflows on the way, as plain additions have it."""
    if max(map(abs, numbers)) < 1e307 and all(map(math.isfinite, numbers)):
        return math.fsum(numbers)
    plain = 0.0
    for value in numbers:
        plain += value
    return plain


def same(column: Column, got: float, wanted: float, samples: list[float]) -> bool:
    if column in (Column.FIRST, Column.LAST, Column.LATEST) or bits(wanted) == ABSENT_BITS:
        return bits(got) == bits(wanted)
    if column in (Column.SUM, Column.LOST) and math.isfinite(wanted):
        magnitude = sum(abs(value) for value in samples if math.isfinite(value))
        return abs(got - wanted) <= 1e-15 * abs(wanted) + 1e-30 * magnitude
    return got == wanted or (math.isnan(got) and math.isnan(wanted) and bits(got) != ABSENT_BITS)


@settings(max_examples=500, deadline=None)
@given(data=st.data(), times_ms=times, series=st.integers(1, 3))
def test_every_column_of_every_bucket(data: st.DataObject, times_ms: list[int], series: int) -> None:
    row = st.lists(values, min_size=len(times_ms), max_size=len(times_ms))
    rows = data.draw(st.lists(row, min_size=series, max_size=series))
    zeros = np.zeros(len(times_ms), dtype=np.int64)
    piece = Piece(np.array(times_ms), zeros, np.arange(series), np.array(rows))
    ends, rolled = roll_up(piece, RESOLUTION_MS)
    assert ends.tolist() == sorted({math.ceil(time / RESOLUTION_MS) * RESOLUTION_MS for time in times_ms})
    assert rolled.shape == (series, len(ends), len(Column))
    for bucket, end in enumerate(ends.tolist()):
        for number, samples in enumerate(rows):
            inside = [
                (end - time, value)
                for time, value in zip(times_ms, samples, strict=True)
                if end - RESOLUTION_MS < time <= end and bits(value) != ABSENT_BITS
            ]
            wanted = expected(inside)
            for column in Column:
                got = float(rolled[number, bucket, column])
                assert same(column, got, wanted[column], [value for _, value in inside]), (
                    column,
                    inside,
                    got,
                    wanted[column],
                )


def test_a_column_reads_as_samples_at_the_ends_of_buckets() -> None:
    minutes = [1, 5, 10, 11, 25, 26, 40]
    piece = Piece(
        MINUTE_MS * np.array(minutes),
        np.zeros(len(minutes), dtype=np.int64),
        np.array([7, 8]),
        np.array([[1, 2, STALE_NAN, STALE_NAN, STALE_NAN, 3, ABSENT], [1, 1, 1, 1, 1, 1, ABSENT]]),
    )
    ends, rolled = roll_up(piece, RESOLUTION_MS)
    labels = [Labels.of(n="7"), Labels.of(n="8")]
    rollup = RollupFrame(ends, rolled, piece.series_ids, labels, tuple(Column))
    last, latest = rollup.frame(Column.LAST), rollup.frame(Column.LATEST)
    assert (last.labels, last.series_ids.tolist()) == (labels, [7, 8])
    assert last.times_ms.tolist() == latest.times_ms.tolist() == [minute * MINUTE_MS for minute in (10, 20, 30, 40)]
    assert last.present is not None
    assert last.present.tolist() == [[True, False, True, False], [True, True, True, False]]
    # What ended at minute 11 has no sample in the five minutes before 20.
    assert list(map(bits, latest.values[0].tolist())) == [STALE_NAN_BITS, ABSENT_BITS, bits(3.0), ABSENT_BITS]
    assert latest.present is not None
    assert latest.present.tolist() == [[True, False, True, False], [True, False, True, False]]


def test_a_sample_at_the_end_of_a_bucket_is_in_it() -> None:
    assert [bucket_end(time, 10) for time in (-10, -9, 0, 1, 10, 11)] == [-10, 0, 0, 10, 10, 20]
