"""Aggregations, vector matching and classic histograms over random vectors, against per-step Python."""

import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.labels import EMPTY_LABELS, Labels
from promql import Engine, ExecutionError, Matrix
from promql.functions.histograms import bucket_fractions, bucket_quantiles
from promql.summation import group_sums
from tests.promql import reference
from tests.promql.frames import FrameStore, frame
from tsdb.model import Frame

STEPS = 5
Step = dict[Labels, float]
"""The samples of one step."""


def random_vector(random: np.random.Generator, name: str) -> Frame:
    """Up to 40 series with labels from small sets, one sample each second, some missing."""
    labels = {
        Labels.of(__name__=name, a=str(random.integers(0, 4)), b=str(random.integers(0, 3)), c=str(random.integers(5)))
        for _ in range(random.integers(1, 40))
    }
    shape = len(labels), STEPS
    values = np.round(random.normal(0, 3, shape), int(random.integers(0, 3)))
    values[random.random(shape) < 0.05] = np.nan
    values[random.random(shape) < 0.03] = np.inf
    present = random.random(shape) < random.choice([0.3, 0.9])
    present[0, 0] = True
    return frame(np.arange(STEPS) * 1000, values, sorted(labels), present)


def steps_of(value: object) -> list[Step]:
    assert isinstance(value, Matrix)
    return [
        {labels: float(value.values[row, step]) for row, labels in enumerate(value.labels) if value.present[row, step]}
        for step in range(len(value.times_ms))
    ]


def evaluate(frames: list[Frame], expr: str) -> list[Step]:
    # A lookback of a moment: each sample stands for one step.
    return steps_of(Engine(FrameStore(frames)).range(expr, 0, (STEPS - 1) * 1000, 1000, lookback_ms=1).value)


def input_of(part: Frame) -> list[Step]:
    assert part.present is not None
    return [
        {labels: float(part.values[row, step]) for row, labels in enumerate(part.labels) if part.present[row, step]}
        for step in range(STEPS)
    ]


def assert_same(got: list[Step], expected: list[Step]) -> None:
    for step, (found, wanted) in enumerate(zip(got, expected, strict=True)):
        assert found.keys() == wanted.keys(), step
        for labels, value in wanted.items():
            same = found[labels] == pytest.approx(value, rel=1e-12, abs=1e-12, nan_ok=True)
            assert same, (step, labels, found[labels], value)


def _extremum(better: Callable[[list[float]], float]) -> Callable[[list[float]], float]:
    def reduce(values: list[float]) -> float:
        numbers = [value for value in values if not math.isnan(value)]
        return better(numbers) if numbers else math.nan

    return reduce


def _variance(values: list[float]) -> float:
    return statistics.pvariance(values) if all(map(math.isfinite, values)) else math.nan


REDUCTIONS: dict[str, Callable[[list[float]], float]] = {
    "sum": lambda values: math.fsum(values) if all(map(math.isfinite, values)) else sum(values),
    "avg": lambda values: sum(values) / len(values),
    "count": len,
    "group": lambda values: 1.0,
    "max": _extremum(max),
    "min": _extremum(min),
    "stdvar": _variance,
    "stddev": lambda values: math.sqrt(_variance(values)),
    "quantile": lambda values: reference.quantile(0.7, values),
}


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    op=st.sampled_from(sorted(REDUCTIONS)),
    names=st.sampled_from([(), ("a",), ("a", "b"), ("a", "b", "c"), ("none",)]),
    without=st.booleans(),
)
def test_aggregations(seed: int, op: str, names: tuple[str, ...], without: bool) -> None:
    part = random_vector(np.random.default_rng(seed), "x")
    clause = f"{'without' if without else 'by'} ({', '.join(names)})"
    expected = []
    for step in input_of(part):
        groups: dict[Labels, list[float]] = {}
        for labels, value in step.items():
            key = labels.without("__name__", *names) if without else labels.only(*names)
            groups.setdefault(key, []).append(value)
        expected.append({key: float(REDUCTIONS[op](values)) for key, values in groups.items()})
    assert_same(evaluate([part], f"{op} {clause} ({'0.7, ' if op == 'quantile' else ''}x)"), expected)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), k=st.integers(0, 12), op=st.sampled_from(["topk", "bottomk"]))
def test_topk_lets_through_the_best(seed: int, k: int, op: str) -> None:
    part = random_vector(np.random.default_rng(seed), "x")
    for got, step in zip(evaluate([part], f"{op} by (a) ({k}, x)"), input_of(part), strict=True):
        for group in {labels.only("a") for labels in step}:
            members = {labels: value for labels, value in step.items() if labels.only("a") == group}
            sign = -1 if op == "topk" else 1
            ranked = sorted(members.values(), key=lambda value: (math.isnan(value), sign * value))
            chosen = sorted(
                (value for labels, value in got.items() if labels.only("a") == group),
                key=lambda value: (math.isnan(value), sign * value),
            )
            assert [str(value) for value in chosen] == [str(value) for value in ranked[:k]]
        assert all(step[labels] == value or math.isnan(value) for labels, value in got.items())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), ratio=st.floats(0.01, 0.99))
def test_a_negative_ratio_selects_the_complement(seed: int, ratio: float) -> None:
    part = random_vector(np.random.default_rng(seed), "x")
    chosen, rest = evaluate([part], f"limit_ratio({ratio}, x)"), evaluate([part], f"limit_ratio({ratio - 1}, x)")
    for first, second, step in zip(chosen, rest, input_of(part), strict=True):
        assert first.keys() | second.keys() == step.keys()
        assert not first.keys() & second.keys()


def match_step(lhs: Step, rhs: Step, on: bool, names: tuple[str, ...], card: str) -> Step | None:
    """lhs - rhs at one step; None where Prometheus refuses."""

    def signature(labels: Labels) -> Labels:
        return labels.only(*names) if on else labels.without("__name__", *names)

    if not lhs or not rhs:
        return {}
    many, one = (rhs, lhs) if card == "group_right" else (lhs, rhs)
    partner: dict[Labels, Labels] = {}
    for labels in one:
        if signature(labels) in partner:
            return None
        partner[signature(labels)] = labels
    result: Step = {}
    seen: set[Labels] = set()
    for labels in many:
        if signature(labels) not in partner:
            continue
        if not card and signature(labels) in seen:
            return None
        seen.add(signature(labels))
        other = partner[signature(labels)]
        key = signature(labels) if not card else labels.without("__name__")
        left, right = (other, labels) if card == "group_right" else (labels, other)
        result[key] = lhs[left] - rhs[right]
    return result


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    on=st.booleans(),
    names=st.sampled_from([(), ("a",), ("a", "b"), ("a", "b", "c")]),
    card=st.sampled_from(["", "group_left", "group_right"]),
)
def test_vector_matching(seed: int, on: bool, names: tuple[str, ...], card: str) -> None:
    random = np.random.default_rng(seed)
    x, y = random_vector(random, "x"), random_vector(random, "y")
    expr = f"x - {'on' if on else 'ignoring'} ({', '.join(names)}) {card} y"
    expected = [match_step(lhs, rhs, on, names, card) for lhs, rhs in zip(input_of(x), input_of(y), strict=True)]
    if any(step is None for step in expected):
        with pytest.raises(ExecutionError):
            evaluate([x, y], expr)
    else:
        assert_same(evaluate([x, y], expr), [step for step in expected if step is not None])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), op=st.sampled_from(["and", "or", "unless"]), on=st.booleans())
def test_set_operators(seed: int, op: str, on: bool) -> None:
    random = np.random.default_rng(seed)
    x, y = random_vector(random, "x"), random_vector(random, "y")
    expected = []
    for lhs, rhs in zip(input_of(x), input_of(y), strict=True):

        def key(labels: Labels) -> Labels:
            return labels.only("a") if on else labels.without("__name__")

        left, right = {key(labels) for labels in lhs}, {key(labels) for labels in rhs}
        if op == "or":
            expected.append({**lhs, **{labels: v for labels, v in rhs.items() if key(labels) not in left}})
        else:
            expected.append({labels: v for labels, v in lhs.items() if (key(labels) in right) is (op == "and")})
    assert_same(evaluate([x, y], f"x {op} {'on (a) ' if on else ''}y"), expected)


@given(st.lists(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=90), min_size=1, max_size=4))
def test_group_sums_are_as_good_as_exact(groups: list[list[float]]) -> None:
    # A magnitude that swamps the rest and cancels out, in each group.
    groups = [[1e17, *values, -1e17] for values in groups]
    starts = np.cumsum([0, *map(len, groups)])[:-1]
    values = np.array([value for group in groups for value in group])[:, np.newaxis]
    sums = group_sums(np.repeat(values, 3, axis=1), starts)
    assert (sums == sums[:, :1]).all()
    for total, group in zip(sums[:, 0].tolist(), groups, strict=True):
        magnitude = math.fsum(map(abs, group))
        assert abs(total - math.fsum(group)) <= 1e-15 * abs(math.fsum(group)) + 1e-29 * magnitude * len(group)


def quantile_of_buckets(q: float, buckets: list[tuple[float, float]]) -> float:
    """prometheus BucketQuantile for counts that never decrease."""
    if math.isnan(q) or not 0 <= q <= 1:
        return math.nan if math.isnan(q) else math.copysign(math.inf, q)
    if len(buckets) < 2 or buckets[-1][0] != math.inf or buckets[-1][1] == 0:
        return math.nan
    rank = q * buckets[-1][1]
    place = next((i for i, (_, count) in enumerate(buckets[:-1]) if count >= rank), len(buckets) - 1)
    if place == len(buckets) - 1:
        return buckets[-2][0]
    if place == 0 and buckets[0][0] <= 0:
        return buckets[0][0]
    low, below = buckets[place - 1] if place else (0.0, 0.0)
    high, count = buckets[place]
    return low + (high - low) * ((rank - below) / (count - below)) if count != below else math.nan


@settings(max_examples=100, deadline=None)
@given(
    bounds=st.lists(st.integers(-5, 20), min_size=1, max_size=6, unique=True).map(sorted),
    increments=st.lists(st.lists(st.integers(0, 9), min_size=7, max_size=7), min_size=1, max_size=5),
    q=st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.9, 1.0, 1.1, math.nan]),
)
def test_bucket_quantiles(bounds: list[int], increments: list[list[int]], q: float) -> None:
    upper = np.array([*bounds, math.inf])
    counts = np.cumsum(np.array(increments, dtype=float)[:, : len(upper)], axis=1).T
    with np.errstate(all="ignore"):
        got, forced = bucket_quantiles(np.full(counts.shape[1], q), upper, counts)
    assert not forced.any()
    for column in range(counts.shape[1]):
        buckets = list(zip(upper.tolist(), counts[:, column].tolist(), strict=True))
        expected = quantile_of_buckets(q, buckets)
        assert got[column] == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_buckets_that_decrease_are_raised_and_reported() -> None:
    counts = np.array([[5.0, 5.0], [4.0, 5.0 * (1 - 1e-14)], [10.0, 10.0]])
    values, forced = bucket_quantiles(np.array([0.75, 0.75]), np.array([1.0, 2.0, math.inf]), counts)
    assert forced.tolist() == [True, False]
    assert values.tolist() == [2.0, 2.0]


def test_bucket_fractions_interpolate_within_the_bucket() -> None:
    bounds, counts = np.array([1.0, 2.0, math.inf]), np.array([[2.0], [6.0], [8.0]])
    cases = {(-math.inf, math.inf): 1.0, (0.5, 1.5): 0.375, (1.0, 2.0): 0.5, (2.0, 1.0): 0.0, (5.0, math.inf): 0.25}
    for (lower, upper), share in cases.items():
        with np.errstate(all="ignore"):
            assert bucket_fractions(np.array([lower]), np.array([upper]), bounds, counts).tolist() == [share]


def test_one_value_for_all_series_is_summed_to_the_last_bit() -> None:
    labels = [Labels.of(__name__="x", n=str(number)) for number in range(500)]
    part = frame([0], [[0.1]] * 500, labels)
    value = Engine(FrameStore([part])).range("sum(x)", 0, 0, 1000).value
    assert steps_of(value) == [{EMPTY_LABELS: 50.0}]
