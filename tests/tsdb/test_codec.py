"""What is packed comes back bit for bit."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tsdb.embedded import codec
from tsdb.model import ABSENT_BITS, STALE_NAN_BITS, FloatArray, IntArray

special_bits = st.sampled_from(
    [ABSENT_BITS, STALE_NAN_BITS, 0x7FF8000000000001, 0xFFF0000000000002, 0x8000000000000000, 0x7FF0000000000000, 1]
)
bit_patterns = st.one_of(special_bits, st.integers(0, 2**64 - 1))
vectors = arrays.arrays(np.uint64, st.integers(1, 300), elements=bit_patterns).map(lambda bits: bits.view(np.float64))


@given(vectors)
@example(np.array([ABSENT_BITS], dtype=np.uint64).view(np.float64))
@example(np.array([STALE_NAN_BITS, ABSENT_BITS], dtype=np.uint64).view(np.float64))
def test_values(values: FloatArray) -> None:
    into = np.empty_like(values)
    codec.unpack_series(codec.pack_series(values), into)
    assert into.tobytes() == values.tobytes()
    assert codec.unpack_row(codec.pack_row(values)).tobytes() == values.tobytes()


@given(arrays.arrays(np.int64, st.integers(0, 300), elements=st.integers(-(2**63), 2**63 - 1)))
@example(np.arange(480) * 15_000 + 1_700_000_000_000)
def test_numbers(numbers: IntArray) -> None:
    unpacked = codec.unpack_ints(codec.pack_ints(numbers))
    assert unpacked.dtype == np.int64
    assert unpacked.tobytes() == numbers.tobytes()
