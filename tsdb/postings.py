"""Postings: by the number of a (label name, value) pair, the rising ids of the series that carry it.

Not thread-safe. What is handed out is a copy: an array cannot grow while a view of it lives.
"""

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from tsdb.model import BoolArray, IntArray

PostingArray = npt.NDArray[np.int32]

# 32 bits are enough for the ids of one store, and half the memory.
_TYPE = "i"


class Postings:
    """The ids of series by pair. Pairs are numbered from 0."""

    def __init__(self) -> None:
        self._ids: list[array[int]] = []

    def add(self, series_id: int, numbers: Sequence[int]) -> None:
        """Add a series, whose id is the greatest so far, to its pairs."""
        self._grow(max(numbers, default=-1) + 1)
        for number in numbers:
            self._ids[number].append(series_id)

    def load(self, series_ids: IntArray, numbers: npt.NDArray[np.int32], ends: IntArray) -> None:
        """Add rising series; the pairs of the n-th are `numbers` up to `ends[n]`, from where those before it end."""
        if not len(numbers):
            return
        self._grow(int(numbers.max()) + 1)
        # Numpy sorts small numbers in linear time.
        order = np.argsort(numbers.astype(np.min_scalar_type(len(self._ids))), kind="stable")
        carriers = np.repeat(series_ids.astype(np.int32), np.diff(ends, prepend=0))[order]
        numbers = numbers[order]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        edges = [*starts.tolist(), len(numbers)]
        for number, start, end in zip(numbers[starts].tolist(), edges, edges[1:], strict=False):
            self._ids[number].frombytes(carriers[start:end].tobytes())

    def count(self, number: int) -> int:
        """How many series carry a pair."""
        return len(self._ids[number])

    def counts(self, numbers: Sequence[int]) -> IntArray:
        """How many series carry each of some pairs."""
        return np.fromiter(map(len, map(self._ids.__getitem__, numbers)), dtype=np.int64, count=len(numbers))

    def joined(self, numbers: Iterable[int]) -> PostingArray:
        """The series of some pairs, one pair after the other."""
        return np.frombuffer(b"".join([self._ids[number] for number in numbers]), dtype=np.int32)

    def keep(self, number: int, kept: BoolArray) -> None:
        """Leave of a pair's series only those of the mask."""
        ids = np.frombuffer(self._ids[number], dtype=np.int32)[kept]
        self._ids[number] = array(_TYPE, ids.tobytes())

    def _grow(self, count: int) -> None:
        while len(self._ids) < count:
            self._ids.append(array(_TYPE))
