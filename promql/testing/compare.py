"""Whether an answer is what a script expects.

Every kind of vector, expected or got, is brought to one form, a `Samples`, and compared there. Numbers are equal as
Prometheus's util/almost has it: NaN equals NaN, infinities and zeros must be met exactly, else the difference may be
`tolerance` times the sum of the magnitudes.
"""

import math

import numpy as np

from common.labels import Labels, quote
from promql.errors import PromQLError
from promql.result import Matrix, RangeVector, Result, Scalar, String, Value, Vector
from promql.testing.notation import Point, format_point, format_series, is_stale_value
from promql.testing.script import Eval, Expectation, ExpectedMessage, Grid

_SMALLEST_NORMAL = float(np.finfo(np.float64).smallest_normal)

Answer = Result | PromQLError

Samples = list[tuple[Labels, list[tuple[int, float]]]]
"""Series in order, each with its samples as (milliseconds, value) in order."""


def check_answer(case: Eval, answer: Answer, tolerance: float) -> str | None:
    """What is wrong with an answer, or None."""
    if isinstance(answer, PromQLError):
        if case.expect.fail is None:
            return "the query failed"
        return None if case.expect.fail.matches(str(answer)) else "the query failed with another message"
    if case.expect.fail is not None:
        return "the query should have failed"
    return check_annotations(case.expect, answer) or check_value(case, answer.value, tolerance)


def check_annotations(expect: Expectation, result: Result) -> str | None:
    """Which annotation is missing or unexpected, or None.

    Where any message of a kind is expected, each must be met and all messages of that kind must be expected.
    """
    return _check_messages("warning", expect.warnings, expect.no_warnings, result.warnings) or _check_messages(
        "info", expect.infos, expect.no_infos, result.infos
    )


def _check_messages(kind: str, expected: list[ExpectedMessage], forbidden: bool, got: list[str]) -> str | None:
    for message in expected:
        if not any(message.matches(text) for text in got):
            return f"missing {kind}, expected {message}"
    for text in got:
        if forbidden or (expected and not any(message.matches(text) for message in expected)):
            return f"unexpected {kind}: {text}"
    return None


def check_value(case: Eval, value: Value, tolerance: float) -> str | None:
    """How a value differs from the expectation, or None."""
    expect = case.expect
    kinds = _expected_kinds(case)
    if not isinstance(value, kinds):
        return f"expected a {kinds[0].__name__}, got a {type(value).__name__}"
    match value:
        case Scalar():
            same = expect.scalar is not None and almost_equal(expect.scalar, value.value, tolerance)
            return None if same else "another number"
        case String():
            return None if expect.string == value.value else "another string"
        case Matrix() | RangeVector() if value.labels != sorted(value.labels):
            return "the series are not sorted by their labels"
        case _:
            return compare_samples(expected_samples(case), value_samples(value), expect.ordered, tolerance)


def _expected_kinds(case: Eval) -> tuple[type[Value], ...]:
    if case.expect.scalar is not None:
        return (Scalar,)
    if case.expect.string is not None:
        return (String,)
    if isinstance(case.when, Grid):
        return (Matrix,)
    if case.expect.range_vector is not None:
        return (RangeVector,)
    # Nothing at all is an empty vector of either kind.
    return (Vector,) if case.expect.series else (Vector, RangeVector)


def expected_samples(case: Eval) -> Samples:
    """The expected series with the time of each of their points."""
    queried = case.when if isinstance(case.when, Grid) else Grid(case.when, case.when, 0)
    grid = case.expect.range_vector or queried
    return [(series.labels, grid.samples(series.points)) for series in case.expect.series]


def value_samples(value: Vector | RangeVector | Matrix) -> Samples:
    """The series of an answer with their samples."""
    match value:
        case Vector():
            return [
                (labels, [(value.time_ms, number)])
                for labels, number in zip(value.labels, value.values.tolist(), strict=True)
            ]
        case RangeVector():
            return [
                (labels, list(zip(times.tolist(), values.tolist(), strict=True)))
                for labels, times, values in zip(value.labels, value.times_ms, value.values, strict=True)
            ]
        case Matrix():
            return [
                (labels, list(zip(value.times_ms[present].tolist(), row[present].tolist(), strict=True)))
                for labels, row, present in zip(value.labels, value.values, value.present, strict=True)
            ]


def vector_at(matrix: Matrix, time_ms: int) -> Vector:
    """The samples of one step of a range query as an instant vector."""
    step = matrix.times_ms.tolist().index(time_ms)
    rows = np.flatnonzero(matrix.present[:, step])
    return Vector(time_ms, [matrix.labels[row] for row in rows], matrix.values[rows, step])


def compare_samples(expected: Samples, got: Samples, ordered: bool, tolerance: float) -> str | None:
    """What is different, or None."""
    got_labels = [labels for labels, _ in got]
    expected_labels = [labels for labels, _ in expected]
    by_labels = dict(got)
    if len(by_labels) < len(got):
        twice = next(labels for labels in got_labels if got_labels.count(labels) > 1)
        return f"the answer has {twice} twice"
    if extra := [labels for labels in got_labels if labels not in expected_labels]:
        return f"unexpected series {extra[0]}"
    if missing := [labels for labels in expected_labels if labels not in by_labels]:
        return f"series {missing[0]} is missing"
    if ordered and got_labels != expected_labels:
        return "the series are in another order"
    for labels, samples in expected:
        if (reason := _compare_series(samples, by_labels[labels], tolerance)) is not None:
            return f"series {labels}: {reason}"
    return None


def _compare_series(expected: list[tuple[int, float]], got: list[tuple[int, float]], tolerance: float) -> str | None:
    for (expected_ms, expected_value), (got_ms, got_value) in zip(expected, got, strict=False):
        if expected_ms != got_ms:
            return f"expected a sample at {expected_ms} ms, got one at {got_ms} ms"
        if not almost_equal(expected_value, got_value, tolerance):
            return f"{got_value!r} at {got_ms} ms instead of {expected_value!r}"
    if len(expected) != len(got):
        return f"expected {len(expected)} samples, got {len(got)}"
    return None


def almost_equal(a: float, b: float, tolerance: float) -> bool:
    """Whether two values count as the same."""
    if is_stale_value(a) or is_stale_value(b):
        return is_stale_value(a) and is_stale_value(b)
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    if a == b:
        return True
    magnitude = abs(a) + abs(b)
    if a == 0 or b == 0 or magnitude < _SMALLEST_NORMAL:
        return abs(a - b) < tolerance * _SMALLEST_NORMAL
    return abs(a - b) / min(magnitude, float(np.finfo(np.float64).max)) < tolerance


def describe_expectation(expect: Expectation) -> list[str]:
    """What is expected, as lines of a script."""
    if expect.fail is not None:
        return [f"expect fail {expect.fail}"]
    lines = [f"expect warn {message}" for message in expect.warnings]
    lines += [f"expect info {message}" for message in expect.infos]
    if expect.scalar is not None:
        lines.append(format_point(expect.scalar))
    elif expect.string is not None:
        lines.append(f"expect string {quote(expect.string)}")
    lines += [format_series(series.labels, series.points) for series in expect.series]
    return lines or ["nothing"]


def describe_answer(answer: Answer) -> list[str]:
    """An answer as lines of a script."""
    if isinstance(answer, PromQLError):
        return [f"error: {answer}"]
    return [*answer.warnings, *answer.infos, *_describe_value(answer.value)] or ["nothing"]


def _describe_value(value: Value) -> list[str]:
    match value:
        case Scalar():
            return [format_point(value.value)]
        case String():
            return [quote(value.value)]
        case Matrix():
            return [_matrix_line(value, row) for row in range(len(value.labels))]
        case RangeVector():
            # The samples have times of their own, which the notation cannot say.
            return [
                " ".join([str(labels), *(f"{format_point(number)}@{time_ms}ms" for time_ms, number in samples)])
                for labels, samples in value_samples(value)
            ]
        case Vector():
            return [
                format_series(labels, [number])
                for labels, number in zip(value.labels, value.values.tolist(), strict=True)
            ]


def _matrix_line(matrix: Matrix, row: int) -> str:
    points: list[Point] = [
        number if there else None
        for number, there in zip(matrix.values[row].tolist(), matrix.present[row].tolist(), strict=True)
    ]
    return format_series(matrix.labels[row], points)
