"""The series of a vector in groups by labels.

Rows are brought into the order of their groups, so that each group is a run of rows.
"""

from dataclasses import dataclass

import numpy as np

from common.labels import EMPTY_LABELS, METRIC_NAME, Labels
from promql import limits
from promql.vector import StepVector, group_ids
from tsdb.model import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The series of a vector in runs by group: group g has the rows starts[g] : starts[g + 1].

    `series` are the labels of each row; within a group they are in the order of the vector.
    """

    labels: list[Labels]
    drop_name: BoolArray
    starts: IntArray
    series: StepVector

    def runs(self) -> list[slice]:
        """The rows of each group."""
        ends = [*self.starts[1:].tolist(), len(self.series.labels)]
        return [slice(start, end) for start, end in zip(self.starts.tolist(), ends, strict=True)]

    def sizes(self) -> IntArray:
        """Series in each group, int64[G]."""
        return np.diff(self.starts, append=len(self.series.labels))

    def counts(self) -> FloatArray:
        """Samples in each group and step, float64[G, K]."""
        limits.check()
        present = self.series.present
        if present.all():
            shape = (len(self.labels), present.shape[1])
            return np.broadcast_to(self.sizes()[:, np.newaxis].astype(np.float64), shape)
        return np.add.reduceat(present, self.starts, axis=0, dtype=np.float64)

    def values(self, absent: float) -> FloatArray:
        """The samples, float64[S, K], with a number in the places where there is none."""
        limits.check()
        present = self.series.present
        return self.series.values if present.all() else np.where(present, self.series.values, absent)


def make_groups(vector: StepVector, names: tuple[str, ...], *, without: bool) -> Groups:
    """The groups of a `by` or `without` clause, in order of first appearance; the vector is not empty."""
    if not names and not without:
        return Groups([EMPTY_LABELS], vector.drop_name[:1], np.zeros(1, np.int64), vector)
    chosen = {*names, METRIC_NAME} if without else set(names)
    if without:
        group_of, keys = group_ids([tuple([p for p in series if p[0] not in chosen]) for series in vector.labels])
    else:
        group_of, keys = group_ids([tuple([p for p in series if p[0] in chosen]) for series in vector.labels])
    labels = [Labels(key) for key in keys]
    rows = np.argsort(group_of, kind="stable")
    starts = np.searchsorted(group_of[rows], np.arange(len(labels)))
    return Groups(labels, vector.drop_name[rows[starts]], starts, vector.rows(rows))
