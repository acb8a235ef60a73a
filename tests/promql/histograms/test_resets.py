import numpy as np
import pytest

from promql.histograms.model import Histograms
from promql.histograms.resets import was_reset
from promql.testing.histogram_notation import parse_histogram

CASES = [
    ("{{}}", "{{}}", False),
    ("{{count:3 buckets:[1 2]}}", "{{count:3 buckets:[1 2]}}", False),
    ("{{count:3 buckets:[1 2]}}", "{{count:5 buckets:[1 3] n_buckets:[1]}}", False),
    ("{{count:3 buckets:[1 2]}}", "{{count:2 buckets:[1 1]}}", True),
    ("{{count:3 buckets:[1 2]}}", "{{count:4 buckets:[4]}}", True),
    ("{{count:3 n_buckets:[1 2]}}", "{{count:4 n_buckets:[0 4]}}", True),
    ("{{count:3 z_bucket:3}}", "{{count:4 z_bucket:2 buckets:[2]}}", True),
    # The sum may go either way.
    ("{{count:3 sum:5 buckets:[1 2]}}", "{{count:3 sum:4 buckets:[1 2]}}", False),
    ("{{schema:1 count:3 buckets:[1 1 1]}}", "{{schema:0 count:3 buckets:[1 2]}}", False),
    ("{{schema:1 count:3 buckets:[1 1 1]}}", "{{schema:0 count:3 buckets:[2 1]}}", True),
    ("{{schema:0 count:1 buckets:[1]}}", "{{schema:1 count:5 buckets:[5]}}", True),
    ("{{count:3 buckets:[1 2]}}", "{{count:3 z_bucket_w:1 z_bucket:1 offset:1 buckets:[2]}}", False),
    ("{{count:3 buckets:[1 2]}}", "{{count:9 z_bucket_w:1.5 z_bucket:9}}", True),
    ("{{z_bucket_w:1}}", "{{count:1 z_bucket_w:0.5 z_bucket:1}}", True),
    (
        "{{schema:-53 count:1 custom_values:[1] buckets:[1]}}",
        "{{schema:-53 count:2 custom_values:[1] buckets:[2]}}",
        False,
    ),
    (
        "{{schema:-53 count:1 custom_values:[1] buckets:[1]}}",
        "{{schema:-53 count:2 custom_values:[2] buckets:[2]}}",
        True,
    ),
    ("{{schema:-53 count:1 custom_values:[1] buckets:[1]}}", "{{count:2 buckets:[2]}}", True),
    ("{{count:3 buckets:[3]}}", "{{count:1 counter_reset_hint:not_reset buckets:[1]}}", False),
    ("{{count:3 buckets:[3]}}", "{{count:5 counter_reset_hint:reset buckets:[5]}}", True),
    ("{{count:3 buckets:[3]}}", "{{count:1 counter_reset_hint:gauge buckets:[1]}}", True),
]


@pytest.mark.parametrize(("before", "after", "expected"), CASES)
def test_reset(before: str, after: str, expected: bool) -> None:
    previous, current = (Histograms.of([parse_histogram(text)]) for text in (before, after))
    assert was_reset(current, previous).tolist() == [expected]


def test_rows_are_apart_from_each_other() -> None:
    previous = Histograms.of([parse_histogram(before) for before, _, _ in CASES])
    current = Histograms.of([parse_histogram(after) for _, after, _ in CASES])
    np.testing.assert_array_equal(was_reset(current, previous), [expected for _, _, expected in CASES])
