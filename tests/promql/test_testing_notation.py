"""Series lines of scripts: every form of labels and points, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.labels import METRIC_NAME, Labels
from promql.testing.compare import almost_equal
from promql.testing.notation import (
    NATIVE_HISTOGRAMS,
    START_TIMESTAMPS,
    NotationError,
    Point,
    Series,
    format_series,
    is_stale_value,
    parse_points,
    parse_series,
    unquote,
)
from tsdb.model import STALE_NAN


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("1 2 3", [1, 2, 3]),
        ("1.5 .5 2. -3 +4 1e3 2.5e-1", [1.5, 0.5, 2, -3, 4, 1000, 0.25]),
        ("Inf +Inf -Inf inf", [math.inf, math.inf, -math.inf, math.inf]),
        ("_ 1 _", [None, 1, None]),
        ("_x3 1", [None, None, None, 1]),
        ("_x0 1", [1]),
        ("7x3", [7, 7, 7, 7]),
        ("7x0", [7]),
        ("0+10x3", [0, 10, 20, 30]),
        ("1-2x3", [1, -1, -3, -5]),
        ("-1+0.5x2", [-1, -0.5, 0]),
        ("1e1-1e0x2", [10, 9, 8]),
        ("1+-2x1", None),
        # Added up step by step: not 0.1 * 3.
        ("0+0.1x3", [0, 0.1, 0.2, 0.30000000000000004]),
        ("  1\t2  ", [1, 2]),
    ],
)
def test_points(text: str, points: list[Point] | None) -> None:
    if points is None:
        with pytest.raises(NotationError):
            parse_points(text)
    else:
        assert parse_points(text) == points


def test_a_stale_point_is_the_marker_and_nan_is_not() -> None:
    stale, nan = parse_points("stale NaN")
    assert stale is not None
    assert is_stale_value(stale)
    assert nan is not None
    assert math.isnan(nan)
    assert not is_stale_value(nan)


@pytest.mark.parametrize("text", ["x", "1x", "1+2", "_+1x2", "stale+1x2", "1x-2", "1x2.5", "0x", "1,2", "--1", "1_0"])
def test_points_that_are_none(text: str) -> None:
    with pytest.raises(NotationError):
        parse_points(text)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("up 1", {METRIC_NAME: "up"}),
        ("job:up:sum 1", {METRIC_NAME: "job:up:sum"}),
        ("{} 1", {}),
        ("up{} 1", {METRIC_NAME: "up"}),
        ('up{a="b",c="d"} 1', {METRIC_NAME: "up", "a": "b", "c": "d"}),
        ('up { a = "b" , } 1', None),
        ('up{ a = "b" , } 1', {METRIC_NAME: "up", "a": "b"}),
        ('{a="b"} 1', {"a": "b"}),
        ('{"my.metric", "a.b"="c"} 1', {METRIC_NAME: "my.metric", "a.b": "c"}),
        ('{"a.b"="c", "my.metric"} 1', {METRIC_NAME: "my.metric", "a.b": "c"}),
        ('{__name__="up"} 1', {METRIC_NAME: "up"}),
        (
            r"""x{a="q\"b\\n\n", b='it\'s', c=`raw\n`} 1""",
            {METRIC_NAME: "x", "a": 'q"b\\n\n', "b": "it's", "c": r"raw\n"},
        ),
        ('x{a="}{, 1"} 1', {METRIC_NAME: "x", "a": "}{, 1"}),
        ('x{a=""} 1', {METRIC_NAME: "x"}),
        ('inf{nan="1"} 1', {METRIC_NAME: "inf", "nan": "1"}),
    ],
)
def test_series_lines(text: str, labels: dict[str, str] | None) -> None:
    if labels is None:
        with pytest.raises(NotationError):
            parse_series(text)
    else:
        assert parse_series(text) == Series(Labels.of(labels), [1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a series"),
        ("up", "no points"),
        ("up{a=b} 1", "expected label"),
        ('up{a="b" 1', "expected label"),
        ('up{a="b"}1', "expected a space"),
        ('up{a="b", a="c"} 1', "twice"),
        ('up{"other"} 1', "twice"),
        (r'up{a="\q"} 1', "not a quoted string"),
        ("1up 1", "expected a series"),
    ],
)
def test_series_lines_that_are_none(text: str, message: str) -> None:
    with pytest.raises(NotationError, match=message):
        parse_series(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('h{a="b"} {{schema:0 sum:1 count:2}} {{}}', NATIVE_HISTOGRAMS),
        ("h 1 {{count:1}}x3", NATIVE_HISTOGRAMS),
        ("h@st -1m", START_TIMESTAMPS),
        ('h{a="b"}@st -1m-1mx3', START_TIMESTAMPS),
        ("@st -1m", START_TIMESTAMPS),
    ],
)
def test_lines_beyond_the_engine_are_read_and_marked(text: str, reason: str) -> None:
    series = parse_series(text)
    assert series.unsupported == reason
    assert series.points == []


@pytest.mark.parametrize("literal", ["text", '"a', "1", '"a" + "b"', "'a\"", ""])
def test_what_is_no_quoted_string(literal: str) -> None:
    with pytest.raises(NotationError, match="not a quoted string"):
        unquote(literal)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
label_sets = st.dictionaries(texts.filter(bool), texts, max_size=4).map(Labels.of)
point_lists = st.lists(st.one_of(st.none(), st.floats(), st.just(float(STALE_NAN))), min_size=1, max_size=8)


@given(label_sets, point_lists)
def test_a_formatted_series_reads_back(labels: Labels, points: list[Point]) -> None:
    series = parse_series(format_series(labels, points))
    assert series.labels == labels
    assert len(series.points) == len(points)
    for read, written in zip(series.points, points, strict=True):
        if written is None or read is None:
            assert read is written
        else:
            assert almost_equal(read, written, 0)
            assert math.isnan(written) or math.copysign(1, read) == math.copysign(1, written)


@given(st.text(alphabet="up{}=\"'`\\a, 1_x+-.@stale", max_size=20))
def test_any_line_is_a_series_or_a_notation_error(text: str) -> None:
    try:
        series = parse_series(text)
    except NotationError:
        return
    assert series.points or series.unsupported or "_x0" in text
