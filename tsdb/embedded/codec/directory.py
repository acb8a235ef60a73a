"""What a packed matrix says of itself, and how its samples come back. How it is made: codec.matrix.

    directory    int64 numbers, their bytes transposed, deflated
    group        pcodec's wrapped format: head, chunk meta, one page
    chunks       the bytes of all groups, cut at every C bytes

Directory and groups begin with tag 2 and the CRC-32 of the rest (codec.with_checksum).

The numbers of a directory, for N series at T times of which S change, in G groups, with R runs:

    N, T, S, G, R, C, group[N], constant[N - S], start[S], slope[S], reference[S], order[S], formula[S], shift[S],
    length[G], run[R, 4]

`group` is the number of a series' group, -1 for a series that does not change; `constant` is the bit pattern of its
value. The S series that change are counted in their order in the matrix, and stand in that order in their groups.
A group holds residuals r of series of one order, 0 or 1. They give integers, all sums modulo 2^64:

    order 0    x[t] = start + r[t]
    order 1    x[0] = start, x[t] = x[t - 1] + slope + r[t - 1]
    reference  +-(1 + c): x[t] += +-(y[t] - y[0]) where y are the integers of changing series c, which has none itself

Integers shifted left by `shift` are the numbers that `formula` (codec.numbers) makes values of. A run (series, first
time, length, bits) overwrites values with one bit pattern: ABSENT, NaN, infinity or -0.0.

pcodec's wrapped format: https://github.com/pcodec/pcodec/blob/main/docs/format.md
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Self

import numpy as np
from pcodec import ChunkConfig, DeltaSpec, ModeSpec
from pcodec.wrapped import FileCompressor, FileDecompressor

from tsdb.embedded.codec.numbers import to_floats
from tsdb.embedded.codec.vectors import inflate, with_checksum, without_checksum
from tsdb.errors import StoreError
from tsdb.model import ABSENT, FloatArray, IntArray

# Numbers of a directory before its first vector.
_HEAD = 6
# Beyond level 8 of 12 a thousandth of the size costs a third of the time.
_CONFIG = ChunkConfig(compression_level=8, mode_spec=ModeSpec.classic(), delta_spec=DeltaSpec.no_op())
_COMPRESSOR = FileCompressor()
_PCODEC_HEAD: bytes = _COMPRESSOR.write_header()


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """The directory of a matrix float64[N, T]; int64 vectors as the module says."""

    times: int
    chunk_bytes: int
    groups: IntArray
    constants: FloatArray
    """float64[N], the value of each series that does not change; ABSENT for those in groups."""
    starts: IntArray
    slopes: IntArray
    references: IntArray
    orders: IntArray
    formulas: IntArray
    shifts: IntArray
    lengths: IntArray
    runs: IntArray
    """int64[R, 4]"""

    @classmethod
    def of_constants(cls, times: int, constants: FloatArray) -> Self:
        """A directory of series that do not change."""
        none = np.empty(0, dtype=np.int64)
        groups = np.full(len(constants), -1)
        return cls(times, 1, groups, constants, none, none, none, none, none, none, none, none.reshape(0, 4))

    def to_bytes(self) -> bytes:
        """As stored."""
        constants = self.constants[self.groups < 0].view(np.int64)
        sizes = [len(self.groups), self.times, len(self.starts), len(self.lengths), len(self.runs), self.chunk_bytes]
        series = (self.starts, self.slopes, self.references, self.orders, self.formulas, self.shifts)
        numbers = np.concatenate([np.array(sizes), self.groups, constants, *series, self.lengths, self.runs.ravel()])
        transposed = numbers.astype("<i8").view(np.uint8).reshape(-1, 8).T
        return with_checksum(zlib.compress(transposed.tobytes()))

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """Read `to_bytes`. Raises StoreError for bytes that are damaged."""
        transposed = np.frombuffer(inflate(without_checksum(packed)), dtype=np.uint8)
        numbers = np.ascontiguousarray(transposed.reshape(8, -1).T).view("<i8").ravel()
        count, times, changing, in_groups, in_runs, chunk_bytes = numbers[:_HEAD].tolist()
        bounds = accumulate([_HEAD, count, count - changing, *[changing] * 6, in_groups, 4 * in_runs])
        groups, fixed, starts, slopes, references, orders, formulas, shifts, lengths, runs = (
            numbers[start:end] for start, end in pairwise(bounds)
        )
        constants = np.full(count, ABSENT)
        constants[groups < 0] = fixed.view(np.float64)
        runs = runs.reshape(in_runs, 4)
        return cls(
            times, chunk_bytes, groups, constants, starts, slopes, references, orders, formulas, shifts, lengths, runs
        )

    def chunks_of(self, columns: IntArray) -> IntArray:
        """The numbers, rising, of the chunks that `unpack` needs for some places of the matrix."""
        rows = self._with_references(self._rows(columns))
        numbers: set[int] = set()
        for group in set(self._group_of()[rows].tolist()):
            numbers.update(self._chunks_of_group(group))
        return np.array(sorted(numbers), dtype=np.int64)

    def unpack(self, columns: IntArray, chunks: Mapping[int, bytes]) -> FloatArray:
        """The samples of some places, each named once, float64[K, T]. `chunks` are those of `chunks_of` at least.

        Raises StoreError where a chunk is missing or damaged.
        """
        values = np.repeat(self.constants[columns][:, None], self.times, axis=1)
        rows = self._rows(columns)
        if len(rows):
            values[self.groups[columns] >= 0] = self._samples(rows, chunks)
        return values

    def _group_of(self) -> IntArray:
        """The group of each changing series, int64[S]."""
        return self.groups[self.groups >= 0]

    def _chunks_of_group(self, group: int) -> range:
        start = int(self.lengths[:group].sum())
        last = start + int(self.lengths[group]) - 1
        return range(start // self.chunk_bytes, last // self.chunk_bytes + 1)

    def _packed_group(self, group: int, chunks: Mapping[int, bytes]) -> bytes:
        numbers = self._chunks_of_group(group)
        for number in numbers:
            if number not in chunks:
                raise StoreError(f"chunk {number} of a block is missing")
        start = int(self.lengths[:group].sum()) - numbers[0] * self.chunk_bytes
        return b"".join([chunks[number] for number in numbers])[start : start + int(self.lengths[group])]

    def _rows(self, columns: IntArray) -> IntArray:
        """Which changing series some places are; those that do not change are left out."""
        changing = self.groups >= 0
        counted: IntArray = np.cumsum(changing)[columns] - 1
        return counted[changing[columns]]

    def _with_references(self, rows: IntArray) -> IntArray:
        """These and the series they refer to, rising."""
        references = self.references[rows]
        if not references.any():
            return np.sort(rows)
        return np.unique(np.concatenate([rows, np.abs(references[references != 0]) - 1]))

    def _samples(self, rows: IntArray, chunks: Mapping[int, bytes]) -> FloatArray:
        needed = self._with_references(rows)
        integers = self._integers(needed, chunks)
        chosen = integers[np.searchsorted(needed, rows)]
        references = self.references[rows]
        referring = np.flatnonzero(references)
        if len(referring):
            others = integers[np.searchsorted(needed, np.abs(references[referring]) - 1)]
            chosen[referring] += np.sign(references[referring])[:, None] * (others - others[:, :1])
        chosen <<= self.shifts[rows][:, None]
        values = to_floats(chosen, self.formulas[rows])
        if len(self.runs):
            self._overwrite(rows, values)
        return values

    def _integers(self, needed: IntArray, chunks: Mapping[int, bytes]) -> IntArray:
        """Integers of changing series before references, int64[len(needed), T]; `needed` rises."""
        integers = np.empty((len(needed), self.times), dtype=np.int64)
        group_of = self._group_of()
        group_of_needed = group_of[needed]
        for group in set(group_of_needed.tolist()):
            members = np.flatnonzero(group_of == group)
            at = np.flatnonzero(group_of_needed == group)
            order = int(self.orders[members[0]])
            residuals = unpack_group(self._packed_group(group, chunks), len(members), self.times - order)
            if len(at) < len(members):
                residuals = residuals[np.searchsorted(members, needed[at])]
            starts = self.starts[needed[at], None]
            if order:
                residuals += self.slopes[needed[at], None]
                np.cumsum(residuals, axis=1, out=residuals)
                integers[at, :1] = starts
            residuals += starts
            integers[at, order:] = residuals
        return integers

    def _overwrite(self, rows: IntArray, values: FloatArray) -> None:
        by_row = np.full(len(self.starts), -1)
        by_row[rows] = np.arange(len(rows))
        runs = self.runs[by_row[self.runs[:, 0]] >= 0]
        if len(runs):
            series, first, length, bits = runs.T
            # Where in its run each overwritten value is.
            within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
            at = np.repeat(by_row[series], length), np.repeat(first, length) + within
            values.view(np.int64)[at] = np.repeat(bits, length)


def pack_group(residuals: IntArray) -> bytes:
    """A group of int64[S, T]."""
    compressor = _COMPRESSOR.chunk_compressor(np.ascontiguousarray(residuals).ravel(), _CONFIG)
    return with_checksum(_PCODEC_HEAD + compressor.write_meta() + compressor.write_page(0))


def unpack_group(packed: bytes, series: int, times: int) -> IntArray:
    """The residuals of `pack_group`. Raises StoreError for bytes that are damaged."""
    body = without_checksum(packed)
    residuals = np.empty(series * times, dtype=np.int64)
    try:
        file, read = FileDecompressor.new(body)
        body = body[read:]
        chunk, read = file.chunk_decompressor(body, "i64")
        chunk.read_page_into(body[read:], len(residuals), residuals)
    except RuntimeError as error:
        raise StoreError(f"a group of {series} series at {times} times cannot be read: {error}") from error
    return residuals.reshape(series, times)
