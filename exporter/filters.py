"""The include and exclude flags of collectors: which devices, mounts or units are reported."""

import re
from typing import Any

_SHIPPED: set[str] = set()


def shipped(pattern: str) -> str:
    """A pattern that is a collector's default: Python's own `re` reads it as RE2 does.

    What a user writes is read by RE2, whose 3 MB only those processes then take.
    """
    _SHIPPED.add(pattern)
    return pattern


class Filter:
    """Names that match `include`, and do not match `exclude`; an empty pattern lets everything pass.

    Patterns are RE2 and match anywhere, as in node_exporter. `default_exclude` is what `exclude` is when nobody set it:
    an `include` takes its place. Raises ValueError for what is no regular expression, and where both are given.
    """

    def __init__(self, include: str = "", exclude: str = "", *, default_exclude: str = "") -> None:
        if include and exclude == default_exclude:
            exclude = ""
        if include and exclude:
            raise ValueError("include and exclude are mutually exclusive: give one of them")
        self._include = _compiled(include)
        self._exclude = _compiled(exclude)
        self._decided: dict[str, bool] = {}

    def allows(self, name: str) -> bool:
        """Whether the name is reported; the answer is remembered."""
        decided = self._decided.get(name)
        if decided is None:
            decided = self._matches(name)
            if len(self._decided) < _REMEMBERED:
                self._decided[name] = decided
        return decided

    def _matches(self, name: str) -> bool:
        # RE2 takes UTF-8 alone, and device names may hold any byte.
        name = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if self._exclude is not None and self._exclude.search(name):
            return False
        return self._include is None or bool(self._include.search(name))


_REMEMBERED = 10_000
"""Hosts with short-lived devices (containers) must not fill the memory."""


def _compiled(pattern: str) -> Any:
    """Something with a `search` method; None for no pattern."""
    if not pattern or pattern in _SHIPPED:
        return re.compile(pattern) if pattern else None
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        text = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise ValueError(f"{pattern!r} is no regular expression: {text}") from error
