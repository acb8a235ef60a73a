"""Reads OpenMetrics text with timestamps as a stream: what `promtool tsdb dump-openmetrics` and `db export` write.

Lines are read some thousands at once. In the usual case the numbers at their ends are found with numpy and converted
in one go, and what is before them is looked up among the series seen so far. Where that fails, the strict reader takes
the same lines one by one: it reads them (a line with an exemplar), or says what is wrong with the first bad one.
"""

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from common.labels import Labels
from exposition.errors import ExpositionError
from exposition.formats import Format
from exposition.lexing import Cursor
from exposition.number_texts import read_times_ms, read_values
from exposition.openmetrics import parse_openmetrics, read_openmetrics_comment, read_openmetrics_series
from tsdb.embedded.tools.imports import ImportRefusedError, Samples, SeriesIds
from tsdb.model import IntArray

BYTES_AT_ONCE = 1 << 20
_LONGEST_LINE_BYTES = 1 << 24
_LINE_FEED, _BLANK = b"\n "
_COMMENT_LINES = re.compile(rb"^(#[^\n]*+\n)", re.MULTILINE)
_NOT_ENDED = "the file does not end with `# EOF`: what it holds was imported, but more may be cut off"


class OpenMetricsReader:
    """The samples of a file, which has a name for messages."""

    def __init__(self, file: BinaryIO, name: str, series_ids: SeriesIds) -> None:
        self._file = file
        self._name = name
        self._series_ids = series_ids
        self._known: dict[bytes, int] = {}
        self._lines_read = 0
        self._type = "unknown"
        self._ended = False

    def samples(self, report: Callable[[int], None]) -> Iterator[Samples]:
        """Some thousand samples at a time; `report` is told how many bytes are done.

        Raises ImportRefusedError at the first line that is wrong, once everything before it has been given.
        """
        bytes_read = 0
        for body in self._slices():
            for part in _sections(body):
                if self._ended:
                    raise self._refusal("there is more after `# EOF`")
                if part.startswith(b"#"):
                    self._read_comment(part)
                elif (samples := self._at_once(part)) is not None:
                    yield samples
                else:
                    yield from self._line_by_line(part)
                self._lines_read += part.count(b"\n")
            bytes_read += len(body)
            report(bytes_read)
        if not self._ended:
            raise self._refusal(_NOT_ENDED)

    def _slices(self) -> Iterator[bytes]:
        """The file in parts of whole lines."""
        rest = b""
        while part := self._file.read(BYTES_AT_ONCE):
            whole, line_feed, begun = part.rpartition(b"\n")
            if line_feed:
                yield rest + whole + line_feed
                rest = begun
            else:
                rest += begun
            if len(rest) > _LONGEST_LINE_BYTES:
                raise self._refusal(f"the line has more than {_LONGEST_LINE_BYTES} bytes")
        if rest:
            yield rest + b"\n"

    def _read_comment(self, line: bytes) -> None:
        try:
            comment = read_openmetrics_comment(Cursor(line))
        except ExpositionError as error:
            raise self._refusal(_without_line(error)) from error
        if comment.keyword == "TYPE":
            self._type = comment.text
        self._ended = comment.keyword == "EOF"

    def _at_once(self, body: bytes) -> Samples | None:
        """The samples of whole sample lines; None where they have to be looked at one by one."""
        text = np.frombuffer(body, dtype=np.uint8)
        breaks = np.flatnonzero(text <= _BLANK)
        line_breaks = np.flatnonzero(text[breaks] == _LINE_FEED)
        ends = breaks[line_breaks]
        starts = np.append(0, ends[:-1] + 1)
        # The two blanks before a line's end. What wraps around at the first line fails the test of order.
        value_starts = breaks.take(line_breaks - 2, mode="wrap")
        time_starts = breaks.take(line_breaks - 1, mode="wrap")
        in_order = (starts < value_starts) & (value_starts < time_starts) & (time_starts < ends)
        if not in_order.all() or (text[value_starts] != _BLANK).any() or (text[time_starts] != _BLANK).any():
            return None
        # The text is series, numbers, series, numbers, ...
        lengths = np.diff(np.append(0, np.stack((value_starts, ends), axis=1)))
        is_number = np.tile([False, True], len(ends)).repeat(lengths)
        numbers = read_values(text[:-1][is_number].tobytes())
        if numbers is None or len(numbers) != 2 * len(ends):
            return None
        times_ms = read_times_ms(numbers[1::2], b"", Format.OPENMETRICS)
        if times_ms is None:
            return None
        series = [body[start:end] for start, end in zip(starts.tolist(), value_starts.tolist(), strict=True)]
        try:
            ids = self._ids(series)
        except ExpositionError:
            return None
        return Samples(ids, times_ms, np.ascontiguousarray(numbers[::2]))

    def _ids(self, series: list[bytes]) -> IntArray:
        """int64[N] ids of series as they are written. Raises ExpositionError."""
        known = self._known
        new = [text for text in dict.fromkeys(series) if text not in known]
        if new:
            known.update(zip(new, self._series_ids([self._labels(text) for text in new]).tolist(), strict=True))
        return np.array([known[text] for text in series], dtype=np.int64)

    def _labels(self, text: bytes) -> Labels:
        cursor = Cursor(text)
        labels = read_openmetrics_series(cursor, self._type)
        if not cursor.at_end():
            raise cursor.error("more than a series")
        return labels

    def _line_by_line(self, body: bytes) -> Iterator[Samples]:
        """The same by the strict reader. Raises ImportRefusedError after all good lines before the bad one."""
        labels: list[Labels] = []
        times_ms: list[int] = []
        values: list[float] = []
        refusal = None
        # The reader takes whole bodies: this line between the type that holds for it and the end.
        frame = b"# TYPE _ %b\n%%b\n# EOF\n" % self._type.encode()
        for number, line in enumerate(body.removesuffix(b"\n").split(b"\n")):
            try:
                (sample,) = parse_openmetrics(frame % line).samples
            except ExpositionError as error:
                refusal = self._refusal(_without_line(error), number)
                break
            if sample.time_ms is None:
                refusal = self._refusal("the sample has no timestamp: an import needs one on every line", number)
                break
            labels.append(sample.labels)
            times_ms.append(sample.time_ms)
            values.append(sample.value)
        if labels:
            yield Samples(self._series_ids(labels), np.array(times_ms), np.array(values))
        if refusal is not None:
            raise refusal

    def _refusal(self, reason: str, line: int = 0) -> ImportRefusedError:
        """What is wrong with a line, counted from the part at hand."""
        return ImportRefusedError(f"{self._name}, line {self._lines_read + line + 1}: {reason}")


def _sections(body: bytes) -> list[bytes]:
    """Whole lines cut into sample lines and single comment lines."""
    if b"\n#" not in body and not body.startswith(b"#"):
        return [body]
    return list(filter(None, _COMMENT_LINES.split(body)))


def _without_line(error: ExpositionError) -> str:
    """What the strict reader says, less its own count of lines."""
    return re.sub(r"^line \d+, ", "", str(error))
