"""Parameters: what Prometheus reads, read alike; what it mangles, refused."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import BadDataError
from server.params import MAX_TIME_MS, MIN_TIME_MS, Params, decode_form, integer, parse_seconds, parse_time
from server.selectors import parse_selectors, unescape_label_name


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1435781451.781", 1435781451781),
        ("0", 0),
        ("-5.5", -5500),
        ("1e3", 1000_000),
        (".5", 500),
        ("1.0004", 1000),
        ("0.0005", 1),
        ("9" * 5000, MAX_TIME_MS),
        ("-1e" + "9" * 5000, MIN_TIME_MS),
        ("1700000000.0005", 1700000000000),  # the nearest float64 is a little less
        ("1e300", MAX_TIME_MS),
        ("-Inf", MIN_TIME_MS),
        ("2023-11-14T22:14:20Z", 1700000060000),
        ("2023-11-14T23:14:20.5+01:00", 1700000060500),
        ("2023-11-14T22:14:20.123999999Z", 1700000060123),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_times(text: str, time_ms: int) -> None:
    assert parse_time(text) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "foo",
        "NaN",
        "0x10",
        "1_000",
        " 1",
        "1 ",
        "١",
        "1e",
        "2023-11-14",
        "2023-11-14 22:14:20Z",
        "2023-02-30T00:00:00Z",
        "2023-11-14T22:14:20",
        "2023-11-14T22:14:20+25:00",
        "2023-11-14t22:14:20z",
        "0000-01-01T00:00:00Z",
        "1\x00",
    ],
)
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="to a valid timestamp"):
        parse_time(text)


@given(st.integers(-(10**13), 10**13))
def test_every_millisecond_survives_as_seconds(time_ms: int) -> None:
    sign, size = "-" if time_ms < 0 else "", abs(time_ms)
    assert parse_time(f"{sign}{size // 1000}.{size % 1000:03d}") == time_ms


@pytest.mark.parametrize(
    ("text", "seconds"), [("15", 15), ("0.25", 0.25), ("1m", 60), ("1h30m", 5400), ("500ms", 0.5), ("-5", -5), ("0", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'cannot parse "" to a valid duration'),
        ("x", 'cannot parse "x" to a valid duration'),
        ("-5m", 'cannot parse "-5m" to a valid duration'),
        ("1ns", 'cannot parse "1ns" to a valid duration'),
        ("1e20", 'cannot parse "1e20" to a valid duration. It overflows int64'),
        ("Inf", 'cannot parse "Inf" to a valid duration. It overflows int64'),
        ("999999999999y", 'cannot parse "999999999999y" to a valid duration'),
    ],
)
def test_no_durations(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_seconds(text)
    assert str(caught.value) == message


def test_integers_keep_to_int64() -> None:
    assert integer("9223372036854775807") == 2**63 - 1
    assert integer("-9223372036854775808") == -(2**63)
    assert integer("+007") == 7
    for text in ("9223372036854775808", "9" * 100_000, "1.0", "", "x", "1_0", "٣"):
        assert integer(text) is None


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))))
def test_forms_survive(pairs: list[tuple[str, str]]) -> None:
    assert decode_form(urlencode(pairs).encode()) == pairs


@pytest.mark.parametrize("raw", [b"query=%ff", b"query=%zz", b"query=%", b"%e4=1", b"a=b&c=%2", b"query=\xff"])
def test_broken_forms_are_refused(raw: bytes) -> None:
    with pytest.raises(BadDataError, match="error parsing form values"):
        decode_form(raw)


def test_the_first_value_counts_and_all_can_be_had() -> None:
    params = Params(decode_form(b"a=1&a=2&&b&c=x=y"))
    assert params.get("a") == "1"
    assert params.all("a") == ["1", "2"]
    assert params.get("b") == params.get("missing") == ""
    assert params.get("c") == "x=y"


@pytest.mark.parametrize(
    ("escaped", "name"),
    [
        ("job", "job"),
        ("U__job", "job"),
        ("U__a_2e_b", "a.b"),
        ("U__a__b", "a_b"),
        ("U___4e16__754c_", "世界"),
        ("U__", ""),
        ("U__a_zz_b", "U__a_zz_b"),
        ("U__a_", "U__a_"),
        ("U__a_d800_", "U__a_d800_"),
        ("U__a_110000_", "U__a_110000_"),
        ("u__a_2e_b", "u__a_2e_b"),
    ],
)
def test_escaped_label_names(escaped: str, name: str) -> None:
    assert unescape_label_name(escaped) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sum(up)",
        "up[5m]",
        "up offset 5m",
        "up @ 5",
        "(up)",
        "1",
        '"a"',
        "{",
        "{}",
        '{a=~".*"}',
        '{a!="b"}',
        '{a=""}',
        'up{a=~"("}',
        "(" * 100_000,
        "up\x00",
    ],
)
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(BadDataError):
        parse_selectors([text])


def test_selectors() -> None:
    ((name, job),) = parse_selectors(['up{job!~"a|b"}'])
    assert (str(name), str(job)) == ('__name__="up"', 'job!~"a|b"')
