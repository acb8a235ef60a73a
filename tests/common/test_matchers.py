import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import FleetwatchError
from common.labels import Labels
from common.matchers import Matcher, MatcherError, MatchType, compile_regex, matches_all


@pytest.mark.parametrize(
    ("kind", "pattern", "matching", "others"),
    [
        ("=", "node", ["node"], ["", "nod", "node1", "Node"]),
        ("=", "", [""], ["x"]),
        ("!=", "node", ["", "nod", "node1"], ["node"]),
        ("=~", "node|db", ["node", "db"], ["", "nodes", "mydb", "node|db"]),
        ("=~", "web-.*", ["web-", "web-1"], ["aweb-1", "web"]),
        ("=~", "a.c", ["abc", "a\nc", "aéc"], ["ac", "abbc"]),
        ("=~", "", [""], ["x"]),
        ("=~", ".*", ["", "x", "a\nb"], []),
        ("=~", ".+", ["x", "\n"], [""]),
        ("=~", "(?i)web", ["web", "WEB"], ["we"]),
        ("=~", "^a$", ["a"], ["a\n", "ab"]),
        ("=~", "a|ab", ["a", "ab"], ["abc"]),
        ("=~", r"10\.0\..*", ["10.0.1"], ["10x0.1"]),
        ("!~", "node|db", ["", "nodes"], ["node", "db"]),
        ("!~", ".+", [""], ["x"]),
    ],
)
def test_matching(kind: str, pattern: str, matching: list[str], others: list[str]) -> None:
    matcher = Matcher("job", MatchType(kind), pattern)
    assert [value for value in matching if not matcher.matches(value)] == []
    assert [value for value in others if matcher.matches(value)] == []
    assert matcher.matches_empty is matcher.matches("")


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "[z-a]", "*", "(?=x)", r"\1"])
def test_a_broken_expression_is_refused_with_its_text(pattern: str) -> None:
    with pytest.raises(MatcherError, match="invalid regular expression") as refusal:
        Matcher("job", MatchType.REGEX, pattern)
    assert isinstance(refusal.value, FleetwatchError)
    with pytest.raises(MatcherError):
        compile_regex(pattern)


def test_an_expression_is_compiled_only_where_it_is_one() -> None:
    assert Matcher("job", MatchType.EQUAL, "(").matches("(")


def test_a_long_list_of_alternatives_compiles() -> None:
    hosts = [f"web-{number:05}.example.org:9100" for number in range(3000)]
    matcher = Matcher("instance", MatchType.REGEX, "|".join(hosts))
    assert matcher.matches(hosts[-1])
    assert not matcher.matches("web-99999.example.org:9100")


def test_a_bad_expression_takes_linear_time() -> None:
    assert not Matcher("x", MatchType.REGEX, "(a*)*b").matches("a" * 10_000)


def test_matchers_compare_and_hash_by_what_they_say() -> None:
    first = Matcher("job", MatchType.REGEX, "a|b")
    assert first == Matcher("job", MatchType.REGEX, "a|b")
    assert len({first, Matcher("job", MatchType.REGEX, "a|b"), Matcher("job", MatchType.NOT_REGEX, "a|b")}) == 2
    assert Matcher.equal("job", "x") == Matcher("job", MatchType.EQUAL, "x")


@pytest.mark.parametrize(
    ("matcher", "text"),
    [
        (Matcher("job", MatchType.EQUAL, "node"), 'job="node"'),
        (Matcher("job", MatchType.NOT_REGEX, 'a"b\\d'), 'job!~"a\\"b\\\\d"'),
        (Matcher("mount.point", MatchType.NOT_EQUAL, "/"), '"mount.point"!="/"'),
    ],
)
def test_notation(matcher: Matcher, text: str) -> None:
    assert str(matcher) == text


def test_matches_all_takes_an_absent_label_for_an_empty_one() -> None:
    labels = Labels.of(job="node", zone="eu")
    node = Matcher.equal("job", "node")
    assert matches_all([], labels)
    assert matches_all([node, Matcher.equal("rack", "")], labels)
    assert matches_all((node, Matcher("rack", MatchType.NOT_EQUAL, "1")), labels)
    assert not matches_all([node, Matcher("rack", MatchType.REGEX, ".+")], labels)
    assert not matches_all([node, Matcher.equal("zone", "us")], labels)


atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\.", "ä", "", "\n"])
patterns = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from("*+?")).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    ),
    max_leaves=6,
)


@given(patterns, st.text(alphabet="abä1.\n", max_size=6))
def test_expressions_match_as_those_of_python_do(pattern: str, value: str) -> None:
    expected = re.fullmatch(pattern, value, re.DOTALL | re.ASCII) is not None
    assert Matcher("x", MatchType.REGEX, pattern).matches(value) is expected
    assert Matcher("x", MatchType.NOT_REGEX, pattern).matches(value) is not expected
