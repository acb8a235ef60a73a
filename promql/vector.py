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
import numpy.typing as npt

from common.labels import EMPTY_LABELS, METRIC_NAME, Labels
from promql import limits
from promql.errors import ExecutionError
from tsdb.model import BoolArray, FloatArray, IntArray

# Prometheus model/schema IsMetadataLabel, in order.
_METADATA = (METRIC_NAME, "__type__", "__unit__")

Key = TypeVar("Key", bound=Hashable)
Element = TypeVar("Element", bound=np.generic)

_TAKEN_AT_ONCE = 1 << 20


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
            take_rows(self.values, index),
            take_rows(self.present, index),
            self.drop_name[index],
        )

    def compact(self) -> "StepVector":
        """Without the series that have no sample at all."""
        limits.check()
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
        if self.drop_name.all() and self._same_name():
            # Then they differ in other labels.
            return StepVector.of(list(map(drop_metric_name, limits.checked(self.labels))), self.values, self.present)
        labels = [
            drop_metric_name(series) if drop else series
            for series, drop in zip(limits.checked(self.labels), self.drop_name.tolist(), strict=True)
        ]
        return merge_same_labels(StepVector.of(labels, self.values, self.present))

    def _same_name(self) -> bool:
        """Whether all series have the same metric name."""
        firsts = {series[0] if series else None for series in self.labels}
        first = firsts.pop()
        return not firsts and first is not None and first[0] == METRIC_NAME


def take_rows(array: npt.NDArray[Element], index: IntArray) -> npt.NDArray[Element]:
    """array[index], with a look now and then whether the query has to stop."""
    taken = np.empty((len(index), array.shape[1]), array.dtype)
    size = max(1, _TAKEN_AT_ONCE // max(1, array.shape[1]))
    for start in range(0, len(index), size):
        limits.check()
        taken[start : start + size] = array[index[start : start + size]]
    return taken


def _stacked(arrays: Sequence[npt.NDArray[Element]]) -> npt.NDArray[Element]:
    """The rows of all arrays, with a look between two of them whether the query has to stop."""
    rows = sum(map(len, arrays))
    stacked = np.empty((rows, arrays[0].shape[1]), arrays[0].dtype)
    first = 0
    for array in arrays:
        limits.check()
        stacked[first : first + len(array)] = array
        first += len(array)
    return stacked


def concatenate(vectors: Sequence[StepVector], steps: int) -> StepVector:
    """The rows of all vectors, in order."""
    if len(vectors) == 1:
        return vectors[0]
    if not vectors:
        return StepVector.empty(steps)
    return StepVector(
        [series for vector in vectors for series in vector.labels],
        _stacked([vector.values for vector in vectors]),
        _stacked([vector.present for vector in vectors]),
        np.concatenate([vector.drop_name for vector in vectors]),
    )


def merge_same_labels(
    vector: StepVector, error: str = "vector cannot contain metrics with the same labelset"
) -> StepVector:
    """Rows with equal labels made one, which is allowed as long as they have no step in common.

    Raises ExecutionError with the text of `error` where they have.
    """
    group_of_row, keys = group_ids(vector.labels)
    limits.check()
    if len(keys) == len(vector.labels):
        return vector
    first_rows = np.unique(group_of_row, return_index=True)[1]
    values, present = vector.values[first_rows], vector.present[first_rows]
    for row in limits.checked(np.setdiff1d(np.arange(len(vector.labels)), first_rows).tolist()):
        group, shown = group_of_row[row], vector.present[row]
        if (present[group] & shown).any():
            raise ExecutionError(error)
        values[group, shown] = vector.values[row, shown]
        present[group] |= shown
    return StepVector([vector.labels[row] for row in first_rows], values, present, vector.drop_name[first_rows])


def group_ids(keys: Iterable[Key]) -> tuple[IntArray, list[Key]]:
    """For each key the number of its group, int64[S], and the distinct keys in order of first appearance."""
    numbers: dict[Key, int] = {}
    ids = [numbers.setdefault(key, len(numbers)) for key in limits.checked(keys)]
    return np.array(ids, dtype=np.int64), list(numbers)


def drop_metric_name(labels: Labels) -> Labels:
    """The label set less `__name__`, and less what else belongs to the name: `__type__` and `__unit__`."""
    # The name sorts before almost every other label, and labels are in order.
    if labels and labels[0][0] == METRIC_NAME and (len(labels) == 1 or labels[1][0] > _METADATA[-1]):
        return Labels(labels[1:])
    return labels.without(*_METADATA)
