"""What is packed comes back bit for bit, whatever the bits; what is damaged says so."""

import contextlib
import zlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pcodec import ChunkConfig
from pcodec.standalone import simple_compress

from tsdb.embedded.codec import vectors as codec
from tsdb.embedded.codec.directory import Directory
from tsdb.embedded.codec.matrix import Packed, pack_matrix
from tsdb.embedded.codec.numbers import BIT_PATTERN, to_floats, to_integers
from tsdb.errors import StoreError
from tsdb.model import ABSENT, ABSENT_BITS, STALE_NAN, STALE_NAN_BITS, FloatArray, IntArray

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
    codec.unpack_series(older_samples(values), into)
    assert into.tobytes() == values.tobytes()
    assert codec.unpack_row(codec.pack_row(values)).tobytes() == values.tobytes()


def older_samples(values: FloatArray) -> bytes:
    """As schema version 1 stored a series."""
    present = values.view(np.uint64) != ABSENT_BITS
    head = b"\0" if present.all() else b"\1" + np.packbits(present).tobytes()
    samples: bytes = simple_compress(values[present], ChunkConfig(compression_level=6))
    return head + samples


@given(arrays.arrays(np.int64, st.integers(0, 300), elements=st.integers(-(2**63), 2**63 - 1)))
@example(np.arange(480) * 15_000 + 1_700_000_000_000)
def test_numbers(numbers: IntArray) -> None:
    unpacked = codec.unpack_ints(codec.pack_ints(numbers))
    assert unpacked.dtype == np.int64
    assert unpacked.tobytes() == numbers.tobytes()


# Matrices

plain_floats = st.one_of(
    st.integers(-(2**60), 2**60).map(float),
    st.integers(-(10**6), 10**6).map(lambda number: number / 100),
    st.integers(0, 10**9).map(lambda number: number * 0.001),
    st.floats(),
)
matrices = st.one_of(
    arrays.arrays(np.uint64, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=bit_patterns).map(
        lambda bits: bits.view(np.float64)
    ),
    arrays.arrays(np.float64, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=plain_floats),
)


@given(matrices, st.booleans(), st.data())
def test_a_matrix(values: FloatArray, thorough: bool, data: st.DataObject) -> None:
    packed = pack_matrix(values, thorough=thorough)
    columns = np.array(data.draw(st.lists(st.integers(0, len(values) - 1), unique=True)), dtype=np.int64)
    assert unpacked(packed, columns).tobytes() == values[columns].tobytes()


def host(times: int = 240, seed: int = 1) -> FloatArray:
    """One series of every kind that the encoding treats in a way of its own, float64[N, times]."""
    random = np.random.default_rng(seed)
    octets = np.cumsum(random.poisson(50_000, times))
    pages = 2**33 + 4096 * np.cumsum(random.integers(-500, 500, times))
    milliseconds = np.cumsum(random.integers(0, 40, times))
    gone, holes, odd = (np.cumsum(random.poisson(9, times)).astype(np.float64) for _ in range(3))
    gone[times // 2] = STALE_NAN
    gone[times // 2 + 1 :] = ABSENT
    holes[random.random(times) < 0.1] = ABSENT
    odd[[0, 3, 4, 9]] = [-0.0, np.inf, -np.inf, np.nan]
    return np.stack(
        [
            np.full(times, 7.0),
            np.full(times, ABSENT),
            np.full(times, np.nan),
            octets.astype(np.float64),
            octets + 1000.0 * 9_000,
            3.0 * 2**40 - octets,
            pages.astype(np.float64),
            np.cumsum(random.integers(1490, 1500, times)) / 100,
            milliseconds * 0.001,
            milliseconds * 977 / 1000 / 1000,
            random.integers(10**5, 10**7, times) / 1e9,
            random.normal(50, 10, times),
            np.cumsum(random.random(times)),
            np.where(random.random(times) < 0.02, 1.0, 0.0),
            1_795_518_660.0 + 15 * np.arange(times) + random.random(times) / 100,
            random.random(times) * 5e-324 * 1000,
            (random.random(times) - 0.5) * 1.7e308,
            np.full(times, np.nan),
            gone,
            holes,
            odd,
        ]
    )


@pytest.mark.parametrize("thorough", [False, True])
@pytest.mark.parametrize("times", [1, 2, 3, 120, 5760])
def test_a_host(times: int, thorough: bool) -> None:
    values = host(max(times, 20))[:, :times].copy()
    packed = pack_matrix(values, thorough=thorough)
    assert unpacked(packed, np.arange(len(values))).tobytes() == values.tobytes()
    for column in range(len(values)):
        assert unpacked(packed, np.array([column])).tobytes() == values[column].tobytes()


def test_every_way_of_describing_a_series_is_used() -> None:
    directory = Directory.from_bytes(pack_matrix(host()).directory)
    assert {1, -1, 0} <= set(np.sign(directory.references))
    assert set(directory.orders) == {0, 1}
    assert directory.shifts.max() == 12
    assert {BIT_PATTERN, 1} < set(directory.formulas)
    assert set(directory.runs[:, 3].view(np.uint64)) >= {ABSENT_BITS, STALE_NAN_BITS, 1 << 63, 0x7FF0000000000000}
    assert (directory.groups < 0).sum() == 4


def test_a_series_that_is_referred_to_does_not_refer_itself() -> None:
    """Each series is likest to the one before it."""
    random = np.random.default_rng(1)
    values = np.cumsum(np.cumsum(random.integers(-100, 100, (30, 240)), axis=1), axis=0).astype(np.float64)
    packed = pack_matrix(values)
    directory = Directory.from_bytes(packed.directory)
    referring = directory.references[directory.references != 0]
    assert len(referring) > 5
    assert (directory.references[np.abs(referring) - 1] == 0).all()
    assert unpacked(packed, np.arange(30)).tobytes() == values.tobytes()


@pytest.mark.parametrize("times", [120, 480])
def test_a_matrix_is_smaller_than_series_one_by_one(times: int) -> None:
    values = np.concatenate([host(times, seed) for seed in range(10)])
    one_by_one = sum(len(older_samples(series)) for series in values)
    quick, thorough = (packed_bytes(pack_matrix(values, thorough=thorough)) for thorough in (False, True))
    assert thorough < 0.95 * quick
    assert quick < 0.95 * one_by_one


def packed_bytes(packed: Packed) -> int:
    return len(packed.directory) + sum(map(len, packed.chunks))


def test_a_read_needs_few_chunks() -> None:
    values = np.cumsum(np.random.default_rng(1).integers(0, 1000, (100, 5760)), axis=1).astype(np.float64)
    packed = pack_matrix(values)
    directory = Directory.from_bytes(packed.directory)
    assert len(directory.chunks_of(np.array([5]))) < 10
    assert len(directory.chunks_of(np.arange(100))) == len(packed.chunks) > 100


def test_a_large_block_has_no_more_chunks_than_fit_its_numbers() -> None:
    packed = pack_matrix(np.random.default_rng(1).random((300, 1000)))
    assert sum(map(len, packed.chunks)) > 1_000_000
    assert len(packed.chunks) <= 256


@pytest.mark.parametrize(
    ("by", "again", "times"), [(1, 1, 1.0), (100, 1, 1.0), (1e9, 1, 1.0), (1, 1, 0.001), (1000, 1000, 1.0)]
)
def test_a_formula(by: float, again: float, times: float) -> None:
    numbers = np.random.default_rng(1).integers(-(2**45), 2**45, (3, 500))
    values: FloatArray = numbers / by / again * times
    integers, formulas = to_integers(values)
    assert (integers == numbers).all()
    assert (formulas != BIT_PATTERN).all()
    assert to_floats(integers, formulas).tobytes() == values.tobytes()


def unpacked(packed: Packed, columns: IntArray) -> FloatArray:
    """Some places of a packed matrix, read from no chunks but those asked for."""
    directory = Directory.from_bytes(packed.directory)
    chunks = {number: packed.chunks[number] for number in directory.chunks_of(columns).tolist()}
    return directory.unpack(columns, chunks)


# Damage


@given(st.data())
def test_a_damaged_matrix(data: st.DataObject) -> None:
    """Any byte wrong, or any number of bytes gone from the end."""
    values = host(30)
    packed = pack_matrix(values)
    parts = [packed.directory, *packed.chunks]
    chosen = data.draw(st.integers(0, len(parts) - 1))
    parts[chosen] = damaged(parts[chosen], data)
    with pytest.raises(StoreError):
        unpacked(Packed(parts[0], parts[1:]), np.arange(len(values)))


@given(st.data())
def test_damaged_numbers(data: st.DataObject) -> None:
    with pytest.raises(StoreError):
        codec.unpack_ints(damaged(codec.pack_ints(np.arange(100) * 15_000), data))


@given(st.data())
def test_a_damaged_row_is_an_error_unless_no_value_changed(data: st.DataObject) -> None:
    values = np.arange(100) / 3
    with contextlib.suppress(StoreError):
        assert codec.unpack_row(damaged(codec.pack_row(values), data)).tobytes() == values.tobytes()


@given(st.data())
def test_damaged_samples_are_an_error_or_other_samples(data: st.DataObject) -> None:
    into = np.empty(100)
    values = np.where(np.arange(100) % 7, np.arange(100) / 3, ABSENT)
    with contextlib.suppress(StoreError):
        codec.unpack_series(damaged(older_samples(values), data), into)


def test_what_is_whole_but_something_else() -> None:
    with pytest.raises(StoreError, match="hold float64 instead of int64"):
        codec.unpack_ints(codec.with_checksum(simple_compress(np.ones(3), ChunkConfig())))
    with pytest.raises(StoreError, match="multiple of element size"):
        codec.unpack_row(zlib.compress(b"123456789"))
    with pytest.raises(StoreError, match="hold 3 values instead of 4"):
        codec.unpack_series(older_samples(np.ones(3)), np.empty(4))
    with pytest.raises(StoreError, match="have tag 09: expected 00 or 01"):
        codec.unpack_series(b"\t", np.empty(4))
    with pytest.raises(StoreError, match="have tag none"):
        codec.unpack_ints(b"")


def test_vectors_of_older_files() -> None:
    numbers = np.arange(100) * 15_000
    assert (codec.unpack_ints(simple_compress(numbers, ChunkConfig())) == numbers).all()


def damaged(packed: bytes, data: st.DataObject) -> bytes:
    """One byte wrong, or some gone from the end."""
    place = data.draw(st.integers(0, len(packed) - 1))
    if data.draw(st.booleans()):
        return packed[:place]
    return packed[:place] + bytes([packed[place] ^ data.draw(st.integers(1, 255))]) + packed[place + 1 :]


def test_a_missing_chunk() -> None:
    packed = pack_matrix(host())
    directory = Directory.from_bytes(packed.directory)
    with pytest.raises(StoreError, match="chunk 0 of a block is missing"):
        directory.unpack(np.arange(len(directory.groups)), {})
