"""What a matcher's pattern stands for, where that can be told without running it over values.

Most patterns of dashboards are lists of literals, `a|b|c` or `(a|b)`, or prefixes, `abc.*`. Those are looked up, or
compared at a fraction of the cost of RE2. Anything else stays a pattern.
"""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from common.matchers import Matcher, MatchType

# A run of characters that stand for themselves, an escaped one, or a sign.
_TOKEN = re.compile(r"(?P<plain>[^\\.+*?()|\[\]{}^$]+)|\\(?P<escaped>[^\w\s])|(?P<sign>\(\?:|\.\*|\.\+|[()|])")
_ANY = {".*": 0, ".+": 1}
# Beyond, what `(a|b)(c|d)...` stands for is not written out.
_MOST_LITERALS = 1000


@dataclass(frozen=True, slots=True)
class Accepted:
    """The values that a pattern matches: `literals`, and those with one of `prefixes` and at least so much more."""

    literals: frozenset[str]
    prefixes: tuple[tuple[str, int], ...] = ()

    def among(self, values: Iterable[str]) -> list[str]:
        """Those of the values that match."""
        literals = self.literals
        if not self.prefixes:
            return [value for value in values if value in literals]
        starts = tuple([prefix for prefix, _ in self.prefixes])
        found = [value for value in values if value.startswith(starts) or value in literals]
        if not any(more for _, more in self.prefixes):
            return found
        return [value for value in found if value in literals or self._has_prefix(value)]

    def _has_prefix(self, value: str) -> bool:
        return any(len(value) >= len(prefix) + more and value.startswith(prefix) for prefix, more in self.prefixes)


def named(matcher: Matcher) -> Accepted | None:
    """What the matcher names, be it to accept or to refuse it; None where its pattern has to be run."""
    if matcher.type in (MatchType.EQUAL, MatchType.NOT_EQUAL):
        return Accepted(frozenset((matcher.value,)))
    return _read(matcher.value)


def refuses(matcher: Matcher) -> bool:
    """Whether what the matcher names is what it refuses."""
    return matcher.type in (MatchType.NOT_EQUAL, MatchType.NOT_REGEX)


@functools.lru_cache(maxsize=1024)
def _read(pattern: str) -> Accepted | None:
    tokens = []
    end = 0
    for token in _TOKEN.finditer(pattern):
        if token.start() != end:
            return None
        end = token.end()
        kind = token.lastgroup or ""
        tokens.append((kind, token[kind]))
    if end != len(pattern):
        return None
    alternatives = _Reader(tokens).read()
    if alternatives is None:
        return None
    return Accepted(
        frozenset(text for text, any_more in alternatives if not any_more),
        tuple((text, _ANY[any_more]) for text, any_more in alternatives if any_more),
    )


_Alternatives = list[tuple[str, str]]
"""(text, sign): what a value is or, with the sign `.*` or `.+`, starts with."""


class _Reader:
    """Alternatives of literals and groups of such; `.*` or `.+` at the end of one."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0

    def read(self) -> _Alternatives | None:
        """All of the pattern, or None where it is something else."""
        found = self._alternation()
        return found if found is not None and self._at == len(self._tokens) else None

    def _alternation(self) -> _Alternatives | None:
        found: _Alternatives = []
        while True:
            sequence = self._sequence()
            if sequence is None or len(found) + len(sequence) > _MOST_LITERALS:
                return None
            found += sequence
            if self._peek() != ("sign", "|"):
                return found
            self._at += 1

    def _sequence(self) -> _Alternatives | None:
        found: _Alternatives = [("", "")]
        while (token := self._peek()) is not None and token not in (("sign", "|"), ("sign", ")")):
            kind, text = token
            self._at += 1
            following: _Alternatives | None = [(text, "")]
            if kind == "sign" and text in _ANY:
                following = [("", text)]
            elif kind == "sign":
                following = self._alternation()
                if self._peek() != ("sign", ")"):
                    return None
                self._at += 1
            if following is None or len(found) * len(following) > _MOST_LITERALS:
                return None
            if any(any_more for _, any_more in found):
                return None  # as in `a.*b`
            found = [(before + after, any_more) for before, _ in found for after, any_more in following]
        return found

    def _peek(self) -> tuple[str, str] | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None
