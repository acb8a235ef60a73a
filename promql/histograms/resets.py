"""Whether a counter was reset between two native histograms (prometheus FloatHistogram.DetectReset).

It was, where any count became smaller, or where buckets became finer or the zero bucket narrower, which only new
histograms do. That the later one is coarser is not a reset: the earlier one is looked at as coarsely.
"""

import numpy as np

from promql.histograms.arithmetic import at_schema, with_zero_threshold
from promql.histograms.model import Histograms, ResetHint
from tsdb.model import BoolArray, FloatArray, IntArray


def was_reset(current: Histograms, previous: Histograms) -> BoolArray:
    """For each sample whether it follows a reset since the one before it, the same row of `previous`; bool[N].

    What a sample says of itself counts, else the counts do; of gauges, too. Custom bounds that changed are a reset.
    """
    reset = (current.count < previous.count) | (current.custom != previous.custom) | _bounds_changed(current, previous)
    exponential = ~current.custom & ~previous.custom
    finer = (current.schema > previous.schema) | (current.zero_threshold < previous.zero_threshold)
    reset |= exponential & (finer | _cuts_buckets(previous, current.zero_threshold))
    # Rows that are not alike, which are resets already, are not spoilt by being made so.
    earlier = at_schema(with_zero_threshold(previous, current.zero_threshold), current.schema)
    reset |= current.zero_count < earlier.zero_count
    reset |= _less_populated(current, earlier)
    known: BoolArray = (current.hint == ResetHint.RESET) | (current.hint == ResetHint.NOT_RESET)
    told: BoolArray = current.hint == ResetHint.RESET
    return np.where(known, told, reset)


def _bounds_changed(current: Histograms, previous: Histograms) -> BoolArray:
    numbers = {bounds: number for number, bounds in enumerate(current.bounds)}
    renumbered = np.array([numbers.get(bounds, -1) for bounds in previous.bounds])
    changed: BoolArray = current.layout != renumbered[previous.layout]
    return changed


def _cuts_buckets(histograms: Histograms, threshold: FloatArray) -> BoolArray:
    """Which samples have a bucket that is partly within a zero bucket of that threshold."""
    low, high = histograms.edges()
    inner, outer = np.minimum(np.abs(low), np.abs(high)), np.maximum(np.abs(low), np.abs(high))
    own = threshold[histograms.owner]
    wider = own > histograms.zero_threshold[histograms.owner]
    return _any_of(histograms.owner[wider & (inner < own) & (own < outer)], len(histograms))


def _less_populated(current: Histograms, earlier: Histograms) -> BoolArray:
    """Which samples have a bucket that holds less than it did."""
    owner = np.concatenate([current.owner, earlier.owner])
    place = np.concatenate([current.place, earlier.place])
    # A bucket is met once or twice, the current one first.
    grown = np.concatenate([current.population, -earlier.population])
    order = np.lexsort((place, owner))
    owner, place, grown = owner[order], place[order], grown[order]
    is_first = np.ones(len(owner), np.bool_)
    is_first[1:] = (owner[1:] != owner[:-1]) | (place[1:] != place[:-1])
    starts = np.flatnonzero(is_first)
    # Not np.add.reduceat of nothing, which raises.
    changes = np.add.reduceat(grown, starts) if len(starts) else grown
    return _any_of(owner[starts][changes < 0], len(current))


def _any_of(owner: IntArray, samples: int) -> BoolArray:
    found: BoolArray = np.bincount(owner, minlength=samples) > 0
    return found
