"""A strict reader of OpenMetrics 1.0, as Prometheus 3 reads it.

One blank stands where the format has white space, and nowhere else; the only comments are HELP, TYPE, UNIT and the
closing EOF. Like Prometheus's parser this one does not ask for the suffixes, groupings and orders that the standard
prescribes for samples of a family: of these rules only the one that a unit ends the family's name is enforced.
`_created` samples are samples like others. It differs on purpose in the label values of exemplars: escapes are resolved
there too, which Prometheus 3.5 does not do.
"""

import math
import re

from common.labels import Labels
from exposition.lexing import (
    OPENMETRICS_DIALECT,
    Comment,
    Cursor,
    add_metadata,
    read_exemplar_labels,
    read_family_name,
    read_float,
    read_series,
    unescape,
    utf8_text,
)
from exposition.model import Exemplar, Exposition, Metadata, Sample

_TYPES = frozenset(
    ["counter", "gauge", "gaugehistogram", "histogram", "info", "stateset", "summary", "unknown"],
)
_MAX_TIME_MS = 2**63

_COMMENT = re.compile(rb"# (?:(HELP|TYPE|UNIT) |EOF)")
_END = re.compile(rb"\n?\Z")
_TEXT_TO_LINE_END = re.compile(rb" ([^\n]*+)\n")
_NUMBER = re.compile(rb" ([^ \n]++)")
_EXEMPLAR = re.compile(rb" # \{")
_LINE_END = re.compile(rb"\n")
NO_EOF = "the body does not end with `# EOF`"


def parse_openmetrics(body: bytes) -> Exposition:
    """Read a whole body. Raises ExpositionError at the first thing that is wrong."""
    cursor = Cursor(body)
    samples: list[Sample] = []
    metadata: dict[str, Metadata] = {}
    metric_type = "unknown"
    if not body:
        return Exposition(samples, metadata)  # What Prometheus makes of it: a target without samples.
    while not cursor.at_end():
        if body[cursor.position] != ord("#"):
            samples.append(_read_sample(cursor, metric_type))
            continue
        comment = read_openmetrics_comment(cursor)
        if comment.keyword == "EOF":
            return Exposition(samples, metadata)
        add_metadata(metadata, comment)
        metric_type = comment.text if comment.keyword == "TYPE" else metric_type
    raise cursor.error(NO_EOF)


def read_openmetrics_comment(cursor: Cursor) -> Comment:
    """Read a comment line, and what follows where it is the EOF. Raises ExpositionError."""
    match = cursor.take(_COMMENT)
    if match is None:
        raise cursor.error(f"expected `# HELP `, `# TYPE `, `# UNIT ` or `# EOF`, found {cursor.found()}")
    if match[1] is None:
        if not cursor.take(_END):
            raise cursor.error(f"expected nothing after `# EOF`, found {cursor.found()}")
        return Comment("EOF")
    keyword = match[1].decode()
    family = read_family_name(cursor, keyword)
    line = cursor.take(_TEXT_TO_LINE_END)
    if line is None:
        raise cursor.error(f"expected a blank and a text after the name in {keyword}, found {cursor.found()}")
    text = utf8_text(cursor, line[1], line.start(1))
    if keyword == "HELP":
        return Comment(keyword, family, unescape(text))
    if keyword == "UNIT" and text and not family.endswith(f"_{text}"):
        raise cursor.error(f"unit `{text}` is not the end of the metric name `{family}`", line.start(1))
    if keyword == "TYPE" and text not in _TYPES:
        raise cursor.error(f"invalid metric type `{text}`: expected one of {', '.join(sorted(_TYPES))}", line.start(1))
    return Comment(keyword, family, text)


def read_openmetrics_series(cursor: Cursor, metric_type: str) -> Labels:
    """Read a sample line's series. Raises ExpositionError."""
    return read_series(cursor, OPENMETRICS_DIALECT, metric_type)


def _read_sample(cursor: Cursor, metric_type: str) -> Sample:
    labels = read_openmetrics_series(cursor, metric_type)
    value = _read_value(cursor, "the metric")
    exemplar = _read_exemplar(cursor)
    time_ms = None
    if exemplar is None:
        time_ms = _read_time_ms(cursor)
        exemplar = _read_exemplar(cursor) if time_ms is not None else None
    if not cursor.take(_LINE_END):
        raise cursor.error(NO_EOF if cursor.at_end() else f"expected the end of the line, found {cursor.found()}")
    return Sample(labels, value, time_ms, exemplar)


def read_exemplar(text: bytes) -> Exemplar | None:
    """What stands between a sample's value or time and the end of its line, None where that is no exemplar.

    Raises ExpositionError.
    """
    cursor = Cursor(text)
    exemplar = _read_exemplar(cursor)
    return exemplar if cursor.at_end() else None


def _read_exemplar(cursor: Cursor) -> Exemplar | None:
    if not cursor.take(_EXEMPLAR):
        return None
    labels = read_exemplar_labels(cursor, OPENMETRICS_DIALECT)
    value = _read_value(cursor, "the exemplar's labels")
    return Exemplar(labels, value, _read_time_ms(cursor))


def _read_value(cursor: Cursor, after: str) -> float:
    match = cursor.take(_NUMBER)
    if match is None:
        raise cursor.error(f"expected a blank and a value after {after}, found {cursor.found()}")
    return read_float(cursor, match[1], match.start(1))


def _read_time_ms(cursor: Cursor) -> int | None:
    """A time in seconds, if there is one, cut down to milliseconds with the arithmetic Prometheus uses."""
    match = cursor.take(_NUMBER)
    if match is None:
        return None
    time_ms = read_float(cursor, match[1], match.start(1)) * 1000
    if not math.isfinite(time_ms) or abs(time_ms) >= _MAX_TIME_MS:
        raise cursor.error("the timestamp is no time in seconds that fits in 64 bits of milliseconds", match.start(1))
    return int(time_ms)
