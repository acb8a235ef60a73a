import pytest

from promql.histograms.texts import format_text
from promql.testing.histogram_notation import parse_histogram


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{}}", "{count:0, sum:0}"),
        (
            "{{count:7.5 sum:-2 z_bucket:1 z_bucket_w:0.25 buckets:[0 2] n_buckets:[1.5 0 3]}}",
            "{count:7.5, sum:-2, [-4,-2):3, [-1,-0.5):1.5, [-0.25,0.25]:1, (1,2]:2}",
        ),
        (
            "{{schema:-53 count:6 sum:1 custom_values:[-1 5] buckets:[1 2 3]}}",
            "{count:6, sum:1, [-Inf,-1):1, [-1,5]:2, (5,+Inf]:3}",
        ),
    ],
)
def test_text(text: str, expected: str) -> None:
    assert format_text(parse_histogram(text)) == expected
