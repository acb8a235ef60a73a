"""The format of a body by its Content-Type, with the decisions and the words of Prometheus 3.

Follows prometheus model/textparse extractMediaType, and Go's mime.ParseMediaType for what a sound header is.
"""

import re

from exposition.formats import Format
from scraper.config import ScrapeProtocol
from scraper.errors import ScrapeError

FORMATS: dict[ScrapeProtocol, Format] = {
    "PrometheusProto": Format.PROTOBUF,
    "PrometheusText0.0.4": Format.TEXT,
    "PrometheusText1.0.0": Format.TEXT,
    "OpenMetricsText0.0.1": Format.OPENMETRICS,
    "OpenMetricsText1.0.0": Format.OPENMETRICS,
}
"""The formats that the protocols of a config stand for."""

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_MEDIA_TYPE = re.compile(rf"({_TOKEN})(?:/({_TOKEN})?)?")
_PARAMETER = re.compile(rf'\s*;\s*{_TOKEN}\s*=\s*(?:{_TOKEN}|"(?:[^"\\\r\n]|\\.)*")')
_NO_FALLBACK = "and no fallback_scrape_protocol"
_BY_MEDIA_TYPE = {format_.value: format_ for format_ in Format}


def format_of(content_type: str, fallback: Format | None) -> Format:
    """The format that the header names; `fallback` where it names none that is known. Raises ScrapeError."""
    if not content_type:
        if fallback is None:
            raise ScrapeError(
                f"non-compliant scrape target sending blank Content-Type {_NO_FALLBACK} specified for target"
            )
        return fallback
    media_type, separator, parameters = content_type.partition(";")
    media_type = media_type.strip().lower()
    problem = _problem(media_type, separator + parameters)
    found = _BY_MEDIA_TYPE.get(media_type, fallback) if problem is None else fallback
    if found is not None:
        return found
    shown = '"' + content_type.replace("\\", r"\\").replace('"', r"\"") + '"'
    if problem is None:
        raise ScrapeError(f"received unsupported Content-Type {shown} {_NO_FALLBACK} specified for target")
    raise ScrapeError(f"cannot parse Content-Type {shown} {_NO_FALLBACK} for target\nmime: {problem}")


def _problem(media_type: str, parameters: str) -> str | None:
    found = _MEDIA_TYPE.match(media_type)
    if found is None:
        return "no media type"
    if found.end() < len(media_type):
        return "unexpected content after media subtype" if found[2] else _no_subtype(media_type[found.end() - 1])
    if media_type.endswith("/"):
        return "expected token after slash"
    while parameters.strip() not in ("", ";"):
        parameter = _PARAMETER.match(parameters)
        if parameter is None:
            return "invalid media parameter"
        parameters = parameters[parameter.end() :]
    return None


def _no_subtype(last: str) -> str:
    return "expected token after slash" if last == "/" else "expected slash after first token"
