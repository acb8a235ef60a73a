"""Literals of PromQL: numbers, durations and strings, read and written as Go's strconv does.

Strings of Go are bytes. What is no UTF-8 in them is kept as lone surrogates (Python's "surrogateescape").
"""

import re

_MS_OF_UNIT = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION_PART = re.compile(r"(?P<count>[0-9]+)(?P<unit>[^0-9]+)")
_MOST_DIGITS = 20
_MAX_UINT64 = 2**64 - 1
# What does not fit in an int64 of nanoseconds is refused (prometheus/common model.ParseDuration).
_MAX_DURATION_MS = (2**63 - 1) // 1_000_000
_MAX_INT64 = 2**63 - 1

_ESCAPE = re.compile(
    r"\\(?:x(?P<hex>[0-9a-fA-F]{2})|(?P<octal>[0-7]{3})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<one>.))",
    re.DOTALL,
)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE_OF = {**{character: f"\\{name}" for name, character in _ESCAPED.items()}, "\\": "\\\\", '"': '\\"'}
_NEEDS_ESCAPE = re.compile(r"[^ !#-\[\]-~]")


class LiteralError(ValueError):
    """The text is no literal of its kind; the message is Go's."""


def parse_number(text: str) -> float:
    """The value of a number: a decimal, or an integer in one of Go's bases (`017` is octal). Raises LiteralError."""
    plain = text.replace("_", "")
    if text.isdecimal() and not text.startswith("0") and len(text) < 19:
        return float(int(text))
    if (integer := _parse_integer(plain)) is not None and abs(integer) <= _MAX_INT64:
        return float(integer)
    try:
        value = float(plain)
    except ValueError:
        raise LiteralError(f"strconv.ParseFloat: parsing {quote(text)}: invalid syntax") from None
    if value in (float("inf"), float("-inf")) and plain.lower() != "inf":
        raise LiteralError(f"strconv.ParseFloat: parsing {quote(text)}: value out of range")
    return value


def _parse_integer(text: str) -> int | None:
    try:
        if text[:2] in ("0x", "0X"):
            return int(text[2:], 16)
        if len(text) > 1 and text.startswith("0"):
            return int(text, 8)
        return int(text)
    except ValueError:
        return None


def parse_duration_ms(text: str) -> int:
    """The milliseconds of a duration such as `1h30m`, as the lexer lets it through. Raises LiteralError."""
    if not text[0].isdecimal():
        raise LiteralError(f"not a valid duration string: {quote(text)}")
    milliseconds, smaller_than_ms = 0, 2 * _MAX_DURATION_MS
    for match in _DURATION_PART.finditer(text):
        unit_ms = _MS_OF_UNIT.get(match["unit"])
        if unit_ms is None:
            raise LiteralError(f"unknown unit {quote(match['unit'])} in duration {quote(text)}")
        if unit_ms >= smaller_than_ms:
            raise LiteralError(f"not a valid duration string: {quote(text)}")
        count = match["count"].lstrip("0") or "0"
        if len(count) > _MOST_DIGITS or int(count) > _MAX_UINT64:
            raise LiteralError(f"not a valid duration string: {quote(text)}")
        milliseconds, smaller_than_ms = milliseconds + int(count) * unit_ms, unit_ms
        if milliseconds > _MAX_DURATION_MS:
            raise LiteralError("duration out of range")
    return milliseconds


def unquote(literal: str) -> str:
    """The text of a string literal whose escapes the lexer has checked."""
    inside = literal[1:-1]
    if literal[0] == "`":
        return inside.replace("\r", "")
    if "\\" not in inside:
        return inside
    parts: list[bytes] = []
    end = 0
    for match in _ESCAPE.finditer(inside):
        parts += [inside[end : match.start()].encode("utf-8", "surrogateescape"), _unescaped(match)]
        end = match.end()
    parts.append(inside[end:].encode("utf-8", "surrogateescape"))
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _unescaped(match: re.Match[str]) -> bytes:
    if byte := match["hex"]:
        return bytes([int(byte, 16)])
    if byte := match["octal"]:
        return bytes([int(byte, 8)])
    if code := match["short"] or match["long"]:
        return chr(int(code, 16)).encode()
    return _ESCAPED.get(match["one"], match["one"]).encode()


def as_utf8(text: str) -> str:
    """What is no UTF-8 becomes a replacement character, as in the JSON of Prometheus's answers."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_utf8(text: str) -> bool:
    """Whether all of a string is UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def quote(text: str) -> str:
    """A double-quoted string of Go (strconv.Quote): what cannot be printed is escaped."""
    return f'"{_NEEDS_ESCAPE.sub(_escaped, text)}"'


def quote_rune(character: str) -> str:
    """A character in single quotes (the verb %q); empty is the end of the text."""
    if not character:
        return "'\N{REPLACEMENT CHARACTER}'"
    inside = {"'": "\\'", '"': '"'}.get(character) or _NEEDS_ESCAPE.sub(_escaped, character)
    return f"'{inside}'"


def describe_rune(character: str) -> str:
    """A character as the verb %#U shows it: its code point, and itself where it can be printed."""
    shown = f" '{character}'" if character.isprintable() else ""
    return f"U+{ord(character):04X}{shown}"


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if character in _ESCAPE_OF:
        return _ESCAPE_OF[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
