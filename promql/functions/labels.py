"""Functions of labels and of the order of series."""

import re
from typing import Any

import numpy as np

from common.labels import METRIC_NAME, Labels
from common.matchers import MatcherError, compile_regex
from promql import limits
from promql.errors import ExecutionError
from promql.syntax.literals import as_utf8, is_utf8
from promql.vector import StepVector, merge_same_labels
from tsdb.model import BoolArray

# Go regexp.Expand: $1, ${1}, $name, ${name}, $$.
_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<braced>\w+)\}|(?P<bare>\w+))", re.ASCII)
_NATURAL = re.compile(r"(\d+)")


def label_replace(vector: StepVector, target: str, template: str, source: str, pattern: str) -> StepVector:
    """Sets a label from a match of another one's value. Raises ExecutionError."""
    try:
        regex = compile_regex(pattern) if is_utf8(pattern) else None
    except MatcherError:
        regex = None
    if regex is None:
        raise ExecutionError(f"invalid regular expression in label_replace(): {as_utf8(pattern)}")
    template = as_utf8(template)
    _check_name(target, "destination", "label_replace")
    replacements: dict[str, str | None] = {}
    labels, keeps_name = list(vector.labels), vector.drop_name.copy()
    for row, series in enumerate(limits.checked(vector.labels)):
        value = series.get(source)
        if value not in replacements:
            match = regex.fullmatch(value)
            replacements[value] = None if match is None else _expand(template, match)
        replacement = replacements[value]
        if replacement is not None:
            labels[row] = _with_label(series, target, replacement)
            keeps_name[row] &= target != METRIC_NAME
    return _relabelled(vector, labels, keeps_name)


def label_join(vector: StepVector, target: str, separator: str, sources: list[str]) -> StepVector:
    """Sets a label to the joined values of others. Raises ExecutionError."""
    for name in sources:
        _check_name(name, "source", "label_join")
    _check_name(target, "destination", "label_join")
    separator = as_utf8(separator)
    labels = []
    for series in limits.checked(vector.labels):
        values = dict(series)
        labels.append(_with_label(series, target, separator.join(values.get(name, "") for name in sources)))
    drop_name = np.zeros_like(vector.drop_name) if target == METRIC_NAME else vector.drop_name
    return _relabelled(vector, labels, drop_name)


def _relabelled(vector: StepVector, labels: list[Labels], drop_name: BoolArray) -> StepVector:
    return merge_same_labels(StepVector(labels, vector.values, vector.present, drop_name))


def _with_label(series: Labels, name: str, value: str) -> Labels:
    return Labels.of({**dict(series), name: value})


def _check_name(name: str, role: str, function: str) -> None:
    """Any UTF-8 text names a label."""
    if not name or not is_utf8(name):
        raise ExecutionError(f"invalid {role} label name in {function}(): {as_utf8(name)}")


def _expand(template: str, match: Any) -> str:
    groups = match.groupdict()

    def replace(reference: re.Match[str]) -> str:
        if reference["dollar"]:
            return "$"
        name = reference["braced"] or reference["bare"]
        if name.isdigit():
            return (match.group(int(name)) or "") if int(name) <= match.re.groups else ""
        return groups.get(name) or ""

    return _REFERENCE.sub(replace, template)


def sort_by_value(vector: StepVector, *, descending: bool) -> StepVector:
    """Ordered by the value of the only step, NaN last."""
    values = vector.values[:, 0]
    return vector.rows(np.argsort(-values if descending else values, kind="stable"))


def sort_by_labels(vector: StepVector, names: list[str], *, descending: bool) -> StepVector:
    """In natural order of the values of the named labels, then of the whole label set."""

    def key(row: int) -> tuple[list[list[tuple[bool, int, str]]], Labels]:
        values = dict(vector.labels[row])
        return [_natural_key(values.get(name, "")) for name in names], vector.labels[row]

    order = sorted(range(len(vector.labels)), key=key, reverse=descending)
    return vector.rows(np.array(order, dtype=np.int64))


def _natural_key(text: str) -> list[tuple[bool, int, str]]:
    """Runs of digits compare as numbers and go before other text."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in _NATURAL.split(text) if part]
