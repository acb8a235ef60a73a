"""The label index: label sets to series ids and back, and matchers to the ids that fulfil them.

Ids are dense: the n-th series ever made has id n. For every (label name, value) pair the index keeps its postings,
the rising ids of the series that carry it. A matcher is resolved over the distinct values of its label, never over
all series, and narrows the candidates through a mask of one byte per series.
"""

import re
import threading
from array import array
from collections.abc import Iterable, Sequence

import numpy as np

from common.labels import Labels
from common.matchers import Matcher, MatchType
from tsdb.model import BoolArray, IntArray

# 32 bits are enough for the ids of one process, and half the memory.
_POSTINGS_TYPE = "i"

# A pattern, or one alternative of it, that stands for itself alone.
_LITERAL = re.compile(r"(?:[^\\.+*?()|\[\]{}^$]|\\[^\w\s])*")
_ESCAPE = re.compile(r"\\(.)")


class SeriesIndex:
    """Label sets and their postings, in memory. Safe for concurrent readers and writers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[Labels, int] = {}
        self._labels: list[Labels] = []
        self._postings: dict[str, dict[str, array[int]]] = {}
        self._pairs: dict[tuple[str, str], tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def ids(self, label_sets: Iterable[Labels]) -> IntArray:
        """int64[N] ids of label sets, made where they are new."""
        known = self._ids
        with self._lock:
            return np.array(
                [self._add(labels) if (found := known.get(labels)) is None else found for labels in label_sets],
                dtype=np.int64,
            )

    def labels(self, series_ids: IntArray) -> list[Labels]:
        """The label sets of ids."""
        return [self._labels[series_id] for series_id in series_ids.tolist()]

    def labels_from(self, first_id: int) -> list[Labels]:
        """The label sets of `first_id` and of every series made after it."""
        return self._labels[first_id:]

    def resolve(self, matchers: Sequence[Matcher]) -> IntArray:
        """Rising int64 ids of the series that fulfil every matcher; all series where there is none."""
        with self._lock:
            candidates: IntArray | None = None
            for matcher in sorted(matchers, key=self._cost):
                candidates = self._narrow(candidates, matcher)
                if not len(candidates):
                    break
            return np.arange(len(self._labels), dtype=np.int64) if candidates is None else candidates

    def names(self, series_ids: IntArray | None = None) -> list[str]:
        """Sorted label names of the given series, or of all."""
        if series_ids is None:
            with self._lock:
                return sorted(self._postings)
        return sorted({name for labels in self.labels(series_ids) for name, _ in labels})

    def values(self, name: str, series_ids: IntArray | None = None) -> list[str]:
        """Sorted values of one label over the given series, or over all."""
        with self._lock:
            postings = self._postings.get(name, {})
            if series_ids is None:
                return sorted(postings)
            if len(series_ids) < len(postings):
                found = {self._labels[series_id].get(name) for series_id in series_ids.tolist()}
                return sorted(found - {""})
            wanted = np.zeros(len(self._labels), dtype=np.bool_)
            wanted[series_ids] = True
            return sorted(value for value, ids in postings.items() if wanted[_view(ids)].any())

    def _add(self, labels: Labels) -> int:
        series_id = len(self._labels)
        # One tuple for each pair in all of the index: label sets are mostly made of the same pairs.
        shared = Labels(self._pairs.setdefault(pair, pair) for pair in labels)
        for name, value in shared:
            values = self._postings.setdefault(name, {})
            postings = values.get(value)
            if postings is None:
                values[value] = array(_POSTINGS_TYPE, (series_id,))
            else:
                postings.append(series_id)
        self._labels.append(shared)
        self._ids[shared] = series_id
        return series_id

    def _cost(self, matcher: Matcher) -> tuple[bool, int]:
        """Orders matchers so that the most selective, cheapest ones come first."""
        postings = self._postings.get(matcher.name, {})
        if matcher.type is MatchType.EQUAL and matcher.value:
            return False, len(postings.get(matcher.value, ()))
        return matcher.matches_empty, len(self._labels)

    def _narrow(self, candidates: IntArray | None, matcher: Matcher) -> IntArray:
        """The candidates (None: every series) that fulfil the matcher.

        Where the matcher refuses the empty value, a series must carry an accepted value; where it accepts it, a
        series must not carry a refused one. Either way the postings of the values in question decide.
        """
        postings = self._postings.get(matcher.name, {})
        keep = not matcher.matches_empty
        literals = _literals(matcher)
        if literals is not None and "" not in literals:
            # The ones in question are those named: accepted by a positive operator, refused by a negative one.
            decisive = [postings[value] for value in literals & postings.keys()]
        elif candidates is not None and len(candidates) < len(postings):
            return self._filter(candidates, matcher)
        elif literals is not None:
            # As `a=""` or `a!~"x|"`: the empty value is on the side of those named, all others are in question.
            decisive = [postings[value] for value in postings.keys() - literals]
        else:
            decisive = [ids for value, ids in postings.items() if matcher.matches(value) == keep]
        if candidates is None and keep and len(decisive) == 1:
            return _view(decisive[0]).astype(np.int64)
        mask: BoolArray = np.zeros(len(self._labels), dtype=np.bool_)
        if decisive:
            mask[np.concatenate([_view(ids) for ids in decisive])] = True
        if candidates is None:
            return np.flatnonzero(mask == keep).astype(np.int64, copy=False)
        chosen: BoolArray = mask[candidates] == keep
        return candidates[chosen]

    def _filter(self, candidates: IntArray, matcher: Matcher) -> IntArray:
        """As `_narrow`, candidate by candidate: for labels with more values than there are candidates."""
        name = matcher.name
        accepted = [matcher.matches(self._labels[series_id].get(name)) for series_id in candidates.tolist()]
        return candidates[np.array(accepted, dtype=np.bool_)]


def _view(ids: "array[int]") -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """The postings without a copy. While the view lives the array cannot grow: it must not outlive the lock."""
    return np.frombuffer(ids, dtype=np.int32)


def _literals(matcher: Matcher) -> set[str] | None:
    """The values that a matcher names one by one, or None where its pattern stands for more than those."""
    if matcher.type in (MatchType.EQUAL, MatchType.NOT_EQUAL):
        return {matcher.value}
    alternatives = matcher.value.split("|")
    if all(_LITERAL.fullmatch(alternative) for alternative in alternatives):
        return {_ESCAPE.sub(r"\1", alternative) for alternative in alternatives}
    return None
