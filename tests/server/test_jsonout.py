"""JSON of query results: every number as Go writes it, every text readable by a JSON parser."""

import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.labels import Labels
from promql.result import Matrix, RangeVector, Scalar, String, Vector
from server.jsonout import is_truncated, write_result
from server.numbertext import float_texts, format_float, format_time, plain_float, time_texts
from tsdb.model import STALE_NAN

EDGES = [
    edge
    for bound in (
        1e-7,
        1e-6,
        1e-5,
        1e-4,
        1.0,
        1e15,
        1e16,
        1e17,
        1e20,
        1e21,
        1e22,
        2.0**53,
        5e-324,
        1.7976931348623157e308,
    )
    for edge in (math.nextafter(bound, 0), bound, math.nextafter(bound, math.inf))
]
FLOATS = (
    st.floats()
    | st.sampled_from(EDGES)
    | st.integers(-(2**60), 2**60).map(float)
    | st.decimals(-1000, 1000, places=3).map(float)
)


def go_format(value: float, with_exponent: bool) -> str:
    """Go's strconv.FormatFloat(value, 'f' or 'e', -1, 64), spelled out digit by digit."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    point = len(text) + exponent  # where the decimal point is, counted from the first digit
    if with_exponent and value != 0 and not 1e-6 <= abs(value) < 1e21:
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        body = f"{mantissa}e{'-' if point < 1 else '+'}{abs(point - 1):02d}"
    elif value == 0:
        body = "0"
    elif point <= 0:
        body = "0." + "0" * -point + text
    elif point >= len(text):
        body = text + "0" * (point - len(text))
    else:
        body = text[:point] + "." + text[point:]
    return "-" + body if sign else body


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-12.5, "-12.5"),
        (1 / 3, "0.3333333333333333"),
        (1435781451.781, "1435781451.781"),
        (1e-6, "0.000001"),
        (9.99999e-7, "9.99999e-07"),
        (1e20, "100000000000000000000"),
        (999999999999999900000.0, "999999999999999900000"),
        (1e21, "1e+21"),
        (-1.5e25, "-1.5e+25"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (math.nan, "NaN"),
        (STALE_NAN, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
def test_numbers_as_prometheus_3_5_printed_them(value: float, text: str) -> None:
    assert format_float(value) == text
    assert float_texts(np.array([value])).list() == [text.encode()]


@given(st.lists(FLOATS, min_size=1, max_size=50))
@example(EDGES)
def test_arrays_are_written_as_single_numbers_are(values: list[float]) -> None:
    assert float_texts(np.array(values)).list() == [go_format(value, True).encode() for value in values]


@given(FLOATS)
def test_a_number_reads_back_and_equals_gos_notation(value: float) -> None:
    for text in (format_float(value), plain_float(value)):
        assert float(text) == value or math.isnan(value)
        assert math.copysign(1, float(text)) == math.copysign(1, value) or math.isnan(value)
    assert format_float(value) == go_format(value, True)
    assert plain_float(value) == go_format(value, False)


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (1435781451781, "1435781451.781"),
        (1700000060500, "1700000060.500"),
        (1700000060000, "1700000060"),
        (1050, "1.050"),
        (7, "0.007"),
        (0, "0"),
        (-50, "-0.050"),
        (-5500, "-5.500"),
        (-5000, "-5"),
    ],
)
def test_times_as_prometheus_3_5_printed_them(time_ms: int, text: str) -> None:
    assert format_time(time_ms) == text.encode()


@given(st.lists(st.integers(-(10**15), 10**15), max_size=20).map(sorted))
def test_arrays_of_times_are_written_as_single_times_are(times_ms: list[int]) -> None:
    assert time_texts(np.array(times_ms, dtype=np.int64)) == [format_time(time_ms) for time_ms in times_ms]


def series_json(labels: Labels, points: str) -> str:
    metric = json.dumps(dict(labels), ensure_ascii=False, separators=(",", ":"))
    return f'{{"metric":{metric},"values":[{points}]}}'


def written(value: Any, limit: int = 0) -> Any:
    return json.loads(body_of(value, limit)), is_truncated(value, limit)


def body_of(value: Any, limit: int = 0) -> bytes:
    return b"".join(write_result(value, limit))


def test_a_scalar_has_no_exponent_and_its_time_no_trailing_zeros() -> None:
    expected = b'{"resultType":"scalar","result":[1700000060.5,"10000000000000000000000000"]}'
    assert body_of(Scalar(1700000060500, 1e25)) == expected


@given(st.text())
def test_a_string_survives(text: str) -> None:
    result, _ = written(String(5000, text))
    assert result == {"resultType": "string", "result": [5, text]}


LABELS = [Labels.of(a='<&> "é" \\ \u2028\x00'), Labels.of(__name__="up"), Labels.of()]


def test_a_vector_and_its_limit() -> None:
    vector = Vector(1500, LABELS, np.array([1.0, math.nan, 0.25]))
    series = [
        {"metric": dict(labels), "value": [1.5, value]}
        for labels, value in zip(LABELS, ["1", "NaN", "0.25"], strict=True)
    ]
    assert written(vector) == ({"resultType": "vector", "result": series}, False)
    assert written(vector, 2) == ({"resultType": "vector", "result": series[:2]}, True)
    assert written(vector, 3) == ({"resultType": "vector", "result": series}, False)


def test_empty_results() -> None:
    no_times = np.array([], dtype=np.int64)
    nothing = np.empty((0, 3))
    assert written(Vector(0, [], np.array([])))[0] == {"resultType": "vector", "result": []}
    assert written(RangeVector([], [], []))[0] == {"resultType": "matrix", "result": []}
    matrix = Matrix(no_times, [], nothing, nothing.astype(bool))
    assert written(matrix)[0] == {"resultType": "matrix", "result": []}


@given(st.data())
def test_a_matrix_leaves_out_what_is_absent(data: st.DataObject) -> None:
    rows, steps = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 6))
    start_ms = data.draw(st.integers(-(10**6), 10**13))
    times_ms = start_ms + 1500 * np.arange(steps, dtype=np.int64)
    values = np.array(data.draw(st.lists(FLOATS, min_size=rows * steps, max_size=rows * steps))).reshape(rows, steps)
    present = np.array(
        data.draw(st.lists(st.booleans(), min_size=rows * steps, max_size=rows * steps)), dtype=bool
    ).reshape(rows, steps)
    present[:, data.draw(st.integers(0, steps - 1))] = True
    expected = ",".join(
        series_json(
            LABELS[row],
            ",".join(
                f'[{format_time(int(times_ms[step])).decode()},"{go_format(float(values[row, step]), True)}"]'
                for step in range(steps)
                if present[row, step]
            ),
        )
        for row in range(rows)
    )
    body = body_of(Matrix(times_ms, LABELS[:rows], values, present))
    assert json.loads(body) == json.loads(f'{{"resultType":"matrix","result":[{expected}]}}')
    assert body.decode() == f'{{"resultType":"matrix","result":[{expected}]}}'


def test_a_range_vector_has_times_of_its_own() -> None:
    vector = RangeVector(
        [Labels.of(a="1"), Labels.of(a="2"), Labels.of(a="3")],
        [np.array([1000, 2500]), np.array([1000, 2500]), np.array([7])],
        [np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([-math.inf])],
    )
    assert body_of(vector) == (
        b'{"resultType":"matrix","result":[{"metric":{"a":"1"},"values":[[1,"1"],[2.500,"2"]]},'
        b'{"metric":{"a":"2"},"values":[[1,"3"],[2.500,"4"]]},'
        b'{"metric":{"a":"3"},"values":[[0.007,"-Inf"]]}]}'
    )
    assert written(vector, 1)[1]
