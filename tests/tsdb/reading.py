"""Frames read as a dictionary, with the promises of a frame checked on the way."""

import struct
from collections.abc import Sequence

import numpy as np

from common.labels import Labels
from common.matchers import Matcher
from tsdb.model import Frame
from tsdb.store import Queryable

Samples = dict[Labels, list[tuple[int, int]]]
"""By label set: (milliseconds, bits of the value)."""


def bits(value: float) -> int:
    """The bit pattern of a float64."""
    (number,) = struct.unpack("<Q", struct.pack("<d", value))
    return int(number)


def read(store: Queryable, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Samples:
    """What a select gives."""
    found: Samples = {}
    for frame in store.select(matchers, start_ms, end_ms):
        check(frame, start_ms, end_ms)
        for row, labels in enumerate(frame.labels):
            assert labels not in found, f"{labels} is in two frames"
            present = slice(None) if frame.present is None else frame.present[row]
            times, values = frame.times_ms[present], frame.values[row, present]
            found[labels] = list(zip(times.tolist(), values.view(np.uint64).tolist(), strict=True))
            assert found[labels], f"{labels} has no sample"
    return found


def check(frame: Frame, start_ms: int, end_ms: int) -> None:
    """The shapes, types and bounds that Frame and Store.select promise."""
    shape = (len(frame.labels), len(frame.times_ms))
    assert frame.values.shape == shape
    assert min(shape) > 0
    assert frame.series_ids.shape == shape[:1]
    assert frame.values.dtype == np.float64
    assert frame.values.flags.c_contiguous
    assert frame.times_ms.dtype == frame.series_ids.dtype == np.int64
    assert (np.diff(frame.times_ms) > 0).all()
    assert start_ms <= frame.times_ms[0]
    assert frame.times_ms[-1] <= end_ms
    assert frame.present is None or (frame.present.shape == shape and frame.present.dtype == np.bool_)
