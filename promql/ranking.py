"""Which samples of a group topk, bottomk, limitk and limit_ratio let through: masks bool[S, K]."""

import numpy as np

from common.labels import Labels
from promql.hashing import hash_labels
from tsdb.model import BoolArray, FloatArray, IntArray


def select_greatest(values: FloatArray, present: BoolArray, limits: IntArray) -> BoolArray:
    """The k greatest of each step, the first of equals, NaN only for want of numbers; `limits` int64[K]."""
    is_number = present & ~np.isnan(values)
    numbers = is_number.sum(axis=0)
    selected: BoolArray = is_number & (numbers <= limits)
    short = limits > numbers
    if short.any():
        not_numbers = present & ~is_number & short
        selected |= not_numbers & (np.cumsum(not_numbers, axis=0) <= limits - numbers)
    full = np.flatnonzero((numbers > limits) & (limits > 0))
    if len(full):
        candidates = np.where(is_number[:, full], values[:, full], -np.inf)
        selected[:, full] = _above_threshold(candidates, is_number[:, full], limits[full])
    return selected


def _above_threshold(values: FloatArray, is_number: BoolArray, limits: IntArray) -> BoolArray:
    """For steps with more numbers than their limit, 1 or more: those above the k-th, and of its equals the first."""
    by_step = np.ascontiguousarray(values.T)
    if len(np.unique(limits)) == 1:
        place = values.shape[0] - int(limits[0])
        threshold = np.partition(by_step, place, axis=1)[:, place]
    else:
        threshold = np.sort(by_step, axis=1)[np.arange(len(limits)), values.shape[0] - limits]
    above: BoolArray = values > threshold
    equal = is_number & (values == threshold)
    wanted = limits - above.sum(axis=0)
    if (equal.sum(axis=0) > wanted).any():
        equal &= np.cumsum(equal, axis=0) <= wanted
    above |= equal
    return above


def select_first(present: BoolArray, limits: IntArray) -> BoolArray:
    """The first k of each step."""
    return present & (np.cumsum(present, axis=0) <= limits)


def select_ratio(labels: list[Labels], present: BoolArray, ratios: FloatArray) -> BoolArray:
    """A share of the series, the same as in Prometheus; a negative ratio selects what its complement leaves."""
    places = np.array([hash_labels(series) / 2.0**64 for series in labels])[:, np.newaxis]
    chosen = np.where(ratios >= 0, places < ratios, places >= 1.0 + ratios)
    selected: BoolArray = present & chosen & (ratios != 0)
    return selected
