"""Answers against expectations: what is right passes, and each kind of wrong is told."""

import math

import numpy as np
import pytest

from common.labels import Labels
from promql.errors import ExecutionError
from promql.result import Matrix, RangeVector, Result, Scalar, String, Value, Vector
from promql.testing.compare import almost_equal, check_answer
from promql.testing.notation import Point
from promql.testing.script import Eval, parse_script
from tsdb.model import STALE_NAN


def only_eval(text: str) -> Eval:
    (command,) = parse_script(text)
    assert isinstance(command, Eval)
    return command


@pytest.mark.parametrize(
    ("a", "b", "tolerance", "equal"),
    [
        (1, 1, 0, True),
        (0.0, -0.0, 0, True),
        (1, 1.0000001, 1e-6, True),
        (1, 1.00001, 1e-6, False),
        (1, 1.0000001, 1e-12, False),
        (1e300, 1e300 * (1 + 1e-13), 1e-12, True),
        (-1, 1, 1e-6, False),
        # Nothing is near zero but zero and its subnormal neighbours.
        (0, 1e-300, 1e-6, False),
        (0, 5e-324, 1e-6, True),
        (math.inf, math.inf, 0, True),
        (math.inf, -math.inf, 1, False),
        (math.inf, 1e308, 1, False),
        (1.7e308, 1.7e308 * (1 - 1e-9), 1e-6, True),
        (math.nan, math.nan, 0, True),
        (math.nan, 1, 1, False),
        (float(STALE_NAN), float(STALE_NAN), 0, True),
        (float(STALE_NAN), math.nan, 1, False),
    ],
)
def test_almost_equal(a: float, b: float, tolerance: float, equal: bool) -> None:
    assert almost_equal(a, b, tolerance) is equal
    assert almost_equal(b, a, tolerance) is equal


A, B = Labels.of(n="a"), Labels.of(n="b")


def vector(*samples: tuple[Labels, float]) -> Vector:
    return Vector(0, [labels for labels, _ in samples], np.array([value for _, value in samples], dtype=np.float64))


def matrix(*rows: tuple[Labels, list[Point]]) -> Matrix:
    return Matrix(
        np.array([0, 60_000, 120_000]),
        [labels for labels, _ in rows],
        np.array([[-1.0 if point is None else point for point in points] for _, points in rows]),
        np.array([[point is not None for point in points] for _, points in rows]),
    )


INSTANT = "eval instant at 0 x\n"
RANGE = "eval range from 0 to 2m step 1m x\n"


@pytest.mark.parametrize(
    ("script", "value"),
    [
        (INSTANT, vector()),
        (INSTANT, RangeVector([], [], [])),
        (INSTANT + '{n="a"} 1\n{n="b"} 2', vector((A, 1), (B, 2))),
        (INSTANT + '{n="b"} 2\n{n="a"} 1', vector((A, 1), (B, 2))),
        (INSTANT + 'expect ordered\n{n="b"} 2\n{n="a"} 1', vector((B, 2), (A, 1))),
        (INSTANT + "3", Scalar(0, 3)),
        (INSTANT + "expect string 'x'", String(0, "x")),
        (RANGE, matrix()),
        (RANGE + '{n="a"} 1 _ 3', matrix((A, [1, None, 3]))),
        (RANGE + '{n="a"} 1', matrix((A, [1, None, None]))),
        (
            "eval instant at 1m x[1m]\nexpect range vector from 0 to 1m step 30s\n" + '{n="a"} 1 _ 3',
            RangeVector([A], [np.array([0, 60_000])], [np.array([1.0, 3.0])]),
        ),
    ],
)
def test_right_answers(script: str, value: Value) -> None:
    assert check_answer(only_eval(script), Result(value), 1e-12) is None


@pytest.mark.parametrize(
    ("script", "value", "reason"),
    [
        (INSTANT, vector((A, 1)), 'unexpected series {n="a"}'),
        (INSTANT + '{n="a"} 1', vector(), 'series {n="a"} is missing'),
        (INSTANT + '{n="a"} 1', vector((A, 2)), 'series {n="a"}: 2.0 at 0 ms instead of 1.0'),
        (INSTANT + '{n="a"} 1', vector((A, 1), (A, 1)), "twice"),
        (INSTANT + '{n="a"} 1', vector((A, 1 + 1e-9)), "instead of"),
        (INSTANT + 'expect ordered\n{n="b"} 2\n{n="a"} 1', vector((A, 1), (B, 2)), "order"),
        (INSTANT + "3", vector((Labels(), 3)), "expected a Scalar, got a Vector"),
        (INSTANT + "3", Scalar(0, 4), "another number"),
        (INSTANT + "{} 3", Scalar(0, 3), "expected a Vector, got a Scalar"),
        (INSTANT, Scalar(0, 3), "expected a Vector, got a Scalar"),
        (INSTANT, String(0, ""), "expected a Vector, got a String"),
        (INSTANT + "expect string 'x'", String(0, "y"), "another string"),
        (INSTANT + "expect string 'x'", vector(), "expected a String"),
        (INSTANT + '{n="a"} 1', RangeVector([A], [np.array([0])], [np.array([1.0])]), "expected a Vector"),
        (INSTANT + "expect fail", vector(), "should have failed"),
        (RANGE, vector(), "expected a Matrix, got a Vector"),
        (RANGE + '{n="a"} 1 _ 3', matrix((A, [1, 2, 3])), "expected a sample at 120000 ms, got one at 60000 ms"),
        (RANGE + '{n="a"} 1 2 3', matrix((A, [1, 2, None])), "expected 3 samples, got 2"),
        (RANGE + '{n="a"} 1 2', matrix((A, [1, 2, 3])), "expected 2 samples, got 3"),
        (RANGE + '{n="a"} 1 2 3 4', matrix((A, [1, 2, 3])), "expected 4 samples, got 3"),
        (RANGE + '{n="b"} 1\n{n="a"} 1', matrix((B, [1, None, None]), (A, [1, None, None])), "not sorted"),
        (
            "eval instant at 1m x[1m]\nexpect range vector from 0 to 1m step 30s\n" + '{n="a"} 1 2 3',
            RangeVector([A], [np.array([0, 31_000, 60_000])], [np.array([1.0, 2.0, 3.0])]),
            "expected a sample at 30000 ms, got one at 31000 ms",
        ),
    ],
)
def test_wrong_answers(script: str, value: Value, reason: str) -> None:
    found = check_answer(only_eval(script), Result(value), 1e-12)
    assert found is not None
    assert reason in found


@pytest.mark.parametrize(
    ("lines", "warnings", "infos", "reason"),
    [
        ("", ["w"], ["i"], None),
        ("expect warn", ["w", "v"], ["i"], None),
        ("expect warn msg: w", ["w"], [], None),
        ("expect warn regex: w+", ["ww x"], [], None),
        ("expect warn msg: w\nexpect warn msg: v", ["v", "w"], [], None),
        ("expect info\nexpect no_warn", [], ["i"], None),
        ("expect no_info", ["w"], [], None),
        ("expect warn", [], ["i"], "missing warning, expected any message"),
        ("expect warn msg: w", ["w x"], [], "missing warning, expected msg: w"),
        ("expect warn regex: ^x", ["w x"], [], "missing warning, expected regex: ^x"),
        ("expect warn msg: w", ["w", "v"], [], "unexpected warning: v"),
        ("expect warn msg: w\nexpect warn msg: v", ["w"], [], "missing warning, expected msg: v"),
        ("expect info", ["w"], [], "missing info, expected any message"),
        ("expect no_warn", ["w"], [], "unexpected warning: w"),
        ("expect no_info", [], ["i"], "unexpected info: i"),
    ],
)
def test_annotations(lines: str, warnings: list[str], infos: list[str], reason: str | None) -> None:
    assert check_answer(only_eval(INSTANT + lines), Result(vector(), warnings, infos), 0) == reason


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("expect fail", None),
        ("expect fail msg: too bad", None),
        ("expect fail regex: ba[dt]$", None),
        ("expect fail msg: bad", "another message"),
        ("expect fail regex: ^bad", "another message"),
        ("", "the query failed"),
        ("1", "the query failed"),
    ],
)
def test_failures(lines: str, reason: str | None) -> None:
    found = check_answer(only_eval(INSTANT + lines), ExecutionError("too bad"), 0)
    assert found is None if reason is None else found is not None and reason in found
