"""Where in a text an error or annotation belongs, and the error of a text that is no PromQL."""

from promql.errors import ParseError


def line_and_column(source: str, position: int) -> str:
    """`line:column` of a character, both from 1; columns count bytes, as Prometheus has it."""
    line_start = source.rfind("\n", 0, position) + 1
    column = len(source[line_start:position].encode("utf-8", "surrogatepass")) + 1
    return f"{source.count(chr(10), 0, position) + 1}:{column}"


def parse_error(source: str, position: int, message: str) -> ParseError:
    """The error at a character of a text."""
    place = line_and_column(source, position) if source else "unknown position"
    return ParseError(f"{place}: parse error: {message}")
