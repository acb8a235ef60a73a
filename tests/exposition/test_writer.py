"""What is written reads back."""

import math

import pytest
from hypothesis import given, settings

from common.labels import Labels
from exposition.formats import Format
from exposition.model import Exposition, Metadata, Sample
from exposition.openmetrics import parse_openmetrics
from exposition.text import parse_text
from exposition.writer import Family, label_text, write
from tests.exposition.bodies import bits, legacy_names, texts, values


def family(name: str, kind: str, help_text: str, *samples: tuple[str, float]) -> Family:
    made = Family(name, kind, help_text)
    for labels, value in samples:
        made.add(value, labels)
    return made


FAMILIES = [
    family("a_total", "counter", "Help\nwith \\.", ("", 1), (label_text(x='"\n\\', y="é"), 2.5)),
    family("b", "gauge", "", ("", math.inf), (label_text(x="1"), -math.inf), (label_text(x="2"), 2**60)),
    family("c", "counter", "A counter by another name.", ("", 1e-07)),
    family("d", "unknown", "Of no type.", ("", -0.0)),
    family("e", "gauge", "Without samples."),
]


def test_text() -> None:
    assert write(FAMILIES, Format.TEXT) == (
        b"# HELP a_total Help\\nwith \\\\.\n# TYPE a_total counter\na_total 1\n"
        b'a_total{x="\\"\\n\\\\",y="\xc3\xa9"} 2.5\n'
        b"# HELP b \n# TYPE b gauge\n"
        b'b +Inf\nb{x="1"} -Inf\nb{x="2"} 1152921504606846976\n'
        b"# HELP c A counter by another name.\n# TYPE c counter\nc 1e-07\n"
        b"# HELP d Of no type.\n# TYPE d untyped\nd -0.0\n"
    )


def test_openmetrics_names_counters_without_their_suffix() -> None:
    metadata = parse_openmetrics(write(FAMILIES, Format.OPENMETRICS) + b"# EOF\n").metadata

    assert {name: known.type for name, known in metadata.items()} == {
        "a": "counter",
        "b": "gauge",
        "c": "unknown",
        "d": "unknown",
    }


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    labels = label_text(device=b"x\xff".decode("utf-8", "surrogateescape"))
    written = Family.single("a", "gauge", "", 1, labels)

    assert parse_text(write([written], Format.TEXT)).samples == [Sample(Labels.of(__name__="a", device="x?"), 1)]


@pytest.mark.parametrize("body_format", [Format.TEXT, Format.OPENMETRICS])
@given(name=legacy_names, label=legacy_names, text=texts, help_text=texts, value=values)
@settings(max_examples=50)
def test_whatever_is_written_reads_back(
    name: str, label: str, text: str, help_text: str, value: float, body_format: Format
) -> None:
    body = write([Family.single(name, "gauge", help_text, value, label_text(**{label: text}))], body_format)
    read = parse_text(body) if body_format is Format.TEXT else parse_openmetrics(body + b"# EOF\n")

    labels = Labels.of({"__name__": name, label: text})
    assert read.samples[0].labels == labels
    assert bits(read) == bits(Exposition([Sample(labels, read.samples[0].value)], {name: Metadata("gauge", help_text)}))
    assert read.samples[0].value == value or (math.isnan(value) and math.isnan(read.samples[0].value))
