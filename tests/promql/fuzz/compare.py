"""Whether two answers are the same.

Prometheus 3.5 answers NaN to histogram_fraction of buckets that decrease; what came after it does not.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from common.labels import EMPTY_LABELS, METRIC_NAME, Labels
from promql import Engine, ExecutionError, Matrix, ParseError, PromQLError, RangeVector, Scalar, String, Vector

Series = dict[Labels, list[tuple[int, float]]]
Samples = list[tuple[Labels, list[tuple[int, float]]]]

TOLERANCE = 1e-12
_SAME_LABELS = "vector cannot contain metrics with the same labelset"
_RELABELS = re.compile(r"label_(?:replace|join)\(| or |__name__=~")
_COMPARES = re.compile(r" (?:[<>]=?|[=!]=) ")
# Filters and last_over_time show names again that were to be dropped.
_KEEPS_NAMES = re.compile(r" (?:[<>]=?|[=!]=) |last_over_time|first_over_time")
# timestamp(x @ t offset d) forgets the offset.
_BOTH_OF_TIMESTAMP = re.compile(r"timestamp\([^()]*(?:@[^()]*(?:\(\))?[^()]*offset|offset[^()]*@)")
_PLACE = re.compile(r" \(\d+:\d+\)$")


@dataclass(frozen=True, slots=True)
class Answered:
    """A value: scalar, vector or matrix; its series in the order of the answer."""

    kind: str
    series: Samples
    annotations: list[str]


@dataclass(frozen=True, slots=True)
class Failed:
    """An error, with the type that the API gives it."""

    type: str
    text: str


Answer = Answered | Failed


def engine_answer(engine: Engine, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
    """What the engine answers; without a step, to an instant query."""
    try:
        result = engine.range(expr, start_ms, end_ms, step_ms) if step_ms else engine.instant(expr, start_ms)
    except ParseError as error:
        return Failed("bad_data", str(error))
    except ExecutionError as error:
        return Failed("execution", str(error))
    except PromQLError as error:
        return Failed(type(error).__name__, str(error))
    annotations = result.warnings + result.infos
    match result.value:
        case Scalar(time_ms, value):
            return Answered("scalar", [(EMPTY_LABELS, [(time_ms, value)])], annotations)
        case String(time_ms, _):
            return Answered("string", [(EMPTY_LABELS, [(time_ms, 0.0)])], annotations)
        case Vector() as vector:
            pairs = zip(vector.labels, vector.values.tolist(), strict=True)
            return Answered("vector", [(labels, [(vector.time_ms, value)]) for labels, value in pairs], annotations)
        case RangeVector() as ranges:
            rows = zip(ranges.labels, ranges.times_ms, ranges.values, strict=True)
            series = [(labels, list(zip(t.tolist(), v.tolist(), strict=True))) for labels, t, v in rows]
            return Answered("matrix", series, annotations)
        case Matrix() as matrix:
            series = []
            for row, labels in enumerate(matrix.labels):
                shown = matrix.present[row]
                times, values = matrix.times_ms[shown].tolist(), matrix.values[row, shown].tolist()
                series.append((labels, list(zip(times, values, strict=True))))
            return Answered("matrix", series, annotations)


def difference(expr: str, got: Answer, expected: Answer, noisy: Callable[[], Answer]) -> str | None:
    """What differs between the engine's answer and Prometheus's, or None.

    `noisy` gives the engine's answer over samples whose last bits are others. A value that differs by no more than
    that makes of it is rounded differently, as where it is the difference of two that are nearly equal.
    """
    if isinstance(got, Failed) or isinstance(expected, Failed):
        return None if _fail_alike(expr, got, expected) else f"{_short(got)} instead of {_short(expected)}"
    if got.kind != expected.kind:
        return f"a {got.kind} instead of a {expected.kind}"
    differs = _values_differ(expr, got, expected, {})
    if differs is not None and isinstance(noise := noisy(), Answered):
        differs = _values_differ(expr, got, expected, dict(noise.series))
    return differs or _annotations_differ(expr, got.annotations, expected.annotations)


def _fail_alike(expr: str, got: Answer, expected: Answer) -> bool:
    match got, expected:
        case Failed(), Failed():
            return got.type == expected.type
        case Answered(), Failed():
            # Series that take turns under the same labels are one in what came after 3.5.
            return _SAME_LABELS in expected.text and _RELABELS.search(expr) is not None
        case Failed(), Answered():
            # Pairs that a comparison leaves out have to be unique in what came after 3.5.
            if _SAME_LABELS in got.text:
                return _KEEPS_NAMES.search(expr) is not None
            return got.text.startswith("multiple matches for") and _COMPARES.search(expr) is not None
        case _:
            raise TypeError("neither of the answers failed")


def _values_differ(expr: str, got: Answered, expected: Answered, noise: Series) -> str | None:
    if _BOTH_OF_TIMESTAMP.search(expr):
        return None
    found, wanted = dict(got.series), dict(expected.series)
    if found.keys() != wanted.keys() and _KEEPS_NAMES.search(expr):
        found, wanted = _unnamed(found), _unnamed(wanted)
    if found.keys() != wanted.keys():
        more, less = found.keys() - wanted.keys(), wanted.keys() - found.keys()
        return f"series {sorted(map(str, more))} instead of {sorted(map(str, less))}"
    if expr.startswith("sort_by_label") and got.kind == "vector" and list(found) != list(wanted):
        return "another order"
    for labels, samples in wanted.items():
        if [time for time, _ in found[labels]] != [time for time, _ in samples]:
            return f"{labels} at {[time for time, _ in found[labels]]} instead of {[time for time, _ in samples]}"
        for (time, value), (_, right) in zip(found[labels], samples, strict=True):
            if math.isnan(right) and "histogram_fraction" in expr:
                continue
            moved = abs(dict(noise.get(labels, [])).get(time, value) - value)
            if not close(value, right) and not abs(value - right) <= 4 * moved < math.inf:
                return f"{labels} at {time}: {value!r} instead of {right!r}"
    return None


def _unnamed(series: Series) -> Series:
    """Without names, where series are then still told apart."""
    unnamed = {labels.without(METRIC_NAME): samples for labels, samples in series.items()}
    return unnamed if len(unnamed) == len(series) else series


def close(value: float, right: float) -> bool:
    """Equal to 1e-12; NaN equals NaN."""
    if math.isnan(value) or math.isnan(right):
        return math.isnan(value) and math.isnan(right)
    return value == right or abs(value - right) <= TOLERANCE * max(abs(value), abs(right))


def _annotations_differ(expr: str, got: list[str], expected: list[str]) -> str | None:
    # Parentheses around a constant quantile count as its place in Prometheus, around others not. The place of an
    # annotation about a subquery is always 1:1 there.
    places = "quantile((" not in expr and not any(":" in part.split("]")[0] for part in expr.split("[")[1:])
    texts = [sorted({_comparable(text, places) for text in side}) for side in (got, expected)]
    return None if texts[0] == texts[1] else f"annotations {texts[0]} instead of {texts[1]}"


def _comparable(text: str, places: bool) -> str:
    text = text.replace(' for metric name ""', "")  # no longer said where there is none
    return text if places else _PLACE.sub("", text)


def _short(answer: Answer) -> str:
    return str(answer) if isinstance(answer, Failed) else f"{len(answer.series)} series"
