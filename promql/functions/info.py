"""`info`: labels of info metrics, such as target_info, put on the series of the same target.

Which info series a base series gets its labels from may change from step to step: then it becomes several series. The
rules and texts are those of prometheus promql/info.go.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from common.labels import METRIC_NAME, Labels, quote
from common.matchers import Matcher
from promql.errors import ExecutionError
from promql.evaluator import Evaluator
from promql.nodes import Call, VectorSelector
from promql.vector import Grid, StepVector, concatenate, group_ids, merge_same_labels
from tsdb.model import BoolArray, FloatArray, IntArray

TARGET_INFO = "target_info"
"""The info metric where none is named."""

INFO_METRICS = ".+_info"
"""Their names where it is only said which ones not to take."""

# The labels that tell a target from others.
_IDENTIFYING = ("instance", "job")
_NONE = -1


def info(evaluator: Evaluator, call: Call, grid: Grid) -> StepVector:
    """Evaluate a call, whose second argument selects the info series and the labels wanted of them."""
    selector = call.args[1]
    if not isinstance(selector, VectorSelector):
        raise ExecutionError(f"expected a selector of info series, got {type(selector).__name__}")
    of_name = [matcher for matcher in selector.matchers if matcher.name == METRIC_NAME]
    of_data = [matcher for matcher in selector.matchers if matcher.name != METRIC_NAME]
    base = evaluator.vector(call.args[0], grid)
    # Info series are themselves never enriched.
    enriched = [not all(m.matches(labels.metric_name) for m in of_name) for labels in base.labels]
    wanted = [labels for labels, counts in zip(base.labels, enriched, strict=True) if counts]
    times = evaluator.sample_times(selector, grid)
    needed: BoolArray = np.logical_or.reduce(base.present, axis=0)
    sources = _Sources(_of_targets(times, wanted), needed, of_data)
    parts = []
    for row, labels in enumerate(base.labels):
        series = base.rows(np.array([row]))
        parts += list(sources.enriched(series, labels)) if enriched[row] else [series]
    return merge_same_labels(concatenate(parts, grid.count))


def _of_targets(times: StepVector, wanted: Sequence[Labels]) -> StepVector:
    """The info series with those values of the identifying labels that base series have; none where they have none."""
    values = {name: {value for labels in wanted if (value := labels.get(name))} for name in _IDENTIFYING}
    known = {name: allowed for name, allowed in values.items() if allowed}
    rows = [
        row
        for row, labels in enumerate(times.labels)
        if known and all(labels.get(name) in allowed for name, allowed in known.items())
    ]
    return times.rows(np.array(rows, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class _Target:
    """One info metric of one target."""

    metric_name: str
    identity: tuple[str, ...]


class _Sources:
    """The info series to take labels from; `needed` bool[K] are the steps that have any base series."""

    def __init__(self, times: StepVector, needed: BoolArray, of_data: Sequence[Matcher]) -> None:
        self._times = times
        self._matchers = of_data
        self._data_names = {matcher.name for matcher in of_data}
        self._chosen = _newest(times, needed)
        self._metric_names = sorted({target.metric_name for target in self._chosen})

    def enriched(self, series: StepVector, labels: Labels) -> Iterator[StepVector]:
        """One base series with the labels of info series: as many series as there are combinations of those."""
        identity = tuple(labels.get(name) for name in _IDENTIFYING)
        nothing = np.full(series.values.shape[1], _NONE)
        chosen = [self._chosen.get(_Target(name, identity), nothing) for name in self._metric_names]
        combinations, which = np.unique(np.array([nothing, *chosen]), axis=1, return_inverse=True)
        for index, combination in enumerate(combinations.T.tolist()):
            present = series.present & (which.reshape(-1) == index)
            rows = [row for row in combination if row != _NONE]
            if present.any() and (rows or all(matcher.matches_empty for matcher in self._matchers)):
                yield StepVector([self._with_data(labels, rows)], series.values, present, series.drop_name)

    def _with_data(self, labels: Labels, rows: Sequence[int]) -> Labels:
        own = labels.as_dict()
        added: dict[str, str] = {}
        for row in rows:
            for name, value in self._times.labels[row]:
                if name == METRIC_NAME or (self._data_names and name not in self._data_names):
                    continue
                if added.get(name, value) != value:
                    raise ExecutionError(f"conflicting label: {name}")
                if name not in own:
                    added[name] = value
        return Labels.of({**added, **own})


def _newest(times: StepVector, needed: BoolArray) -> dict[_Target, IntArray]:
    """For each target the row of its newest info series at each step, int64[K]."""
    targets = [_Target(labels.metric_name, tuple(labels.get(name) for name in _IDENTIFYING)) for labels in times.labels]
    target_of, distinct = group_ids(targets)
    chosen = {}
    for number, target in enumerate(distinct):
        rows = np.flatnonzero(target_of == number)
        sampled = np.where(times.present[rows], times.values[rows], -np.inf)
        newest = sampled.argmax(axis=0)
        _check_one_newest(times, rows, sampled, needed)
        chosen[target] = np.where(times.present[rows].any(axis=0), rows[newest], _NONE)
    return chosen


def _check_one_newest(times: StepVector, rows: IntArray, sampled: FloatArray, needed: BoolArray) -> None:
    """Raises ExecutionError where two series of a target are equally new."""
    is_newest = times.present[rows] & (sampled == sampled.max(axis=0)) & needed
    steps = np.flatnonzero(is_newest.sum(axis=0) > 1)
    if len(steps):
        step = int(steps[0])
        first, second = (_shown(times, row, step) for row in rows[np.flatnonzero(is_newest[:, step])[:2]].tolist())
        raise ExecutionError(f"found duplicate series for info metric: existing {first}, new {second}")


def _shown(times: StepVector, row: int, step: int) -> str:
    labels = ", ".join(f"{name}={quote(value)}" for name, value in times.labels[row])
    return f"{{{labels}}} @ {int(times.values[row, step])}"
