"""A native histogram in label values and messages, as Prometheus spells it (FloatHistogram.String).

Its counts and sum, then its populated buckets as intervals in the order of values: `{count:3, sum:4, (1,2]:3}`.
"""

from promql.histograms.model import Histogram, Histograms
from promql.numbers import format_general


def format_text(histogram: Histogram) -> str:
    """One histogram."""
    columns = Histograms.of([histogram])
    low, high = columns.edges()
    negatives = int(columns.negative.sum())
    buckets = [
        _bucket(*bucket) for bucket in zip(low.tolist(), high.tolist(), columns.population.tolist(), strict=True)
    ]
    if histogram.zero_count:
        edge = format_general(histogram.zero_threshold)
        lowest = format_general(-histogram.zero_threshold)
        buckets.insert(negatives, f"[{lowest},{edge}]:{format_general(histogram.zero_count)}")
    counts = [f"count:{format_general(histogram.count)}", f"sum:{format_general(histogram.sum)}"]
    return f"{{{', '.join(counts + buckets)}}}"


def _bucket(low: float, high: float, population: float) -> str:
    """Bounds below zero belong to the bucket above them, those above zero to the one below."""
    opening, closing = "[" if low < 0 else "(", "]" if high > 0 else ")"
    return f"{opening}{format_general(low)},{format_general(high)}{closing}:{format_general(population)}"
