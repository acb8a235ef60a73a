"""The hash of a label set that Prometheus samples series by: XXH64 over its labels, in the order of their names.

The bytes are those of prometheus model/labels (labels_stringlabels.go), the algorithm is that of the xxHash
specification, doc/xxhash_spec.md.
"""

from common.labels import Labels

_PRIMES = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
_P1, _P2, _P3, _P4, _P5 = _PRIMES
_MASK = (1 << 64) - 1
_STRIPE_BYTES = 32
# A size that is no longer one byte.
_LONG_SIZE = 255


def hash_labels(labels: Labels) -> int:
    """The hash of a label set, 0 to 2**64 - 1."""
    data = bytearray()
    for pair in labels:
        for text in pair:
            encoded = text.encode("utf-8", "surrogateescape")
            size = len(encoded)
            data += bytes([size]) if size < _LONG_SIZE else bytes([_LONG_SIZE]) + size.to_bytes(3, "little")
            data += encoded
    return xxh64(bytes(data))


def xxh64(data: bytes) -> int:
    """XXH64 with seed 0."""
    end_of_stripes = len(data) - len(data) % _STRIPE_BYTES
    accumulator = _stripes(data[:end_of_stripes]) if end_of_stripes else _P5
    accumulator = (accumulator + len(data)) & _MASK
    position = end_of_stripes
    while position + 8 <= len(data):
        accumulator ^= _round(0, int.from_bytes(data[position : position + 8], "little"))
        accumulator = (_rotate(accumulator, 27) * _P1 + _P4) & _MASK
        position += 8
    if position + 4 <= len(data):
        accumulator ^= int.from_bytes(data[position : position + 4], "little") * _P1 & _MASK
        accumulator = (_rotate(accumulator, 23) * _P2 + _P3) & _MASK
        position += 4
    for byte in data[position:]:
        accumulator = _rotate(accumulator ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    return _avalanche(accumulator)


def _stripes(data: bytes) -> int:
    """Four lanes of eight bytes each, and what they converge to."""
    lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
    for position in range(0, len(data), 8):
        lane = position // 8 % 4
        lanes[lane] = _round(lanes[lane], int.from_bytes(data[position : position + 8], "little"))
    accumulator = sum(map(_rotate, lanes, (1, 7, 12, 18))) & _MASK
    for lane_value in lanes:
        accumulator = ((accumulator ^ _round(0, lane_value)) * _P1 + _P4) & _MASK
    return accumulator


def _round(accumulator: int, lane: int) -> int:
    return _rotate((accumulator + lane * _P2) & _MASK, 31) * _P1 & _MASK


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK


def _avalanche(value: int) -> int:
    value = (value ^ value >> 33) * _P2 & _MASK
    value = (value ^ value >> 29) * _P3 & _MASK
    return value ^ value >> 32
