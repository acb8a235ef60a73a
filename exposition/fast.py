"""The fast way from a scraped body to values: no work per line as long as the lines repeat.

Two scrapes of a target mostly differ in the values alone. `split` finds each sample line's last blank with numpy,
cuts the values out, with the times behind them, and converts them in one go; what is left, the skeleton, is the same
bytes as last time if the lines are. Then the series are those of last time, in the same order, and nothing else has to
be looked at. Where the last body is known, its `Template` (exposition.fast_template) finds that out with half the work.
Exemplars are cut off before, and read one by one.

How a caller keeps its part of the bargain:

    readings = template of the last body that was accepted below, .read(body)
    if readings is not None:
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

That the lines are looked at one by one does not lead astray where a quoted string spans lines: its first line ends
within quotes, and `series` or `metadata` raises for that. Neither does a string that holds ` # {` or ends in what looks
like a value before the value: the prefix ends within quotes then.
"""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from common.labels import Labels
from exposition.fast_template import (
    BLANK,
    HASH,
    LINE_FEED,
    Template,
    as_bytes,
    cut_exemplars,
    take_readings,
    with_exemplars,
)
from exposition.formats import Format
from exposition.lexing import Comment, Cursor, add_metadata, plain_series
from exposition.model import Metadata
from exposition.number_texts import is_number_byte
from exposition.openmetrics import NO_EOF, read_openmetrics_comment, read_openmetrics_series
from exposition.readings import BoolArray, IntArray, Readings
from exposition.text import read_text_comment, read_text_series


class Split:
    """A body taken apart; made by `split`.

    `skeleton` is the body without the values, times and exemplars, and the blanks before them. `readings` has one
    value for each of N sample lines, in order; `timed` is bool[N], which of them have a time, None where none has.
    """

    def __init__(
        self,
        body: bytes,
        body_format: Format,
        line_starts: IntArray,
        is_sample: BoolArray,
        prefix_ends: IntArray,
        timed: BoolArray | None,
        skeleton: bytes,
        readings: Readings,
    ) -> None:
        self.skeleton = skeleton
        self.readings = readings
        self.timed = timed
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
        return _read_series(self._body[start : self._prefix_ends[index]], self._format, self._type_at(start))

    def template(self) -> "Template":
        """What recognises the same lines in another body."""
        lines = np.flatnonzero(self._is_sample)
        prefix_lengths = self._prefix_ends - self._line_starts[lines]
        return Template(self._format, self.skeleton, len(self._is_sample), lines, prefix_lengths, self.timed)

    def metadata(self) -> dict[str, Metadata]:
        """What the comment lines say, by family; shared, so not to be changed. Raises ExpositionError."""
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
    def _comments(self) -> tuple[dict[str, Metadata], list[int], Sequence[str]]:
        """The metadata, and the offsets of the TYPE lines with the types they give."""
        is_comment = ~self._is_sample
        line_lengths = np.diff(self._line_starts, append=len(self._body))
        text = as_bytes(self._body)[is_comment.repeat(line_lengths)].tobytes()
        comments = _read_comments(text, self._format)
        if self._format is Format.OPENMETRICS and (not comments.ends or self._is_sample[-1]):
            raise Cursor(self._body, len(self._body)).error(NO_EOF)
        offsets: list[int] = self._line_starts[is_comment][comments.type_lines].tolist()
        return comments.metadata, offsets, comments.types


class _Comments(NamedTuple):
    """What comment lines say: `types` are given by the lines with the numbers `type_lines`; `ends` with an EOF."""

    metadata: dict[str, Metadata]
    type_lines: list[int]
    types: list[str]
    ends: bool


# The same exporter says the same on every host, whatever its series are.
@lru_cache(maxsize=100)
def _read_comments(text: bytes, body_format: Format) -> _Comments:
    metadata: dict[str, Metadata] = {}
    type_lines: list[int] = []
    types: list[str] = []
    comment: Comment | None = None
    for number, line in enumerate(text.split(b"\n")[:-1]):
        if comment == Comment("EOF"):
            raise Cursor(text).error("expected nothing after `# EOF`")
        comment = _read_comment(line + b"\n", body_format)
        if comment is not None:
            add_metadata(metadata, comment)
            if comment.keyword == "TYPE":
                type_lines.append(number)
                types.append(comment.text)
    return _Comments(metadata, type_lines, types, comment == Comment("EOF"))


@lru_cache(maxsize=10_000)
def _read_series(text: bytes, body_format: Format, metric_type: str) -> Labels:
    labels = plain_series(text, metric_type)
    if labels is not None:
        return labels
    cursor = Cursor(text)
    labels = (read_text_series if body_format is Format.TEXT else read_openmetrics_series)(cursor, metric_type)
    if not cursor.at_end():
        raise cursor.error(f"expected a value after the metric, found {cursor.found()}")
    return labels


@lru_cache(maxsize=10_000)
def _read_comment(line: bytes, body_format: Format) -> Comment | None:
    read = read_text_comment if body_format is Format.TEXT else read_openmetrics_comment
    return read(Cursor(line))


def split(body: bytes, body_format: Format) -> Split | None:
    """Take a body apart, or return None where only the strict reader can say what it means or what is wrong.

    None means: a sample line starts with white space, ends in it, has no blank at all or has something else than a
    number after its last blank.
    """
    if not body.endswith(b"\n"):
        body += b"\n"
    body, exemplars = cut_exemplars(body, body_format)
    text = as_bytes(body)
    breaks = np.flatnonzero(text <= BLANK)
    line_breaks = np.flatnonzero(text[breaks] == LINE_FEED)
    line_ends = breaks[line_breaks]
    line_starts = np.empty_like(line_ends)
    line_starts[0] = 0
    line_starts[1:] = line_ends[:-1] + 1
    first = text[line_starts]
    is_sample = (first != HASH) & (first != LINE_FEED)
    # The white space before a line's end; the wrap-around at the first line finds a line feed, which is refused too.
    last_breaks = line_breaks[is_sample] - 1
    last_blanks = breaks[last_breaks]
    if (text[last_blanks] != BLANK).any() or (first[is_sample] <= BLANK).any():
        return None
    earlier = breaks[last_breaks - 1]
    # What stands between the last two blanks is a value where it looks like one, to begin with in its last byte.
    timed = (text[earlier] == BLANK) & (earlier + 1 < last_blanks) & is_number_byte(text[last_blanks - 1])
    if timed.any():
        numeric = np.cumsum(is_number_byte(text), dtype=np.int64)
        timed &= numeric[last_blanks] - numeric[earlier] == last_blanks - earlier - 1
    prefix_ends = np.where(timed, earlier, last_blanks)
    own_times = timed if timed.any() else None
    value_ends = line_ends[is_sample]
    found = take_readings(body_format, text, prefix_ends, value_ends, own_times, last_blanks[timed])
    readings = None if found is None else with_exemplars(found[1], exemplars, value_ends)
    if found is None or readings is None:
        return None
    return Split(body, body_format, line_starts, is_sample, prefix_ends, own_times, found[0], readings)
