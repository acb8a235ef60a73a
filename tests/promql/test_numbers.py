"""Go's number formats; the expected texts are what strconv.FormatFloat and fmt print."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql.numbers import format_fixed, format_general, format_openmetrics


@pytest.mark.parametrize(
    ("value", "fixed", "general", "openmetrics"),
    [
        (0.0, "0", "0", "0.0"),
        (-0.0, "-0", "-0", "-0.0"),
        (1.0, "1", "1", "1.0"),
        (-1000.0, "-1000", "-1000", "-1000.0"),
        (0.1 + 0.2, "0.30000000000000004", "0.30000000000000004", "0.30000000000000004"),
        (100_000.0, "100000", "100000", "100000.0"),
        (1_000_000.0, "1000000", "1e+06", "1e+06"),
        (1.700000113e9, "1700000113", "1.700000113e+09", "1.700000113e+09"),
        (0.0001, "0.0001", "0.0001", "0.0001"),
        (0.00001234, "0.00001234", "1.234e-05", "1.234e-05"),
        (1e100, "1" + "0" * 100, "1e+100", "1e+100"),
        (5e-324, "0." + "0" * 323 + "5", "5e-324", "5e-324"),
        (1561603295679627100000.0, "1561603295679627100000", "1.5616032956796271e+21", "1.5616032956796271e+21"),
        (math.inf, "+Inf", "+Inf", "+Inf"),
        (-math.inf, "-Inf", "-Inf", "-Inf"),
        (math.nan, "NaN", "NaN", "NaN"),
    ],
)
def test_formats(value: float, fixed: str, general: str, openmetrics: str) -> None:
    assert (format_fixed(value), format_general(value), format_openmetrics(value)) == (fixed, general, openmetrics)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_format_reads_back_the_same(value: float) -> None:
    for text in (format_fixed(value), format_general(value), format_openmetrics(value)):
        assert float(text) == value
        assert math.copysign(1.0, float(text)) == math.copysign(1.0, value)
    assert "e" not in format_fixed(value)
