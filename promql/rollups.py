"""Roll-ups in the place of samples, where the answer stays the same.

A window (t - range, t] whose ends are multiples of a resolution is made of whole buckets. Then what some functions say
of its samples follows from the roll-ups of its buckets, each read as one sample at its end; so does what an instant
selector finds at a multiple of the resolution. That pays for long times of which the store has roll-ups. Others go the
usual way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from common.matchers import Matcher
from promql.functions import over_time, rates
from promql.nodes import Call, Node, VectorSelector
from promql.summation import window_sums
from promql.vector import Grid, StepVector
from promql.windows import Samples, Windows, make_windows
from tsdb.model import BoolArray, FloatArray, Frame
from tsdb.rollups import LATEST_MS, RESOLUTIONS_MS, Column, RollupFrame, RollupStore
from tsdb.store import Queryable

# Shorter times have few samples anyway.
_LEAST_SPAN_MS = 24 * 3600 * 1000
# Where sums are larger, the order in which samples are added may decide whether they overflow.
_GREATEST_SUM = 1e290

_Reducer = Callable[..., tuple[FloatArray, BoolArray]]
"""From the windows of each column, over the same buckets, to values and presence: [S, K] or broadcast to it."""


@dataclass(frozen=True, slots=True)
class _Function:
    """A function of a range vector by what it takes from roll-ups."""

    columns: tuple[Column, ...]
    reducer: _Reducer
    keep_name: bool = False


def _avg(sums: Windows, counts: Windows) -> tuple[FloatArray, BoolArray]:
    total, present = over_time.sum_over_time(sums)
    return total / over_time.sum_over_time(counts)[0], present


def _extrapolated(*, counter: bool, per_second: bool) -> _Function:
    """As rates.extrapolated: a window grew from the FIRST of its first bucket to the LAST of its last one."""

    def reduce(
        counts: Windows, firsts: Windows, lasts: Windows, first_ages: Windows, last_ages: Windows, lost: Windows
    ) -> tuple[FloatArray, BoolArray]:
        first = firsts.first(firsts.values)
        grown = lasts.last(lasts.values) - first
        if counter:
            # From a bucket to the next; the last bucket of a window begins no step.
            between = np.where(firsts.values[:, 1:] < lasts.values[:, :-1], lasts.values[:, :-1], 0.0)
            grown = grown + window_sums(lasts, between, lasts.low, lasts.high - 1)
            grown = grown + window_sums(lost, lost.values, lost.low, lost.high)
        sampled = rates.Sampled(
            over_time.sum_over_time(counts)[0],
            first,
            first_ages.first(first_ages.times_ms - first_ages.values),
            last_ages.last(last_ages.times_ms - last_ages.values),
        )
        return rates.extrapolate(grown, sampled, firsts, counter=counter, per_second=per_second)

    columns = (Column.COUNT, Column.FIRST, Column.LAST, Column.FIRST_AGE, Column.LAST_AGE, Column.LOST)
    return _Function(columns, reduce)


_FUNCTIONS = {
    "avg_over_time": _Function((Column.SUM, Column.COUNT), _avg),
    "count_over_time": _Function((Column.COUNT,), over_time.sum_over_time),
    "delta": _extrapolated(counter=False, per_second=False),
    "increase": _extrapolated(counter=True, per_second=False),
    "last_over_time": _Function((Column.LAST,), over_time.last_over_time, keep_name=True),
    "max_over_time": _Function((Column.MAX,), over_time.max_over_time),
    "min_over_time": _Function((Column.MIN,), over_time.min_over_time),
    "present_over_time": _Function((Column.COUNT,), over_time.present_over_time),
    "rate": _extrapolated(counter=True, per_second=True),
    "sum_over_time": _Function((Column.SUM,), over_time.sum_over_time),
}


def select_rollups(
    store: Queryable, reader: Node, matchers: Sequence[Matcher], grid: Grid, range_ms: int
) -> list[RollupFrame] | None:
    """Roll-ups that answer what a node asks of a selector's samples in the windows (t - range, t] of a grid.

    None where samples are needed, or nothing is to be gained.
    """
    match reader:
        case VectorSelector() if range_ms == LATEST_MS:
            columns: tuple[Column, ...] = (Column.LATEST,)
            # The bucket that ends at a step is all that is looked at.
            resolution_ms = _resolution_ms(grid, 0)
            first_ms = grid.start_ms
        case Call() if reader.name in _FUNCTIONS:
            columns = _FUNCTIONS[reader.name].columns
            resolution_ms = _resolution_ms(grid, range_ms)
            first_ms = grid.start_ms - range_ms + (resolution_ms or 0)
        case _:
            return None
    if resolution_ms is None or not isinstance(store, RollupStore):
        return None
    frames = store.select_rollups(matchers, first_ms, grid.end_ms, resolution_ms, columns)
    if frames is not None and Column.SUM in columns and not all(map(_add_up, frames)):
        return None
    return frames


def reduce_rollups(call: Call, frames: Sequence[RollupFrame], grid: Grid, range_ms: int) -> StepVector:
    """The result of a call whose samples `select_rollups` gave."""
    function = _FUNCTIONS[call.name]
    by_column = [
        make_windows([_samples(frame.frame(column)) for frame in frames], grid.times_ms, range_ms)
        for column in function.columns
    ]
    labels, values, present = [], [np.empty((0, grid.count))], [np.empty((0, grid.count), np.bool_)]
    # The columns have values for the same buckets of the same series, so that their windows are the same.
    for parts in zip(*by_column, strict=True):
        for chunks in zip(*(part.chunks() for part in parts), strict=True):
            reduced, shown = function.reducer(*chunks)
            shape = (len(chunks[0].labels), grid.count)
            labels += chunks[0].labels
            values.append(np.broadcast_to(reduced, shape))
            present.append(np.broadcast_to(shown, shape))
    vector = StepVector.of(labels, np.concatenate(values), np.concatenate(present), not function.keep_name)
    return vector.compact()


def _resolution_ms(grid: Grid, range_ms: int) -> int | None:
    """The coarsest resolution whose buckets make the windows of a grid."""
    if grid.end_ms - grid.start_ms + range_ms <= _LEAST_SPAN_MS:
        return None
    lengths = (grid.start_ms, grid.end_ms - grid.start_ms, grid.step_ms, range_ms)
    fitting = [resolution for resolution in RESOLUTIONS_MS if all(length % resolution == 0 for length in lengths)]
    return max(fitting, default=None)


def _add_up(frame: RollupFrame) -> bool:
    """Whether sums of buckets can be added in any order; a NaN makes no difference."""
    return not (np.abs(frame.frame(Column.SUM).values) > _GREATEST_SUM).any()


def _samples(frame: Frame) -> Samples:
    return Samples(frame.labels, np.zeros(len(frame.labels), np.bool_), frame.times_ms, frame.values, frame.present)
