"""The samples of a block, float64[N, T], as a directory and chunks. How they are read: codec.directory.

Values become integers (codec.numbers), integers become residuals: what is left after a series' middle, or its first
value and usual step, are taken away. Series with residuals of like size are packed as a group: its head is paid once,
and no Python runs per series. A group is decoded whole, so it stays small: a read of one series decodes some ten
thousand numbers. The bytes of all groups are cut into chunks of equal size that fill SQLite's pages.

A thorough pass also describes a series by what it differs in from another (bytes received and sent on the loopback
device, free and available memory), and joins groups as long as that makes them smaller.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tsdb.embedded.codec.directory import Directory, pack_group
from tsdb.embedded.codec.numbers import to_integers
from tsdb.embedded.codec.references import subtract_references
from tsdb.embedded.codec.residuals import Residuals, residuals_of
from tsdb.model import ABSENT, FloatArray, IntArray

# A group has at most so many values, or one series.
_GROUP_VALUES = 8192
# Chunks have this many bytes, or twice, four times ... as many: with the heads of rows (at most 12 bytes) and of the
# page (8, and 2 a row) four of them fill a page of SQLite's, of which rows of just any size would leave an eighth to a
# third empty.
_CHUNK_BYTES = 1008
_MOST_CHUNKS = 256
# Series whose residuals have lengths of one class make a group; fine classes are joined afterwards.
_CLASS_BITS = 3.0
_FINE_CLASS_BITS = 1.0
# More than there are classes of one order.
_CLASSES = 256
_NEGATIVE_ZERO_BITS = 1 << 63


@dataclass(frozen=True, slots=True)
class Packed:
    """A packed matrix: `Directory.from_bytes(directory)` reads it. Chunks are numbered from 0."""

    directory: bytes
    chunks: list[bytes]


def pack_matrix(values: FloatArray, *, thorough: bool = True) -> Packed:
    """Pack float64[N, T] of any bit patterns, ABSENT where there is no sample; T is at least 1.

    Thorough costs some four times as much and saves a tenth: for what is kept long.
    """
    bits = values.view(np.uint64)
    changing = (bits != bits[:, :1]).any(axis=1)
    if not changing.any():
        return Packed(Directory.of_constants(values.shape[1], values[:, 0]).to_bytes(), [])
    samples = values[changing]
    runs = _take_runs(samples)
    integers, formulas = to_integers(samples)
    shifts = _trailing_zeros(integers)
    integers >>= shifts[:, None]
    references = subtract_references(integers) if thorough else np.zeros_like(formulas)
    residuals = residuals_of(integers)
    groups = np.full(len(values), -1)
    group_of = np.empty_like(formulas)
    packed: list[bytes] = []
    for rows, group in _joined(residuals) if thorough else _classed(residuals, _CLASS_BITS):
        group_of[rows] = len(packed)
        packed.append(group)
    groups[changing] = group_of
    chunk_bytes, chunks = _cut(b"".join(packed))
    directory = Directory(
        times=values.shape[1],
        chunk_bytes=chunk_bytes,
        groups=groups,
        constants=np.where(changing, ABSENT, values[:, 0]),
        starts=residuals.starts,
        slopes=residuals.slopes,
        references=references,
        orders=residuals.orders,
        formulas=formulas,
        shifts=shifts,
        lengths=np.array([len(group) for group in packed]),
        runs=runs,
    )
    return Packed(directory.to_bytes(), chunks)


def _cut(packed: bytes) -> tuple[int, list[bytes]]:
    """Chunks of equal size, and the size."""
    chunk_bytes = _CHUNK_BYTES
    while len(packed) > chunk_bytes * _MOST_CHUNKS:
        chunk_bytes *= 2
    return chunk_bytes, [packed[start : start + chunk_bytes] for start in range(0, len(packed), chunk_bytes)]


def _take_runs(samples: FloatArray) -> IntArray:
    """Runs int64[R, 4] of what no integer stands for, which is replaced in place by the number before it."""
    bits = samples.view(np.int64)
    special = ~np.isfinite(samples) | (samples.view(np.uint64) == _NEGATIVE_ZERO_BITS)
    rows = np.flatnonzero(special.any(axis=1))
    special, bits = special[rows], bits[rows]
    changed = np.ones_like(special)
    changed[:, 1:] = bits[:, 1:] != bits[:, :-1]
    series, first = np.nonzero(special & changed)
    # A run ends where another value begins.
    ends = np.ones_like(special)
    ends[:, :-1] = changed[:, 1:]
    last = np.nonzero(special & ends)[1]
    runs = np.stack([rows[series], first, last - first + 1, bits[series, first]], axis=1)

    times = np.arange(special.shape[1])
    before = np.maximum.accumulate(np.where(special, -1, times), axis=1)
    after = np.argmin(special, axis=1)
    filled = np.take_along_axis(samples[rows], np.where(before < 0, after[:, None], before), axis=1)
    filled[special.all(axis=1)] = 0
    samples[rows] = filled
    return runs


def _trailing_zeros(integers: IntArray) -> IntArray:
    """How many low bits are zero in every number of a row."""
    together = np.bitwise_or.reduce(integers, axis=1)
    lowest = (together & -together).view(np.uint64)
    zeros: IntArray = np.log2(np.maximum(lowest, 1).astype(np.float64)).astype(np.int64)
    return zeros


def _classed(residuals: Residuals, class_bits: float) -> Iterator[tuple[IntArray, bytes]]:
    """Groups of series of one order whose residuals have about the same length, and which series they hold."""
    classes = residuals.orders * _CLASSES + np.rint(residuals.bits / class_bits).astype(np.int64)
    by_class = np.argsort(classes, kind="stable")
    edges = np.flatnonzero(np.diff(classes[by_class])) + 1
    most = _most_series(residuals)
    for rows in np.split(by_class, edges):
        for start in range(0, len(rows), most):
            part = rows[start : start + most]
            yield part, _group(residuals, part)


def _joined(residuals: Residuals) -> Iterator[tuple[IntArray, bytes]]:
    """The same, from fine classes joined as long as that makes the file smaller."""
    most = _most_series(residuals)
    waiting: tuple[IntArray, bytes] | None = None
    for rows, group in _classed(residuals, _FINE_CLASS_BITS):
        if waiting is not None:
            both = np.sort(np.concatenate([waiting[0], rows]))
            if len(both) <= most and residuals.orders[rows[0]] == residuals.orders[waiting[0][0]]:
                joined = _group(residuals, both)
                if len(joined) < len(waiting[1]) + len(group):
                    waiting = both, joined
                    continue
            yield waiting
        waiting = rows, group
    if waiting is not None:
        yield waiting


def _most_series(residuals: Residuals) -> int:
    return max(1, _GROUP_VALUES // int(residuals.levels.shape[1]))


def _group(residuals: Residuals, rows: IntArray) -> bytes:
    matrix = residuals.steps if residuals.orders[rows[0]] else residuals.levels
    return pack_group(matrix[rows])
