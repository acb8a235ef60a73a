"""What the fast readers take out of a body: vectors of what changes from scrape to scrape."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from exposition.model import Exemplar

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]


class Readings(NamedTuple):
    """The values of N samples in the order of the body, as float64[N]; every NaN is the canonical one.

    `times_ms` is int64[N] where some sample brings a time of its own, with 0 for those that do not. `exemplars` are
    pairs of a sample's index and its exemplar.
    """

    values: FloatArray
    times_ms: IntArray | None = None
    exemplars: tuple[tuple[int, Exemplar], ...] = ()
