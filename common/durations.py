"""Durations as Prometheus writes them: `1d`, `1h30m`, `500ms`, `0`.

Grammar and rendering follow prometheus/common model.ParseDuration and Duration.String: units in falling
order, each at most once, a bare `0` allowed; `y` is 365 days, `w` is 7 days. Everything is in milliseconds.
"""

import re

from common.errors import FleetwatchError

_UNITS_MS = {
    "y": 365 * 24 * 3600 * 1000,
    "w": 7 * 24 * 3600 * 1000,
    "d": 24 * 3600 * 1000,
    "h": 3600 * 1000,
    "m": 60 * 1000,
    "s": 1000,
    "ms": 1,
}
_DURATION = re.compile("".join(f"(?:([0-9]+){unit})?" for unit in _UNITS_MS))
# prometheus/common refuses what does not fit in an int64 of nanoseconds.
_MAX_MS = (2**63 - 1) // 1_000_000


class DurationError(FleetwatchError, ValueError):
    """The text is no duration."""


def parse_duration(text: str) -> int:
    """Milliseconds of a Prometheus duration. Raises DurationError."""
    if text == "0":
        return 0
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise DurationError(f'not a valid duration string: "{text}" (write it like 30s, 5m or 1h30m)')
    try:
        total = sum(
            int(count) * unit_ms
            for count, unit_ms in zip(match.groups(), _UNITS_MS.values(), strict=True)
            if count is not None
        )
    except ValueError:  # int() refuses thousands of digits
        total = _MAX_MS + 1
    if total > _MAX_MS:
        raise DurationError(f'duration out of range: "{text}"')
    return total


def format_duration(milliseconds: int) -> str:
    """The shortest exact spelling, as Prometheus prints it: 90000 -> `1m30s`.

    Years and weeks are used only where nothing remains, so that `1y` stays `1y` but 366 days is `366d`.
    """
    if milliseconds == 0:
        return "0s"
    sign = "-" if milliseconds < 0 else ""
    rest = abs(milliseconds)
    parts: list[str] = []
    for unit, unit_ms in _UNITS_MS.items():
        if unit in ("y", "w") and rest % unit_ms:
            continue
        count, rest = divmod(rest, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    return sign + "".join(parts)
