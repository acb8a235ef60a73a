"""The index against the definition: a matcher decides about every label set one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.labels import Labels
from common.matchers import Matcher, MatchType, matches_all
from tsdb.index import SeriesIndex

NAMES = ["__name__", "job", "instance"]
VALUES = ["", "a", "b", "ab", "a.b", "x|y", "web-1", "web-2", "\n"]
PATTERNS = [
    "", ".*", ".+", "a", "a|b", "a|", "|", "a\\.b|b", "a.b", "web-.*", "web-[12]", "(a|b)", "x\\|y", "[^a]", "(?i)A",
    "\\n", "nothing",
]  # fmt: skip

label_sets = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES)).map(Labels.of)
matchers = st.one_of(
    st.builds(Matcher, st.sampled_from([*NAMES, "no"]), st.sampled_from([MatchType.EQUAL, MatchType.NOT_EQUAL]),
              st.sampled_from(VALUES)),
    st.builds(Matcher, st.sampled_from([*NAMES, "no"]), st.sampled_from([MatchType.REGEX, MatchType.NOT_REGEX]),
              st.sampled_from(PATTERNS)),
)  # fmt: skip


@given(st.lists(label_sets, max_size=30), st.lists(matchers, max_size=4))
def test_matchers(series: list[Labels], selector: list[Matcher]) -> None:
    index = SeriesIndex()
    ids = index.ids(series)
    assert index.labels(ids) == series
    found = index.resolve(selector)
    assert found.dtype == np.int64
    assert found.tolist() == sorted(
        {number for number, labels in zip(ids.tolist(), series, strict=True) if matches_all(selector, labels)}
    )
    assert index.names(found) == sorted({name for labels in index.labels(found) for name, _ in labels})
    for name in [*NAMES, "no"]:
        assert index.values(name, found) == sorted({labels.get(name) for labels in index.labels(found)} - {""})
    assert index.names() == index.names(np.unique(ids))


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
