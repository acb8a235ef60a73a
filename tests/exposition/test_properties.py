"""Generated bodies: read back as written, read as prometheus_client's readers read them, and never a crash."""

import contextlib
import math
import struct
from collections.abc import Callable, Iterable
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as untyped_openmetrics_oracle
from prometheus_client.parser import text_string_to_metric_families as text_oracle

from common.labels import METRIC_NAME, Labels
from exposition.errors import ExpositionError
from exposition.formats import Format
from exposition.lexing import format_float
from exposition.model import Exposition
from exposition.openmetrics import parse_openmetrics
from exposition.text import parse_text
from tests.exposition.bodies import Family, bits, body_of, expected, expositions

# Text with what the grammar is made of, so that more than the first byte is looked at.
fragments = st.sampled_from(
    """# HELP_|# TYPE_|# UNIT_|# EOF|#|_|a|foo|{|}|"|\\|,|=|le|1|-2.5e3|NaN|+Inf|0x1|gauge|histogram|_# {a="b"} 1|_# {|é
    a{b="c"} 1|_1|_17|\n|\t|\x00|\r|\xff""".replace("_", " ").split("|")
)
openmetrics_oracle = cast(Callable[[str], Iterable[Metric]], untyped_openmetrics_oracle)

hostile_bodies = st.binary(max_size=60) | st.lists(fragments, max_size=15).map(lambda parts: "".join(parts).encode())


@given(expositions())
@settings(max_examples=50, deadline=None)
def test_text_reads_back_as_written(exposition: list[Family]) -> None:
    assert bits(parse_text(body_of(exposition, Format.TEXT))) == bits(expected(exposition))


@given(expositions(with_exemplars=True))
@settings(max_examples=50, deadline=None)
def test_openmetrics_reads_back_as_written(exposition: list[Family]) -> None:
    assert bits(parse_openmetrics(body_of(exposition, Format.OPENMETRICS))) == bits(expected(exposition))


def oracle_samples(families: Iterable[Metric]) -> set[tuple[object, ...]]:
    # The oracle's times are floats in seconds: the quarter of a millisecond undoes their rounding.
    return {
        (
            Labels.of(sample.labels | {METRIC_NAME: sample.name}),
            struct.pack("<d", float(sample.value)),
            None if sample.timestamp is None else math.floor(float(sample.timestamp) * 1000 + 0.25),
        )
        for family in families
        for sample in family.samples
    }


def our_samples(exposition: Exposition) -> set[tuple[object, ...]]:
    # The oracle has Python's NaN instead of Prometheus's.
    return {
        (
            sample.labels,
            struct.pack("<d", math.nan if math.isnan(sample.value) else sample.value),
            sample.time_ms,
        )
        for sample in exposition.samples
    }


@given(expositions())
@settings(deadline=None)
def test_text_as_prometheus_client_reads_it(exposition: list[Family]) -> None:
    body = body_of(exposition, Format.TEXT)

    assert our_samples(parse_text(body)) == oracle_samples(text_oracle(body.decode()))


@given(expositions())
@settings(deadline=None)
def test_openmetrics_as_prometheus_client_reads_it(exposition: list[Family]) -> None:
    body = body_of(exposition, Format.OPENMETRICS)

    assert our_samples(parse_openmetrics(body)) == oracle_samples(openmetrics_oracle(body.decode()))


@given(hostile_bodies)
@settings(max_examples=500, deadline=None)
def test_hostile_bodies_are_read_or_refused(body: bytes) -> None:
    for parse in (parse_text, parse_openmetrics):
        with contextlib.suppress(ExpositionError):
            parse(body)


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(deadline=None)
def test_format_float_reads_back(value: float) -> None:
    assert float(format_float(value)) == value
