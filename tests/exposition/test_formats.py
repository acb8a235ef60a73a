"""The format is chosen as Prometheus 3 chooses it."""

import pytest

from exposition.errors import ExpositionError, UnsupportedFormatError
from exposition.formats import Format, choose_format, parse
from tests.exposition.protobuf_bodies import GAUGE, family, metric, simple


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/plain", Format.TEXT),
        ("text/plain; version=0.0.4; charset=utf-8", Format.TEXT),
        ("TEXT/Plain ;x=y", Format.TEXT),
        (" text/plain", Format.TEXT),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", Format.OPENMETRICS),
        (
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
            Format.PROTOBUF,
        ),
    ],
)
def test_known_types(content_type: str, expected: Format) -> None:
    assert choose_format(content_type) is expected


@pytest.mark.parametrize("content_type", ["", " ", "text", "text/html", "application/json", "garbage; ;"])
def test_other_types_are_refused(content_type: str) -> None:
    expected = r"expected text/plain, application/openmetrics-text or application/vnd.google.protobuf"
    with pytest.raises(UnsupportedFormatError, match=expected):
        choose_format(content_type)


def test_parse_reads_in_the_format_asked_for() -> None:
    assert len(parse(b"foo  1\n", Format.TEXT).samples) == 1
    assert len(parse(family("foo", GAUGE, [metric(GAUGE, simple(1.0))]), Format.PROTOBUF).samples) == 1
    with pytest.raises(ExpositionError):
        parse(b"foo  1\n", Format.OPENMETRICS)
