"""Which regular expressions are refused, and why: as Go's regexp does it in a live Prometheus."""

import re
from pathlib import Path

import pytest

from common.labels import quote
from common.matchers import MatcherError, compile_regex
from tests.scraper.test_against_prometheus import prometheus, require_version_3

REFUSED = {
    r"\C": r"invalid escape sequence: `\C`",
    r"a\Cb": r"invalid escape sequence: `\C`",
    r"\Qa\E\C": r"invalid escape sequence: `\C`",
    r"[\C]": r"invalid escape sequence: `\C`",
    "(?P<é>x)": "invalid named capture: `(?P<é>`",
    "(?<é>x)": "invalid named capture: `(?<é>`",
    "(?P<>x)": "invalid named capture: `(?P<>`",
    r"\p{Foo}": r"invalid character class range: `\p{Foo}`",
    "(?P=a)": "invalid or unsupported Perl syntax: `(?P`",
    r"\1": r"invalid escape sequence: `\1`",
    r"\Z": r"invalid escape sequence: `\Z`",
    r"\x{110000}": r"invalid escape sequence: `\x{110000`",
    r"[\Q]\E]": r"invalid escape sequence: `\Q`",
    "a{1001}": "invalid repeat count: `{1001}`",
    "(a{500}){3}": "invalid repeat count: `{3}`",
    "a{2,1}": "invalid repeat count: `{2,1}`",
    "{1}": "missing argument to repetition operator: `{1}`",
    "*a": "missing argument to repetition operator: `*`",
    "a**": "invalid nested repetition operator: `**`",
    "x{3}{4}": "invalid nested repetition operator: `{3}{4}`",
    "(a": "missing closing ): `(a`",
    "a)|(b": "unexpected ): `a)|(b`",
    "[]": "missing closing ]: `[]`",
    "[z-a]": "invalid character class range: `z-a`",
    "[[:foo:]]": "invalid character class range: `[:foo:]`",
    "(?x)a": "invalid or unsupported Perl syntax: `(?x`",
    "(?=a)": "invalid or unsupported Perl syntax: `(?=`",
    "(?>a)": "invalid or unsupported Perl syntax: `(?>`",
    "a\\": "trailing backslash at end of expression: ``",
}
TAKEN = [
    r"\\C",
    r"\Q\C\E",
    r"\Q(?P<é>",
    "[(?P<é>]",
    r"é\\C",
    r"[é\]C]",
    "(?P<a>x)é",
    "(?<a>x)",
    "a{,5}",
    "a{1",
    "[]a]",
    "[[.a.]]",
    r"[\d-z]",
    "(?)",
    "(?i-s:a)",
    r"\Qa*b",
    "^*",
    "x{0}",
    r"\07",
    r"\pN",
    r"\p{^Greek}",
    "(?i)ſ",
    "x{1000}" * 30,
    "(" * 300 + ")" * 300,
]


@pytest.mark.parametrize(("pattern", "error"), REFUSED.items())
def test_ours_are_refused(pattern: str, error: str) -> None:
    with pytest.raises(MatcherError, match=re.escape(f"error parsing regexp: {error}") + "$"):
        compile_regex(pattern)


@pytest.mark.parametrize("pattern", TAKEN)
def test_ours_are_taken(pattern: str) -> None:
    assert compile_regex(pattern)


async def test_theirs(tmp_path: Path) -> None:
    await require_version_3()
    async with prometheus("scrape_configs: []\n", tmp_path) as session:
        for pattern, error in {**REFUSED, **dict.fromkeys(TAKEN, "")}.items():
            query = f"a{{b=~{quote(pattern)}}}"
            async with session.post("/api/v1/query", data={"query": query}) as response:
                found = (await response.json()).get("error", "")
            assert found.partition("error parsing regexp: ")[2] == error, pattern
