"""Vectors as bytes, bit for bit: NaN payloads and negative zero survive. Matrices: codec.matrix, codec.directory.

    int64[N]             tag 2, CRC-32 of the rest, pcodec's standalone format; without tag and CRC in older files
    float64[N], a row    zlib format at the fastest level, over little-endian floats: 0.01 us a value, a third of the
                         size for what an exporter serves
    float64[T], a series as schema version 1 stored it: one byte, 0 or 1, then for 1 a bitmap of ceil(T/8) bytes that
                         says which values are present, then the present values as pcodec

Bytes that are damaged raise StoreError; only where there is no checksum can they go unnoticed.
pcodec's standalone format: https://github.com/pcodec/pcodec/blob/main/docs/format.md
"""

import zlib
from typing import cast

import numpy as np
from isal import isal_zlib
from pcodec import ChunkConfig, DeltaSpec, ModeSpec
from pcodec.standalone import simple_compress, simple_decompress, simple_decompress_into

from tsdb.errors import StoreError
from tsdb.model import ABSENT, FloatArray, IntArray

# Times, write numbers and ids: they rise.
_RISING = ChunkConfig(compression_level=8, mode_spec=ModeSpec.classic(), delta_spec=DeltaSpec.try_consecutive(1))
_ALL_PRESENT = b"\0"
_WITH_BITMAP = b"\1"
_CHECKSUM_TAG = b"\2"
_CHECKSUM_END = 5
_PCODEC_START = b"pco!"
# isal's type information does not say that it is one.
_DeflateError = cast(type[Exception], isal_zlib.error)


def pack_ints(numbers: IntArray) -> bytes:
    """An int64 vector as bytes."""
    return with_checksum(simple_compress(np.ascontiguousarray(numbers), _RISING))


def unpack_ints(packed: bytes) -> IntArray:
    """The vector of `pack_ints`. Raises StoreError for damaged bytes."""
    body = packed if packed.startswith(_PCODEC_START) else without_checksum(packed)
    try:
        numbers = simple_decompress(body)
    except RuntimeError as error:
        raise _damaged(packed, error) from error
    if numbers is None:
        return np.empty(0, dtype=np.int64)
    if numbers.dtype != np.int64:
        raise _damaged(packed, f"they hold {numbers.dtype} instead of int64")
    unpacked: IntArray = numbers
    return unpacked


def pack_row(values: FloatArray) -> bytes:
    """A float64 vector over series, unalike neighbours, as bytes."""
    return isal_zlib.compress(np.ascontiguousarray(values, dtype="<f8"), isal_zlib.ISAL_BEST_SPEED)


def unpack_row(packed: bytes) -> FloatArray:
    """The vector of `pack_row`; read-only. Raises StoreError for damaged bytes."""
    try:
        return np.frombuffer(inflate(packed), dtype="<f8")
    except ValueError as error:
        raise _damaged(packed, error) from error


def unpack_series(packed: bytes, into: FloatArray) -> None:
    """The samples of one series, with ABSENT where there is none, written to a contiguous vector of their number.

    Raises StoreError for bytes that cannot be read.
    """
    try:
        if packed[:1] == _ALL_PRESENT:
            read = simple_decompress_into(packed[1:], into).n_processed
            if read != len(into):
                raise _damaged(packed, f"they hold {read} values instead of {len(into)}")
        elif packed[:1] == _WITH_BITMAP:
            start = 1 + (len(into) + 7) // 8
            bitmap = np.frombuffer(packed[1:start], dtype=np.uint8)
            present = np.unpackbits(bitmap, count=len(into)).view(np.bool_)
            into[:] = ABSENT
            into[present] = simple_decompress(packed[start:])
        else:
            raise StoreError(f"samples have tag {packed[:1].hex() or 'none'}: expected 00 or 01")
    except (RuntimeError, ValueError) as error:
        raise _damaged(packed, error) from error


def with_checksum(body: bytes) -> bytes:
    """Tag 2, the CRC-32 of some bytes, and the bytes."""
    return _CHECKSUM_TAG + zlib.crc32(body).to_bytes(_CHECKSUM_END - 1, "little") + body


def without_checksum(packed: bytes) -> bytes:
    """The bytes of `with_checksum`. Raises StoreError where they are not the same."""
    if packed[:1] != _CHECKSUM_TAG:
        raise StoreError(f"stored bytes have tag {packed[:1].hex() or 'none'}: this version expects 02")
    body = packed[_CHECKSUM_END:]
    if zlib.crc32(body) != int.from_bytes(packed[1:_CHECKSUM_END], "little"):
        raise _damaged(packed, "their checksum does not match")
    return body


def inflate(packed: bytes) -> bytes:
    """What was deflated in zlib's format. Raises StoreError for damaged bytes."""
    try:
        return isal_zlib.decompress(packed)
    except _DeflateError as error:
        raise _damaged(packed, error) from error


def _damaged(packed: bytes, why: object) -> StoreError:
    return StoreError(f"{len(packed)} stored bytes are damaged: {why}")
