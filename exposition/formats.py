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


def choose_format(content_type: str) -> Format:
    """The format a Content-Type header names; versions and other parameters do not matter.

    Raises UnsupportedFormatError where it is empty, malformed or of another format.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        return Format(media_type)
    except ValueError:
        *others, last = (known.value for known in Format)
        raise UnsupportedFormatError(f'Content-Type "{content_type}": expected {", ".join(others)} or {last}') from None


def parse(body: bytes, body_format: Format) -> Exposition:
    """Read a whole body. Raises ExpositionError."""
    return _PARSERS[body_format](body)
