"""Series selectors of `match[]` parameters, and label names as paths carry them."""

import re
from collections.abc import Sequence

from common.matchers import Matcher
from promql.errors import ParseError
from promql.parse import parse_selector
from server.errors import BadDataError

_NO_MATCHER = "match[] must contain at least one non-empty matcher"

_ALL = re.compile(r"\s*\{\s*\}\s*")

_ESCAPED_PREFIX = "U__"
_ESCAPE = re.compile(r"__|_([0-9a-fA-F]{1,6})_|_")


def parse_selectors(texts: Sequence[str], *, allow_all: bool = False) -> list[Sequence[Matcher]]:
    """The matchers of each selector; with `allow_all` it may be one that every series fulfils. Raises BadDataError."""
    return [[] if allow_all and _ALL.fullmatch(text) else _parse_selector(text) for text in texts]


def _parse_selector(text: str) -> Sequence[Matcher]:
    try:
        matchers = parse_selector(text)
    except ParseError as error:
        raise BadDataError(str(error)) from None
    if all(matcher.matches_empty for matcher in matchers):
        raise BadDataError(_NO_MATCHER)
    return matchers


def unescape_label_name(name: str) -> str:
    """The name behind Prometheus's `U__` escaping: `U__a_2e_b` is `a.b`. What is not well escaped stays as it is.

    Source: prometheus/common model.UnescapeName with ValueEncodingEscaping.
    """
    if not name.startswith(_ESCAPED_PREFIX):
        return name
    broken = False

    def replace(match: re.Match[str]) -> str:
        nonlocal broken
        if match[0] == "__":
            return "_"
        code = int(match[1], 16) if match[1] else -1
        if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            broken = True
            return ""
        return chr(code)

    unescaped = _ESCAPE.sub(replace, name.removeprefix(_ESCAPED_PREFIX))
    return name if broken else unescaped
