"""A group of series as bytes: their ids, the targets that hold them, and their label sets.

    tag 2, CRC-32 of the rest, then in zlib's format:
        uint32 K, int32[K] numbers as four planes of K bytes, the lowest bytes first, and the distinct pairs as JSON:
        {"name": ["value", ...], ...}
    numbers: N; N differences of ids, from the least one; N targets, -1 for none; N counts of pairs; then for each
        label set the numbers of its pairs, in the order of the names

Label sets made together are those of one target: its pairs are few, and what is left of a series is some eight bytes.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import orjson

from tsdb.embedded.codec.vectors import inflate, with_checksum, without_checksum
from tsdb.errors import StoreError
from tsdb.label_sets import LabelTable
from tsdb.model import IntArray

NO_TARGET = -1

MOST_SERIES = 1024
"""In a group."""

_HEAD_BYTES = 4


@dataclass(frozen=True, slots=True, eq=False)
class SeriesGroup:
    """Rising ids int64[N], the first target of each int32[N] or NO_TARGET, and N label sets."""

    series_ids: IntArray
    target_ids: npt.NDArray[np.int32]
    labels: LabelTable

    def only(self, kept: npt.NDArray[np.bool_]) -> Self:
        """The series of a mask bool[N]."""
        return type(self)(self.series_ids[kept], self.target_ids[kept], self.labels.only(kept))


def join(groups: Sequence[SeriesGroup]) -> SeriesGroup:
    """One group of several, whose ids rise from one to the next."""
    return SeriesGroup(
        np.concatenate([group.series_ids for group in groups]),
        np.concatenate([group.target_ids for group in groups]),
        LabelTable.join([group.labels for group in groups]),
    )


def pack_group(group: SeriesGroup) -> bytes:
    """A group of at least one series as bytes; its least id is not among them."""
    ids, labels = group.series_ids, group.labels.sorted()
    parts = ([len(ids)], np.diff(ids, prepend=ids[:1]), group.target_ids, np.diff(labels.ends, prepend=0), labels.flat)
    numbers = np.concatenate(parts).astype("<i4")
    values_of: dict[str, list[str]] = {}
    for name, value in labels.pairs:
        values_of.setdefault(name, []).append(value)
    head = len(numbers).to_bytes(_HEAD_BYTES, "little")
    planes = numbers.view(np.uint8).reshape(-1, 4).T
    return with_checksum(zlib.compress(head + planes.tobytes() + orjson.dumps(values_of)))


def unpack_group(first_id: int, packed: bytes) -> SeriesGroup:
    """The group of `pack_group` whose least id is given. Raises StoreError for damaged bytes."""
    body = inflate(without_checksum(packed))
    try:
        end = _HEAD_BYTES + 4 * int.from_bytes(body[:_HEAD_BYTES], "little")
        planes = np.frombuffer(body[_HEAD_BYTES:end], dtype=np.uint8).reshape(4, -1)
        numbers = np.ascontiguousarray(planes.T).view("<i4").ravel()
        count = int(numbers[0])
        steps, targets, lengths = numbers[1 : 1 + 3 * count].reshape(3, count)
        pairs = [(name, value) for name, values in orjson.loads(body[end:]).items() for value in values]
        table = LabelTable(pairs, numbers[1 + 3 * count :], np.cumsum(lengths, dtype=np.int64))
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise StoreError(f"{len(packed)} bytes of a group of series are damaged: {error}") from error
    return SeriesGroup(first_id + np.cumsum(steps, dtype=np.int64), targets, table)
