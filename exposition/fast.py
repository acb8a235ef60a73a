"""The fast way from a scraped body to values: no work per line as long as the lines repeat.

Two scrapes of a target mostly differ in the values alone. `split` finds each sample line's last blank with numpy,
cuts the values out and converts them in one go; what is left, the skeleton, is the same bytes as last time if the
lines are. Then the series are those of last time, in the same order, and nothing else has to be looked at. Where the
last body is known, its `Template` finds that out with half the work.

How a caller keeps its part of the bargain:

    values = template of the last body that was accepted below, .values(body)
    if values is not None:
        they belong to the series of that body
    else:
        parts = split(body, body_format)
        if parts is None:                         # values or white space that the fast way does not read
            read it with exposition.formats.parse
        try:
            parts.metadata()                      # checks the comment lines
            for each prefix in parts.prefixes() that was never seen: parts.series(index)
            accept, remember parts.template()
        except ExpositionError:
            read it with exposition.formats.parse, which accepts it or gives the right message

A sample with a timestamp or an exemplar has more than the series before its last blank, so `series` raises for it.
That the lines are looked at one by one does not lead astray where a quoted string spans lines: its first line ends
within quotes, and `series` or `metadata` raises for that.
"""

from bisect import bisect_right
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import orjson

from common.labels import Labels
from exposition.formats import Format
from exposition.lexing import NORMAL_NAN, Comment, Cursor, add_metadata, parse_float
from exposition.model import Metadata
from exposition.openmetrics import NO_EOF, read_openmetrics_comment, read_openmetrics_series
from exposition.text import read_text_comment, read_text_series

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

_LINE_FEED, _BLANK, _HASH = b"\n #"
_NUMBER_BYTES = b"0123456789+-.eEaAfFiInNtTyY "


class Split:
    """A body taken apart; made by `split`.

    `skeleton` is the body without the values and the blanks before them. `values` is float64[N], one for each sample
    line, in order; each is rounded to nearest, half to even, and every NaN is the canonical one.
    """

    def __init__(
        self,
        body: bytes,
        body_format: Format,
        line_starts: IntArray,
        is_sample: npt.NDArray[np.bool_],
        prefix_ends: IntArray,
        skeleton: bytes,
        values: FloatArray,
    ) -> None:
        self.skeleton = skeleton
        self.values = values
        self._body = body
        self._format = body_format
        self._line_starts = line_starts
        self._is_sample = is_sample
        self._prefix_ends = prefix_ends

    def prefixes(self) -> list[bytes]:
        """Each sample line's bytes up to the blank before the value: N keys for a cache of series."""
        body = self._body
        return [body[start:end] for start, end in zip(self._sample_starts, self._prefix_ends.tolist(), strict=True)]

    def series(self, index: int) -> Labels:
        """Read the prefix of a sample line, counted from 0. Raises ExpositionError where it is more than a series."""
        start = self._sample_starts[index]
        cursor = Cursor(self._body[start : self._prefix_ends[index]])
        read = read_text_series if self._format is Format.TEXT else read_openmetrics_series
        labels = read(cursor, self._type_at(start))
        if not cursor.at_end():
            raise cursor.error(f"expected a value after the metric, found {cursor.found()}")
        return labels

    def template(self) -> "Template":
        """What recognises the same lines in another body."""
        lines = np.flatnonzero(self._is_sample)
        return Template(self.skeleton, len(self._is_sample), lines, self._prefix_ends - self._line_starts[lines])

    def metadata(self) -> dict[str, Metadata]:
        """What the comment lines say, by family. Raises ExpositionError where one is not as it should be."""
        return self._comments[0]

    def _type_at(self, offset: int) -> str:
        _, type_offsets, types = self._comments
        before = bisect_right(type_offsets, offset)
        return types[before - 1] if before else "unknown"

    @cached_property
    def _sample_starts(self) -> list[int]:
        """Where each sample line begins."""
        starts: list[int] = self._line_starts[self._is_sample].tolist()
        return starts

    @cached_property
    def _comments(self) -> tuple[dict[str, Metadata], list[int], list[str]]:
        """The metadata, and the offsets of the TYPE lines with the types they give."""
        metadata: dict[str, Metadata] = {}
        offsets: list[int] = []
        types: list[str] = []
        comment: Comment | None = None
        for start in self._line_starts[~self._is_sample].tolist():
            line = self._body[start : self._body.index(b"\n", start) + 1]
            comment = _read_comment(line, self._format)
            if comment is not None:
                add_metadata(metadata, comment)
                if comment.keyword == "TYPE":
                    offsets.append(start)
                    types.append(comment.text)
        if self._format is Format.OPENMETRICS and (comment != Comment("EOF") or self._is_sample[-1]):
            raise Cursor(self._body, len(self._body)).error(NO_EOF)
        return metadata, offsets, types


# The same exporter says the same on every host.
@lru_cache(maxsize=10_000)
def _read_comment(line: bytes, body_format: Format) -> Comment | None:
    read = read_text_comment if body_format is Format.TEXT else read_openmetrics_comment
    return read(Cursor(line))


class Template:
    """The lines of a body without their values.

    `line_count` lines, of which those numbered `sample_lines` int[N] have samples; `prefix_lengths` int[N] are the
    bytes before the blanks of their values.
    """

    def __init__(self, skeleton: bytes, line_count: int, sample_lines: IntArray, prefix_lengths: IntArray) -> None:
        self._skeleton = skeleton
        self._line_count = line_count
        self._sample_lines = sample_lines
        self._prefix_lengths = prefix_lengths
        self._in_value = np.arange(2 * len(sample_lines) + 1) & 1 == 1

    def values(self, body: bytes) -> FloatArray | None:
        """float64[N], the values of a body with just these lines, as `split` gives them; None for other bodies."""
        if not body.endswith(b"\n"):
            body += b"\n"
        text = np.frombuffer(body, dtype=np.uint8)
        line_ends = (text == _LINE_FEED).nonzero()[0]
        if len(line_ends) != self._line_count:
            return None
        value_ends = line_ends.take(self._sample_lines)
        # The end of the line before; line -1 wraps around to the last, which is no line before the first.
        prefix_ends = line_ends.take(self._sample_lines - 1) + 1
        prefix_ends[self._sample_lines == 0] = 0
        prefix_ends += self._prefix_lengths
        if (prefix_ends >= value_ends).any() or (text.take(prefix_ends) != _BLANK).any():
            return None
        is_value = self._in_value.repeat(_lengths(prefix_ends, value_ends, len(text)))
        if text[~is_value].tobytes() != self._skeleton:
            return None
        values = read_values(text[is_value].tobytes())
        return values if values is not None and len(values) == len(value_ends) else None


def split(body: bytes, body_format: Format) -> Split | None:
    """Take a body apart, or return None where only the strict reader can say what it means or what is wrong.

    None means: a sample line starts with white space, ends in it, has no blank at all or has something else than a
    number after its last blank.
    """
    if not body.endswith(b"\n"):
        body += b"\n"
    text = np.frombuffer(body, dtype=np.uint8)
    breaks = np.flatnonzero(text <= _BLANK)
    line_breaks = np.flatnonzero(text[breaks] == _LINE_FEED)
    line_ends = breaks[line_breaks]
    line_starts = np.empty_like(line_ends)
    line_starts[0] = 0
    line_starts[1:] = line_ends[:-1] + 1
    first = text[line_starts]
    is_sample = (first != _HASH) & (first != _LINE_FEED)
    value_ends = line_ends[is_sample]
    # The white space before a line's end; the wrap-around at the first line finds a line feed, which is refused too.
    prefix_ends = breaks[line_breaks[is_sample] - 1]
    if (text[prefix_ends] != _BLANK).any() or (first[is_sample] <= _BLANK).any():
        return None

    in_value = np.arange(2 * len(value_ends) + 1) & 1 == 1
    is_value = in_value.repeat(_lengths(prefix_ends, value_ends, len(text)))
    values = read_values(text[is_value].tobytes())
    if values is None:
        return None
    return Split(body, body_format, line_starts, is_sample, prefix_ends, text[~is_value].tobytes(), values)


def _lengths(prefix_ends: IntArray, value_ends: IntArray, end: int) -> IntArray:
    """How many bytes are skeleton, value, skeleton, ..., skeleton."""
    bounds = np.empty(2 * len(value_ends) + 2, dtype=np.intp)
    bounds[0] = 0
    bounds[1:-1:2] = prefix_ends
    bounds[2:-1:2] = value_ends
    bounds[-1] = end
    return bounds[1:] - bounds[:-1]


def read_values(text: bytes) -> FloatArray | None:
    """The numbers in a text that has one blank before each; None where one of them is none.

    A JSON reader does it four times as fast as anything else at hand, and rounds as exactly. It knows neither NaN (so
    null stands in) nor the spellings that Go's grammar has on top of JSON's, and loses the sign of -0: these go
    to `parse_float` one by one.
    """
    if text.translate(None, _NUMBER_BYTES):
        return None
    if b"-0 " not in text and not text.endswith(b"-0"):
        try:
            numbers = orjson.loads(b"[%b]" % text[1:].replace(b" ", b",").replace(b"NaN", b"null"))
        except orjson.JSONDecodeError:
            pass
        else:
            if len(numbers) != text.count(b" "):
                return None  # A single blank with nothing behind it.
            values = np.array(numbers, dtype=np.float64)
            values[np.isnan(values)] = NORMAL_NAN
            return values
    slow = [parse_float(token) for token in text[1:].split(b" ")]
    return None if None in slow else np.array(slow, dtype=np.float64)
