"""OpenMetrics: what Prometheus 3.5 makes of each of these bodies, scraped one by one, is what stands here."""

import pytest

from common.labels import Labels
from exposition.errors import TextError
from exposition.model import Exemplar, Exposition, Metadata, Sample
from exposition.openmetrics import parse_openmetrics


def labels(name: str, /, **more: str) -> Labels:
    return Labels.of(more, __name__=name)


def test_whole_body() -> None:
    body = rb"""# TYPE foo_seconds counter
# UNIT foo_seconds seconds
# HELP foo_seconds Say \"hi\",\nthen \\ and \x.
foo_seconds_total{a="\"b\"\n"} 17.0 1520879607.7899 # {trace_id="KOO5S4vxi0o"} 0.67 1520879607.123
foo_seconds_created{a="b"} 1520430000.123
# TYPE bar histogram
bar_bucket{le="1"} 2 # {} 0.5
bar_bucket{le="+Inf"} 3 -1.5
# UNIT nothing_s s
{"a.b","c.d"="e"} NaN # {"x.y"="z"} 1
# TYPE enabled stateset
enabled{enabled="yes"} 1
# EOF
"""
    exposition = parse_openmetrics(body)

    foo, created, *buckets, quoted, enabled = exposition.samples
    assert foo == Sample(
        labels("foo_seconds_total", a='"b"\n'),
        17,
        1520879607789,
        Exemplar(labels=Labels.of(trace_id="KOO5S4vxi0o"), value=0.67, time_ms=1520879607123),
    )
    assert created == Sample(labels("foo_seconds_created", a="b"), 1520430000.123)
    assert buckets == [
        Sample(labels("bar_bucket", le="1.0"), 2, None, Exemplar(Labels(), 0.5)),
        Sample(labels("bar_bucket", le="+Inf"), 3, -1500),
    ]
    assert quoted.labels == Labels.of({"__name__": "a.b", "c.d": "e"})
    assert quoted.exemplar == Exemplar(Labels.of({"x.y": "z"}), 1)
    assert enabled == Sample(labels("enabled", enabled="yes"), 1)
    assert exposition.metadata == {
        "foo_seconds": Metadata("counter", 'Say "hi",\nthen \\ and \\x.', "seconds"),
        "bar": Metadata("histogram"),
        "nothing_s": Metadata(unit="s"),
        "enabled": Metadata("stateset"),
    }


@pytest.mark.parametrize("body", [b"", b"# EOF", b"# EOF\n"])
def test_no_samples(body: bytes) -> None:
    assert parse_openmetrics(body) == Exposition([], {})


@pytest.mark.parametrize(
    "lines",
    [
        b"# TYPE foo counter\nfoo 1\n",
        b"# TYPE foo counter\nbar_total 1\n",
        b"# TYPE foo histogram\nfoo_bucket 1\n",
        b"foo 1\n# TYPE foo gauge\n",
        b"# UNIT foo \n# HELP foo \nfoo 1\n",
        b"foo{} 1\n",
        b'foo{a="b",} 1\n',
        b'{"foo",} 1\n',
        b'foo 1 # {a="b",} 1\n',
        b'foo 1 # {a="b",a="c"} 1\n',
        b"foo 1 # {} 1\n",
        b"# HELP foo  x\nfoo 1\n",
    ],
)
def test_no_stricter_than_prometheus(lines: bytes) -> None:
    assert len(parse_openmetrics(lines + b"# EOF\n").samples) == 1


NO_EOF = "the body does not end with `# EOF`"


@pytest.mark.parametrize(
    ("body", "line", "column", "reason"),
    [
        (b"a 1\n", 2, 1, NO_EOF),
        (b"a 1", 1, 4, NO_EOF),
        (b"a 1 2", 1, 6, NO_EOF),
        (b"# EOF\n\n", 1, 6, "expected nothing after `# EOF`, found the end of the line"),
        (b"# EOF x", 1, 6, "expected nothing after `# EOF`, found ` x`"),
        (b"# EOF\n# EOF\n", 1, 6, "expected nothing after `# EOF`"),
        (b"\n# EOF\n", 1, 1, "expected a metric name or a comment, found the end of the line"),
        (b"#EOF\n", 1, 1, "expected `# HELP `, `# TYPE `, `# UNIT ` or `# EOF`, found `#EOF`"),
        (b"a 1\n# x\n# EOF\n", 2, 1, "expected `# HELP `, `# TYPE `, `# UNIT ` or `# EOF`, found `# x`"),
        (b"#  TYPE a gauge\n# EOF\n", 1, 1, "expected `# HELP `"),
        (b"# HELP a\n# EOF\n", 1, 9, "expected a blank and a text after the name in HELP, found the end of the line"),
        (b"# HELP a b", 1, 9, "expected a blank and a text after the name in HELP, found ` b`"),
        (b"# TYPE a-b gauge\n# EOF\n", 1, 9, "expected a blank and a text after the name in TYPE, found `-b gauge`"),
        (b'# HELP "a b\n# EOF\n', 1, 8, 'expected a metric name after HELP, found `"a b`'),
        (b"# TYPE a untyped\n# EOF\n", 1, 10, "invalid metric type `untyped`: expected one of counter, gauge"),
        (b"# UNIT a s\n# EOF\n", 1, 10, "unit `s` is not the end of the metric name `a`"),
        (b"# UNIT as s\n# EOF\n", 1, 11, "unit `s` is not the end of the metric name `as`"),
        (b"# HELP a \xff\n# EOF\n", 1, 10, "not valid UTF-8"),
        (b" a 1\n# EOF\n", 1, 1, "expected a metric name or a comment, found ` a 1`"),
        (b"a  1\n# EOF\n", 1, 2, "expected a blank and a value after the metric, found `  1`"),
        (b"a\t1\n# EOF\n", 1, 2, "expected a blank and a value after the metric"),
        (b'a{b="c"}1\n# EOF\n', 1, 9, "expected a blank and a value after the metric"),
        (b'a {b="c"} 1\n# EOF\n', 1, 3, '`{b="c"}` is no number'),
        (b'a{ b="c"} 1\n# EOF\n', 1, 3, "expected a label name or `}`, found ` b="),
        (b'a{b="c", d="e"} 1\n# EOF\n', 1, 9, "expected a label name or `}`"),
        (b'a{b="c"d="e"} 1\n# EOF\n', 1, 8, "expected `,` or `}` after the label value"),
        (b'a{b="c\nd"} 1\n# EOF\n', 1, 5, "expected a label value in double quotes"),
        (b'a{"b"} 1\n# EOF\n', 1, 6, "expected `=` after the label name"),
        (b"a 1 \n# EOF\n", 1, 4, "expected the end of the line, found ` `"),
        (b"a 1\r\n# EOF\n", 1, 3, "`1\r` is no number"),
        (b"a 1 x\n# EOF\n", 1, 5, "`x` is no number"),
        (b"a 1 NaN\n# EOF\n", 1, 5, "the timestamp is no time in seconds"),
        (b"a 1 -Inf\n# EOF\n", 1, 5, "the timestamp is no time in seconds"),
        (b"a 1 1e16\n# EOF\n", 1, 5, "the timestamp is no time in seconds"),
        (b"a 1 1 1\n# EOF\n", 1, 6, "expected the end of the line, found ` 1`"),
        (b"a 1 # x\n# EOF\n", 1, 5, "`#` is no number"),
        (b'a 1 # {b="c"}\n# EOF\n', 1, 14, "expected a blank and a value after the exemplar's labels"),
        (b'a 1 # {b="c"} x\n# EOF\n', 1, 15, "`x` is no number"),
        (b'a 1 # {b="c"} 1 NaN\n# EOF\n', 1, 17, "the timestamp is no time in seconds"),
        (b'a 1 # {b="c"} 1 1 1\n# EOF\n', 1, 18, "expected the end of the line"),
        (b'a 1 # {"b"} 1\n# EOF\n', 1, 11, "expected `=` after the label name"),
        (b'a 1 # {b="\xff"} 1\n# EOF\n', 1, 11, "not valid UTF-8"),
        (b"a 1\x00\n# EOF\n", 1, 3, "`1\0` is no number"),
    ],
)
def test_errors(body: bytes, line: int, column: int, reason: str) -> None:
    with pytest.raises(TextError) as caught:
        parse_openmetrics(body)

    assert caught.value.reason.startswith(reason)
    assert (caught.value.line, caught.value.column) == (line, column)
