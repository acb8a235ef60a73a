import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql.histograms.arithmetic import add, at_schema, scaled
from promql.histograms.model import Histogram, Histograms, ResetHint
from promql.testing.histogram_notation import format_histogram, parse_histogram


def added(*texts: str) -> str:
    histograms = Histograms.of(list(map(parse_histogram, texts)))
    return format_histogram(add(histograms, np.zeros(len(texts), np.int64), 1).sums.sample(0))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["{{count:1 sum:2 buckets:[1]}}"] * 3, "{{schema:0 count:3 sum:6 buckets:[3]}}"),
        # Indexes 0 to 3 of schema 1 are 0, 1, 1, 2 of schema 0.
        (
            ["{{schema:1 count:10 buckets:[1 2 3 4]}}", "{{schema:0 count:5 buckets:[0 5]}}"],
            "{{schema:0 count:15 sum:0 buckets:[1 10 4]}}",
        ),
        (
            ["{{count:3 z_bucket:1 z_bucket_w:0.5 buckets:[2]}}", "{{count:6 z_bucket:6 z_bucket_w:1}}"],
            "{{schema:0 count:9 sum:0 z_bucket_w:1 z_bucket:9}}",
        ),
        # A threshold of 3 cuts the bucket (2, 4] of the first.
        (
            ["{{count:5 offset:2 buckets:[2 3]}}", "{{count:1 z_bucket:1 z_bucket_w:3}}"],
            "{{schema:0 count:6 sum:0 z_bucket_w:4 z_bucket:3 offset:3 buckets:[3]}}",
        ),
        (
            [
                "{{schema:-53 count:10 custom_values:[1 2 4] buckets:[1 2 3 4]}}",
                "{{schema:-53 count:3 custom_values:[2 3 4] buckets:[1 1 1]}}",
            ],
            "{{schema:-53 count:13 sum:0 custom_values:[2 4] buckets:[4 5 4]}}",
        ),
    ],
)
def test_sum(texts: list[str], expected: str) -> None:
    assert added(*texts) == expected
    assert added(*reversed(texts)) == expected


def test_hints() -> None:
    kinds = [ResetHint.RESET, ResetHint.NOT_RESET, ResetHint.UNKNOWN, ResetHint.NOT_RESET, ResetHint.GAUGE]
    result = add(Histograms.of([Histogram(hint=hint) for hint in kinds]), np.array([0, 0, 1, 1, 1]), 2)
    assert result.sums.hint.tolist() == [ResetHint.UNKNOWN, ResetHint.GAUGE]
    assert result.hints_collide.tolist() == [True, False]


def test_scaled_below_zero_is_a_gauge() -> None:
    (got,) = [scaled(Histograms.of([Histogram(count=2, positive={1: 2.0})]), np.array([-1.5])).sample(0)]
    assert got == Histogram(count=-3, sum=-0.0, zero_count=-0.0, positive={1: -3.0}, hint=ResetHint.GAUGE)


counts = st.dictionaries(st.integers(-600, 600), st.integers(1, 1000).map(float), max_size=8)


@st.composite
def exponential(draw: st.DrawFn) -> Histogram:
    positive, negative = draw(counts), draw(counts)
    total = sum(positive.values()) + sum(negative.values())
    return Histogram(draw(st.integers(0, 8)), total, total, positive=positive, negative=negative)


@given(exponential(), st.integers(0, 8))
def test_coarser_buckets_hold_finer_ones(histogram: Histogram, schema: int) -> None:
    fine = Histograms.of([histogram])
    coarse = at_schema(fine, np.array([schema]))
    assert coarse.population.sum() == fine.population.sum()
    low, high = fine.edges()
    coarse_low, coarse_high = coarse.edges()
    inside = (coarse_low[:, np.newaxis] <= low) & (high <= coarse_high[:, np.newaxis])
    assert (inside.sum(axis=0) == 1).all()
    np.testing.assert_array_equal(inside @ fine.population, coarse.population)


@given(st.lists(exponential(), min_size=1, max_size=5), st.integers(1, 3))
def test_groups_are_summed_apart(samples: list[Histogram], groups: int) -> None:
    group = np.arange(len(samples)) % groups
    group = np.unique(group, return_inverse=True)[1]
    sums = add(Histograms.of(samples), group, int(group.max()) + 1).sums
    for number in range(len(sums)):
        own = [sample for sample, of in zip(samples, group.tolist(), strict=True) if of == number]
        alone = add(Histograms.of(own), np.zeros(len(own), np.int64), 1).sums
        assert sums.sample(number) == alone.sample(0)
        assert sums.count[number] == sum(sample.count for sample in own)
        assert sums.population[sums.owner == number].sum() == sums.count[number]
