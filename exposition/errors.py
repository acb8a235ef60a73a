"""What can be wrong with an exposition.

FleetwatchError
+-- ExpositionError            the body is not in the format it claims; has line and column
+-- UnsupportedFormatError     the body claims a format that nobody here reads
"""

from common.errors import FleetwatchError


class ExpositionError(FleetwatchError, ValueError):
    """The body is not in the format it claims; says the line and column (both from 1) and what was expected."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {reason}")
        self.reason = reason
        self.line = line
        self.column = column


class UnsupportedFormatError(FleetwatchError, ValueError):
    """The Content-Type names no format that can be read, and no fallback is configured."""
