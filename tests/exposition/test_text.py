"""The text format: what Prometheus 3.5 makes of each of these bodies, scraped one by one, is what stands here."""

import math
import struct

import pytest

from common.labels import Labels
from exposition.errors import TextError
from exposition.lexing import NORMAL_NAN
from exposition.model import Exposition, Metadata, Sample
from exposition.text import parse_text

FOO = Labels.of(__name__="foo")


def series_of(body: bytes) -> list[dict[str, str]]:
    return [sample.labels.as_dict() for sample in parse_text(body).samples]


def test_whole_body() -> None:
    body = rb"""# HELP http_requests_total Requests\nby \\ code and "method".
# TYPE http_requests_total counter
http_requests_total{code="200",method="get"} 1027 1395066363000
http_requests_total{code="400",method="get"}    3 1395066363001

# any other comment { "
# TYPE request_seconds summary
# HELP request_seconds How long.
request_seconds{quantile="0.5"} 4.2e-05
request_seconds_sum 1.7560473e+07
	request_seconds_count	2693

# HELP "disk.free" Bytes.
{"disk.free", "mount.point" = "C:\\DIR\\FILE.TXT", note="say \"hi\"\n"} -Inf
nothing_known NaN
"""

    def sample(value: float, time_ms: int | None = None, **labels: str) -> Sample:
        return Sample(Labels.of(labels), value, time_ms)

    exposition = parse_text(body)

    assert exposition.samples[:-1] == [
        sample(1027, 1395066363000, __name__="http_requests_total", code="200", method="get"),
        sample(3, 1395066363001, __name__="http_requests_total", code="400", method="get"),
        sample(4.2e-05, __name__="request_seconds", quantile="0.5"),
        sample(1.7560473e07, __name__="request_seconds_sum"),
        sample(2693, __name__="request_seconds_count"),
        Sample(
            Labels.of({"__name__": "disk.free", "mount.point": r"C:\DIR\FILE.TXT", "note": 'say "hi"\n'}), -math.inf
        ),
    ]
    assert exposition.samples[-1].labels.metric_name == "nothing_known"
    assert exposition.metadata == {
        "http_requests_total": Metadata("counter", 'Requests\nby \\ code and "method".'),
        "request_seconds": Metadata("summary", "How long."),
        "disk.free": Metadata("unknown", "Bytes."),
    }


@pytest.mark.parametrize("body", [b"", b" ", b"\n\n \t \n", b"# only a comment", b"#", b"#TYPE foo nonsense\n"])
def test_no_samples(body: bytes) -> None:
    assert parse_text(body) == Exposition([], {})


@pytest.mark.parametrize(
    ("body", "labels"),
    [
        (b'foo{a="b"}1', {"a": "b"}),
        (b'foo{a="b",} 1', {"a": "b"}),
        (b'foo { a = "b" , } 1', {"a": "b"}),
        (b'foo\t{\ta\t=\t"b"\t}\t1\t', {"a": "b"}),
        (b'foo{a="b" c="d"} 1', {"a": "b", "c": "d"}),
        (b'foo{a="b""c"="d"} 1', {"a": "b", "c": "d"}),
        (b'foo{c="d",a="b"} 1', {"a": "b", "c": "d"}),
        (b'foo{a="x\ny"} 1', {"a": "x\ny"}),
        (b'foo{a="\x00"} 1', {"a": "\0"}),
        (rb'foo{a="\x\"\\\n"} 1', {"a": '\\x"\\\n'}),
        (b'foo{a="}{ 1 # "} 1', {"a": "}{ 1 # "}),
        (b'foo{a=""} 1', {}),
        (b"foo{} 1", {}),
        (b"foo{ } 1", {}),
        (b'{"foo"} 1', {}),
        (b'{"foo" , "a.b"="c"} 1', {"a.b": "c"}),
        (b'{"a.b"="c","foo"} 1', {"a.b": "c"}),
    ],
)
def test_series(body: bytes, labels: dict[str, str]) -> None:
    assert series_of(body) == [{"__name__": "foo", **labels}]


@pytest.mark.parametrize(
    ("token", "value"),
    [
        ("1", 1),
        ("+1", 1),
        ("007", 7),
        (".5", 0.5),
        ("5.", 5),
        ("-1.5E+3", -1500),
        ("1e-999", 0),
        ("+Inf", math.inf),
        ("inf", math.inf),
        ("-INFINITY", -math.inf),
        ("179769313486231580793728971405301199e273", 1.797693134862315807937e308),
        ("9007199254740993", 9007199254740992),
        ("9007199254740993.00001", 9007199254740994),
    ],
)
def test_numbers(token: str, value: float) -> None:
    assert parse_text(f"foo {token}\n".encode()).samples == [Sample(FOO, value)]


def test_the_sign_of_zero_and_the_bits_of_nan_are_kept() -> None:
    values = [sample.value for sample in parse_text(b"a -0\nb nAn\n").samples]

    assert struct.pack("<2d", *values) == struct.pack("<2d", -0.0, NORMAL_NAN)


@pytest.mark.parametrize(
    "token", ["true", "+nan", "-NaN", "0x1p3", "0x1", "1_0", ".", "1e", "1e5e5", "--1", "1,5", "1e999"]
)
def test_no_numbers(token: str) -> None:
    with pytest.raises(TextError, match="is no number") as caught:
        parse_text(f'# HELP x y\nfoo{{a="ü"}}  {token}\n'.encode())

    assert (caught.value.line, caught.value.column) == (2, 13)


def test_bounds_are_spelled_alike_where_the_last_type_is_histogram_or_summary() -> None:
    body = b"""a_bucket{le="1"} 0
# TYPE a histogram
a_bucket{le="1"} 0
a_bucket{le="100000"} 0
a_bucket{le="1e6"} 0
a_bucket{le="1234567.5"} 0
a_bucket{le="0.00001"} 0
a_bucket{le="-2"} 0
a_bucket{le="-0"} 0
a_bucket{le="inf"} 0
a_bucket{le="-Inf"} 0
a_bucket{le="nan"} 0
a_bucket{le="x"} 0
a_bucket{quantile="1"} 0
# TYPE b summary
b{quantile="1",le="1"} 0
# TYPE c gauge
c{quantile="1",le="1"} 0
"""
    bounds = [labels.get("le", "") + labels.get("quantile", "") for labels in series_of(body)]

    assert bounds[:1] == ["1"]
    assert bounds[1:8] == ["1.0", "100000.0", "1e+06", "1.2345675e+06", "1e-05", "-2.0", "0.0"]
    assert bounds[8:13] == ["+Inf", "-Inf", "NaN", "x", "1"]
    assert bounds[13:] == ["11.0", "11"]


@pytest.mark.parametrize(
    ("body", "line", "column", "reason"),
    [
        (b"a", 1, 2, "expected a value after the metric, found the end of the body"),
        (b"a\n 1", 1, 2, "expected a value after the metric, found the end of the line"),
        (b"a{b='c'} 1\n", 1, 5, "expected a label value in double quotes, found `'c'} 1`"),
        (b"a{b=\n", 1, 5, "expected a label value in double quotes, found the end of the line"),
        (b'ok 1\na{b="c\n', 2, 5, 'expected a label value in double quotes, found `"c`'),
        (b'a{b="c" 1\n', 1, 9, "expected a label name or `}`, found `1`"),
        (b'a{b="c"\n} 1\n', 1, 8, "expected a label name or `}`, found the end of the line"),
        (b'a{,b="c"} 1\n', 1, 3, "expected a label name or `}`"),
        (b'a{b="c",,d="e"} 1\n', 1, 9, "expected a label name or `}`"),
        (b'a{b:c="d"} 1\n', 1, 4, "expected `=` after the label name"),
        (b'a{"b"} 1\n', 1, 6, "expected `=` after the label name, found `} 1`"),
        (b'{"a","b"} 1\n', 1, 9, "expected `=` after the label name"),
        (b'{"a", "b = "c"}', 1, 13, "expected `=` after the label name"),
        (b'a{b="1",b="2"} 1\n', 1, 1, "a label name is there twice"),
        (b'a{""="c"} 1\n', 1, 1, "a label name is empty"),
        (b'a{__name__="c"} 1\n', 1, 3, "the metric name goes before the brace"),
        (b'{__name__="a"} 1\n', 1, 2, "the metric name goes before the brace"),
        (b'{b="c"} 1\n', 1, 1, "the sample has no metric name"),
        (b'{""} 1\n', 1, 1, "the sample has no metric name"),
        (b'a{b="x\xff"} 1\n', 1, 7, "not valid UTF-8"),
        (b'{"a\xff"} 1\n', 1, 4, "not valid UTF-8"),
        (b"\xff 1\n", 1, 1, "expected a metric name or a comment"),
        (b"1a 1\n", 1, 1, "expected a metric name or a comment"),
        (b'"a" 1\n', 1, 1, "expected a metric name or a comment"),
        (b"\x00a 1\n", 1, 1, "expected a metric name or a comment"),
        (b'a{b="c"} {\n', 1, 10, "expected a value after the metric, found `{`"),
        (b"a 1{\n", 1, 4, "expected a timestamp in milliseconds or the end of the line"),
        (b"a 1 -5\n", 1, 5, "expected a timestamp in milliseconds or the end of the line, found `-5`"),
        (b"a 1 # b\n", 1, 5, "expected a timestamp in milliseconds or the end of the line"),
        (b"a 0 1_2\n", 1, 6, "expected the end of the line, found `_2`"),
        (b"a 0 1.5\n", 1, 6, "expected the end of the line, found `.5`"),
        (b"a 0 1 2\n", 1, 7, "expected the end of the line, found `2`"),
        (b"a 0 9223372036854775808\n", 1, 5, "the timestamp does not fit in 64 bits"),
        (b"a 0 " + b"9" * 5000, 1, 5, "the timestamp does not fit in 64 bits"),
        (b"a 1\r\n", 1, 3, "`1\r` is no number"),
        (b"\n\n# TYPE a gauge\r\n", 3, 10, "invalid metric type `gauge\r`: expected one of counter, gauge"),
        (b"# TYPE a  gauge\n", 1, 10, "invalid metric type ` gauge`"),
        (b"# TYPE a\n", 1, 9, "invalid metric type ``"),
        (b"# TYPE a unknown\n", 1, 10, "invalid metric type `unknown`"),
        (b"  # TYPE a b\n", 1, 12, "invalid metric type `b`"),
        (b"# TYPE #\n", 1, 8, "expected a metric name after TYPE, found `#`"),
        (b"# HELP \n", 1, 8, "expected a metric name after HELP, found the end of the line"),
        (b"# HELP a b\xff\n", 1, 11, "not valid UTF-8"),
    ],
)
def test_errors(body: bytes, line: int, column: int, reason: str) -> None:
    with pytest.raises(TextError) as caught:
        parse_text(body)

    assert (caught.value.line, caught.value.column) == (line, column)
    assert caught.value.reason.startswith(reason)
    assert str(caught.value) == f"line {line}, column {column}: {caught.value.reason}"


def test_metadata_oddities_of_prometheus() -> None:
    body = b"# HELP a-b c\n# \tHELP\td\n# HELP e  two blanks \n# HELP\n# TYPE a\tgauge\n# TYPE a counter\n"

    assert parse_text(body).metadata == {
        "a": Metadata("counter", "b c"),
        "d": Metadata(),
        "e": Metadata("unknown", " two blanks "),
    }
