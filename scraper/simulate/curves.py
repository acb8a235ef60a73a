"""Values over time as vectors.

Every level (a gauge, or the rate of a counter) is a sum of a constant and of sine waves with fixed periods. Over the
basis `[1, t, sin(w_k t), cos(w_k t)]` it is a vector, and so is its integral: a body's values are one product of a
matrix with the basis at a time. Sums of levels are sums of vectors, so what belongs together stays consistent: the
modes of a CPU add up to 1 at every instant, and its seconds to the uptime.
"""

import math
from random import Random

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

DAY_S = 86_400.0
_PERIODS_S = (DAY_S, 7 * DAY_S, 4_571.0, 1_021.0, 233.0, 61.0)
"""The day, the week, and four that share no factor: together they look like noise."""

_COUNT = len(_PERIODS_S)
_OMEGA = 2 * math.pi / np.array(_PERIODS_S)
_SIN = slice(2, 2 + _COUNT)
_COS = slice(2 + _COUNT, 2 + 2 * _COUNT)


def basis(time_s: float) -> Vector:
    """What the vectors of this module are multiplied with for their values at a time."""
    angles = _OMEGA * time_s
    return np.concatenate(([1.0, time_s], np.sin(angles), np.cos(angles)))


def constant(level: float) -> Vector:
    """A level that does not move."""
    vector = np.zeros(2 + 2 * _COUNT)
    vector[0] = level
    return vector


def wave(random: Random, mean: float, day: float = 0.4, week: float = 0.1, noise: float = 0.3) -> Vector:
    """A level around a mean, between `mean * (1 - day - week - noise)` and `mean * (1 + day + week + noise)`.

    The shares are those of the day's curve (highest about noon UTC), of the week's, and of the noise.
    """
    weights = [random.uniform(0.5, 1.5) for _ in _PERIODS_S[2:]]
    amplitudes = np.array([day, week, *(noise * weight / sum(weights) for weight in weights)]) * mean
    noon = -math.pi / 2 + random.uniform(-0.3, 0.3)
    phases = np.array([noon, *(random.uniform(0, 2 * math.pi) for _ in _PERIODS_S[1:])])
    vector = constant(mean)
    vector[_SIN] = amplitudes * np.cos(phases)
    vector[_COS] = amplitudes * np.sin(phases)
    return vector


def integral(level: Vector) -> Vector:
    """The antiderivative: a counter with this rate is `integral(level) @ (basis(t) - basis(start))`."""
    vector = np.zeros_like(level)
    vector[1] = level[0]
    vector[_SIN] = level[_COS] / _OMEGA
    vector[_COS] = -level[_SIN] / _OMEGA
    return vector
