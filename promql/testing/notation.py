"""Series lines of a script: `name{label="value", ...} point point ...`, read and written.

A point is `_` (no sample), `stale` (a staleness marker), a number, or a number with a step; a count repeats it:

    5        one sample                     _x3      three times no sample
    5x3      four samples of 5              0+10x3   0 10 20 30
    stale    a staleness marker             1-2x3    1 -1 -3 -5

This is the notation of Prometheus's unit tests (its documentation, "Unit testing for rules", section "series").
A repeated point is one longer than its count, a repeated `_` is not, and steps are added up one after another
rather than multiplied, so that the values equal Prometheus's to the last bit.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from common.errors import FleetwatchError
from common.labels import METRIC_NAME, Labels
from promql.errors import ParseError
from promql.syntax.nodes import StringLiteral
from promql.syntax.parser import parse_expr
from tsdb.model import STALE_NAN, STALE_NAN_BITS

Point = float | None
"""The value of a sample, or None where there is none."""

NATIVE_HISTOGRAMS = "native histograms are not supported"
START_TIMESTAMPS = "start timestamps are not supported"

_STRING = r'"(?:[^"\\]|\\.)*"|' + r"'(?:[^'\\]|\\.)*'|`[^`]*`"
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(
    rf"\s*(?:(?P<name>[a-zA-Z_][a-zA-Z0-9_]*|{_STRING})\s*=\s*(?P<value>{_STRING})|(?P<metric>{_STRING}))"
    r"\s*(?P<end>[,}])"
)
_CLOSE = re.compile(r"\s*\}")
_NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[iI][nN][fF]|[nN][aA][nN]"
_POINT = re.compile(
    rf"(?P<value>_|stale|[+-]?(?:{_NUMBER}))(?:(?P<step>[+-](?:{_NUMBER}))(?=x))?(?:x(?P<count>[0-9]+))?"
)


class NotationError(FleetwatchError, ValueError):
    """A series line that cannot be read."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series line. `points` are on the grid that the line's block gives.

    `unsupported` says why the line cannot be used, where it needs what the engine does not have; then there are no
    points.
    """

    labels: Labels
    points: list[Point]
    unsupported: str | None = None


def parse_series(text: str) -> Series:
    """Read a series line. Raises NotationError."""
    labels, rest = _parse_labels(text.strip())
    if rest.startswith("@st"):
        return Series(labels, [], START_TIMESTAMPS)
    if "{{" in rest:
        return Series(labels, [], NATIVE_HISTOGRAMS)
    if rest and not rest[0].isspace():
        raise NotationError(f"expected a space and points after the series, got {rest!r}")
    if not rest.strip():
        raise NotationError(f"no points after the series in {text.strip()!r}")
    return Series(labels, parse_points(rest))


def parse_points(text: str) -> list[Point]:
    """Read space-separated points. Raises NotationError."""
    points: list[Point] = []
    for item in text.split():
        match = _POINT.fullmatch(item)
        if match is None:
            raise NotationError(f"not a point: {item!r} (write 5, 0+10x5, _, _x3 or stale)")
        points.extend(_expand(match))
    return points


def _expand(match: re.Match[str]) -> list[Point]:
    count = int(match["count"] or 0)
    if match["value"] == "_":
        if match["step"]:
            raise NotationError(f"a missing point has no step: {match[0]!r}")
        return [None] * (count if match["count"] else 1)
    value = float(STALE_NAN) if match["value"] == "stale" else float(match["value"])
    step = float(match["step"]) if match["step"] else None
    if step is not None and is_stale_value(value):
        raise NotationError(f"a staleness marker has no step: {match[0]!r}")
    points: list[Point] = [value]
    for _ in range(count):
        value = value if step is None else value + step
        points.append(value)
    return points


def _parse_labels(text: str) -> tuple[Labels, str]:
    """The label set at the start of `text`, and what follows it."""
    pairs: dict[str, str] = {}
    position = 0
    if match := _METRIC.match(text):
        pairs[METRIC_NAME] = match[0]
        position = match.end()
    if not text.startswith("{", position):
        if not pairs and not text.startswith("@st"):
            raise NotationError(f'expected a series like name{{label="value"}}, got {text!r}')
        return Labels.of(pairs), text[position:]
    position += 1
    while (close := _CLOSE.match(text, position)) is None:
        match = _LABEL.match(text, position)
        if match is None:
            raise NotationError(f'expected label="value" or "metric name", got {text[position:]!r}')
        name = METRIC_NAME if match["metric"] else _name(match["name"])
        if name in pairs:
            raise NotationError(f"the label {name!r} is given twice in {text!r}")
        pairs[name] = unquote(match["metric"] or match["value"])
        # Leave the brace for the loop's condition.
        position = match.end() - (match["end"] == "}")
    return Labels.of(pairs), text[close.end() :]


def _name(text: str) -> str:
    return unquote(text) if text[0] in "\"'`" else text


def unquote(literal: str) -> str:
    """The text of a PromQL string literal in any of its three quotes. Raises NotationError."""
    try:
        expression = parse_expr(literal)
    except ParseError as error:
        raise NotationError(f"not a quoted string: {literal}") from error
    if not isinstance(expression, StringLiteral):
        raise NotationError(f"not a quoted string: {literal}")
    return expression.value


def is_stale_value(value: float) -> bool:
    """Whether one value is a staleness marker."""
    return math.isnan(value) and bool(np.float64(value).view(np.uint64) == STALE_NAN_BITS)


def format_series(labels: Labels, points: Iterable[Point]) -> str:
    """A series line that reads back to the same series; one word for each point."""
    return " ".join([str(labels), *map(format_point, points)])


def format_point(point: Point) -> str:
    """One point: the shortest number that reads back to the same value."""
    if point is None:
        return "_"
    if math.isnan(point):
        return "stale" if is_stale_value(point) else "NaN"
    if math.isinf(point):
        return "Inf" if point > 0 else "-Inf"
    return repr(float(point)).removesuffix(".0")
