"""The formats by their Content-Type, and the reader of each."""

import enum
from collections.abc import Callable

from exposition.errors import UnsupportedFormatError
from exposition.model import Exposition
from exposition.openmetrics import parse_openmetrics
from exposition.text import parse_text


class Format(enum.Enum):
    """A format. Values are the media types."""

    TEXT = "text/plain"
    OPENMETRICS = "application/openmetrics-text"
    PROTOBUF = "application/vnd.google.protobuf"


def _parse_protobuf(body: bytes) -> Exposition:
    # Needs numpy, which a host that only exposes does not have.
    from exposition.protobuf import parse_protobuf

    return parse_protobuf(body)


_PARSERS: dict[Format, Callable[[bytes], Exposition]] = {
    Format.TEXT: parse_text,
    Format.OPENMETRICS: parse_openmetrics,
    Format.PROTOBUF: _parse_protobuf,
}


def choose_format(content_type: str, fallback: Format | None = None) -> Format:
    """The format a Content-Type header names, or `fallback` where it is empty, malformed or of another format.

    Versions and other parameters do not matter. Without a fallback such a header is refused, as Prometheus 3 does:
    raises UnsupportedFormatError.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    for candidate in Format:
        if media_type == candidate.value:
            return candidate
    if fallback is not None:
        return fallback
    shown = f'Content-Type "{content_type}"' if content_type else "no Content-Type"
    *others, last = (known.value for known in Format)
    raise UnsupportedFormatError(
        f"the target sends {shown}: expected {', '.join(others)} or {last}, "
        "or a fallback_scrape_protocol in the scrape config"
    )


def parse(body: bytes, content_type: str, fallback: Format | None = None) -> Exposition:
    """Read a whole body in the format that its Content-Type names (see `choose_format`).

    Raises UnsupportedFormatError for the header and ExpositionError for the body.
    """
    return _PARSERS[choose_format(content_type, fallback)](body)
