"""Label matchers: `=`, `!=`, `=~`, `!~`, with Prometheus's semantics.

Regular expressions are RE2, anchored at both ends, and `.` matches newlines too
(prometheus model/labels NewFastRegexMatcher compiles `^(?s:...)$`). The library is the C++ one, which takes a little
more than Go's, and words its errors otherwise; both are evened out here. What is left: Go alone knows the classes
Cn, LC and those of the newest scripts, and alone refuses what is nested more than 1000 deep.
"""

import enum
import re
from dataclasses import dataclass, field
from typing import Any

import re2

from common.errors import FleetwatchError
from common.labels import Labels, is_legacy_label_name, quote


class MatcherError(FleetwatchError, ValueError):
    """A matcher's regular expression does not compile."""


class MatchType(enum.Enum):
    """The four operators, by their PromQL spelling."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


# Literal text, escapes, character classes and named groups: where an escape or a group really is one.
_TOKENS = re.compile(
    r"\\Q.*?(?:\\E|\Z)|(?P<escape>\\.)|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|(?P<group>\(\?P?<(?P<name>[^>]*)>)", re.S
)
# What RE2 says in C++ and in Go (regexp/syntax), where it is not the same.
_GO_WORDS = {
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid repetition size": "invalid repeat count",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "invalid named capture group": "invalid named capture",
}


def compile_regex(pattern: str) -> Any:
    """An RE2 object whose `fullmatch(str)` is Prometheus's anchored match. Raises MatcherError."""
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise _refused(pattern, _in_go_words(reason)) from error
    if reason := _refused_by_go(pattern):
        raise _refused(pattern, reason)
    return compiled


def _refused(pattern: str, reason: str) -> MatcherError:
    return MatcherError(f"invalid regular expression {quote(pattern)}: error parsing regexp: {reason}")


def _in_go_words(reason: str) -> str:
    if reason == "trailing \\":
        return "trailing backslash at end of expression: ``"
    kind, separator, shown = reason.partition(": ")
    return f"{_GO_WORDS.get(kind, kind)}: `{shown}`" if separator else reason


def _refused_by_go(pattern: str) -> str:
    """Why Go refuses an expression that C++ takes: single bytes are no text, and names of groups are ASCII."""
    if r"\C" in pattern or not pattern.isascii():
        for token in _TOKENS.finditer(pattern):
            if token["escape"] == r"\C":
                return r"invalid escape sequence: `\C`"
            if not (token["name"] or "").isascii():
                return f"invalid named capture: `{token['group']}`"
    return ""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label. An absent label has the empty value."""

    name: str
    type: MatchType
    value: str
    _regex: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self.type in (MatchType.REGEX, MatchType.NOT_REGEX):
            object.__setattr__(self, "_regex", compile_regex(self.value))

    @classmethod
    def equal(cls, name: str, value: str) -> "Matcher":
        """`name="value"`."""
        return cls(name, MatchType.EQUAL, value)

    def matches(self, value: str) -> bool:
        """Whether a label value fulfils the condition."""
        match self.type:
            case MatchType.EQUAL:
                return value == self.value
            case MatchType.NOT_EQUAL:
                return value != self.value
            case MatchType.REGEX:
                return self._regex.fullmatch(value) is not None
            case MatchType.NOT_REGEX:
                return self._regex.fullmatch(value) is None

    @property
    def matches_empty(self) -> bool:
        """Whether series without the label are selected."""
        return self.matches("")

    def __str__(self) -> str:
        name = self.name if is_legacy_label_name(self.name) else quote(self.name)
        return f"{name}{self.type.value}{quote(self.value)}"


def matches_all(matchers: list[Matcher] | tuple[Matcher, ...], labels: Labels) -> bool:
    """Whether a label set fulfils every matcher."""
    values = dict(labels)
    return all(matcher.matches(values.get(matcher.name, "")) for matcher in matchers)
