"""The fast way gives what the strict readers give, or declines."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from common.labels import Labels
from exposition.errors import ExpositionError
from exposition.fast import Split, read_values, split
from exposition.formats import Format, parse
from exposition.lexing import parse_float
from exposition.model import Exposition, Sample
from exposition.openmetrics import parse_openmetrics
from exposition.text import parse_text
from tests.exporter.node_exporter import fetch, node_exporter
from tests.exposition.bodies import Family, bits, body_of, expositions, values
from tests.exposition.test_properties import hostile_bodies

STRICT = {Format.TEXT: parse_text, Format.OPENMETRICS: parse_openmetrics}
formats = st.sampled_from(Format)


def read_fast(body: bytes, body_format: Format) -> Exposition | None:
    """A body read as a caller of the fast way does when it sees the lines for the first time; None if declined."""
    parts = split(body, body_format)
    if parts is None:
        return None
    try:
        metadata = parts.metadata()
        series = [parts.series(index) for index in range(len(parts.values))]
    except ExpositionError:
        return None
    return Exposition(
        [Sample(labels, value) for labels, value in zip(series, parts.values.tolist(), strict=True)], metadata
    )


def accepted(body: bytes, body_format: Format = Format.TEXT) -> Split:
    parts = split(body, body_format)
    assert parts is not None
    assert read_fast(body, body_format) is not None
    return parts


def test_skeleton_values_and_prefixes() -> None:
    parts = accepted(b'# TYPE a gauge\na{b="c d"} 1.5\n\na 2\n')

    assert parts.skeleton == b'# TYPE a gauge\na{b="c d"}\n\na\n'
    assert parts.values.tolist() == [1.5, 2]
    assert parts.prefixes() == [b'a{b="c d"}', b"a"]
    assert parts.series(0) == Labels.of(__name__="a", b="c d")


def test_the_same_lines_have_the_same_skeleton() -> None:
    assert accepted(b"a 1\nb 22\n").skeleton == accepted(b"a NaN\nb 3\n").skeleton


@pytest.mark.parametrize(
    "other", [b"b 1\na 22\n", b"a 1\nb 22\nc 1\n", b"a 1\n\nb 2\n", b"a  1\nb 2\n", b"a 1\nb 2\n# c\n", b"a 1\n"]
)
def test_other_lines_have_another_skeleton(other: bytes) -> None:
    assert accepted(b"a 1\nb 22\n").skeleton != accepted(other).skeleton


def as_split(first: bytes, second: bytes, body_format: Format = Format.TEXT) -> None:
    """The first body's template has the second's values just where both have the same skeleton."""
    known = split(first, body_format)
    if known is None:
        return
    found, parts = known.template().values(second), split(second, body_format)
    if parts is None or parts.skeleton != known.skeleton:
        assert found is None
    else:
        assert found is not None
        assert found.tobytes() == parts.values.tobytes()


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


@given(first=hostile_bodies, second=hostile_bodies, body_format=formats)
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
    [b"", b"\n", b"a 1", b"a 1\n", b"a  1\n", b"a\t 1\n", b'{"a b","c"="d e"} 1\n', b"# HELP a\n", b"#\n\n# x y\n"],
)
def test_text_that_is_read_fast(body: bytes) -> None:
    fast = read_fast(body, Format.TEXT)

    assert fast is not None
    assert bits(fast) == bits(parse_text(body))


@pytest.mark.parametrize(
    "body",
    [
        b"a 1 1700000000000\n",
        b"a 1\t1700000000000\n",
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
    [
        b"a 1 1.5\n# EOF\n",
        b'a_total 1 # {b="c"} 1\n# EOF\n',
        b"a 1\n",
        b"a 1\n# EOF\n\n",
        b"# EOF\na 1\n",
        b"a 1\n\n# EOF\n",
        b"a  1\n# EOF\n",
        b"a 1\n# x\n# EOF\n",
    ],
)
def test_openmetrics_that_is_left_to_the_strict_reader(body: bytes) -> None:
    assert read_fast(body, Format.OPENMETRICS) is None


@given(expositions(timed=False), formats)
@settings(max_examples=50)
def test_generated_bodies_are_read_alike(exposition: list[Family], body_format: Format) -> None:
    body = body_of(exposition, body_format)
    fast = read_fast(body, body_format)

    assert fast is not None
    assert bits(fast) == bits(STRICT[body_format](body))


@given(hostile_bodies, formats)
@settings(max_examples=500)
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
@settings(max_examples=300)
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
        body, content_type = fetch(url, Accept="text/plain")
    strict = parse(body, content_type)
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
