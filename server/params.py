"""Request parameters: form and query string decoded strictly, values parsed as Prometheus parses them.

A POST form comes before the query string, so that its value of a name wins and `match[]` collects both
(Go's net/http Request.Form). Texts that are not UTF-8 or hold broken escapes are refused: a Prometheus would
drop or mangle them silently.
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import unquote_to_bytes

from aiohttp import web

from common.durations import DurationError, parse_duration
from common.labels import quote
from server.errors import BadDataError

FORM_TYPE = "application/x-www-form-urlencoded"
MAX_FIELDS = 10_000

MIN_TIME_MS = -(2**62)
MAX_TIME_MS = 2**62
"""Times beyond are clamped: no sample is there, and sums with a duration stay within int64."""

_INT64_MAX = 2**63 - 1
_MAX_DURATION_S = _INT64_MAX / 1e9  # Go holds a duration as int64 nanoseconds

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?[iI]nf(?:inity)?")
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?(?:(Z)|([+-])([0-9]{2}):([0-9]{2}))"
)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def read_params(request: web.Request) -> "Params":
    """The parameters of a request. Raises BadDataError, also where the body is over the server's limit."""
    pairs: list[tuple[str, str]] = []
    if request.method in ("POST", "PUT", "PATCH"):
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise BadDataError("error parsing form values: http: POST too large") from None
        if request.content_type == FORM_TYPE:
            pairs += decode_form(body)
    pairs += decode_form(request.rel_url.raw_query_string.encode("utf-8", "surrogateescape"))
    return Params(pairs)


def decode_form(raw: bytes) -> list[tuple[str, str]]:
    """The (name, value) pairs of a query string or form body. Raises BadDataError."""
    if raw.count(b"&") >= MAX_FIELDS:
        raise BadDataError(f"error parsing form values: more than {MAX_FIELDS} parameters")
    pairs = []
    for field in raw.split(b"&"):
        if field:
            name, _, value = field.partition(b"=")
            pairs.append((_unescape(name), _unescape(value)))
    return pairs


def _unescape(raw: bytes) -> str:
    if broken := _BROKEN_ESCAPE.search(raw):
        escape = raw[broken.start() : broken.start() + 3].decode("ascii", "replace")
        raise BadDataError(f"error parsing form values: invalid URL escape {quote(escape)}")
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadDataError(f"error parsing form values: a parameter is not valid UTF-8: {error.reason}") from None


class Params:
    """The parameters of one request by name."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = pairs

    def get(self, name: str) -> str:
        """The first value of a name; empty where it is not given."""
        return next((value for key, value in self._pairs if key == name), "")

    def all(self, name: str) -> list[str]:
        """All values of a name, in order."""
        return [value for key, value in self._pairs if key == name]

    def time_ms(self, name: str) -> int:
        """A required time. Raises BadDataError."""
        try:
            return parse_time(self.get(name))
        except ValueError as error:
            raise BadDataError.of_parameter(name, error) from None

    def time_ms_or(self, name: str, default_ms: int) -> int:
        """A time that may be left out. Raises BadDataError."""
        text = self.get(name)
        if not text:
            return default_ms
        try:
            return parse_time(text)
        except ValueError as error:
            raise BadDataError.of_parameter(name, f"invalid time value for '{name}': {error}") from None

    def duration_s(self, name: str) -> float:
        """A required duration in seconds. Raises BadDataError."""
        try:
            return parse_seconds(self.get(name))
        except ValueError as error:
            raise BadDataError.of_parameter(name, error) from None

    def duration_s_or(self, name: str, default_s: float) -> float:
        """A duration that may be left out, in seconds. Raises BadDataError."""
        return self.duration_s(name) if self.get(name) else default_s

    def limit(self) -> int:
        """The `limit`; 0 means none. Raises BadDataError."""
        text = self.get("limit")
        if not text:
            return 0
        if not _INTEGER.fullmatch(text):
            raise BadDataError.of_parameter("limit", f"strconv.Atoi: parsing {quote(text)}: invalid syntax")
        number = integer(text)
        if number is None:
            raise BadDataError.of_parameter("limit", f"strconv.Atoi: parsing {quote(text)}: value out of range")
        if number < 0:
            raise BadDataError.of_parameter("limit", "limit must be non-negative")
        return number


def integer(text: str) -> int | None:
    """An int64 as Go's strconv.Atoi reads it, None where the text is none."""
    # the length is checked first: Python refuses to convert thousands of digits
    if not _INTEGER.fullmatch(text) or len(text.lstrip("+-0")) > 19:
        return None
    number = int(text)
    return number if -_INT64_MAX - 1 <= number <= _INT64_MAX else None


def parse_time(text: str) -> int:
    """Milliseconds of a time: seconds since the epoch, with a fraction, or RFC 3339. Raises ValueError.

    Seconds are rounded to milliseconds, half away from zero; RFC 3339 is cut (Prometheus's web/api/v1 parseTime).
    """
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        if abs(seconds) >= MAX_TIME_MS / 1000:
            return MAX_TIME_MS if seconds > 0 else MIN_TIME_MS
        fraction, whole = math.modf(seconds)
        return int(whole) * 1000 + int(math.copysign(math.floor(abs(fraction) * 1000 + 0.5), fraction))
    if match := _RFC3339.fullmatch(text):
        year, month, day, hour, minute, second, fraction_digits, _, sign, zone_hour, zone_minute = match.groups()
        offset = timedelta(hours=int(zone_hour or 0), minutes=int(zone_minute or 0))
        try:
            zone = timezone(-offset if sign == "-" else offset)
            moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=zone)
        except ValueError:
            raise ValueError(f"cannot parse {quote(text)} to a valid timestamp") from None
        return (moment - _EPOCH) // timedelta(milliseconds=1) + int((fraction_digits or "0")[:3].ljust(3, "0"))
    raise ValueError(f"cannot parse {quote(text)} to a valid timestamp")


def parse_seconds(text: str) -> float:
    """Seconds of a duration: a number of seconds or `1m30s`. Raises ValueError (parseDuration of the same file)."""
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        if not -_MAX_DURATION_S <= seconds <= _MAX_DURATION_S:
            raise ValueError(f"cannot parse {quote(text)} to a valid duration. It overflows int64")
        return seconds
    try:
        return parse_duration(text) / 1000
    except DurationError:
        raise ValueError(f"cannot parse {quote(text)} to a valid duration") from None
