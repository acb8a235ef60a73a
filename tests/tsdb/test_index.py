"""The index against the definition: a matcher decides about every label set one by one."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from common.labels import Labels
from common.matchers import Matcher, MatchType, matches_all
from tsdb.index import SeriesIndex
from tsdb.label_sets import LabelTable
from tsdb.model import IntArray
from tsdb.patterns import named

NAMES = ["__name__", "job", "instance"]
VALUES = ["", "a", "b", "ab", "a.b", "x|y", "web-1", "web-2", "web-", "\n"]
PATTERNS = [
    "", ".*", ".+", "a", "a|b", "a|", "|", "a\\.b|b", "a.b", "web-.*", "web-.+", "web-[12]", "(a|b)", "(?:a|b)",
    "web-(1|2)", "(web|a)(-|)(1|b).*", "(a.*|b)b", "a.*b", "a|web.*|b.+", "()", "x\\|y", "[^a]", "(?i)A", "\\n", "a*",
    "nothing", "nothing.*", ".*.*", "(a|(b|web-1))", "a{1}", "\\(",
]  # fmt: skip

label_sets = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES)).map(Labels.of)
matchers = st.one_of(
    st.builds(Matcher, st.sampled_from([*NAMES, "no"]), st.sampled_from([MatchType.EQUAL, MatchType.NOT_EQUAL]),
              st.sampled_from(VALUES)),
    st.builds(Matcher, st.sampled_from([*NAMES, "no"]), st.sampled_from([MatchType.REGEX, MatchType.NOT_REGEX]),
              st.sampled_from(PATTERNS)),
)  # fmt: skip
selectors = st.lists(matchers, max_size=4)


def numbered(index: SeriesIndex) -> list[tuple[int, Labels]]:
    """Every series that was not dropped."""
    ids = index.resolve([])
    return list(zip(ids.tolist(), index.labels(ids), strict=True))


def ints(*numbers: int) -> IntArray:
    return np.array(numbers, dtype=np.int64)


class IndexLife(RuleBasedStateMachine):
    """Series made, dropped and loaded again, against a dictionary of the ids."""

    @initialize()
    def begin(self) -> None:
        self.index = SeriesIndex()
        self.model: dict[Labels, int] = {}
        self.lately: set[int] = set()
        self.dropped_last: dict[int, Labels] = {}
        self.next_id = 0
        self.purged = True

    @rule(series=st.lists(label_sets, max_size=30))
    def make(self, series: list[Labels]) -> None:
        expected = []
        for labels in series:
            if labels not in self.model:
                self.model[labels] = self.next_id
                self.next_id += 1
            expected.append(self.model[labels])
        ids = self.index.ids(series)
        assert ids.dtype == np.int64
        assert ids.tolist() == expected
        self.lately.update(expected)

    @rule(chosen=st.lists(st.integers(0, 100)), twice=st.booleans(), purge=st.booleans())
    def drop(self, chosen: list[int], twice: bool, purge: bool) -> None:
        for _ in range(2 if twice else 1):
            ids = {number for number in chosen if number < self.next_id}
            alive = {series_id: labels for labels, series_id in self.model.items()}
            expected = sorted((ids & alive.keys()) - self.lately)
            assert self.index.drop(np.array(sorted(ids), dtype=np.int64)).tolist() == expected
            if purge:
                self.index.purge()
            self.purged = purge
            self.dropped_last = {series_id: alive[series_id] for series_id in expected}
            for labels in self.dropped_last.values():
                del self.model[labels]
            self.lately = set()

    @rule(beyond=st.integers(0, 3))
    def reload(self, beyond: int) -> None:
        middle = (self.next_id + 1) // 2
        groups = [self.index.table(0, middle), self.index.table(middle, self.next_id)]
        self.index = SeriesIndex()
        self.index.load((ids, table) for ids, table in groups if len(ids))
        self.next_id += beyond
        self.index.number_from(self.next_id)
        self.lately, self.dropped_last = set(), {}
        self.purged = True

    @rule(selector=selectors, limit=st.one_of(st.none(), st.integers(0, 3)))
    def look_up(self, selector: list[Matcher], limit: int | None) -> None:
        found = self.index.resolve(selector)
        assert found.dtype == np.int64
        expected = {series_id: labels for labels, series_id in self.model.items() if matches_all(selector, labels)}
        assert found.tolist() == sorted(expected)
        assert (
            self.index.names(found, limit)
            == sorted({name for labels in expected.values() for name, _ in labels})[:limit]
        )
        for name in [*NAMES, "no"]:
            values = sorted({labels.get(name) for labels in expected.values()} - {""})
            assert self.index.values(name, found, limit) == values[:limit]

    @invariant()
    def all_is_there(self) -> None:
        index = self.index
        assert len(index) == len(self.model)
        assert index.next_id == self.next_id
        assert numbered(index) == sorted((series_id, labels) for labels, series_id in self.model.items())
        names = {name for labels in self.model for name, _ in labels}
        jobs = {labels.get("job") for labels in self.model} - {""}
        if self.purged:
            assert (index.names(), index.values("job")) == (sorted(names), sorted(jobs))
        # Until then the lists of all may have more.
        assert names.issubset(index.names())
        assert jobs.issubset(index.values("job"))
        ids = np.array(sorted(self.dropped_last), dtype=np.int64)
        assert dict(zip(ids.tolist(), index.labels(ids), strict=True)) == self.dropped_last
        assert index.has_all(np.array(list(self.model.values()), dtype=np.int64))
        for series_id in [*self.dropped_last, -1, self.next_id]:
            assert not index.has_all(ints(series_id))


TestIndexLife = IndexLife.TestCase
TestIndexLife.settings = settings(max_examples=70, stateful_step_count=20, deadline=None)


@given(st.sampled_from(PATTERNS), st.lists(st.sampled_from(VALUES)))
def test_what_a_pattern_names(pattern: str, values: list[str]) -> None:
    matcher = Matcher("x", MatchType.REGEX, pattern)
    accepted = named(matcher)
    if accepted is not None:
        assert accepted.among(values) == [value for value in values if matcher.matches(value)]


@pytest.mark.parametrize(
    ("pattern", "read"),
    [
        ("a|b|c", True),
        ("(a|b)", True),
        ("abc.*", True),
        ("(?:a|b\\.c)-(1|2|3).+", True),
        ("|".join(f"host{n}:9100" for n in range(900)), True),
        ("(a|b)" * 10, False),
        ("(a|b)" * 9, True),
        ("a.c", False),
        (".*abc", False),
        ("a?", False),
        ("\\d", False),
        ("(?i)a", False),
    ],
)
def test_which_patterns_are_read(pattern: str, read: bool) -> None:
    """Those that are not cost more, and nothing else would tell."""
    assert (named(Matcher("x", MatchType.REGEX, pattern)) is not None) == read


@pytest.mark.parametrize(
    ("matcher", "expected"),
    [
        (Matcher("zone", MatchType.EQUAL, ""), ["b"]),
        (Matcher("zone", MatchType.NOT_EQUAL, ""), ["a", "c"]),
        (Matcher("zone", MatchType.NOT_EQUAL, "1"), ["b", "c"]),
        (Matcher("zone", MatchType.REGEX, ".*"), ["a", "b", "c"]),
        (Matcher("zone", MatchType.REGEX, ".+"), ["a", "c"]),
        (Matcher("zone", MatchType.REGEX, "1|"), ["a", "b"]),
        (Matcher("zone", MatchType.NOT_REGEX, "1|"), ["c"]),
        (Matcher("zone", MatchType.NOT_REGEX, ".*"), []),
        (Matcher("nowhere", MatchType.EQUAL, ""), ["a", "b", "c"]),
        (Matcher("nowhere", MatchType.EQUAL, "x"), []),
        (Matcher("nowhere", MatchType.NOT_EQUAL, "x"), ["a", "b", "c"]),
    ],
    ids=str,
)
def test_an_absent_label_is_empty(matcher: Matcher, expected: list[str]) -> None:
    index = SeriesIndex()
    index.ids([Labels.of(n="a", zone="1"), Labels.of(n="b"), Labels.of(n="c", zone="2")])
    assert index.values("n", index.resolve([matcher])) == expected


def test_many_series_survive_the_drop_of_most() -> None:
    """So that the rows are packed anew, and the numbers of pairs used again."""
    index = SeriesIndex()
    series = [Labels.of(__name__=f"m{n % 7}", pod=f"p{n}", job="x" if n % 3 else "") for n in range(5000)]
    ids = index.ids(series)
    index.drop(ids[:0])
    assert index.drop(ids[ids % 10 != 3]).tolist() == ids[ids % 10 != 3].tolist()
    assert index.labels(ids[:3]) == series[:3]
    # Made again before what it was is purged.
    assert index.ids(series[:2]).tolist() == [5000, 5001]
    index.purge()
    assert index.labels(ids[:3]) == series[:3]
    index.purge()
    assert index.labels(ids[:3]) == [Labels()] * 3
    kept = ids[ids % 10 == 3]
    again = index.ids(series)
    assert again[kept].tolist() == kept.tolist()
    assert np.delete(again, kept).tolist() == list(range(5000, 9500))
    assert _longest_chain(index) < 10
    assert index.labels(again) == series
    assert index.resolve([Matcher.equal("pod", "p4000")]).tolist() == [again[4000]]
    assert index.values("pod", limit=2) == ["p0", "p1"]
    with pytest.raises(IndexError, match="series 9500 was never made"):
        index.labels(ints(9500))


def _longest_chain(index: SeriesIndex) -> int:
    """How many series the hash table has in one bucket: nothing else tells that it grows."""
    sets = index._sets
    buckets = [sets._bucket(hashed) for hashed in sets._hashes]
    return int(np.bincount(buckets).max())


def test_of_two_series_alike_the_last_is_loaded() -> None:
    """A crash may leave the row of a series that was dropped and made again."""
    index = SeriesIndex()
    rows = [(n, Labels.of(n=str(n % 1000), odd=str(n % 2))) for n in range(1, 1500)]
    groups = [rows[:700], rows[700:]]
    loaded = [(ints(*[n for n, _ in some]), LabelTable.of([labels for _, labels in some])) for some in groups]
    assert index.load(loaded).tolist() == list(range(1, 500))
    assert numbered(index) == rows[499:]
    assert index.ids([rows[0][1], rows[700][1]]).tolist() == [1001, 701]
    assert index.resolve([Matcher.equal("n", "1")]).tolist() == [1001]


def test_reads_beside_writes_and_drops() -> None:
    """A reader sees a series whole or not at all, and never the labels of another."""
    index = SeriesIndex()
    lasting = index.ids([Labels.of(kind="lasting", n=str(n)) for n in range(100)])
    done = threading.Event()
    problems: list[str] = []

    def read() -> None:
        while not done.is_set():
            wrong = {
                str(matcher): found
                for matcher in (
                    Matcher("kind", MatchType.NOT_REGEX, "fl.*t?ing"),
                    Matcher("kind", MatchType.NOT_EQUAL, "fleeting"),
                    Matcher("round", MatchType.EQUAL, ""),
                )
                if (found := index.resolve([matcher]).tolist()) != lasting.tolist()
            }
            if wrong:
                problems.append(str(wrong))
            fleeting = index.resolve([Matcher.equal("kind", "fleeting"), Matcher("round", MatchType.NOT_EQUAL, "")])
            found_labels = {labels.only("kind") for labels in index.labels(fleeting)} - {Labels()}
            if found_labels - {Labels.of(kind="fleeting")}:
                problems.append(str(found_labels))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    until = time.monotonic() + 1
    rounds = 0
    while time.monotonic() < until or rounds < 3:
        rounds += 1
        ids = index.ids([Labels.of(kind="fleeting", round=str(rounds), n=str(n)) for n in range(300)])
        index.drop(ids[:0])
        assert len(index.drop(ids)) == 300
        index.purge()
    done.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert len(index) == 100
