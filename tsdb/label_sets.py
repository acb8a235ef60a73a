"""Label sets by number, without a Python object for each: half a million of them take some 60 bytes each.

Every distinct (name, value) pair has a number, and a label set is the vector of its pairs' numbers. The vectors lie
one after the other in one array. A set is found again by the hash of its vector: a table whose buckets are chains
through the sets. The table grows bucket by bucket (linear hashing, W. Litwin, VLDB 1980), so that no addition has to
wait until a large one is built anew.

Not thread-safe. Numpy views of the arrays must be gone before these can grow: none leaves this module.
"""

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from common.labels import EMPTY_LABELS, Labels
from tsdb.model import BoolArray, IntArray

Pair = tuple[str, str]
Row = list[int]
"""A label set as the numbers of its pairs, in the order of the names."""

_NONE = -1
_HASH_BITS = 0xFFFFFFFF
_NO_PAIR: Pair = ("", "")
# Up to here one after the other is quicker than with numpy.
_FEW = 50


class Rows:
    """Rows one after the other in `flat`; the n-th one starts at `starts[n]`, and one more says where the last ends."""

    def __init__(self) -> None:
        self.flat = array("i")
        self.starts = array("I", (0,))


@dataclass(frozen=True, slots=True, eq=False)
class LabelTable:
    """N label sets by the distinct pairs they are made of.

    `flat` holds numbers of `pairs`, set after set and by name in each; `ends` int64[N] says where each set ends.
    """

    pairs: Sequence[Pair]
    flat: npt.NDArray[np.int32]
    ends: IntArray

    @classmethod
    def of(cls, label_sets: Iterable[Labels]) -> Self:
        """The table of some label sets."""
        numbers: dict[Pair, int] = {}
        rows = [[numbers.setdefault(pair, len(numbers)) for pair in labels] for labels in label_sets]
        flat = np.array([number for row in rows for number in row], dtype=np.int32)
        return cls(list(numbers), flat, np.cumsum(list(map(len, rows)), dtype=np.int64))

    @classmethod
    def join(cls, tables: Sequence[Self]) -> Self:
        """One table with the sets of several."""
        numbers: dict[Pair, int] = {}
        flats = []
        for table in tables:
            own = np.array([numbers.setdefault(pair, len(numbers)) for pair in table.pairs], dtype=np.int32)
            flats.append(own[table.flat])
        lengths = [np.diff(table.ends, prepend=0) for table in tables]
        return cls(list(numbers), np.concatenate(flats), np.cumsum(np.concatenate(lengths)))

    def sorted(self) -> Self:
        """The same sets, with the pairs that they are made of in order and no others."""
        used, flat = np.unique(self.flat, return_inverse=True)
        pairs = [self.pairs[number] for number in used.tolist()]
        order = sorted(range(len(pairs)), key=pairs.__getitem__)
        places = np.empty(len(pairs), dtype=np.int32)
        places[order] = np.arange(len(pairs))
        return type(self)([pairs[place] for place in order], places[flat], self.ends)

    def only(self, kept: BoolArray) -> Self:
        """The sets of a mask bool[N]."""
        lengths = np.diff(self.ends, prepend=0)
        return type(self)(self.pairs, self.flat[np.repeat(kept, lengths)], np.cumsum(lengths[kept]))

    def label_sets(self) -> list[Labels]:
        """As objects."""
        found = [EMPTY_LABELS] * len(self.ends)
        pair_of = self.pairs.__getitem__
        # Those of the same length are made at once: one by one they take twice the time.
        for places, rows in _of_equal_length(self.flat, self.ends):
            pairs = map(pair_of, rows.ravel().tolist())
            label_sets = map(Labels, zip(*[pairs] * rows.shape[1], strict=True))
            for place, labels in zip(places.tolist(), label_sets, strict=True):
                found[place] = labels
        return found


class LabelSets:
    """Label sets numbered by the order of their making, with their pairs."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.numbers: dict[str, dict[str, int]] = {}
        """By name and value, the number of every pair in use."""
        self._free_pairs: list[int] = []
        self._rows = Rows()
        self._hashes = array("I")
        self._next_in_bucket = array("i")
        self._buckets = array("i", (_NONE,))
        # As many buckets as the table had when it last was a power of two, less one.
        self._mask = 0

    def __len__(self) -> int:
        return len(self._hashes)

    def row(self, labels: Collection[Pair]) -> Row:
        """The row of a label set, its pairs sorted by name; pairs never seen get their numbers."""
        known = self.known_row(labels)
        return [self._number(pair) for pair in labels] if known is None else known

    def known_row(self, labels: Collection[Pair]) -> Row | None:
        """The row of a label set, None where one of its pairs has no number."""
        numbers = self.numbers
        try:
            return [numbers[name][value] for name, value in labels]
        except KeyError:
            return None

    def find(self, row: Row) -> list[int]:
        """The sets that are this row: one, or none, or further ones that were to be removed."""
        hashed = hash(tuple(row)) & _HASH_BITS
        hashes, following = self._hashes, self._next_in_bucket
        number = self._buckets[self._bucket(hashed)]
        found = []
        while number != _NONE:
            if hashes[number] == hashed and self._row_of(number) == row:
                found.append(number)
            number = following[number]
        return found

    def add(self, row: Row) -> int:
        """Number a set, which `find` must not know."""
        number = len(self._hashes)
        hashed = hash(tuple(row)) & _HASH_BITS
        self._rows.flat.extend(row)
        self._rows.starts.append(len(self._rows.flat))
        self._hashes.append(hashed)
        self._next_in_bucket.append(_NONE)
        if number >= len(self._buckets):
            self._split_bucket()
        self._link(number, self._bucket(hashed))
        return number

    def load(self, numbers: IntArray, table: LabelTable) -> npt.NDArray[np.int32]:
        """Add sets whose numbers rise and may leave holes: their rows, one after the other.

        `index_loaded` makes them known to `find`.
        """
        first = len(self._hashes)
        flat = np.array(self.row(table.pairs), dtype=np.int32)[table.flat]
        hashes = np.full(len(numbers), hash(()) & _HASH_BITS, dtype=np.int64)
        for places, rows in _of_equal_length(flat, table.ends):
            hashes[places] = list(map(hash, zip(*rows.T.tolist(), strict=True)))
        spread = np.zeros((2, numbers[-1] + 1 - first), dtype=np.int64)
        spread[:, numbers - first] = np.diff(table.ends, prepend=0), hashes & _HASH_BITS
        self._rows.starts.frombytes((len(self._rows.flat) + np.cumsum(spread[0])).astype(np.uint32).tobytes())
        self._rows.flat.frombytes(flat.tobytes())
        self._hashes.frombytes(spread[1].astype(np.uint32).tobytes())
        return flat

    def skip_to(self, number: int) -> None:
        """Leave the numbers below unused."""
        missing = number - len(self._hashes)
        self._rows.starts.extend([len(self._rows.flat)] * missing)
        self._hashes.extend([0] * missing)
        self._next_in_bucket.extend([_NONE] * (number - len(self._next_in_bucket)))

    def index_loaded(self, numbers: IntArray) -> IntArray:
        """Make the sets with these rising numbers, and no others, known to `find`: those that occur again later."""
        count = max(1, len(numbers))
        self._mask = (1 << (count.bit_length() - 1)) - 1
        hashes = np.frombuffer(self._hashes, dtype=np.uint32)[numbers].astype(np.int64)
        bucket = hashes & (2 * self._mask + 1)
        bucket = np.where(bucket >= count, hashes & self._mask, bucket)
        order = np.argsort(bucket << 32 | hashes, kind="stable")
        bucket, hashes, chained = bucket[order], hashes[order], numbers[order].astype(np.int32)
        same = bucket[1:] == bucket[:-1]
        following = np.full(len(self._hashes), _NONE, dtype=np.int32)
        following[chained[1:][same]] = chained[:-1][same]
        buckets = np.full(count, _NONE, dtype=np.int32)
        # Of several in a bucket the last stays.
        buckets[bucket] = chained
        self._next_in_bucket = array("i", following.tobytes())
        self._buckets = array("i", buckets.tobytes())
        alike = np.flatnonzero(hashes[1:] == hashes[:-1])
        pairs = zip(chained[alike].tolist(), chained[alike + 1].tolist(), strict=True)
        return np.array(
            sorted([one for one, other in pairs if self._row_of(one) == self._row_of(other)]), dtype=np.int64
        )

    def unlink(self, number: int) -> None:
        """Make a set unknown to `find`; its labels can still be read."""
        bucket = self._bucket(self._hashes[number])
        following = self._next_in_bucket
        at = self._buckets[bucket]
        if at == number:
            self._buckets[bucket] = following[number]
            return
        while at != _NONE:
            if following[at] == number:
                following[at] = following[number]
                return
            at = following[at]

    def labels(self, numbers: IntArray) -> list[Labels]:
        """The label sets with these numbers."""
        pair_of = self.pairs.__getitem__
        if len(numbers) < _FEW:
            row_numbers, starts = self._rows.flat, self._rows.starts
            return [Labels(map(pair_of, row_numbers[starts[n] : starts[n + 1]])) for n in numbers.tolist()]
        return self.table(numbers).label_sets()

    def table(self, numbers: IntArray) -> LabelTable:
        """The same in one piece; its pairs are those of all sets, which change."""
        return LabelTable(self.pairs, *self.flat_rows(numbers))

    def flat_rows(self, numbers: IntArray) -> tuple[npt.NDArray[np.int32], IntArray]:
        """The rows of sets one after the other, and int64[N]: where each ends."""
        starts = np.frombuffer(self._rows.starts, dtype=np.uint32)
        first = starts[numbers].astype(np.int64)
        lengths = starts[numbers + 1] - first
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        places = np.repeat(first - ends + lengths, lengths) + np.arange(total)
        return np.frombuffer(self._rows.flat, dtype=np.int32)[places], ends

    def copy_rows(self, first: int, end: int, kept: BoolArray, into: "Rows") -> None:
        """Add the rows of sets from `first` up to `end` to others, those that are not kept as empty ones."""
        numbers = np.arange(first, end)
        flat, ends = self.flat_rows(numbers)
        lengths = np.diff(ends, prepend=0)
        into.flat.frombytes(flat[np.repeat(kept, lengths)].tobytes())
        ends = into.starts[-1] + np.cumsum(np.where(kept, lengths, 0))
        into.starts.frombytes(ends.astype(np.uint32).tobytes())

    def replace_rows(self, rows: "Rows") -> None:
        """Take what `copy_rows` made for all sets."""
        self._rows = rows

    def retire(self, number: int) -> None:
        """A pair that no set has any more: its number stays as it is until `free`."""
        name, value = self.pairs[number]
        values = self.numbers[name]
        del values[value]
        if not values:
            del self.numbers[name]

    def free(self, pair_numbers: Iterable[int]) -> None:
        """Let retired pairs' numbers be used again."""
        for number in pair_numbers:
            self.pairs[number] = _NO_PAIR
            self._free_pairs.append(number)

    def _row_of(self, number: int) -> Row:
        starts = self._rows.starts
        return self._rows.flat[starts[number] : starts[number + 1]].tolist()

    def _number(self, pair: Pair) -> int:
        name, value = pair
        values = self.numbers.setdefault(name, {})
        number = values.get(value)
        if number is None:
            if self._free_pairs:
                number = self._free_pairs.pop()
                self.pairs[number] = pair
            else:
                number = len(self.pairs)
                self.pairs.append(pair)
            values[value] = number
        return number

    def _bucket(self, hashed: int) -> int:
        bucket = hashed & (2 * self._mask + 1)
        return bucket if bucket < len(self._buckets) else hashed & self._mask

    def _link(self, number: int, bucket: int) -> None:
        self._next_in_bucket[number] = self._buckets[bucket]
        self._buckets[bucket] = number

    def _split_bucket(self) -> None:
        """One bucket more, which takes over a share of the sets of an older one."""
        new = len(self._buckets)
        split = new & self._mask
        number = self._buckets[split]
        self._buckets[split] = _NONE
        self._buckets.append(_NONE)
        wide_mask = 2 * self._mask + 1
        while number != _NONE:
            following = self._next_in_bucket[number]
            self._link(number, self._hashes[number] & wide_mask)
            number = following
        if new == wide_mask:
            self._mask = wide_mask


def _of_equal_length(flat: npt.NDArray[np.int32], ends: IntArray) -> Iterator[tuple[IntArray, npt.NDArray[np.int32]]]:
    """Rows that lie one after the other, as matrices: int64[K] which ones, int32[K, length]; none for empty ones."""
    lengths = np.diff(ends, prepend=0)
    for length in np.unique(lengths[lengths > 0]).tolist():
        places = np.flatnonzero(lengths == length)
        yield places, flat[(ends[places] - length)[:, None] + np.arange(length)]
