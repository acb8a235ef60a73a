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
def test_other_types_need_a_fallback(content_type: str) -> None:
    assert choose_format(content_type, Format.OPENMETRICS) is Format.OPENMETRICS
    with pytest.raises(
        UnsupportedFormatError,
        match=r"expected text/plain, application/openmetrics-text or application/vnd.google.protobuf, or a fallback",
    ):
        choose_format(content_type)


def test_parse_reads_in_the_format_of_the_header() -> None:
    assert len(parse(b"foo  1\n", "text/plain").samples) == 1
    assert len(parse(family("foo", GAUGE, [metric(GAUGE, simple(1.0))]), Format.PROTOBUF.value).samples) == 1
    with pytest.raises(ExpositionError):
        parse(b"foo  1\n", "application/openmetrics-text")
