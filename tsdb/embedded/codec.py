"""Vectors as bytes, bit for bit: NaN payloads and negative zero survive.

    int64[N]             pcodec, standalone format
    float64[N], a row    zlib format at the fastest level, over little-endian floats: 0.01 us a value, a third of the
                         size for what an exporter serves
    float64[T], a series one byte, 0 or 1, then for 1 a bitmap of ceil(T/8) bytes that says which values are present,
                         then the present values as pcodec

pcodec's standalone format: https://github.com/pcodec/pcodec/blob/main/docs/format.md
"""

import numpy as np
from isal import isal_zlib
from pcodec import ChunkConfig
from pcodec.standalone import simple_compress, simple_decompress, simple_decompress_into

from tsdb.model import ABSENT, ABSENT_BITS, FloatArray, IntArray

# Of 0 to 12: beyond it, on real scrapes, a tenth of the size costs twice the time.
_CONFIG = ChunkConfig(compression_level=6)

_ALL_PRESENT = b"\0"
_WITH_BITMAP = b"\1"


def pack_ints(numbers: IntArray) -> bytes:
    """An int64 vector as bytes."""
    packed: bytes = simple_compress(np.ascontiguousarray(numbers), _CONFIG)
    return packed


def unpack_ints(packed: bytes) -> IntArray:
    """The vector of `pack_ints`."""
    numbers = simple_decompress(packed)
    return np.empty(0, dtype=np.int64) if numbers is None else numbers


def pack_row(values: FloatArray) -> bytes:
    """A float64 vector over series, unalike neighbours, as bytes."""
    return isal_zlib.compress(np.ascontiguousarray(values, dtype="<f8"), isal_zlib.ISAL_BEST_SPEED)


def unpack_row(packed: bytes) -> FloatArray:
    """The vector of `pack_row`; read-only."""
    return np.frombuffer(isal_zlib.decompress(packed), dtype="<f8")


def pack_series(values: FloatArray) -> bytes:
    """The samples of one series, float64[T] with ABSENT where there is none, as bytes."""
    present = values.view(np.uint64) != ABSENT_BITS
    if present.all():
        head = _ALL_PRESENT
    else:
        head = _WITH_BITMAP + np.packbits(present).tobytes()
        values = values[present]
    samples: bytes = simple_compress(values, _CONFIG)
    return head + samples


def unpack_series(packed: bytes, into: FloatArray) -> None:
    """The samples of `pack_series`, written to a contiguous vector of their number."""
    if packed[:1] == _ALL_PRESENT:
        simple_decompress_into(packed[1:], into)
        return
    start = 1 + (len(into) + 7) // 8
    bitmap = np.frombuffer(packed[1:start], dtype=np.uint8)
    present = np.unpackbits(bitmap, count=len(into)).view(np.bool_)
    into[:] = ABSENT
    into[present] = simple_decompress(packed[start:])
