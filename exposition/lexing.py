"""What the text format and OpenMetrics have in common: series, strings, numbers, and where an error is.

A `Dialect` holds the regular expressions in which the two formats differ; `read_series` and the other readers
take one and a `Cursor`. Each construct is first tried as a whole with one expression, because that is fast and
almost always right; only where it fails do the `_explain` functions look for the token that is to blame.

The grammar is that of Prometheus 3 (model/textparse: promlex.l, openmetricslex.l and the parsers beside them).
"""

import math
import re
import struct
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from common.labels import METRIC_NAME, Labels
from exposition.errors import ExpositionError, TextError
from exposition.model import Metadata

NORMAL_NAN: Final[float] = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]
"""The one NaN that scraped samples get, so that none passes for a staleness marker (model/value NormalNaN)."""

# A double-quoted string. Prometheus's lexers let every byte stand for itself; a backslash takes the next one along.
_STRING = rb'"[^\\"]*+(?:\\.[^\\"]*+)*+"'
_STRING_IN_LINE = rb'"[^\\"\n]*+(?:\\.[^\\"\n]*+)*+"'
_LABEL_NAME = rb"[a-zA-Z_][a-zA-Z0-9_]*+"
_METRIC_NAME = rb"[a-zA-Z_:][a-zA-Z0-9_:]*+"

_DECIMAL = rb"[+-]?(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
_FLOAT = re.compile(rb"%b|[+-]?inf(?:inity)?|nan" % _DECIMAL, re.IGNORECASE)
# What almost all series look like in both formats: bare names, and values that need no unescaping.
_PLAIN_PAIRS = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*+)="([^"\\\n]*+)"')
_PLAIN_SERIES = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*+)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*+="[^"\\\n]*+"(?:,|(?=\})))*+)\})?'
)
_SHOWN_BYTES = 40


@dataclass(frozen=True, slots=True)
class Dialect:
    """The expressions in which the formats differ. `pair` takes one label with its separator, groups 1 and 2."""

    pair: re.Pattern[bytes]
    metric_name: re.Pattern[bytes]
    open_brace: re.Pattern[bytes]
    space: re.Pattern[bytes]
    label_name: re.Pattern[bytes]
    label_value: re.Pattern[bytes]


def _dialect(space: bytes, label_value: bytes, *, separator_needed: bool) -> Dialect:
    separator = rb"(?:,%b|(?=\}))" if separator_needed else rb"(?:,%b)?"
    return Dialect(
        pair=re.compile(
            rb"(%b|%b)%b=%b(%b)%b" % (_LABEL_NAME, _STRING, space, space, label_value, space) + separator % space
        ),
        metric_name=re.compile(rb"(%b)%b(?:,%b|(?=\}))" % (_STRING, space, space)),
        open_brace=re.compile(rb"%b\{%b" % (space, space)),
        space=re.compile(space),
        label_name=re.compile(rb"%b|%b" % (_LABEL_NAME, _STRING)),
        label_value=re.compile(label_value),
    )


TEXT_DIALECT = _dialect(rb"[ \t]*+", _STRING, separator_needed=False)
OPENMETRICS_DIALECT = _dialect(rb"", _STRING_IN_LINE, separator_needed=True)

_PLAIN_NAME = re.compile(_METRIC_NAME)
_FAMILY_NAME = re.compile(rb"%b|%b" % (_METRIC_NAME, _STRING))
_CLOSE_BRACE = re.compile(rb"\}")


class Cursor:
    """A place in a body. `position` only ever moves forward, past what has been read."""

    __slots__ = ("body", "position")

    def __init__(self, body: bytes, position: int = 0) -> None:
        self.body = body
        self.position = position

    def take(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Match here and move past the match, or stay and return None."""
        match = pattern.match(self.body, self.position)
        if match is not None:
            self.position = match.end()
        return match

    def at_end(self) -> bool:
        """Whether everything has been read."""
        return self.position >= len(self.body)

    def error(self, reason: str, position: int | None = None) -> ExpositionError:
        """An error at a position, by default this one. The column counts characters."""
        offset = self.position if position is None else position
        line_start = self.body.rfind(b"\n", 0, offset) + 1
        column = len(self.body[line_start:offset].decode("utf-8", "replace")) + 1
        return TextError(reason, self.body.count(b"\n", 0, offset) + 1, column)

    def found(self, position: int | None = None) -> str:
        """What stands at a position, for the end of an error message."""
        offset = self.position if position is None else position
        if offset >= len(self.body):
            return "the end of the body"
        if self.body[offset : offset + 1] == b"\n":
            return "the end of the line"
        rest = self.body[offset : offset + _SHOWN_BYTES].split(b"\n", 1)[0]
        return f"`{rest.decode('utf-8', 'replace')}`"


def plain_series(text: bytes, metric_type: str) -> Labels | None:
    """What `read_series` makes of a text that is a series alone, if it is one of those that need no second look."""
    try:
        match = _PLAIN_SERIES.fullmatch(text.decode())
    except UnicodeDecodeError:
        return None
    if match is None:
        return None
    name, inside = match.group(1, 2)
    pairs = _PLAIN_PAIRS.findall(inside) if inside else []
    bound = _FLOAT_LABELS.get(metric_type)
    if bound is not None:
        pairs = [(key, _normal_float(value) if key == bound else value) for key, value in pairs]
    pairs.append((METRIC_NAME, name))
    if len(dict(pairs)) < len(pairs):
        return None
    pairs.sort()
    return Labels(pairs) if all(value for _, value in pairs) else Labels.of(pairs)


def read_series(cursor: Cursor, dialect: Dialect, metric_type: str) -> Labels:
    """Read `name{label="value", ...}` or `{"quoted name", ...}`.

    `metric_type` is the type that the last TYPE line gave: bucket bounds and quantiles are spelled alike for the
    classic histograms and summaries of both formats, as Prometheus 3 does.
    """
    start = cursor.position
    pairs: list[tuple[str, str]] = []
    name = cursor.take(_PLAIN_NAME)
    if name is not None:
        pairs.append((METRIC_NAME, name[0].decode("ascii")))
    if cursor.take(dialect.open_brace):
        pairs += _read_labels(cursor, dialect, may_hold_name=name is None)
    elif name is None:
        raise cursor.error(f"expected a metric name or a comment, found {cursor.found()}")
    if metric_type in _FLOAT_LABELS:
        bound = _FLOAT_LABELS[metric_type]
        pairs = [(key, _normal_float(value) if key == bound else value) for key, value in pairs]
    names = {label_name for label_name, _ in pairs}
    if len(names) < len(pairs):
        raise cursor.error("a label name is there twice", start)
    if "" in names:
        raise cursor.error("a label name is empty", start)
    labels = Labels.of(pairs)
    if not labels.metric_name:
        raise cursor.error("the sample has no metric name", start)
    return labels


def read_exemplar_labels(cursor: Cursor, dialect: Dialect) -> Labels:
    """Read an exemplar's labels, from behind the opening brace up to and with the closing one.

    Of two with the same name the later counts: no exemplar is worth a scrape.
    """
    return Labels.of(_read_labels(cursor, dialect, may_hold_name=False))


def _read_labels(cursor: Cursor, dialect: Dialect, *, may_hold_name: bool) -> list[tuple[str, str]]:
    """Read labels up to and with the closing brace; a metric name among them comes as the label `__name__`."""
    pairs: list[tuple[str, str]] = []
    while not cursor.take(_CLOSE_BRACE):
        position = cursor.position
        if pair := cursor.take(dialect.pair):
            name = _string_text(cursor, pair[1], position)
            if name == METRIC_NAME:
                raise cursor.error("the metric name goes before the brace, or in quotes and alone behind it", position)
            pairs.append((name, _string_text(cursor, pair[2], pair.start(2))))
        elif may_hold_name and (match := cursor.take(dialect.metric_name)):
            may_hold_name = False
            pairs.append((METRIC_NAME, _string_text(cursor, match[1], position)))
        else:
            raise _explain_label(cursor, dialect)
    return pairs


def _string_text(cursor: Cursor, token: bytes, position: int) -> str:
    """The text of a quoted token or of a bare name."""
    if token[:1] != b'"':
        return token.decode("ascii")
    text = utf8_text(cursor, token[1:-1], position + 1)
    return unescape(text) if "\\" in text else text


_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
_ESCAPE = re.compile(r'\\[\\"n]')


def unescape(text: str) -> str:
    """Resolve the escapes of label values; a backslash before anything else stands for itself."""
    return _ESCAPE.sub(lambda match: _ESCAPES[match[0]], text)


def _explain_label(cursor: Cursor, dialect: Dialect) -> ExpositionError:
    """Which token of a label is wrong."""
    if not cursor.take(dialect.label_name):
        return cursor.error(f"expected a label name or `}}`, found {cursor.found()}")
    cursor.take(dialect.space)
    if cursor.body[cursor.position : cursor.position + 1] != b"=":
        return cursor.error(f"expected `=` after the label name, found {cursor.found()}")
    cursor.position += 1
    cursor.take(dialect.space)
    if not cursor.take(dialect.label_value):
        return cursor.error(f"expected a label value in double quotes, found {cursor.found()}")
    return cursor.error(f"expected `,` or `}}` after the label value, found {cursor.found()}")


class Comment(NamedTuple):
    """A comment line that says something: `keyword` is HELP, TYPE, UNIT, or EOF with the rest empty."""

    keyword: str
    family: str = ""
    text: str = ""


def add_metadata(metadata: dict[str, Metadata], comment: Comment) -> None:
    """Note what a comment says of its family; a later one overrides."""
    known = metadata.get(comment.family, Metadata())
    match comment.keyword:
        case "HELP":
            metadata[comment.family] = Metadata(known.type, comment.text, known.unit)
        case "TYPE":
            metadata[comment.family] = Metadata(comment.text, known.help, known.unit)
        case "UNIT":
            metadata[comment.family] = Metadata(known.type, known.help, comment.text)


def read_family_name(cursor: Cursor, keyword: str) -> str:
    """The family that a HELP, TYPE or UNIT line is about. Escapes stay as they are, as in Prometheus."""
    position = cursor.position
    match = cursor.take(_FAMILY_NAME)
    if match is None:
        raise cursor.error(f"expected a metric name after {keyword}, found {cursor.found()}")
    token = match[0]
    return utf8_text(cursor, token[1:-1] if token[:1] == b'"' else token, position)


def utf8_text(cursor: Cursor, token: bytes, position: int) -> str:
    """Decode a token that starts at a position, or say where it is no UTF-8."""
    try:
        return token.decode("utf-8")
    except UnicodeDecodeError as error:
        raise cursor.error("not valid UTF-8", position + error.start) from None


def read_float(cursor: Cursor, token: bytes, position: int) -> float:
    """The number that a token stands for. Raises ExpositionError."""
    value = parse_float(token)
    if value is None:
        shown = token[:_SHOWN_BYTES].decode("utf-8", "replace")
        raise cursor.error(f"`{shown}` is no number that a float64 can hold", position)
    return value


def parse_float(token: bytes) -> float | None:
    """A number as Go reads it, without hexadecimal and underscores; None where it is none or out of range.

    NaN is the canonical one. Rounding is to nearest, half to even, like strconv.ParseFloat's.
    """
    if _FLOAT.fullmatch(token) is None:
        return None
    value = float(token)
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return NORMAL_NAN
    return value if b"n" in token.lower() else None


# Prometheus 3 spells the bounds of classic histograms and summaries as OpenMetrics prescribes, so that a series
# keeps its identity when a client changes format (normalizeFloatsInLabelValues).
_FLOAT_LABELS = {"histogram": "le", "summary": "quantile"}


def _normal_float(text: str) -> str:
    value = parse_float(text.encode())
    return text if value is None else bound_text(value)


def bound_text(value: float) -> str:
    """How Prometheus spells a bucket's bound or a quantile."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return format_float(value)


def format_float(value: float) -> str:
    """The shortest spelling that reads back, as OpenMetrics prescribes it for bounds: always a point or an exponent.

    `value` is finite. The exponent appears below 1e-4 and from 1e6 on, where Go's `%g` puts it.
    """
    if value == 0:
        return "0.0"
    shortest = Decimal(repr(value)).normalize()
    if -4 <= shortest.adjusted() < 6:
        plain = f"{shortest:f}"
        return plain if "." in plain else plain + ".0"
    digits = "".join(map(str, shortest.as_tuple().digits))
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[0]}{fraction}e{shortest.adjusted():+03d}"
