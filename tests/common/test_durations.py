from datetime import timedelta

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.durations import DurationError, format_duration, parse_duration
from common.errors import FleetwatchError

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
UNITS = {"y": 365 * DAY, "w": 7 * DAY, "d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": 1}


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("00m", 0),
        ("500ms", 500),
        ("15s", 15 * SECOND),
        ("90m", 90 * MINUTE),
        ("1h30m", 90 * MINUTE),
        ("1d", DAY),
        ("2w", 14 * DAY),
        ("1y", 365 * DAY),
        ("1y2w3d4h5m6s7ms", 382 * DAY + 4 * HOUR + 5 * MINUTE + 6 * SECOND + 7),
        ("1m1ms", MINUTE + 1),
        ("106751d", 106751 * DAY),
    ],
)
def test_parses(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "00",
        "5",
        "s",
        "-1m",
        "+1m",
        "1.5h",
        "1m ",
        " 1m",
        "1 m",
        "1m\n",
        "1M",
        "1m1h",
        "1m1m",
        "1µs",
        "１m",
        "Inf",
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(DurationError, match="not a valid duration string") as refusal:
        parse_duration(text)
    assert isinstance(refusal.value, FleetwatchError)


# 2^63 - 1 nanoseconds are 292.27 years; thousands of digits are beyond what int() reads.
@pytest.mark.parametrize("text", ["293y", "9223372036855s", f"{'9' * 5000}s"])
def test_refuses_what_does_not_fit_in_64_bits_of_nanoseconds(text: str) -> None:
    with pytest.raises(DurationError, match="out of range"):
        parse_duration(text)


def test_the_longest_duration() -> None:
    assert parse_duration("9223372036854ms") == 9223372036854
    with pytest.raises(DurationError, match="out of range"):
        parse_duration("9223372036855ms")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (999, "999ms"),
        (15 * SECOND, "15s"),
        (90 * SECOND, "1m30s"),
        (60 * MINUTE, "1h"),
        (DAY, "1d"),
        (7 * DAY, "1w"),
        (8 * DAY, "8d"),
        (365 * DAY, "1y"),
        (366 * DAY, "366d"),
        (7 * DAY + SECOND, "7d1s"),
        (-90 * SECOND, "-1m30s"),
    ],
)
def test_formats(milliseconds: int, text: str) -> None:
    assert format_duration(milliseconds) == text


@given(st.integers(min_value=0, max_value=9223372036854))
def test_what_is_formatted_reads_back(milliseconds: int) -> None:
    text = format_duration(milliseconds)
    assert parse_duration(text) == milliseconds


@given(st.dictionaries(st.sampled_from(list(UNITS)), st.integers(min_value=0, max_value=99), min_size=1))
def test_units_in_falling_order_add_up(counts: dict[str, int]) -> None:
    text = "".join(f"{counts[unit]}{unit}" for unit in UNITS if unit in counts)
    expected = sum(counts[unit] * UNITS[unit] for unit in counts)
    assert parse_duration(text) == expected
    if expected:
        assert promql_parser.parse_duration(text) == timedelta(milliseconds=expected)


@given(st.text(alphabet="0123456789ywdhms +-.", max_size=12))
def test_any_text_is_a_duration_or_a_duration_error(text: str) -> None:
    try:
        milliseconds = parse_duration(text)
    except DurationError:
        return
    assert milliseconds >= 0
    assert parse_duration(format_duration(milliseconds)) == milliseconds
