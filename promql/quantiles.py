"""Quantiles of samples, as prometheus promql/quantile.go defines them: linear between ranks, NaN below all else."""

import numpy as np

from tsdb.model import FloatArray, IntArray


def quantile_last_axis(samples: FloatArray, quantiles: FloatArray) -> FloatArray:
    """The quantile of each run of n samples: float64[..., n] and float64[...] to float64[...].

    The samples are sorted in place.
    """
    samples.sort(axis=-1)
    first = quantiles.flat[0]
    if 0 <= first <= 1 and (quantiles == first).all() and not np.isnan(samples[..., -1]).any():
        rank = first * (samples.shape[-1] - 1)
        lower = int(rank)
        upper = min(lower + 1, samples.shape[-1] - 1)
        weighted: FloatArray = samples[..., lower] * (1 - (rank - lower)) + samples[..., upper] * (rank - lower)
        return weighted
    counts = np.full(samples.shape[:-1], samples.shape[-1])
    return quantile_sorted(samples, counts, quantiles)


def quantile_sorted(ordered: FloatArray, counts: IntArray, quantiles: FloatArray) -> FloatArray:
    """The same of runs in numpy's order, where NaN comes last; `counts` of each run's samples count, int[...].

    What does not count is NaN, too, so that the order says nothing of which are which.
    """
    numbers = np.minimum(ordered.shape[-1] - np.isnan(ordered).sum(axis=-1), counts)
    ranks = np.clip(np.nan_to_num(quantiles), 0.0, 1.0) * (counts - 1)
    lower = np.floor(ranks).astype(np.int64)
    upper = np.minimum(lower + 1, np.maximum(counts - 1, 0))
    weight = ranks - lower

    def at(rank: IntArray) -> FloatArray:
        # The first ranks are the NaN that count; any NaN, or in a full run the element at `numbers`, is one.
        place = rank - (counts - numbers)
        chosen = np.take_along_axis(ordered, np.maximum(place, 0)[..., np.newaxis], axis=-1)[..., 0]
        return np.where(place < 0, np.nan, chosen)

    results = at(np.maximum(lower, 0)) * (1 - weight) + at(upper) * weight
    results = np.where(quantiles < 0, -np.inf, np.where(quantiles > 1, np.inf, results))
    return np.where(np.isnan(quantiles) | (counts == 0), np.nan, results)
