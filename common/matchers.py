"""Label matchers: `=`, `!=`, `=~`, `!~`, with Prometheus's semantics.

Regular expressions are RE2, anchored at both ends, and `.` matches newlines too
(prometheus model/labels NewFastRegexMatcher compiles `^(?s:...)$`).
"""

import enum
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


def compile_regex(pattern: str) -> Any:
    """An RE2 object whose `fullmatch(str)` is Prometheus's anchored match. Raises MatcherError."""
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise MatcherError(f"invalid regular expression {quote(pattern)}: {reason}") from error


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
