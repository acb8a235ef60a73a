import math
from collections.abc import Callable

import numpy as np
import pytest

from promql.histograms.model import Histogram, HistogramError, Histograms, ResetHint
from promql.testing.histogram_notation import format_histogram, parse_histogram
from promql.testing.notation import NotationError

SAMPLES = [
    "{{schema:0 count:0 sum:0}}",
    "{{schema:3 count:9.5 sum:NaN z_bucket_w:0.25 z_bucket:2 counter_reset_hint:gauge offset:-3 buckets:[1 0 2] "
    "n_offset:2 n_buckets:[4 0.5]}}",
    "{{schema:-53 count:3 sum:4 custom_values:[-1 2.5] counter_reset_hint:not_reset offset:1 buckets:[1 2]}}",
]


@pytest.mark.parametrize("text", SAMPLES)
def test_notation_round_trip(text: str) -> None:
    assert format_histogram(parse_histogram(text)) == text


def test_columns_give_samples_back() -> None:
    samples = list(map(parse_histogram, SAMPLES))
    columns = Histograms.of(samples)
    assert len(columns) == len(SAMPLES)
    assert [format_histogram(columns.sample(row)) for row in range(len(samples))] == SAMPLES


def test_edges_go_up() -> None:
    low, high = Histograms.of([Histogram(0, positive={0: 1.0, 1: 2.0}, negative={0: 3.0, 2: 4.0})]).edges()
    np.testing.assert_array_equal(low, [-4, -1, 0.5, 1])
    np.testing.assert_array_equal(high, [-2, -0.5, 1, 2])
    low, high = Histograms.of([Histogram(-53, positive={0: 1.0, 1: 1.0, 2: 1.0}, bounds=(1.0, 5.0))]).edges()
    np.testing.assert_array_equal(low, [-math.inf, 1, 5])
    np.testing.assert_array_equal(high, [1, 5, math.inf])


@pytest.mark.parametrize(("schema", "last"), [(-4, 64), (0, 1024), (8, 262144)])
def test_the_last_finite_bucket_and_the_infinite_one(schema: int, last: int) -> None:
    _, high = Histograms.of([Histogram(schema, positive={last: 1.0, last + 1: 1.0})]).edges()
    np.testing.assert_array_equal(high, [np.finfo(np.float64).max, np.inf])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Histogram(9),
        lambda: Histogram(-5),
        lambda: Histogram(bounds=(1.0,)),
        lambda: Histogram(-53, zero_count=1.0),
        lambda: Histogram(-53, negative={0: 1.0}),
        lambda: Histogram(-53, bounds=(1.0, 1.0)),
        lambda: Histogram(-53, bounds=(1.0,), positive={2: 1.0}),
    ],
)
def test_histograms_that_make_no_sense(make: Callable[[], Histogram]) -> None:
    with pytest.raises(HistogramError):
        make()


@pytest.mark.parametrize(
    "text",
    [
        "{{schema:0",
        "{{sum}}",
        "{{colour:3}}",
        "{{buckets:3}}",
        "{{sum:[3]}}",
        "{{sum:1 sum:2}}",
        "{{sum:one}}",
        "{{schema:0.5}}",
        "{{counter_reset_hint:maybe}}",
        "{{custom_values:[1]}}",
    ],
)
def test_notation_that_cannot_be_read(text: str) -> None:
    with pytest.raises(NotationError):
        parse_histogram(text)


def test_hints_are_read() -> None:
    assert parse_histogram("{{counter_reset_hint:reset}}").hint is ResetHint.RESET
