"""Series that move as another does: only the difference is worth storing.

Hosts serve many: octets received and sent on the loopback device, free and available space, memory by two groupings.
Candidates are found by the correlation of steps, on a scale where one burst does not hide the rest.
"""

import numpy as np

from tsdb.embedded.codec.residuals import residuals_of
from tsdb.model import FloatArray, IntArray

# Columns that are enough to see a correlation.
_SAMPLED = 512
_LEAST_CORRELATION = 0.5
# What a reference must save, as bits of a residual.
_LEAST_GAIN_BITS = 0.25
# The second round finds another for series whose best one refers itself.
_ROUNDS = 2


def subtract_references(integers: IntArray) -> IntArray:
    """Choose references int64[S] for rows int64[S, T] (see codec.directory), and subtract them in place."""
    references = np.zeros(len(integers), dtype=np.int64)
    bits = residuals_of(integers).bits
    changes = integers - integers[:, :1]
    correlations = _correlations(changes)
    for _ in range(_ROUNDS):
        # Rows that refer cannot be referred to, and the other way round.
        correlations[:, references != 0] = 0
        free = references == 0
        free[np.abs(references[references != 0]) - 1] = False
        correlations[~free] = 0
        others = np.abs(correlations).argmax(axis=1)
        signs = np.sign(correlations[np.arange(len(others)), others]).astype(np.int64)
        tried = np.flatnonzero(signs)
        if not len(tried):
            break
        differences = integers[tried] - signs[tried, None] * changes[others[tried]]
        gains = bits[tried] - residuals_of(differences).bits
        for number in np.argsort(-gains):
            if gains[number] < _LEAST_GAIN_BITS:
                break
            row, other = tried[number], others[tried[number]]
            if free[row] and not references[other]:
                references[row] = signs[row] * (other + 1)
                free[other] = False
                integers[row] = differences[number]
    return references


def _correlations(changes: IntArray) -> FloatArray:
    """Of the steps of all pairs of rows, float64[S, S]; 0 on the diagonal and where it is small."""
    sampled = changes[:, :: -(-changes.shape[1] // _SAMPLED)]
    steps = np.diff(sampled, axis=1).astype(np.float32)
    steps = np.sign(steps) * np.log2(np.abs(steps) + 1)
    steps -= steps.mean(axis=1, keepdims=True)
    steps /= np.maximum(np.sqrt((steps * steps).sum(axis=1, keepdims=True)), 1e-6)
    correlations: FloatArray = steps @ steps.T
    np.fill_diagonal(correlations, 0)
    correlations[np.abs(correlations) < _LEAST_CORRELATION] = 0
    return correlations
