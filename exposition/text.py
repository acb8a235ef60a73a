"""A strict reader of the Prometheus text format 0.0.4, as Prometheus 3 reads it.

The format is line by line: comments, of which HELP and TYPE carry metadata, and samples. White space is blanks and
tabs and may stand between any two tokens. Where Prometheus's parser is laxer than the format's description, this one
is as lax: labels without commas between them, line feeds within label values, a value right after the brace.
It differs on purpose where Prometheus 3.5 has oddities: blanks before a metric name are not made part of it, a NUL byte
at the start of a line is an error instead of the end of the body, names in HELP and TYPE lines must be UTF-8, and
a label name may not be there twice even if one of the values is empty.
"""

import re

from common.labels import Labels
from exposition.lexing import (
    TEXT_DIALECT,
    Comment,
    Cursor,
    add_metadata,
    read_family_name,
    read_float,
    read_series,
    utf8_text,
)
from exposition.model import Exposition, Metadata, Sample

_TYPES = {
    "counter": "counter",
    "gauge": "gauge",
    "histogram": "histogram",
    "summary": "summary",
    "untyped": "unknown",
}
_MAX_TIME_MS = 2**63 - 1

_SPACE = re.compile(rb"[ \t]*+")
_SPACE_AND_LINES = re.compile(rb"[ \t\n]*+")
_METADATA = re.compile(rb"#[ \t]++(HELP|TYPE)[ \t]++")
_REST_OF_LINE = re.compile(rb"[^\n]*+")
# A value ends where Prometheus's lexer ends it, before a brace too.
_VALUE = re.compile(rb"([^{ \t\n]++)[ \t]*+")
_TIME = re.compile(rb"([0-9]++)[ \t]*+")
_LINE_END = re.compile(rb"\n|\Z")


def parse_text(body: bytes) -> Exposition:
    """Read a whole body. Raises ExpositionError at the first thing that is wrong."""
    cursor = Cursor(body)
    samples: list[Sample] = []
    metadata: dict[str, Metadata] = {}
    metric_type = "unknown"
    while cursor.take(_SPACE_AND_LINES) and not cursor.at_end():
        if body[cursor.position] != ord("#"):
            samples.append(_read_sample(cursor, metric_type))
        elif comment := read_text_comment(cursor):
            add_metadata(metadata, comment)
            metric_type = comment.text if comment.keyword == "TYPE" else metric_type
    return Exposition(samples, metadata)


def read_text_comment(cursor: Cursor) -> Comment | None:
    """Read a comment up to the end of its line; None for one that is neither HELP nor TYPE. Raises ExpositionError."""
    match = cursor.take(_METADATA)
    if match is None:
        cursor.take(_REST_OF_LINE)
        return None
    keyword = match[1].decode()
    family = read_family_name(cursor, keyword)
    # One byte separates name and text, whichever it is; what follows belongs to the text.
    after_separator = cursor.position + 1
    cursor.take(_REST_OF_LINE)
    position = min(after_separator, cursor.position)
    text = utf8_text(cursor, cursor.body[position : cursor.position], position)
    if keyword == "HELP":
        return Comment(keyword, family, _unescape_help(text))
    if text not in _TYPES:
        raise cursor.error(f"invalid metric type `{text}`: expected one of {', '.join(_TYPES)}", position)
    return Comment(keyword, family, _TYPES[text])


def read_text_series(cursor: Cursor, metric_type: str) -> Labels:
    """Read a sample line's series and the white space behind it. Raises ExpositionError."""
    labels = read_series(cursor, TEXT_DIALECT, metric_type)
    cursor.take(_SPACE)
    return labels


def _read_sample(cursor: Cursor, metric_type: str) -> Sample:
    labels = read_text_series(cursor, metric_type)
    match = cursor.take(_VALUE)
    if match is None:
        raise cursor.error(f"expected a value after the metric, found {cursor.found()}")
    value = read_float(cursor, match[1], match.start(1))
    time_ms = None
    if time := cursor.take(_TIME):
        time_ms = int(time[1]) if len(time[1]) <= len(str(_MAX_TIME_MS)) else _MAX_TIME_MS + 1
        if time_ms > _MAX_TIME_MS:
            raise cursor.error("the timestamp does not fit in 64 bits", time.start(1))
    if not cursor.take(_LINE_END):
        expected = "a timestamp in milliseconds or the end of the line" if time is None else "the end of the line"
        raise cursor.error(f"expected {expected}, found {cursor.found()}")
    return Sample(labels, value, time_ms)


_HELP_ESCAPE = re.compile(r"\\[\\n]")


def _unescape_help(text: str) -> str:
    return _HELP_ESCAPE.sub(lambda match: "\n" if match[0] == r"\n" else "\\", text) if "\\" in text else text
