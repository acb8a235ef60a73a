"""The fast way gives what the strict readers give, or declines."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from common.labels import Labels
from exposition.errors import ExpositionError
from exposition.fast import Split, split
from exposition.formats import Format, parse
from exposition.lexing import parse_float
from exposition.model import Exposition, Sample
from exposition.number_texts import read_values
from exposition.openmetrics import parse_openmetrics
from exposition.readings import BoolArray, Readings
from exposition.text import parse_text
from tests.exporter.node_exporter import fetch, node_exporter
from tests.exposition.bodies import Family, bits, body_of, expositions, values
from tests.exposition.test_properties import hostile_bodies

STRICT = {Format.TEXT: parse_text, Format.OPENMETRICS: parse_openmetrics}
formats = st.sampled_from(list(STRICT))


def read_fast(body: bytes, body_format: Format) -> Exposition | None:
    """A body read as a caller of the fast way does when it sees the lines for the first time; None if declined."""
    parts = split(body, body_format)
    if parts is None:
        return None
    try:
        metadata = parts.metadata()
        series = [parts.series(index) for index in range(len(parts.readings.values))]
    except ExpositionError:
        return None
    return Exposition(samples_of(series, parts.readings, parts.timed), metadata)


def samples_of(series: list[Labels], readings: Readings, timed: BoolArray | None) -> list[Sample]:
    """The samples that vectors stand for."""
    assert (readings.times_ms is None) == (timed is None)
    times: list[int | None] = [None] * len(series)
    if readings.times_ms is not None and timed is not None:
        times = [time if own else None for time, own in zip(readings.times_ms.tolist(), timed.tolist(), strict=True)]
    exemplars = dict(readings.exemplars)
    return [
        Sample(labels, value, time_ms, exemplars.get(index))
        for index, (labels, value, time_ms) in enumerate(zip(series, readings.values.tolist(), times, strict=True))
    ]


def accepted(body: bytes, body_format: Format = Format.TEXT) -> Split:
    parts = split(body, body_format)
    assert parts is not None
    assert read_fast(body, body_format) is not None
    return parts


def test_skeleton_values_and_prefixes() -> None:
    parts = accepted(b'# TYPE a gauge\na{b="c d"} 1.5\n\na 2\n')

    assert parts.skeleton == b'# TYPE a gauge\na{b="c d"}\n\na\n'
    assert parts.readings.values.tolist() == [1.5, 2]
    assert parts.prefixes() == [b'a{b="c d"}', b"a"]
    assert parts.series(0) == Labels.of(__name__="a", b="c d")


def test_the_same_lines_have_the_same_skeleton() -> None:
    assert accepted(b"a 1\nb 22\n").skeleton == accepted(b"a NaN\nb 3\n").skeleton


@pytest.mark.parametrize(
    "other", [b"b 1\na 22\n", b"a 1\nb 22\nc 1\n", b"a 1\n\nb 2\n", b"a  1\nb 2\n", b"a 1\nb 2\n# c\n", b"a 1\n"]
)
def test_other_lines_have_another_skeleton(other: bytes) -> None:
    assert accepted(b"a 1\nb 22\n").skeleton != accepted(other).skeleton


def same_times(one: BoolArray | None, other: BoolArray | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)


def as_split(first: bytes, second: bytes, body_format: Format = Format.TEXT) -> None:
    """The first body's template has the second's values just where both have the same skeleton."""
    known = split(first, body_format)
    if known is None:
        return
    found, parts = known.template().read(second), split(second, body_format)
    if parts is None or parts.skeleton != known.skeleton or not same_times(parts.timed, known.timed):
        assert found is None
    else:
        assert found is not None
        series = [Labels.of(__name__=prefix.decode("latin-1")) for prefix in parts.prefixes()]
        read, expected = (Exposition(samples_of(series, one, parts.timed), {}) for one in (found, parts.readings))
        assert bits(read) == bits(expected)


@pytest.mark.parametrize(
    "second",
    [
        b"a 1\nbc 22\n# d\ne 3\n",
        b"a NaN\nbc -0\n# d\ne 0x1p3",
        b"a 1\nbc 22\n# e\ne 3\n",
        b"a 1\nbd 22\n# d\ne 3\n",
        b"ab 1\nbc 22\n# d\ne 3\n",
        b"a\nbc 22 7\n# d\ne 3\n",
        b"a  1\nbc 22\n# d\ne 3\n",
        b"a 1\nbc 22 \n# d\ne 3\n",
        b"a 1\nbc 22\n#\ne 3 4\n",
        b"a 1\nb\n# d\ne 3\n",
        b"a 1\nbc x\n# d\ne 3\n",
        b"a 1\nbc 22\n# d\ne 3\n\n",
        b"\n\n\n\n",
        b"",
    ],
)
def test_a_template_knows_its_own_lines(second: bytes) -> None:
    as_split(b"a 1\nbc 22\n# d\ne 3\n", second)
    as_split(second, b"a 1\nbc 22\n# d\ne 3\n")


@pytest.mark.parametrize(
    "second",
    [
        b"a 5 6\nbc 7 8\n# d\ne 9\n",
        b"a 5\nbc 1 7 8\n# d\ne 9\n",
        b"a 5 6\nbc 7\n# d\ne 9 1\n",
        b"a 5\nbc 7 8\n# d\ne 9\n",
        b"a 5 6 7\nbc 7 8\n# d\ne 9\n",
        b"a 5 -6\nbc 7 8\n# d\ne 9\n",
        b"a 5 6\nbc 7 1.5\n# d\ne 9\n",
        b"a 5  6\nbc 7 8\n# d\ne 9\n",
        b"a 5\t6\nbc 7 8\n# d\ne 9\n",
        b"a 5 6\nbd 7 8\n# d\ne 9\n",
    ],
)
def test_a_template_knows_its_lines_with_times(second: bytes) -> None:
    as_split(b"a 1 2\nbc 3 4\n# d\ne 3\n", second)
    as_split(second, b"a 1 2\nbc 3 4\n# d\ne 3\n")


@pytest.mark.parametrize(
    "second",
    [
        b'a 1 # {x="z"} 2\nb 4\n# EOF\n',
        b"a 1\nb 4 # {} 5\n# EOF\n",
        b'a 1 # {x="z} 2\nb 4\n# EOF\n',
        b"a 1 # {} 2\nb 4 7\n# EOF\n",
    ],
)
def test_a_template_takes_exemplars_wherever_they_are(second: bytes) -> None:
    as_split(b'a 1 # {x="y"} 2 3.5\nb 4\n# EOF\n', second, Format.OPENMETRICS)


@given(first=hostile_bodies, second=hostile_bodies, body_format=formats)
@settings(deadline=None)
def test_a_template_of_any_body(first: bytes, second: bytes, body_format: Format) -> None:
    as_split(first, first, body_format)
    as_split(first, second, body_format)


def test_a_value_alone_does_not_pass_for_a_blank_line() -> None:
    assert accepted(b"a 1\n\n").skeleton == b"a\n\n"
    assert split(b"a 1\n 5\n", Format.TEXT) is None


def test_series_get_the_type_that_is_in_force() -> None:
    parts = accepted(b'a{le="1"} 0\n# TYPE a histogram\n# HELP a b\na_bucket{le="1"} 0\n# TYPE b gauge\nb{le="1"} 0\n')

    assert [parts.series(index).get("le") for index in range(3)] == ["1", "1.0", "1"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"a 1",
        b"a 1\n",
        b"a  1\n",
        b"a\t 1\n",
        b'{"a b","c"="d e"} 1\n',
        b"# HELP a\n",
        b"#\n\n# x y\n",
        b"a 1 1700000000000\n",
        b"a 1 007\n",
        b"nan Inf 5\nnan 5\nnan  5\n",
        b'{"a b 1"} 2 3\na{b="c 1"} 2\na{b="c"} NaN 3\n# HELP a # {b} 1\n',
    ],
)
def test_text_that_is_read_fast(body: bytes) -> None:
    fast = read_fast(body, Format.TEXT)

    assert fast is not None
    assert bits(fast) == bits(parse_text(body))


@pytest.mark.parametrize(
    "body",
    [
        b"a 1  1700000000000\n",
        b"a 1\t1700000000000\n",
        b"a 1 1700000000000 \n",
        b"a 1 9007199254740993\n",
        b"a 1 \n",
        b" a 1\n",
        b"a\t1\n",
        b'a{b="c"}1\n',
        b" \n",
        b'a{b="x 1\ny"} 1\n',
        b'a{b="x} 1\n# y"} 1\n',
        b'# HELP "a\nb" c\n',
        b' # HELP a 1\na{b="c"} 1\n',
    ],
)
def test_text_that_is_left_to_the_strict_reader(body: bytes) -> None:
    parse_text(body)
    assert read_fast(body, Format.TEXT) is None


@pytest.mark.parametrize(
    "body",
    [b"a 1 -5\n", b"a 1 1.5\n", b"a 1 1e3\n", b"a 1 nan\n", b'a{b="1",b="2"} 1\n', b'a{__name__="b"} 1\n', b"a{=} 1\n"],
)
def test_text_that_no_reader_takes(body: bytes) -> None:
    with pytest.raises(ExpositionError):
        parse_text(body)
    assert read_fast(body, Format.TEXT) is None


@pytest.mark.parametrize(
    "body",
    [
        b"a 1 1.5\n# EOF\n",
        b"a 1 -1.2345\nb 2\n# EOF\n",
        b'a_total 1 # {b="c"} 1\nb 2\nc_total 3 4.5 # {} NaN -6.5\n# EOF\n',
        b'# HELP a b # {c} 1\na 1 # {b=" # {",c="\\"} 1 "} +Inf 1.9999\n# EOF\n',
    ],
)
def test_openmetrics_that_is_read_fast(body: bytes) -> None:
    fast = read_fast(body, Format.OPENMETRICS)

    assert fast is not None
    assert bits(fast) == bits(parse_openmetrics(body))


@pytest.mark.parametrize(
    "body",
    [
        b"a 1 1e300\n# EOF\n",
        b"a 1 NaN\n# EOF\n",
        b'a 1 # {b="c} 1\n# EOF\n',
        b'a 1 # {b="c"}\n# EOF\n',
        b'a 1 2 3 # {b="c"} 1\n# EOF\n',
        b'a 1 # {b="c"} 1 2 3\n# EOF\n',
        b'a{b=" # {"} 1\n# EOF\n',
        b'a # {b="c"} 1\n# EOF\n',
        b"a 1\n",
        b"a 1\n# EOF\n\n",
        b"# EOF\na 1\n",
        b"a 1\n# EOF\n# EOF\n",
        b"# EOF\n# HELP a b\n# EOF\n",
        b"a 1\n\n# EOF\n",
        b"a  1\n# EOF\n",
        b"a 1\n# x\n# EOF\n",
    ],
)
def test_openmetrics_that_is_left_to_the_strict_reader(body: bytes) -> None:
    assert read_fast(body, Format.OPENMETRICS) is None


@given(expositions(), formats)
@settings(max_examples=100, deadline=None)
def test_generated_bodies_are_read_alike(exposition: list[Family], body_format: Format) -> None:
    body = body_of(exposition, body_format)
    fast = read_fast(body, body_format)

    assert fast is not None
    assert bits(fast) == bits(STRICT[body_format](body))


@given(expositions(with_exemplars=True))
@settings(max_examples=100, deadline=None)
def test_generated_exemplars_are_read_alike(exposition: list[Family]) -> None:
    body = body_of(exposition, Format.OPENMETRICS)
    fast = read_fast(body, Format.OPENMETRICS)

    if fast is None:  # a label of a series with ` # {` in it
        assert any(" # {" in text for family in exposition for sample in family.samples for _, text in sample.labels)
    else:
        assert bits(fast) == bits(parse_openmetrics(body))


@given(hostile_bodies, formats)
@settings(max_examples=500, deadline=None)
def test_what_is_read_fast_is_what_the_strict_reader_reads(body: bytes, body_format: Format) -> None:
    fast = read_fast(body, body_format)

    if fast is not None:
        assert bits(fast) == bits(STRICT[body_format](body))


number_texts = (
    values.map(repr)
    | st.integers().map(str)
    | st.from_regex(r"[+-]?[0-9]{0,25}\.?[0-9]{0,25}([eE][+-]?[0-9]{1,3})?", fullmatch=True)
    | st.sampled_from(
        ["NaN", "nan", "+nan", "-Inf", "+inf", "infinity", "-0", "-0.0", "1e400", "null", "[]", "1,2", ""]
    )
    | st.text("0123456789+-.eEinfaNtT_", max_size=8)
)


@given(st.lists(number_texts, max_size=5))
@settings(max_examples=300, deadline=None)
def test_values_are_bit_for_bit_those_of_parse_float(texts: list[str]) -> None:
    fast = read_values("".join(f" {text}" for text in texts).encode())
    strict = [value for value in (parse_float(text.encode()) for text in texts) if value is not None]

    if len(strict) < len(texts):
        assert fast is None
    else:
        assert fast is not None
        assert fast.tobytes() == struct.pack(f"<{len(strict)}d", *strict)


def test_a_body_of_node_exporter() -> None:
    with node_exporter() as url:
        body, _ = fetch(url, Accept="text/plain")
    strict = parse(body, Format.TEXT)
    fast = read_fast(body, Format.TEXT)

    assert len(strict.samples) > 200
    assert fast is not None
    assert bits(fast) == bits(strict)


def test_a_body_of_prometheus_client() -> None:
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    body = encode(REGISTRY)
    strict = parse_openmetrics(body)
    fast = read_fast(body, Format.OPENMETRICS)

    assert len(strict.samples) > 10
    assert fast is not None
    assert bits(fast) == bits(strict)
