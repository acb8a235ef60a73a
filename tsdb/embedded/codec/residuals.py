"""Which residuals describe a series of integers best: of its level, or of its steps.

What a residual costs is taken to be its length in bits: pcodec writes about that, plus what all residuals of a chunk
cost alike.
"""

from dataclasses import dataclass

import numpy as np

from tsdb.model import FloatArray, IntArray

# A middle is found from so many values of a row: it need not be exact, and sorting is slow.
_SAMPLED = 32


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """How each of S series is described; see codec.directory for starts, slopes and orders."""

    orders: IntArray
    starts: IntArray
    slopes: IntArray
    levels: IntArray
    """int64[S, T], the residuals at order 0."""
    steps: IntArray
    """int64[S, T - 1], the residuals at order 1."""
    bits: FloatArray
    """Mean length of a residual at the order chosen, float64[S]."""


def residuals_of(integers: IntArray) -> Residuals:
    """The shortest description of each row of int64[S, T], T at least 2."""
    steps = np.diff(integers, axis=1)
    middles, slopes = _middle(integers), _middle(steps)
    # Where quiet times and busy ones take turns, the middle of the steps suits neither.
    slopes[mean_bits(steps) < mean_bits(steps - slopes[:, None])] = 0
    levels = integers - middles[:, None]
    steps -= slopes[:, None]
    level_bits, step_bits = mean_bits(levels), mean_bits(steps)
    stepping = step_bits < level_bits
    return Residuals(
        orders=stepping.astype(np.int64),
        starts=np.where(stepping, integers[:, 0], middles),
        slopes=np.where(stepping, slopes, 0),
        levels=levels,
        steps=steps,
        bits=np.minimum(level_bits, step_bits),
    )


def mean_bits(residuals: IntArray) -> FloatArray:
    """Mean length in bits of each row."""
    bits: FloatArray = np.log2(np.abs(residuals.astype(np.float64)) + 1).mean(axis=1)
    return bits


def _middle(rows: IntArray) -> IntArray:
    sampled = rows[:, :: max(1, rows.shape[1] // _SAMPLED)]
    place = sampled.shape[1] // 2
    return np.partition(sampled, place, axis=1)[:, place]
