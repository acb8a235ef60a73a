"""What several of the `db` commands take on the command line, and how they show times."""

from collections.abc import Sequence
from datetime import UTC, datetime

from common.errors import FleetwatchError
from common.matchers import Matcher
from server.errors import BadDataError
from server.params import MAX_TIME_MS, MIN_TIME_MS, parse_time
from server.selectors import parse_selectors


class ArgumentError(FleetwatchError):
    """A flag is wrong."""


def read_selectors(match: Sequence[str], *, allow_all: bool = False) -> list[Sequence[Matcher]]:
    """The selectors of `--match`; `allow_all` takes one that fits every series too. Raises ArgumentError."""
    return [_selector(text, allow_all) for text in match]


def read_range(start: str | None, end: str | None) -> tuple[int, int]:
    """Milliseconds of `--start` and `--end`, all time where they are not given. Raises ArgumentError."""
    start_ms = MIN_TIME_MS if start is None else _time_ms("--start", start)
    end_ms = MAX_TIME_MS if end is None else _time_ms("--end", end)
    return start_ms, end_ms


def shown_time(time_ms: int) -> str:
    """A time for a person, UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _selector(text: str, allow_all: bool) -> Sequence[Matcher]:
    try:
        return parse_selectors([text], allow_all=allow_all)[0]
    except BadDataError as error:
        raise ArgumentError(f"--match {text}: {error}") from error


def _time_ms(flag: str, text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise ArgumentError(f"{flag}: {error}; write seconds since the epoch or RFC 3339") from error
