"""The value type of the evaluator: an instant vector at each of K steps, as columns.

A row is a series; `present` says at which steps it has a sample. Rows have label sets of their own, except where
only the metric name tells them apart and it is to be dropped: the name is dropped at the end of the query, so that
label_replace and aggregations can still see it (Prometheus's delayed name removal).

Arrays are never written to once they are in a StepVector: they may be shared or broadcast.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from common.labels import EMPTY_LABELS, METRIC_NAME, Labels
from promql.errors import ExecutionError
from tsdb.model import BoolArray, FloatArray, IntArray

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Grid:
    """The steps of an evaluation: `count` times from `start_ms` every `step_ms`."""

    start_ms: int
    step_ms: int
    count: int

    @property
    def times_ms(self) -> IntArray:
        """int64[K]."""
        return self.start_ms + self.step_ms * np.arange(self.count, dtype=np.int64)

    @property
    def end_ms(self) -> int:
        """The last step."""
        return self.start_ms + self.step_ms * (self.count - 1)

    def first_step(self) -> "Grid":
        """The first step alone."""
        return Grid(self.start_ms, self.step_ms, 1)


@dataclass(frozen=True, slots=True, eq=False)
class StepVector:
    """S series over K steps: `values` float64[S, K], `present` bool[S, K], `drop_name` bool[S].

    Values are undefined where not present.
    """

    labels: list[Labels]
    values: FloatArray
    present: BoolArray
    drop_name: BoolArray

    @classmethod
    def of(cls, labels: list[Labels], values: FloatArray, present: BoolArray, drop_name: bool = False) -> "StepVector":
        """Rows that all drop, or all keep, their names."""
        return cls(labels, values, present, np.full(len(labels), drop_name))

    @classmethod
    def empty(cls, steps: int) -> "StepVector":
        """No series."""
        return cls.of([], np.empty((0, steps)), np.empty((0, steps), np.bool_))

    @classmethod
    def unlabelled(cls, values: FloatArray, present: BoolArray | None = None) -> "StepVector":
        """One series without labels; `values` is float64[K]."""
        shown = np.ones(len(values), np.bool_) if present is None else present
        return cls.of([EMPTY_LABELS], values[np.newaxis], shown[np.newaxis])

    def with_values(self, values: FloatArray, present: BoolArray | None = None) -> "StepVector":
        """The same series with new values, their names to be dropped."""
        drop_name = np.ones(len(self.labels), np.bool_)
        return StepVector(self.labels, values, self.present if present is None else present, drop_name)

    def where(self, present: BoolArray) -> "StepVector":
        """The same samples, fewer of them present."""
        return StepVector(self.labels, self.values, present, self.drop_name)

    def rows(self, index: IntArray) -> "StepVector":
        """Some of the rows, in the order of the index."""
        return StepVector(
            [self.labels[row] for row in index.tolist()],
            self.values[index],
            self.present[index],
            self.drop_name[index],
        )

    def compact(self) -> "StepVector":
        """Without the series that have no sample at all."""
        used = self.present.any(axis=1)
        return self if used.all() else self.rows(np.flatnonzero(used))

    def broadcast(self, steps: int) -> "StepVector":
        """A vector of one step repeated over K steps."""
        shape = (len(self.labels), steps)
        return StepVector(
            self.labels,
            np.broadcast_to(self.values, shape),
            np.broadcast_to(self.present, shape),
            self.drop_name,
        )

    def without_dropped_names(self) -> "StepVector":
        """The names that are to be dropped are dropped; raises ExecutionError where series then collide."""
        if not self.drop_name.any():
            return self
        labels = [
            drop_metric_name(series) if drop else series
            for series, drop in zip(self.labels, self.drop_name.tolist(), strict=True)
        ]
        return merge_same_labels(StepVector.of(labels, self.values, self.present))


def concatenate(vectors: Sequence[StepVector], steps: int) -> StepVector:
    """The rows of all vectors, in order."""
    if len(vectors) == 1:
        return vectors[0]
    if not vectors:
        return StepVector.empty(steps)
    return StepVector(
        [series for vector in vectors for series in vector.labels],
        np.concatenate([vector.values for vector in vectors]),
        np.concatenate([vector.present for vector in vectors]),
        np.concatenate([vector.drop_name for vector in vectors]),
    )


def merge_same_labels(
    vector: StepVector, error: str = "vector cannot contain metrics with the same labelset"
) -> StepVector:
    """Rows with equal labels made one, which is allowed as long as they have no step in common.

    Raises ExecutionError with the text of `error` where they have.
    """
    group_of_row, keys = group_ids(vector.labels)
    if len(keys) == len(vector.labels):
        return vector
    first_rows = np.unique(group_of_row, return_index=True)[1]
    values, present = vector.values[first_rows], vector.present[first_rows]
    for row in np.setdiff1d(np.arange(len(vector.labels)), first_rows).tolist():
        group, shown = group_of_row[row], vector.present[row]
        if (present[group] & shown).any():
            raise ExecutionError(error)
        values[group, shown] = vector.values[row, shown]
        present[group] |= shown
    return StepVector([vector.labels[row] for row in first_rows], values, present, vector.drop_name[first_rows])


def group_ids(keys: Iterable[Key]) -> tuple[IntArray, list[Key]]:
    """For each key the number of its group, int64[S], and the distinct keys in order of first appearance."""
    numbers: dict[Key, int] = {}
    ids = [numbers.setdefault(key, len(numbers)) for key in keys]
    return np.array(ids, dtype=np.int64), list(numbers)


def drop_metric_name(labels: Labels) -> Labels:
    """The label set less `__name__`."""
    if labels and labels[0][0] == METRIC_NAME:  # the name sorts before almost every other label
        return Labels(labels[1:])
    return labels.without(METRIC_NAME)
