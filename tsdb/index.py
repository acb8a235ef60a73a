"""The label index: label sets to series ids and back, and matchers to the ids that fulfil them.

The n-th series ever made has id n. For every (label name, value) pair the index keeps its postings, the rising ids of
the series that carry it. A matcher is resolved over the distinct values of its label, never over all series, and
narrows the candidates through a mask of one byte per series.

The lock is held for some milliseconds at most: patterns run outside of it, and long work lets go of it in between. A
read sees the series that were there when it began, less those dropped meanwhile.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from common.labels import EMPTY_LABELS, Labels
from common.matchers import Matcher
from tsdb.label_sets import LabelSets, LabelTable, Rows
from tsdb.model import BoolArray, IntArray
from tsdb.patterns import named, refuses
from tsdb.postings import PostingArray, Postings

# What becomes of a series: a dropped one keeps its labels until the next drop, for reads that are under way.
_GONE, _DROPPED, _ALIVE, _GIVEN_LATELY = range(4)

# How much is done at once with the lock held.
_NEW_AT_ONCE = 500
_LABELS_AT_ONCE = 10_000
_POSTINGS_AT_ONCE = 2000
_ROWS_AT_ONCE = 50_000
_PURGED_AT_ONCE = 50
# In between, so that those who wait for the lock get it: it goes to whoever asks first, and that is who let go of it.
_PAUSE_S = 0.0002

_OTHER_NAME = -1

T = TypeVar("T")


class SeriesIndex:
    """Label sets and their postings, in memory. Safe for concurrent readers and writers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._purging = threading.Lock()
        self._sets = LabelSets()
        self._postings = Postings()
        self._states = bytearray()
        self._alive = 0
        # Pairs that only dropped series had.
        self._retired_pairs: list[int] = []
        self._unpurged: list[IntArray] = []
        self._purged: IntArray = np.empty(0, dtype=np.int64)
        # Series whose labels were forgotten, and how many of them no longer have a row.
        self._gone = 0
        self._packed = 0

    def __len__(self) -> int:
        """How many series there are; dropped ones do not count."""
        return self._alive

    @property
    def next_id(self) -> int:
        """The id that the next new series gets; ids are never reused."""
        return len(self._states)

    def load(self, groups: Iterable[tuple[IntArray, LabelTable]]) -> IntArray:
        """Fill an empty index with groups of series that have ids; those rise, and may leave holes.

        Of several with the same labels the last counts, as the others were dropped before it was made: theirs are
        the ids that it gives.
        """
        with self._lock:
            for ids, table in groups:
                self._load(ids, table)
            self.number_from(len(self._sets))
            ids = np.flatnonzero(np.frombuffer(self._states, dtype=np.uint8))
            self._alive = len(ids)
            superseded = self._sets.index_loaded(ids)
        self.drop(superseded)
        self.purge()
        return superseded

    def number_from(self, series_id: int) -> None:
        """Say that lower ids were given out, in case the last series were dropped. For an index being filled."""
        self._sets.skip_to(series_id)
        self._states.extend(bytes(len(self._sets) - len(self._states)))

    def ids(self, label_sets: Iterable[Labels]) -> IntArray:
        """int64[N] ids of label sets, made where they are new."""
        found: list[int] = []
        for some in _batched(label_sets, _NEW_AT_ONCE):
            if found:
                time.sleep(_PAUSE_S)
            with self._lock:
                found += [self._id(labels) for labels in some]
        return np.array(found, dtype=np.int64)

    def find(self, label_sets: Iterable[Labels]) -> IntArray:
        """int64[N] ids of label sets, -1 where they are new, without making any."""
        found: list[int] = []
        for some in _batched(label_sets, _NEW_AT_ONCE):
            with self._lock:
                found += [self._known_id(labels) for labels in some]
        return np.array(found, dtype=np.int64)

    def labels(self, series_ids: IntArray) -> list[Labels]:
        """The label sets of ids. An empty one for a series that is long dropped; IndexError for ids never made."""
        if len(series_ids) and series_ids.max() >= self.next_id:
            raise IndexError(f"series {series_ids.max()} was never made: the next one is {self.next_id}")
        found: list[Labels] = []
        for start in range(0, len(series_ids), _LABELS_AT_ONCE):
            some = series_ids[start : start + _LABELS_AT_ONCE]
            with self._lock:
                found += self._sets.labels(some)
                gone = np.flatnonzero(self._states_of(some) == _GONE) if self._gone else ()
            for place in gone:
                found[start + int(place)] = EMPTY_LABELS
        return found

    def table(self, first_id: int, end_id: int) -> tuple[IntArray, LabelTable]:
        """int64[N] ids from `first_id` up to `end_id`, less those of dropped series, and their label sets."""
        with self._lock:
            ids = np.arange(first_id, end_id)
            ids = ids[self._states_of(ids) >= _ALIVE]
            return ids, self._sets.table(ids).sorted()

    def has_all(self, series_ids: IntArray) -> bool:
        """Whether all of these are ids of series that were not dropped."""
        if not len(series_ids):
            return True
        with self._lock:
            made = series_ids.min() >= 0 and series_ids.max() < len(self._states)
            return bool(made and (self._states_of(series_ids) >= _ALIVE).all())

    # Matchers

    def resolve(self, matchers: Sequence[Matcher]) -> IntArray:
        """Rising int64 ids of the series that fulfil every matcher; all series where there is none."""
        size = self.next_id
        candidates: IntArray | None = None
        with self._lock:
            ordered = sorted(matchers, key=self._cost)
        for matcher in ordered:
            candidates = self._narrow(candidates, matcher, size)
            if not len(candidates):
                return candidates
        with self._lock:
            if candidates is None:
                return np.flatnonzero(np.frombuffer(self._states, dtype=np.uint8)[:size] >= _ALIVE)
            if self._alive < self.next_id:
                candidates = candidates[self._states_of(candidates) >= _ALIVE]
            return candidates

    def names(self, series_ids: IntArray | None = None, limit: int | None = None) -> list[str]:
        """Sorted label names of the given series, or of all; at most `limit` of them."""
        if series_ids is None:
            with self._lock:
                return _first(self._sets.numbers, limit)
        seen: set[str] = set()
        for start in range(0, len(series_ids), _ROWS_AT_ONCE):
            with self._lock:
                numbers = self._distinct_pairs(series_ids[start : start + _ROWS_AT_ONCE])
                seen.update([self._sets.pairs[number][0] for number in numbers.tolist()])
        return _first(seen - {""}, limit)

    def sizes(self, name: str) -> tuple[list[str], IntArray]:
        """The values of a label and int64[N]: how many series carry each. Dropped ones count until `purge`."""
        with self._lock:
            by_value = self._sets.numbers.get(name, {})
            values, numbers = list(by_value), list(by_value.values())
        sizes = np.empty(len(numbers), dtype=np.int64)
        for start in range(0, len(numbers), _ROWS_AT_ONCE):
            end = start + _ROWS_AT_ONCE
            with self._lock:
                sizes[start:end] = self._postings.counts(numbers[start:end])
        return values, sizes

    def values(self, name: str, series_ids: IntArray | None = None, limit: int | None = None) -> list[str]:
        """Sorted values of one label over the given series, or over all; at most `limit` of them."""
        with self._lock:
            by_value = self._sets.numbers.get(name, {})
            values = list(by_value)
        if series_ids is None:
            return _first(values, limit)
        if len(series_ids) < len(values):
            with self._lock:
                numbers = self._distinct_pairs(series_ids)
                pairs = [self._sets.pairs[number] for number in numbers.tolist()]
            return _first([value for label, value in pairs if label == name], limit)
        # One more, never wanted: what is made from here on clips to it.
        wanted = np.zeros(self.next_id + 1, dtype=np.bool_)
        wanted[series_ids] = True
        found: list[str] = []
        for some in _batched(sorted(values), _POSTINGS_AT_ONCE):
            with self._lock:
                numbers_of = [[] if (number := by_value.get(value)) is None else [number] for value in some]
                postings = [self._postings.joined(numbers) for numbers in numbers_of]
            carried = [wanted.take(ids, mode="clip").any() for ids in postings]
            found += itertools.compress(some, carried)
            if limit is not None and len(found) >= limit:
                break
        return found[:limit]

    # Dropping

    def drop(self, series_ids: IntArray) -> IntArray:
        """Forget series by rising ids, less those that `ids` gave out since the last drop: the ones forgotten.

        Their labels can be made again, and then get new ids. `purge` has to follow.
        """
        with self._lock:
            states = np.frombuffer(self._states, dtype=np.uint8)
            dropped: IntArray = series_ids[states[series_ids] == _ALIVE]
            states[dropped] = _DROPPED
            states[states == _GIVEN_LATELY] = _ALIVE
            self._alive -= len(dropped)
            self._unpurged.append(dropped)
            return dropped

    def purge(self) -> None:
        """Free what dropped series took, and the labels of those that were purged the last time. Takes a while."""
        with self._purging:
            self._forget(self._purged)
            with self._lock:
                dropped = np.concatenate(self._unpurged) if self._unpurged else self._purged[:0]
                self._unpurged = []
            touched: set[int] = set()
            for start in range(0, len(dropped), _NEW_AT_ONCE):
                some = dropped[start : start + _NEW_AT_ONCE]
                with self._lock:
                    for series_id in some.tolist():
                        self._sets.unlink(series_id)
                    touched.update(self._distinct_pairs(some).tolist())
                time.sleep(_PAUSE_S)
            for numbers in _batched(touched, _PURGED_AT_ONCE):
                with self._lock:
                    for number in numbers:
                        self._purge(number)
                time.sleep(_PAUSE_S)
            self._purged = dropped

    def _forget(self, series_ids: IntArray) -> None:
        """Forget the labels of series that are in no postings any more."""
        with self._lock:
            np.frombuffer(self._states, dtype=np.uint8)[series_ids] = _GONE
            self._gone += len(series_ids)
            self._sets.free(self._retired_pairs)
            self._retired_pairs = []
        if self._gone - self._packed <= len(self) // 2:
            return
        rows = Rows()
        while (done := len(rows.starts) - 1) < self.next_id:
            with self._lock:
                end = min(done + _ROWS_AT_ONCE, self.next_id)
                self._sets.copy_rows(done, end, self._states_of(np.arange(done, end)) != _GONE, rows)
                if end == self.next_id:
                    self._sets.replace_rows(rows)
                    self._packed = self._gone

    def _purge(self, number: int) -> None:
        """Take what was dropped out of the postings of a pair."""
        kept = self._states_of(self._postings.joined([number])) >= _ALIVE
        self._postings.keep(number, kept)
        if not kept.any():
            self._sets.retire(number)
            self._retired_pairs.append(number)

    # With the lock held

    def _known_id(self, labels: Labels) -> int:
        row = self._sets.known_row(labels)
        if row is not None:
            for series_id in self._sets.find(row):
                if self._states[series_id] >= _ALIVE:
                    return series_id
        return -1

    def _id(self, labels: Labels) -> int:
        row = self._sets.row(labels)
        for series_id in self._sets.find(row):
            if self._states[series_id] >= _ALIVE:
                self._states[series_id] = _GIVEN_LATELY
                return series_id
        series_id = self._sets.add(row)
        self._states.append(_GIVEN_LATELY)
        self._alive += 1
        self._postings.add(series_id, row)
        return series_id

    def _load(self, ids: IntArray, table: LabelTable) -> None:
        first = self.next_id
        flat = self._sets.load(ids, table)
        states = np.zeros(len(self._sets) - first, dtype=np.uint8)
        states[ids - first] = _ALIVE
        self._states += states.tobytes()
        self._postings.load(ids, flat, table.ends)

    def _states_of(self, series_ids: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        states = np.frombuffer(self._states, dtype=np.uint8)
        found: npt.NDArray[np.uint8] = states[series_ids]
        return found

    def _distinct_pairs(self, series_ids: IntArray) -> IntArray:
        """The numbers of all pairs of some series."""
        flat, _ = self._sets.flat_rows(series_ids)
        seen = np.zeros(len(self._sets.pairs), dtype=np.bool_)
        seen[flat] = True
        return np.flatnonzero(seen)

    def _cost(self, matcher: Matcher) -> tuple[bool, int]:
        """Orders matchers so that the most selective, cheapest ones come first."""
        accepted = named(matcher)
        if accepted is None or accepted.prefixes or refuses(matcher) or "" in accepted.literals:
            return matcher.matches_empty, self.next_id
        numbers = self._sets.numbers.get(matcher.name, {})
        found = [number for value in accepted.literals if (number := numbers.get(value)) is not None]
        return False, sum([self._postings.count(number) for number in found])

    # Each with the lock held now and then

    def _narrow(self, candidates: IntArray | None, matcher: Matcher, size: int) -> IntArray:
        """The candidates (None: all series below `size`) that fulfil the matcher.

        Where the matcher refuses the empty value, a series must carry an accepted value; where it accepts it, a
        series must not carry a refused one. Either way the postings of the values in question decide.
        """
        keep = not matcher.matches_empty
        accepted = named(matcher)
        if accepted is not None and not accepted.prefixes and "" not in accepted.literals:
            # Those in question are the ones named: accepted by a positive operator, refused by a negative one.
            decisive: Collection[str] = accepted.literals
        else:
            with self._lock:
                values = list(self._sets.numbers.get(matcher.name, ()))
            if candidates is not None and len(candidates) < len(values):
                return self._filter(candidates, matcher)
            if accepted is None:
                decisive = [value for value in values if matcher.matches(value) == keep]
            else:
                decisive = accepted.among(values)
                if keep == refuses(matcher):
                    decisive = set(values).difference(decisive)
        carriers = self._carriers(matcher.name, decisive, size)
        if candidates is None:
            if keep and len(decisive) == 1:
                return carriers.astype(np.int64)
            return np.flatnonzero(_mask(carriers, size) == keep).astype(np.int64, copy=False)
        if len(candidates) < len(carriers) // 16 and len(decisive) == 1:
            places = np.minimum(np.searchsorted(carriers, candidates), len(carriers) - 1)
            chosen: BoolArray = (carriers[places] == candidates) == keep
        else:
            chosen = _mask(carriers, size)[candidates] == keep
        return candidates[chosen]

    def _carriers(self, name: str, values: Collection[str], size: int) -> PostingArray:
        """The ids below `size` of the series with one of the values, rising for each value."""
        found: list[PostingArray] = []
        for some in _batched(values, _POSTINGS_AT_ONCE):
            with self._lock:
                numbers = self._sets.numbers.get(name, {})
                in_use = [number for value in some if (number := numbers.get(value)) is not None]
                found.append(self._postings.joined(in_use))
        ids = found[0] if len(found) == 1 else np.concatenate([np.empty(0, dtype=np.int32), *found])
        return ids if self.next_id == size else ids[ids < size]

    def _filter(self, candidates: IntArray, matcher: Matcher) -> IntArray:
        """As `_narrow`, candidate by candidate: for labels with more values than there are candidates."""
        accepted = np.full(len(candidates), matcher.matches_empty)
        for start in range(0, len(candidates), _ROWS_AT_ONCE):
            some = candidates[start : start + _ROWS_AT_ONCE]
            with self._lock:
                flat, ends = self._sets.flat_rows(some)
                pairs = self._sets.pairs
            owners = start + np.repeat(np.arange(len(some)), np.diff(ends, prepend=0))
            verdicts = np.full(len(pairs), _OTHER_NAME, dtype=np.int8)
            for number in np.unique(flat).tolist():
                name, value = pairs[number]
                if name == matcher.name:
                    verdicts[number] = matcher.matches(value)
            verdict = verdicts[flat]
            told = verdict != _OTHER_NAME
            accepted[owners[told]] = verdict[told] == 1
        chosen: IntArray = candidates[accepted]
        return chosen


def _mask(series_ids: PostingArray, size: int) -> BoolArray:
    mask = np.zeros(size, dtype=np.bool_)
    mask[series_ids] = True
    return mask


def _first(texts: Collection[str], limit: int | None) -> list[str]:
    """The texts sorted, at most `limit` of them."""
    return sorted(texts) if limit is None else heapq.nsmallest(limit, texts)


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(itertools.islice(rest, size)):
        yield some
