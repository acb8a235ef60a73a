"""What can be wrong with an exposition.

FleetwatchError
+-- ExpositionError            the body is not in the format it claims
|   +-- TextError              with line and column
|   +-- WireError              with the byte: the protobuf format has no lines
+-- UnsupportedFormatError     the body claims a format that nobody here reads
"""

from common.errors import FleetwatchError


class ExpositionError(FleetwatchError, ValueError):
    """The body is not in the format it claims; says where, and why: what was expected."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.reason = reason


class TextError(ExpositionError):
    """A text is not in its format; `line` and `column` count from 1."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}", reason)
        self.line = line
        self.column = column


class WireError(ExpositionError):
    """Bytes are not the messages they should be; `offset` counts from 0."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"byte {offset}", reason)
        self.offset = offset


class UnsupportedFormatError(FleetwatchError, ValueError):
    """The Content-Type names no format that can be read."""
