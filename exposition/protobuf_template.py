"""Where in a protobuf body its values are, so that the next body like it is read without looking at its messages.

A double has eight bytes and lies where it lay, as long as everything before it has the same length; a varint does
too while its number needs as many bytes. So two bodies of one length that agree in all other bytes, and in the
continuation bits of varints, hold the same series.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from common.labels import Labels
from exposition.errors import WireError
from exposition.lexing import NORMAL_NAN
from exposition.model import Exemplar
from exposition.readings import BoolArray, ByteArray, IntArray, Readings
from exposition.wire import BYTES, FIXED64, VARINT, read_fields, read_varint


@dataclass(slots=True)
class Places:
    """Where things are in a body of `count` samples, each as (sample, start, end).

    `doubles` and `varints` are values; a sample that has neither is 0. `loose` are ranges (start, end) of bytes that
    say nothing, `loose_varints` those that hold one varint. `exact` says whether the kinds of the values would be
    the same if the values were others.
    """

    count: int = 0
    doubles: list[tuple[int, int, int]] = field(default_factory=list)
    varints: list[tuple[int, int, int]] = field(default_factory=list)
    times: list[tuple[int, int, int]] = field(default_factory=list)
    exemplars: list[tuple[int, int, int]] = field(default_factory=list)
    loose: list[tuple[int, int]] = field(default_factory=list)
    loose_varints: list[tuple[int, int]] = field(default_factory=list)
    exact: bool = True


class ProtobufTemplate:
    """What recognises a body and takes its readings out. `places` are those of `body`."""

    def __init__(self, body: bytes, places: Places) -> None:
        self.timed: BoolArray | None = None
        self._exemplars = places.exemplars
        self._count = places.count
        self._doubles = _spans(places.doubles)
        self._varints = _spans(places.varints)
        self._times = _spans(places.times)
        if places.times:
            self.timed = np.zeros(places.count, dtype=np.bool_)
            for spans in self._times:
                self.timed[spans.samples] = True
        self._mask = self._mask_for(len(body), places)
        self._skeleton: ByteArray = np.frombuffer(body, dtype=np.uint8) & self._mask
        self._exact = places.exact

    def read(self, body: bytes) -> Readings | None:
        """The readings of a body with the same series; None for other bodies."""
        if len(body) != len(self._mask) or not self._exact:
            return None
        if not np.array_equal(np.frombuffer(body, dtype=np.uint8) & self._mask, self._skeleton):
            return None
        try:
            readings = self.take(body)
        except WireError:
            return None  # an exemplar: whoever reads all of the body says what is wrong
        if self.timed is not None and readings.times_ms is not None and not readings.times_ms[self.timed].all():
            return None
        return readings

    def take(self, body: bytes) -> Readings:
        """The readings of a body that is known to be like the template's. Raises WireError for a bad exemplar."""
        text = np.frombuffer(body, dtype=np.uint8)
        values = np.zeros(self._count, dtype=np.float64)
        for spans in self._doubles:
            values[spans.samples] = text.take(spans.offsets()).view("<f8")[:, 0]
        for spans in self._varints:
            values[spans.samples] = _numbers(text.take(spans.offsets()))
        values[np.isnan(values)] = NORMAL_NAN
        times = np.zeros(self._count, dtype=np.int64) if self._times else None
        if times is not None:
            for spans in self._times:
                times[spans.samples] = _numbers(text.take(spans.offsets())).view(np.int64)
        exemplars = tuple([(sample, read_exemplar(body, start, end)) for sample, start, end in self._exemplars])
        return Readings(values, times, exemplars)

    def _mask_for(self, length: int, places: Places) -> ByteArray:
        """The bits of each byte that have to be the same in a body like this one."""
        mask = np.full(length, 0xFF, dtype=np.uint8)
        for spans in self._doubles:
            mask[spans.offsets()] = 0
        for spans in (*self._varints, *self._times):
            mask[spans.offsets()] = 0x80
        for start, end in places.loose_varints:
            mask[start:end] = 0x80
        for start, end in (*places.loose, *[(start, end) for _, start, end in places.exemplars]):
            mask[start:end] = 0
        return mask


class _Spans(NamedTuple):
    """Places of one length in bytes: the samples int[K], and where their bytes begin, int[K]."""

    samples: IntArray
    starts: IntArray
    length: int

    def offsets(self) -> IntArray:
        """int[K, length] of all bytes: made when needed, a template lives as long as its target."""
        return self.starts[:, None] + np.arange(self.length)


def _spans(places: Iterable[tuple[int, int, int]]) -> list[_Spans]:
    by_length: dict[int, list[tuple[int, int]]] = {}
    for sample, start, end in places:
        by_length.setdefault(end - start, []).append((sample, start))
    spans = []
    for length, pairs in by_length.items():
        samples, starts = np.array(pairs, dtype=np.int64).T
        spans.append(_Spans(samples, starts, length))
    return spans


def _numbers(varints: ByteArray) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """uint64[K] of varints uint8[K, length]."""
    shifts = np.arange(varints.shape[1], dtype=np.uint64) * np.uint64(7)
    numbers: np.ndarray[tuple[int], np.dtype[np.uint64]] = np.bitwise_or.reduce(
        (varints & 0x7F).astype(np.uint64) << shifts, axis=1
    )
    return numbers


_LABEL = {1: BYTES, 2: BYTES}
_EXEMPLAR = {1: BYTES, 2: FIXED64, 3: BYTES}
_TIMESTAMP = {1: VARINT, 2: VARINT}


def read_label(body: bytes, start: int, end: int) -> tuple[bytes, bytes]:
    """Name and value of a LabelPair message. Raises WireError."""
    name = value = b""
    for number, _, first, last in read_fields(body, start, end, _LABEL):
        if number == 1:
            name = body[first:last]
        elif number == 2:
            value = body[first:last]
    return name, value


def read_exemplar(body: bytes, start: int, end: int) -> Exemplar:
    """An Exemplar message. Raises WireError. Text that is no UTF-8 is mended: no exemplar is worth a scrape."""
    pairs: list[tuple[str, str]] = []
    value = 0.0
    time_ms = None
    for number, _, first, last in read_fields(body, start, end, _EXEMPLAR):
        if number == 1:
            name, text = read_label(body, first, last)
            pairs.append((name.decode("utf-8", "replace"), text.decode("utf-8", "replace")))
        elif number == 2:
            value = read_double(body, first)
        elif number == 3:
            time_ms = _read_time_ms(body, first, last)
    return Exemplar(Labels.of(pairs), value, time_ms)


def _read_time_ms(body: bytes, start: int, end: int) -> int:
    """A google.protobuf.Timestamp, cut down to milliseconds."""
    seconds = nanoseconds = 0
    for number, _, first, last in read_fields(body, start, end, _TIMESTAMP):
        signed = _signed(read_varint(body, first, last)[0])
        if number == 1:
            seconds = signed
        elif number == 2:
            nanoseconds = signed
    return seconds * 1000 + int(nanoseconds / 1_000_000)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def read_double(body: bytes, start: int) -> float:
    """The double at a place."""
    value: float = struct.unpack_from("<d", body, start)[0]
    return value
