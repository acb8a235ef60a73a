"""The engine's face: result types, what is fetched, limits, annotations."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from common.labels import EMPTY_LABELS, Labels
from common.matchers import Matcher
from promql import (
    Engine,
    EngineOptions,
    ExecutionError,
    Matrix,
    ParseError,
    QueryCanceledError,
    QueryTimeoutError,
    RangeVector,
    Scalar,
    String,
    TooManySamplesError,
    Vector,
)
from tests.promql.frames import FrameStore, frame
from tsdb import open_store
from tsdb.cancellation import Cancellation
from tsdb.model import STALE_NAN, Frame

A, B = Labels.of(__name__="x", job="a"), Labels.of(__name__="x", job="b")


def store_of_two() -> FrameStore:
    """`x` of two jobs, every 10 s from 0 to 600; b comes first in the frame."""
    values = [[float(index) for index in range(61)], [100.0] * 61]
    return FrameStore([frame(np.arange(61) * 10_000, values[::-1], [B, A])])


def test_instant_queries_have_the_type_of_their_expression() -> None:
    engine = Engine(store_of_two())
    assert engine.instant("1 + 2", 5000).value == Scalar(5000, 3.0)
    assert engine.instant('"text"', 5000).value == String(5000, "text")
    vector = engine.instant('x{job="a"}', 25_000).value
    assert isinstance(vector, Vector)
    assert (vector.time_ms, vector.labels, vector.values.tolist()) == (25_000, [A], [2.0])


def test_instant_range_selectors_give_the_samples_at_their_own_times() -> None:
    value = Engine(store_of_two()).instant("x[20s] offset 5s", 30_000).value
    assert isinstance(value, RangeVector)
    assert value.labels == [A, B]
    assert [times.tolist() for times in value.times_ms] == [[10_000, 20_000]] * 2
    assert [values.tolist() for values in value.values] == [[1.0, 2.0], [100.0, 100.0]]


def test_instant_subqueries_give_the_samples_of_their_steps_and_leave_out_dropped_names() -> None:
    value = Engine(store_of_two()).instant("abs(x)[20s:7s]", 30_000).value
    assert isinstance(value, RangeVector)
    assert value.labels == [A.without("__name__"), B.without("__name__")]
    assert value.times_ms[0].tolist() == [14_000, 21_000, 28_000]
    assert value.values[0].tolist() == [1.0, 2.0, 2.0]


def test_range_queries_are_a_matrix_sorted_by_labels() -> None:
    value = Engine(store_of_two()).range("x", 0, 25_000, 10_000).value
    assert isinstance(value, Matrix)
    assert value.times_ms.tolist() == [0, 10_000, 20_000]
    assert value.labels == [A, B]
    assert value.values.tolist() == [[0.0, 1.0, 2.0], [100.0] * 3]
    assert value.present.all()
    value = Engine(store_of_two()).range("time()", 0, 20_000, 10_000).value
    assert isinstance(value, Matrix)
    assert (value.labels, value.values.tolist()) == ([EMPTY_LABELS], [[0.0, 10.0, 20.0]])


def test_no_data_is_an_empty_answer() -> None:
    engine = Engine(FrameStore([]))
    for expr in ("x", "rate(x[5m])", "sum(x)", "x + x", "topk(1, x)", 'count_values("v", x)', "x[5m:1m]", "-x"):
        value = engine.instant(expr, 0).value
        assert isinstance(value, Vector | RangeVector)
        assert value.labels == []
    assert math.isnan(float(_scalar(engine, "scalar(x)")))


def _scalar(engine: Engine, expr: str) -> float:
    value = engine.instant(expr, 0).value
    assert isinstance(value, Scalar)
    return value.value


@pytest.mark.parametrize(
    ("expr", "selects"),
    [
        # The lookback and ranges are open on the left.
        ("x", [('__name__="x"', 1_000_001 - 300_000, 1_060_000)]),
        ("rate(x[1m] offset 10s)", [('__name__="x"', 930_001, 1_050_000)]),
        # Once where the times meet, once each where they are far apart.
        ("x - x offset 1m", [('__name__="x"', 640_001, 1_060_000)]),
        ("x - x offset 1h", [('__name__="x"', -2_899_999, -2_540_000), ('__name__="x"', 700_001, 1_060_000)]),
        ("x @ 50", [('__name__="x"', -249_999, 50_000)]),
        ("x @ end()", [('__name__="x"', 760_001, 1_060_000)]),
        # The subquery's first step is the first multiple of its step within the range.
        ("max_over_time(x[5m:7s])", [('__name__="x"', 707_000 - 300_000 + 1, 1_057_000)]),
        ("x + y", [('__name__="x"', 700_001, 1_060_000), ('__name__="y"', 700_001, 1_060_000)]),
        ("1 + 2", []),
    ],
)
def test_each_selector_is_fetched_once_and_no_further_than_needed(
    expr: str, selects: list[tuple[str, int, int]]
) -> None:
    store = FrameStore([])
    Engine(store).range(expr, 1_000_000, 1_060_000, 15_000)
    assert store.selects == selects


def test_the_end_of_a_query_need_not_be_a_step() -> None:
    value = Engine(store_of_two()).range('x{job="a"} @ end()', 0, 59_000, 20_000).value
    assert isinstance(value, Matrix)
    assert value.values.tolist() == [[5.0, 5.0, 5.0]]


def test_lookback_is_an_option_of_engine_and_query() -> None:
    store = FrameStore([frame([0], [[1.0]], [A])])
    found = [
        engine.instant("x", 20_000, lookback_ms=lookback_ms).value
        for engine in (Engine(store), Engine(store, EngineOptions(lookback_ms=20_000)))
        for lookback_ms in (None, 20_001)
    ]
    assert [len(value.labels) for value in found if isinstance(value, Vector)] == [1, 1, 0, 1]


def test_steps_and_bounds_are_checked() -> None:
    engine = Engine(store_of_two())
    with pytest.raises(ParseError, match="zero or negative query resolution step widths are not accepted"):
        engine.range("x", 0, 1000, 0)
    with pytest.raises(ParseError, match="end timestamp must not be before start time"):
        engine.range("x", 1000, 0, 1000)
    with pytest.raises(ParseError, match='invalid expression type "string" for range query'):
        engine.range('"a"', 0, 1000, 1000)


def test_a_query_stops_when_it_is_told_to_and_when_its_time_is_up() -> None:
    engine = Engine(store_of_two())
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(QueryCanceledError, match="query was canceled in expression evaluation"):
        engine.instant("sum(x)", 0, cancellation=cancellation)
    with pytest.raises(QueryTimeoutError, match="query timed out in expression evaluation"):
        engine.range("sum(x)", 0, 1000, 1000, timeout_s=0.0)
    with pytest.raises(QueryTimeoutError):
        Engine(store_of_two(), EngineOptions(timeout_s=0.0)).instant("x", 0, timeout_s=1000.0)


def test_too_many_samples_are_refused() -> None:
    Engine(store_of_two(), EngineOptions(max_samples=122)).range("x", 0, 600_000, 10_000)
    with pytest.raises(TooManySamplesError):
        Engine(store_of_two(), EngineOptions(max_samples=121)).range("x", 0, 600_000, 10_000)
    with pytest.raises(TooManySamplesError, match="query processing would load too many samples into memory"):
        Engine(store_of_two(), EngineOptions(max_samples=1000)).range("x", 0, 600_000, 1000)
    for expr in ("max_over_time(x[10y:1ms])", "max_over_time(vector(time())[10y:1ms])"):
        with pytest.raises(TooManySamplesError):
            Engine(store_of_two()).instant(expr, 10**13)


def test_results_share_no_memory_with_the_store() -> None:
    only = frame([0, 1000], [[1.0, 2.0]], [A])

    class Uncut:
        """Hands out its own arrays."""

        def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Frame]:
            return [only]

    for expr in ("x", "x[1m]", "last_over_time(x[1m])"):
        value = Engine(Uncut()).instant(expr, 1000).value
        assert isinstance(value, Vector | RangeVector)
        numbers = value.values[0] if isinstance(value, RangeVector) else value.values
        assert not np.shares_memory(numbers, only.values)


def test_the_deepest_expression_that_parses_is_evaluated() -> None:
    for expr in (" + ".join(["x"] * 200), "abs(" * 99 + "x" + ")" * 99, "sum(" * 99 + "x @ 1" + ")" * 99):
        value = Engine(store_of_two()).range(expr, 0, 10_000, 10_000).value
        assert isinstance(value, Matrix)
        assert value.labels


def test_annotations_tell_what_and_where() -> None:
    engine = Engine(store_of_two())
    result = engine.range("quantile_over_time(2, x[1m]) +\n rate(x[1m])", 60_000, 120_000, 30_000)
    assert result.warnings == ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)"]
    assert result.infos == [
        'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "x" (2:7)'
    ]


def test_an_annotation_is_given_once_with_its_last_place() -> None:
    result = Engine(store_of_two()).instant("quantile(7, x) + quantile(7, x) + quantile(NaN, x)", 0)
    assert result.warnings == [
        "PromQL warning: quantile value should be between 0 and 1, got 7 (1:27)",
        "PromQL warning: quantile value should be between 0 and 1, got NaN (1:44)",
    ]


def test_series_that_collide_are_an_error_of_execution() -> None:
    engine = Engine(store_of_two())
    with pytest.raises(ExecutionError, match="vector cannot contain metrics with the same labelset"):
        engine.instant('label_replace(x, "job", "", "job", ".*")', 0)
    with pytest.raises(
        ExecutionError,
        match=r"found duplicate series for the match group \{\} on the right hand-side of the operation: "
        r'\[\{__name__="x", job="a"\}, \{__name__="x", job="b"\}\];many-to-many matching not allowed: '
        "matching labels must be unique on one side",
    ):
        engine.instant("x + on () x", 0)
    with pytest.raises(ExecutionError, match='function "histogram_sum" is not supported'):
        engine.instant("histogram_sum(x)", 0)


def test_over_a_real_store() -> None:
    store = open_store("memory:")
    store.append_samples(A, [(0, 1.0), (10_000, 3.0), (20_000, float(STALE_NAN))])
    store.append_samples(B, [(5000, 10.0), (15_000, 20.0), (25_000, 30.0)])
    value = Engine(store).range("sum(x)", 0, 25_000, 5000).value
    assert isinstance(value, Matrix)
    assert value.values.tolist() == [[1.0, 11.0, 13.0, 23.0, 20.0, 30.0]]
    store.close()
