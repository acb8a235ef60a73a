"""The protobuf exposition: what Prometheus 3.5 makes of the same bytes, and the template against the full reader."""

import contextlib
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.labels import METRIC_NAME, Labels
from exposition.errors import WireError
from exposition.lexing import NORMAL_NAN
from exposition.model import Exemplar, Exposition, Metadata, Sample
from exposition.protobuf import parse_protobuf, read_protobuf
from exposition.text import parse_text
from tests.exporter.node_exporter import fetch, node_exporter
from tests.exposition import bodies
from tests.exposition.protobuf_bodies import (
    COUNTER,
    GAUGE,
    GAUGE_HISTOGRAM,
    HISTOGRAM,
    SUMMARY,
    UNTYPED,
    bucket,
    delimited,
    exemplar,
    family,
    field,
    histogram,
    labels,
    metric,
    simple,
    summary,
)

ACCEPT = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
G = family("g", GAUGE, [metric(GAUGE, simple(1.5), {"a": "b"})], "help")
NATIVE = field(5, 2) + field(6, 0.001) + field(7, 0) + field(12, field(1, 0) + field(2, 2)) + field(13, 4)
STALE_NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


def series(body: bytes) -> dict[str, float]:
    """The samples by their series in PromQL notation."""
    return {str(sample.labels): sample.value for sample in parse_protobuf(body).samples}


# The expectations are what Prometheus 3.5.3 stores of these bodies, but for native histograms: see below.
READ = {
    "gauge": (G, {'g{a="b"}': 1.5}),
    "histogram": (
        family("h", HISTOGRAM, [metric(HISTOGRAM, histogram(7, 2.5, bucket(3, 0.5), bucket(6, 1e6)), {"x": "y"})]),
        {
            'h_count{x="y"}': 7,
            'h_sum{x="y"}': 2.5,
            'h_bucket{le="0.5", x="y"}': 3,
            'h_bucket{le="1e+06", x="y"}': 6,
            'h_bucket{le="+Inf", x="y"}': 7,
        },
    ),
    "buckets behind +Inf": (
        family(
            "h",
            HISTOGRAM,
            [metric(HISTOGRAM, histogram(7, 2.5, bucket(3, 1.0), bucket(8, math.inf), bucket(9, 2.0)))],
        ),
        {"h_count": 7, "h_sum": 2.5, 'h_bucket{le="1.0"}': 3, 'h_bucket{le="+Inf"}': 8},
    ),
    "gauge histogram without buckets": (
        family("h", GAUGE_HISTOGRAM, [metric(HISTOGRAM, histogram(7, 2.5))]),
        {"h_count": 7, "h_sum": 2.5, 'h_bucket{le="+Inf"}': 7},
    ),
    "float counts": (
        family(
            "h",
            HISTOGRAM,
            [
                metric(
                    HISTOGRAM,
                    field(4, 7.5)
                    + field(1, 9)
                    + field(3, field(1, 3) + field(4, 2.5) + field(2, 0.5))
                    + field(3, field(4, 0.0) + field(1, 3) + field(2, 1.5)),
                )
            ],
        ),
        {"h_count": 7.5, "h_sum": 0, 'h_bucket{le="0.5"}': 2.5, 'h_bucket{le="1.5"}': 3, 'h_bucket{le="+Inf"}': 7.5},
    ),
    "summaries": (
        family(
            "s",
            SUMMARY,
            [
                metric(SUMMARY, summary(7, 2.5, {0.5: 1.0, 1e-7: 3.0, 1e21: 4.0, 1234567.0: 3.0, math.nan: 1.0})),
                metric(SUMMARY, summary(1, 2.0, {}), {"a": "1"}),
            ],
        ),
        {
            "s_count": 7,
            "s_sum": 2.5,
            's{quantile="0.5"}': 1,
            's{quantile="1e-07"}': 3,
            's{quantile="1e+21"}': 4,
            's{quantile="1.234567e+06"}': 3,
            's{quantile="NaN"}': 1,
            's_count{a="1"}': 1,
            's_sum{a="1"}': 2,
        },
    ),
    "untyped": (family("u", UNTYPED, [metric(UNTYPED, simple(-2.0))]), {"u": -2}),
    "a value of another type": (family("u", COUNTER, [metric(GAUGE, simple(5.0))]), {"u": 0}),
    "families without metrics": (family("", GAUGE, []) + family("e", 9, [], "x") + G, {'g{a="b"}': 1.5}),
    "empty families": (G + b"\x00" + family("k", GAUGE, [metric(GAUGE, b"")]), {'g{a="b"}': 1.5, "k": 0}),
    "UTF-8": (
        family("my.metric ü", GAUGE, [metric(GAUGE, simple(1.0), {"a.b": "☃"})]),
        {'{"my.metric ü", "a.b"="☃"}': 1},
    ),
    "empty label values": (family("x", GAUGE, [metric(GAUGE, simple(1.0), {"a": "", "b": "c"})]), {'x{b="c"}': 1}),
    "unknown fields": (
        delimited(field(100, 7) + G[1:] + field(9, b"zz") + b"\x55abcd"),
        {'g{a="b"}': 1.5},
    ),
    "the last of a field": (
        delimited(
            field(1, "x") + field(1, "y") + field(3, 1) + field(4, field(2, simple(1.0)) + field(2, simple(2.0)))
        ),
        {"y": 2},
    ),
    "labels behind the value": (
        family("x", GAUGE, [labels({"a": "1"}) + field(2, simple(1.0)) + labels({"b": "2"})]),
        {'x{a="1", b="2"}': 1},
    ),
    "nothing": (b"", {}),
}


@pytest.mark.parametrize("name", READ)
def test_series(name: str) -> None:
    body, expected = READ[name]
    assert series(body) == expected


@pytest.mark.parametrize("buckets", [[], [bucket(3, 0.5)]])
def test_a_native_histogram_has_the_series_of_the_text_format(buckets: list[bytes]) -> None:
    """Prometheus 3.5 drops these unless native histograms are on; nothing here stores those."""
    body = family("h", HISTOGRAM, [metric(HISTOGRAM, histogram(7, 2.5, *buckets) + NATIVE)])
    classic = {'h_bucket{le="0.5"}': 3.0} if buckets else {}

    assert series(body) == {"h_count": 7, "h_sum": 2.5, **classic, 'h_bucket{le="+Inf"}': 7}


def test_the_order_is_prometheus_s() -> None:
    body = family("h", HISTOGRAM, [metric(HISTOGRAM, histogram(7, 2.5, bucket(3, 0.5)))])

    assert list(series(body)) == ["h_count", "h_sum", 'h_bucket{le="0.5"}', 'h_bucket{le="+Inf"}']


def test_every_nan_is_the_canonical_one() -> None:
    (value,) = series(family("x", GAUGE, [metric(GAUGE, field(1, STALE_NAN))])).values()

    assert struct.pack("<d", value) == struct.pack("<d", NORMAL_NAN)


def test_times_and_exemplars() -> None:
    shown = exemplar({"trace_id": "ü", "a": ""}, 0.5, 1_700_000_000, 999_999_999)
    body = family("c", COUNTER, [metric(COUNTER, simple(1.0, shown), time_ms=-5), metric(COUNTER, simple(2.0))])
    body += family(
        "h", HISTOGRAM, [metric(HISTOGRAM, histogram(2, 1.0, bucket(1, 0.5, exemplar({}, 0.25))), time_ms=7)]
    )
    body += family("z", GAUGE, [metric(GAUGE, simple(1.0), time_ms=0)])
    trace = Labels.of(trace_id="ü")

    assert [(str(sample.labels), sample.time_ms, sample.exemplar) for sample in parse_protobuf(body).samples] == [
        ("c", -5, Exemplar(trace, 0.5, 1_700_000_000_999)),
        ("c", None, None),
        ("h_count", 7, None),
        ("h_sum", 7, None),
        ('h_bucket{le="0.5"}', 7, Exemplar(Labels(), 0.25)),
        ('h_bucket{le="+Inf"}', 7, None),
        ("z", None, None),
    ]


def test_metadata() -> None:
    body = (
        family("a_seconds_total", COUNTER, [metric(COUNTER, simple(1.0))], 'of "it"\n', unit="seconds")
        + family("b_bytes", GAUGE_HISTOGRAM, [metric(HISTOGRAM, b"")], unit="bytes")
        + family("c", UNTYPED, [metric(UNTYPED, b"")])
        + family("c", SUMMARY, [metric(SUMMARY, b"")], "later")
        + family("d", SUMMARY, [])
    )

    assert parse_protobuf(body).metadata == {
        "a_seconds_total": Metadata("counter", 'of "it"\n', "seconds"),
        "b_bytes": Metadata("gaugehistogram", "", "bytes"),
        "c": Metadata("summary", "later"),
    }


VALUE = metric(GAUGE, simple(1.0))
WRONG = {
    "cut off": (G[:-3], 1, "a metric family of 32 bytes ends behind the body"),
    "a length alone": (G + b"\x05", len(G) + 1, "a metric family of 5 bytes ends behind the body"),
    "a length too long": (b"\x80" * 6 + b"\x01" + G, 0, "expected the length of a metric family"),
    "no end of a length": (G + b"\x80", len(G) + 1, "the message ends within a number"),
    "a number too long": (delimited(b"\x18" + b"\xff" * 10 + b"\x01"), 2, "a number has more than 10 bytes"),
    "a text": (b"# HELP a b\n", 1, "a metric family of 35 bytes ends behind the body"),
    "a group": (delimited(b"\x4b\x4c"), 2, "expected a field, found wire type 3"),
    "field 0": (delimited(b"\x02\x00"), 3, "field 0 has wire type 2, expected"),
    "name of another type": (delimited(field(1, 5)), 2, "field 1 has wire type 0, expected 2"),
    "a field too long": (delimited(b"\x0a\x05ab"), 3, "field 1 ends 3 bytes behind its message"),
    "a field without length": (delimited(b"\x0a") + G, 3, "field 1 ends 2 bytes behind its message"),
    "a double too short": (family("x", GAUGE, [field(2, b"\x09\x00")]), 13, "field 1 ends 7 bytes"),
    "no name": (family("", GAUGE, [VALUE]), 1, "a metric family has no name"),
    "an unknown type": (family("x", 9, [VALUE]), 1, "metric family `x` has the unknown type 9"),
    "a foreign unit": (family("x_s", GAUGE, [VALUE], unit="bytes"), 1, "unit `bytes` is not the end of the metric"),
    "a unit in the word": (family("xs", GAUGE, [VALUE], unit="s"), 1, "unit `s` is not the end of the metric"),
    "help in Latin-1": (delimited(field(1, "x") + field(2, b"\xfc") + field(4, VALUE)), 1, "not valid UTF-8"),
    "a label in Latin-1": (
        family("x", GAUGE, [field(1, field(1, "a") + field(2, b"\xfc")) + VALUE]),
        10,
        "name or value of a label is not valid UTF-8",
    ),
    "a label without name": (family("x", GAUGE, [labels({"": "a"}) + VALUE]), 10, "a label has no name"),
    "a label twice": (
        family("x", GAUGE, [VALUE, labels({"a": "1"}) + labels({"a": "2"}) + VALUE]),
        23,
        "a label name is there twice",
    ),
    "a name as label": (family("x", GAUGE, [labels({METRIC_NAME: "y"}) + VALUE]), 10, "a label name is there twice"),
    "a bound as label": (
        family("x", HISTOGRAM, [metric(HISTOGRAM, b"", {"le": "1"})]),
        10,
        "a label name is there twice",
    ),
    "a broken exemplar": (family("x", COUNTER, [metric(COUNTER, simple(1.0, b"\x08\x01"))]), 24, "field 1 has wire"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_say_where(name: str) -> None:
    body, offset, reason = WRONG[name]
    with pytest.raises(WireError, match=rf"^byte {offset}: .*{reason}") as caught:
        parse_protobuf(body)
    assert caught.value.offset == offset


# Properties. Names and values stay in shape, so that the text reader is an oracle.

label_names = st.sampled_from(["a", "b", "_c9", "job"])
label_sets = st.dictionaries(label_names, bodies.texts.filter(bool), max_size=2)
counts = st.integers(0, 2**40)
doubles = st.floats(allow_nan=False)
times_ms = st.none() | st.integers(1, 2**43)
shown_exemplars = st.builds(
    exemplar, label_sets, doubles, st.none() | st.integers(0, 2**33), st.integers(0, 999_999_999)
)


def text_line(name: str, pairs: dict[str, str], bound: str, value: float, time_ms: int | None) -> str:
    inside = [bound] if bound else []
    inside += [f'{key}="{bodies.escaped(text)}"' for key, text in pairs.items()]
    return f"{name}{{{','.join(inside)}}} {bodies.spelled(value)}" + ("" if time_ms is None else f" {time_ms}")


@st.composite
def families(draw: st.DrawFn, name: str) -> tuple[bytes, list[str]]:
    """A family in protobuf, and its lines of text."""
    kind = draw(st.sampled_from([COUNTER, GAUGE, UNTYPED, SUMMARY, HISTOGRAM]))
    metrics = []
    lines = [f"# TYPE {name} {('counter', 'gauge', 'summary', 'untyped', 'histogram')[kind]}"]
    for pairs in draw(st.lists(label_sets, max_size=2)):
        count, total, time_ms = draw(counts), draw(doubles), draw(times_ms)
        samples = [(f"{name}_count", "", count), (f"{name}_sum", "", total)]
        if kind == HISTOGRAM:
            bounds = draw(st.lists(doubles.filter(math.isfinite), max_size=3))
            value = histogram(count, total, *[bucket(5, bound) for bound in bounds])
            samples += [(f"{name}_bucket", f'le="{bound!r}"', 5) for bound in bounds]
            samples.append((f"{name}_bucket", 'le="+Inf"', count))
        elif kind == SUMMARY:
            quantiles = draw(st.dictionaries(st.floats(0, 1), doubles, max_size=3))
            value = summary(count, total, quantiles)
            samples += [(name, f'quantile="{quantile!r}"', number) for quantile, number in quantiles.items()]
        else:
            value = simple(total, draw(shown_exemplars) if kind == COUNTER and draw(st.booleans()) else b"")
            samples = [(name, "", total)]
        metrics.append(metric(kind, value, pairs, time_ms))
        lines += [text_line(sample, pairs, bound, number, time_ms) for sample, bound, number in samples]
    return family(name, kind, metrics), lines


@st.composite
def in_both_formats(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """The same families in protobuf and as text."""
    names = draw(st.lists(st.sampled_from(["a", "b_total", "ns:c", "_d9"]), max_size=3, unique=True))
    drawn = [draw(families(name)) for name in names]
    text = "".join(f"{line}\n" for _, lines in drawn for line in lines)
    return b"".join(body for body, _ in drawn), text.encode()


def without_exemplars(exposition: Exposition) -> list[Sample]:
    return [Sample(sample.labels, sample.value, sample.time_ms) for sample in exposition.samples]


@given(in_both_formats())
@settings(deadline=None)
def test_read_as_the_text_reader_reads_the_same_as_text(pair: tuple[bytes, bytes]) -> None:
    body, text = pair
    read = Exposition(without_exemplars(parse_protobuf(body)), {})

    assert bodies.bits(read)[0] == bodies.bits(parse_text(text))[0]


def readings_bits(body: bytes) -> tuple[list[bytes], tuple[object, ...]]:
    parts = read_protobuf(body)
    values, times, exemplars = parts.readings
    return parts.prefixes(), (values.tobytes(), None if times is None else times.tobytes(), repr(exemplars))


@given(in_both_formats(), st.data())
@settings(max_examples=200, deadline=None)
def test_a_template_reads_only_what_the_full_reader_reads_alike(pair: tuple[bytes, bytes], data: st.DataObject) -> None:
    body = pair[0]
    template = read_protobuf(body).template()
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(0, 3)) if body else 0):
        changed[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    found = template.read(bytes(changed))

    if changed == body:
        assert found is not None
    if found is not None:
        times = None if found.times_ms is None else found.times_ms.tobytes()
        assert readings_bits(bytes(changed)) == (
            readings_bits(body)[0],
            (found.values.tobytes(), times, repr(found.exemplars)),
        )


def test_a_template_takes_other_values_times_and_exemplars() -> None:
    def body(factor: int) -> bytes:
        shown = exemplar({"trace_id": f"t{factor}"}, float(factor), 1_700_000_000 + factor, 300_000_000)
        buckets = [bucket(10 * factor, 0.5, shown), bucket(20 * factor, math.inf)]
        return (
            family("g", GAUGE, [metric(GAUGE, simple(factor * 1.5), {"a": "b"}, 1_700_000_000_000 + factor)])
            + family("h", HISTOGRAM, [metric(HISTOGRAM, histogram(20 * factor, 2.0 * factor, *buckets) + NATIVE)])
            + family("s", SUMMARY, [metric(SUMMARY, summary(factor, 1.0 * factor, {0.5: 3.0 * factor}))])
        )

    found = read_protobuf(body(1)).template().read(body(2))

    assert found is not None
    assert found.values.tolist() == [3, 40, 4, 20, 40, 2, 2, 6]
    assert found.times_ms is not None
    assert found.times_ms.tolist() == [1_700_000_000_002, 0, 0, 0, 0, 0, 0, 0]
    assert found.exemplars == ((3, Exemplar(Labels.of(trace_id="t2"), 2.0, 1_700_000_002_300)),)
    # A number that needs a byte more is another body.
    assert read_protobuf(body(1)).template().read(body(100)) is None


def test_a_template_minds_where_numbers_end() -> None:
    """0xAC 0x02 is 300; 0x2C 0x82 would be 44 and the begin of something else."""
    body = family("s", SUMMARY, [metric(SUMMARY, field(1, 300) + field(2, 1.0))])
    changed = body.replace(b"\xac\x02", b"\x2c\x82")

    assert len(changed) == len(body)
    assert read_protobuf(body).template().read(changed) is None


def test_a_template_declines_where_kinds_depend_on_values() -> None:
    body = family("h", HISTOGRAM, [metric(HISTOGRAM, field(1, 3) + field(4, 2.5))])
    timed = family("g", GAUGE, [metric(GAUGE, simple(1.0), time_ms=5)])
    untimed = family("g", GAUGE, [metric(GAUGE, simple(1.0), time_ms=0)])

    assert read_protobuf(body).template().read(body) is None
    assert read_protobuf(timed).template().read(untimed) is None


@given(in_both_formats(), st.data())
@settings(deadline=None)
def test_what_is_cut_off_is_an_error_or_whole_families(pair: tuple[bytes, bytes], data: st.DataObject) -> None:
    body = pair[0]
    whole = parse_protobuf(body)
    end = data.draw(st.integers(0, len(body)))
    try:
        read = parse_protobuf(body[:end])
    except WireError:
        return
    assert read.samples == whole.samples[: len(read.samples)]


hostile = st.binary(max_size=60) | st.lists(
    st.sampled_from([b"\x0a", b"\x22", b"\x09", b"\x12", b"\x18", b"\x04", b"\x80", b"\xff", b"x", bytes(8), G, VALUE])
).map(b"".join)


@given(hostile | hostile.map(delimited))
@settings(max_examples=300, deadline=None)
def test_hostile_bodies_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(WireError):
        parse_protobuf(body)


def test_a_body_of_node_exporter() -> None:
    with node_exporter() as url:
        text, _ = fetch(url, Accept="text/plain")
        body, content_type = fetch(url, Accept=ACCEPT)
    strict, read = parse_text(text), parse_protobuf(body)
    # What the exporter says of itself depends on the scrapes before.
    of_host = [sample.labels for sample in strict.samples if sample.labels.metric_name.startswith("node_")]

    assert content_type.startswith("application/vnd.google.protobuf")
    assert len(of_host) > 200
    assert {sample.labels for sample in read.samples} >= set(of_host)
    assert {sample.labels for sample in read.samples} == {sample.labels for sample in strict.samples}
    assert read.metadata == strict.metadata
