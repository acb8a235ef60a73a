import math

import numpy as np
import pytest

from promql.histograms.model import Histogram, Histograms
from promql.histograms.statistics import fractions, means, quantiles, variances
from promql.testing.histogram_notation import parse_histogram

ONE_SIDED = "{{schema:0 count:12 sum:100 z_bucket:2 z_bucket_w:0.001 buckets:[2 3 0 1 4]}}"
TWO_SIDED = "{{count:6 sum:0 z_bucket:2 z_bucket_w:0.5 offset:1 buckets:[2] n_offset:1 n_buckets:[2]}}"
CUSTOM = "{{schema:-53 count:10 sum:20 custom_values:[1 2 4] buckets:[4 2 2 2]}}"


def of(text: str) -> Histograms:
    return Histograms.of([parse_histogram(text)])


@pytest.mark.parametrize(
    ("text", "quantile", "expected"),
    [
        (ONE_SIDED, -0.1, -math.inf),
        (ONE_SIDED, 1.1, math.inf),
        (ONE_SIDED, math.nan, math.nan),
        (ONE_SIDED, 0, 0),
        (ONE_SIDED, 1 / 12, 0.0005),
        (ONE_SIDED, 3 / 12, 2**-0.5),
        (ONE_SIDED, 11 / 12, 2**3.75),
        (ONE_SIDED, 1, 16),
        (TWO_SIDED, 0, -2),
        (TWO_SIDED, 1 / 6, -(2**0.5)),
        (TWO_SIDED, 0.5, 0),
        (TWO_SIDED, 5 / 6, 2**0.5),
        (CUSTOM, 0.2, 0.5),
        (CUSTOM, 0.5, 1.5),
        (CUSTOM, 0.7, 3),
        (CUSTOM, 0.9, 4),
        ("{{schema:-53 count:4 custom_values:[-1 2] buckets:[2 2]}}", 0.25, -1),
        # Between buckets: counted from above, the lower end of the upper one.
        ("{{count:2 buckets:[1 0 0 1]}}", 0.5, 4),
        ("{{}}", 0.5, math.nan),
        ("{{count:4 sum:NaN buckets:[0 2]}}", 0.25, 2**0.5),
        ("{{count:4 sum:NaN buckets:[0 2]}}", 0.75, math.nan),
    ],
)
def test_quantile(text: str, quantile: float, expected: float) -> None:
    assert quantiles(of(text), np.array([quantile]))[0] == pytest.approx(expected, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    ("text", "lower", "upper", "expected"),
    [
        (ONE_SIDED, -math.inf, math.inf, 1),
        (ONE_SIDED, 1, 2, 3 / 12),
        (ONE_SIDED, 0, 0.0005, 1 / 12),
        (ONE_SIDED, 2**3.75, math.inf, 1 / 12),
        (ONE_SIDED, 2, 1, 0),
        (ONE_SIDED, math.nan, 1, math.nan),
        (TWO_SIDED, -2, -(2**0.5), 1 / 6),
        (TWO_SIDED, -0.25, 0.25, 1 / 6),
        (CUSTOM, 1, 3, 3 / 10),
        (CUSTOM, 4, 8, 0),
        (CUSTOM, 4, math.inf, 2 / 10),
        ("{{}}", 0, 1, math.nan),
    ],
)
def test_fraction(text: str, lower: float, upper: float, expected: float) -> None:
    got = fractions(of(text), np.array([lower]), np.array([upper]))[0]
    assert got == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_rows_are_apart_from_each_other() -> None:
    texts = [ONE_SIDED, TWO_SIDED, "{{}}", CUSTOM]
    together = Histograms.of(list(map(parse_histogram, texts)))
    wanted = np.array([0.3, 0.9, 0.5, 0.1])
    alone = [quantiles(of(text), wanted[[row]])[0] for row, text in enumerate(texts)]
    np.testing.assert_array_equal(quantiles(together, wanted), alone)
    np.testing.assert_array_equal(variances(together), [variances(of(text))[0] for text in texts])


def test_mean_and_variance() -> None:
    assert means(of(ONE_SIDED))[0] == pytest.approx(100 / 12)
    # 2 observations each in the middle of a bucket: -2 ** 0.5, 0 and 2 ** 0.5.
    assert variances(of(TWO_SIDED))[0] == pytest.approx(8 / 6)
    assert variances(Histograms.of([Histogram(-53, 2, 3, positive={1: 2.0}, bounds=(1.0, 2.0))]))[0] == 0
