"""Scrapes of one target with exemplars, in the order in which they are answered; the last one is answered for ever.

Without backslashes: Prometheus 3.5 leaves them in exemplars, where the standard says what they escape.
"""

from tests.exposition.protobuf_bodies import (
    COUNTER,
    HISTOGRAM,
    bucket,
    exemplar,
    family,
    field,
    histogram,
    metric,
    simple,
)

LONG = "x" * 120  # with its name 128 characters

BODIES = [
    f"""\
# TYPE req counter
req_total{{code="200"}} 1 # {{trace_id="first",span_id="s"}} 0.5 100.5
req_total{{code="500"}} 1 # {{trace_id="a"}} 1 100
req_total{{code="404"}} 1
# TYPE lat_seconds histogram
lat_seconds_bucket{{le="1.0"}} 2 # {{trace_id="ü 世界 # {{}}"}} 0.25 1700000000.123
lat_seconds_bucket{{le="+Inf"}} 3 # {{}} 1e30 1700000000.999
lat_seconds_sum 4
lat_seconds_count 3
# TYPE odd counter
odd_total{{kind="nan"}} 1 # {{a="b"}} NaN 1
odd_total{{kind="inf"}} 1 # {{a="b"}} -Inf -2.5
odd_total{{kind="tiny"}} 1 # {{a="b"}} 1e-9 1e9
odd_total{{kind="long"}} 1 # {{trace_id="{LONG}"}} 1 5
odd_total{{kind="longer"}} 1 # {{trace_id="{LONG}y"}} 1 5
odd_total{{kind="wide"}} 1 # {{trace_id="{"é" * 120}"}} 1 5
untimed_total{{kind="same"}} 1 # {{untimed="u"}} 7
untimed_total{{kind="moving"}} 1 # {{untimed="u"}} 1
gone_total 1 # {{a="b"}} 1 1
""",
    f"""\
req_total{{code="200"}} 2 # {{trace_id="first",span_id="s"}} 0.5 100.5
req_total{{code="500"}} 2 # {{trace_id="older"}} 1 99.999
req_total{{code="404"}} 2 # {{trace_id="late"}} 1 50
lat_seconds_bucket{{le="1.0"}} 2 # {{trace_id="later"}} 0.125 1700000001
odd_total{{kind="nan"}} 2 # {{a="b"}} NaN 2
odd_total{{kind="long"}} 2 # {{trace_id="{LONG}",b="c"}} 1 6
untimed_total{{kind="same"}} 2 # {{untimed="u"}} 7
untimed_total{{kind="moving"}} 2 # {{untimed="u"}} 2
""",
    """\
req_total{code="200"} 3 # {trace_id="second"} 0.75 100.5
req_total{code="500"} 3 # {trace_id="c"} 0.5 100
untimed_total{kind="same"} 3 # {untimed="u"} 7
untimed_total{kind="moving"} 3 # {untimed="v"} 2
""",
    """\
req_total{code="200"} 4 # {trace_id="third"} 0.7 100.5
req_total{code="500"} 4 # {trace_id="d"} 1 200
untimed_total{kind="same"} 4 # {untimed="u"} 7
untimed_total{kind="moving"} 4 # {untimed="v"} 2
""",
]


def _in_protobuf(counted: bytes, *in_buckets: bytes) -> bytes:
    """A counter and a histogram with exemplars, empty where there is none."""
    buckets = [bucket(number, float(number), text) for number, text in enumerate(in_buckets, start=1)]
    # What a native histogram shows beside its buckets is not for these series.
    value = histogram(9, 1.0, *buckets) + field(16, exemplar({"a": "native"}, 1.0, 5))
    return family("req_total", COUNTER, [metric(COUNTER, simple(1.0, counted), {"code": "200"})]) + family(
        "lat_seconds", HISTOGRAM, [metric(HISTOGRAM, value)]
    )


PROTOBUF_BODIES = [
    _in_protobuf(
        exemplar({"trace_id": "first"}, 0.5, 100, 500_999_999), exemplar({"untimed": "ü"}, 1.5), exemplar({}, 1e30, 7)
    ),
    _in_protobuf(exemplar({"trace_id": "first"}, 0.5, 100, 500_000_000), exemplar({"untimed": "ü"}, 1.5), b""),
    _in_protobuf(
        exemplar({"trace_id": "older"}, 0.5, 99), exemplar({"untimed": "ü"}, 2.5), exemplar({"a": ""}, 2.0, 8)
    ),
    _in_protobuf(exemplar({"trace_id": LONG, "a": "b"}, 0.5, 101), b"", exemplar({"a": "b"}, float("nan"), -9)),
]

REQUESTS = """
query_exemplars?query=req_total
query_exemplars?query={__name__=~%22.%2B%22}
query_exemplars?query=rate(req_total{code=%22200%22}[5m])
query_exemplars?query=sum%20by%20(le)%20(rate(lat_seconds_bucket[1m]))%2Fon()%20group_left%20untimed_total
query_exemplars?query=histogram_quantile(scalar(odd_total{kind=%22nan%22}),max_over_time(lat_seconds_bucket[1m:10s]))
query_exemplars?query=quantile(scalar(req_total),-odd_total)
query_exemplars?query=req_total+or+req_total{code=%22200%22}
query_exemplars?query=req_total&start=100.5&end=150
query_exemplars?query=req_total&start=100.501
query_exemplars?query=req_total&end=100.499
query_exemplars?query=odd_total&start=-2.5&end=-2.5
query_exemplars?query=req_total&start=5&end=5
query_exemplars?query=nothing
query_exemplars?query=up
query_exemplars?query=gone_total
POST query_exemplars query=req_total&start=100&end=101
query_exemplars?query=1%2Btime()
query_exemplars?query=%22text%22
query_exemplars?query=req_total&start=5&end=1
query_exemplars?query=req_total&start=x
query_exemplars?query=req_total&end=x
query_exemplars?query=
query_exemplars
query_exemplars?query={}
query_exemplars?query=req_total[
query_exemplars?query=rate(req_total)&start=9&end=1
"""
