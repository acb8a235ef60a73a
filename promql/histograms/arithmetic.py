"""Native histograms made alike, scaled and added up (prometheus model/histogram/float_histogram.go).

Histograms of several schemas have the coarsest one in common, those of several zero thresholds the widest, wider yet
where that would cut a populated bucket, those of several custom bounds the bounds that all of them have.
"""

from dataclasses import dataclass, replace

import numpy as np

from promql.histograms.model import CUSTOM_SCHEMA, Histograms, ResetHint, places
from promql.summation import group_sums
from tsdb.model import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Added:
    """Sums of G groups, and of which groups something is to be said, bool[G]."""

    sums: Histograms
    hints_collide: BoolArray
    """Some samples follow a counter reset, others do not."""
    bounds_differ: BoolArray
    """Custom bounds had to be reconciled."""


def scaled(histograms: Histograms, factors: FloatArray) -> Histograms:
    """Each sample times a factor, float64[N]; what is turned negative is a gauge."""
    with np.errstate(all="ignore"):
        population = histograms.population * factors[histograms.owner]
        kept = population != 0
        return replace(
            histograms,
            count=histograms.count * factors,
            sum=histograms.sum * factors,
            zero_count=histograms.zero_count * factors,
            hint=np.where(factors < 0, int(ResetHint.GAUGE), histograms.hint),
            owner=histograms.owner[kept],
            place=histograms.place[kept],
            population=population[kept],
        )


def at_schema(histograms: Histograms, schema: IntArray) -> Histograms:
    """The exponential samples at coarser schemas, int64[N], or at their own; custom ones stay as they are.

    A bucket of a schema lies in one of the next coarser one (prometheus reduceResolution).
    """
    schema = np.where(histograms.custom, CUSTOM_SCHEMA, np.minimum(schema, histograms.schema))
    if (schema == histograms.schema).all():
        return histograms
    shift = (histograms.schema - schema)[histograms.owner]
    index = np.where(shift > 0, ((histograms.index - 1) >> shift) + 1, histograms.index)
    return _merged(replace(histograms, schema=schema, place=places(index, histograms.negative)), histograms.owner)


def with_zero_threshold(histograms: Histograms, threshold: FloatArray) -> Histograms:
    """Zero buckets widened to thresholds, float64[N], that cut no bucket: what lies within goes to the zero count."""
    low, high = histograms.edges()
    outer = np.maximum(np.abs(low), np.abs(high))
    swallowed = (outer <= threshold[histograms.owner]) & ~histograms.custom[histograms.owner]
    widened = np.bincount(
        histograms.owner[swallowed], histograms.population[swallowed], minlength=len(histograms)
    ).astype(np.float64)
    return replace(
        histograms,
        zero_threshold=np.where(histograms.custom, 0.0, np.maximum(threshold, histograms.zero_threshold)),
        zero_count=histograms.zero_count + widened,
        owner=histograms.owner[~swallowed],
        place=histograms.place[~swallowed],
        population=histograms.population[~swallowed],
    )


def common_zero_threshold(histograms: Histograms, group: IntArray, groups: int) -> FloatArray:
    """The least threshold of each group, float64[G], that is none of its samples too narrow and cuts no bucket."""
    threshold = np.zeros(groups)
    np.maximum.at(threshold, group, histograms.zero_threshold)
    low, high = histograms.edges()
    inner, outer = np.minimum(np.abs(low), np.abs(high)), np.maximum(np.abs(low), np.abs(high))
    own = group[histograms.owner]
    exponential = ~histograms.custom[histograms.owner]
    # Only where zero buckets differ does one have to grow.
    narrower = histograms.zero_threshold < threshold[group]
    while (cut := exponential & narrower[histograms.owner] & (inner < threshold[own]) & (outer > threshold[own])).any():
        np.maximum.at(threshold, own[cut], outer[cut])
        narrower = histograms.zero_threshold < threshold[group]
    return threshold


def add(histograms: Histograms, group: IntArray, groups: int) -> Added:
    """The sum of each group; `group` is the group of each sample, int64[N], from 0 to below `groups`.

    Every group needs a sample, and its samples are all exponential or all custom: others have no sum.
    """
    schema = np.full(groups, np.iinfo(np.int64).max)
    np.minimum.at(schema, group, histograms.schema)
    # The zero buckets first, as long as buckets are as narrow as they were.
    threshold = common_zero_threshold(histograms, group, groups)
    alike = at_schema(with_zero_threshold(histograms, threshold[group]), schema[group])
    alike, bounds_differ = _with_common_bounds(alike, group, groups)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(groups))
    hint, hints_collide = _hints(histograms.hint, group, groups)
    sums = replace(
        alike,
        schema=schema,
        count=_run_sums(alike.count[order], starts),
        sum=_run_sums(alike.sum[order], starts),
        zero_threshold=threshold,
        zero_count=_run_sums(alike.zero_count[order], starts),
        hint=hint,
        layout=alike.layout[order[starts]],
    )
    return Added(_merged(sums, group[alike.owner]), hints_collide, bounds_differ)


def _merged(histograms: Histograms, owner: IntArray) -> Histograms:
    """Buckets given to samples of `owner`, int64[B], where equal places become one; the order of places is restored."""
    order = np.lexsort((histograms.place, owner))
    owner, place, population = owner[order], histograms.place[order], histograms.population[order]
    is_first = np.ones(len(owner), np.bool_)
    is_first[1:] = (owner[1:] != owner[:-1]) | (place[1:] != place[:-1])
    starts = np.flatnonzero(is_first)
    population = _run_sums(population, starts)
    kept = population != 0
    return replace(histograms, owner=owner[starts][kept], place=place[starts][kept], population=population[kept])


def _run_sums(values: FloatArray, starts: IntArray) -> FloatArray:
    if len(starts) == 0:
        return np.empty(0)
    return group_sums(values[:, np.newaxis], starts)[:, 0]


def _hints(hint: IntArray, group: IntArray, groups: int) -> tuple[IntArray, BoolArray]:
    """One gauge makes a gauge, else one unknown an unknown; a reset and none collide, and nothing is known."""
    has = {kind: np.bincount(group[hint == kind], minlength=groups) > 0 for kind in ResetHint}
    collide = has[ResetHint.RESET] & has[ResetHint.NOT_RESET]
    merged = np.where(has[ResetHint.RESET], int(ResetHint.RESET), int(ResetHint.NOT_RESET))
    merged = np.where(has[ResetHint.UNKNOWN] | collide, int(ResetHint.UNKNOWN), merged)
    return np.where(has[ResetHint.GAUGE], int(ResetHint.GAUGE), merged), collide


def _with_common_bounds(histograms: Histograms, group: IntArray, groups: int) -> tuple[Histograms, BoolArray]:
    """Custom buckets over the bounds that all samples of a group have; each goes to the next bound above."""
    lowest, highest = np.full(groups, np.iinfo(np.int64).max), np.zeros(groups, np.int64)
    np.minimum.at(lowest, group, histograms.layout)
    np.maximum.at(highest, group, histograms.layout)
    differ = lowest != highest
    if not differ.any():
        return histograms, differ
    layouts = {bounds: number for number, bounds in enumerate(histograms.bounds)}
    layout, index = histograms.layout.copy(), histograms.index
    for number in np.flatnonzero(differ).tolist():
        of_group = group == number
        own_layouts = np.unique(histograms.layout[of_group]).tolist()
        common = set.intersection(*[set(histograms.bounds[own]) for own in own_layouts])
        bounds = tuple(sorted(common))
        layout[of_group] = layouts.setdefault(bounds, len(layouts))
        for own in own_layouts:
            moved = (of_group & (histograms.layout == own))[histograms.owner]
            upper = np.array([*histograms.bounds[own], np.inf])
            index[moved] = np.searchsorted(np.array(bounds), upper)[histograms.index[moved]]
    moved_to = replace(histograms, layout=layout, bounds=tuple(layouts), place=places(index, histograms.negative))
    return _merged(moved_to, histograms.owner), differ
