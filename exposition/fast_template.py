"""What recognises the lines of a body in the next one, and takes the readings out of it."""

from functools import lru_cache

import numpy as np

from exposition.errors import ExpositionError
from exposition.formats import Format
from exposition.model import Exemplar
from exposition.number_texts import read_times_ms, read_values
from exposition.openmetrics import read_exemplar
from exposition.readings import BoolArray, ByteArray, IntArray, Readings

LINE_FEED, BLANK, HASH = b"\n #"
_EXEMPLAR_START = b" # {"


class Template:
    """The lines of a body without what changes.

    `line_count` lines, of which those numbered `sample_lines` int[N] have samples; `prefix_lengths` int[N] are the
    bytes before the blanks of their values. `timed` is bool[N], None where no sample has a time.
    """

    def __init__(
        self,
        body_format: Format,
        skeleton: bytes,
        line_count: int,
        sample_lines: IntArray,
        prefix_lengths: IntArray,
        timed: BoolArray | None,
    ) -> None:
        self._format = body_format
        self._skeleton = skeleton
        self._line_count = line_count
        self._sample_lines = sample_lines
        self._prefix_lengths = prefix_lengths
        self._timed = timed

    def read(self, body: bytes) -> Readings | None:
        """The readings of a body with just these lines, as `split` gives them; None for other bodies."""
        if not body.endswith(b"\n"):
            body += b"\n"
        body, tails = cut_exemplars(body, self._format)
        text = as_bytes(body)
        timed = self._timed
        # Where no time is behind the value, there is no need to know the blanks.
        breaks = (text == LINE_FEED if timed is None else text <= BLANK).nonzero()[0]
        line_breaks = (text.take(breaks) == LINE_FEED).nonzero()[0] if timed is not None else None
        line_ends = breaks if line_breaks is None else breaks.take(line_breaks)
        if len(line_ends) != self._line_count:
            return None
        value_ends = line_ends.take(self._sample_lines)
        # The end of the line before; line -1 wraps around to the last, which is no line before the first.
        prefix_ends = line_ends.take(self._sample_lines - 1) + 1
        prefix_ends[self._sample_lines == 0] = 0
        prefix_ends += self._prefix_lengths
        if (prefix_ends >= value_ends).any() or (text.take(prefix_ends) != BLANK).any():
            return None
        time_starts = None
        if timed is not None and line_breaks is not None:
            time_starts = breaks.take(line_breaks.take(self._sample_lines[timed]) - 1)
            if (time_starts <= prefix_ends[timed]).any() or (text.take(time_starts) != BLANK).any():
                return None
        found = take_readings(self._format, text, prefix_ends, value_ends, timed, time_starts, self._skeleton)
        return None if found is None else with_exemplars(found[1], tails, value_ends)


def take_readings(
    body_format: Format,
    text: ByteArray,
    prefix_ends: IntArray,
    value_ends: IntArray,
    timed: BoolArray | None,
    time_starts: IntArray | None,
    expected: bytes | None = None,
) -> tuple[bytes, Readings] | None:
    """Cut from each of N lines what is between two places, and read it: the skeleton and the readings.

    A line has one number there, and a second from `time_starts` on where it is `timed`. None where it is otherwise, or
    the skeleton is not the expected one.
    """
    count = len(prefix_ends)
    is_value = _between(prefix_ends, value_ends, len(text))
    skeleton = text[~is_value].tobytes()
    if expected is not None and skeleton != expected:
        return None
    numbers = read_values(text[is_value].tobytes())
    if timed is None or time_starts is None:
        return None if numbers is None or len(numbers) != count else (skeleton, Readings(numbers))
    at = np.arange(count)
    at[1:] += np.cumsum(timed[:-1])
    if numbers is None or len(numbers) != count + len(time_starts):
        return None
    times_ms = np.zeros(count, dtype=np.int64)
    texts = text[_between(time_starts, value_ends[timed], len(text))].tobytes()
    found = read_times_ms(numbers[at[timed] + 1], texts, body_format)
    if found is None:
        return None
    times_ms[timed] = found
    return skeleton, Readings(numbers[at], times_ms)


def _between(starts: IntArray, ends: IntArray, length: int) -> BoolArray:
    """bool[length], true from each start to its end."""
    bounds = np.empty(2 * len(starts) + 2, dtype=np.intp)
    bounds[0] = 0
    bounds[1:-1:2] = starts
    bounds[2:-1:2] = ends
    bounds[-1] = length
    inside: BoolArray = (np.arange(2 * len(starts) + 1) & 1 == 1).repeat(bounds[1:] - bounds[:-1])
    return inside


def cut_exemplars(body: bytes, body_format: Format) -> tuple[bytes, list[tuple[int, bytes]]]:
    """The body without what may be exemplars, and those: where each line ends now, and what followed there."""
    if body_format is not Format.OPENMETRICS:
        return body, []
    start = body.find(_EXEMPLAR_START)
    if start < 0:
        return body, []
    kept: list[bytes] = []
    tails: list[tuple[int, bytes]] = []
    length = end = 0
    while start >= 0:
        line_end = body.find(b"\n", start)
        if body[body.rfind(b"\n", 0, start) + 1] != HASH:
            kept.append(body[end:start])
            length += start - end
            tails.append((length, body[start:line_end]))
            end = line_end
        start = body.find(_EXEMPLAR_START, line_end)
    kept.append(body[end:])
    return b"".join(kept), tails


def with_exemplars(readings: Readings, tails: list[tuple[int, bytes]], value_ends: IntArray) -> Readings | None:
    """The readings with the exemplars behind the lines that end at the given places; None where one is none."""
    if not tails:
        return readings
    samples = np.searchsorted(value_ends, [line_end for line_end, _ in tails]).tolist()
    exemplars = []
    for sample, (_, tail) in zip(samples, tails, strict=True):
        try:
            exemplar = _read_exemplar(tail)
        except ExpositionError:
            return None
        if exemplar is None:
            return None
        exemplars.append((sample, exemplar))
    return readings._replace(exemplars=tuple(exemplars))


# The exemplars of a target that is idle are those of the last scrape.
@lru_cache(maxsize=10_000)
def _read_exemplar(tail: bytes) -> Exemplar | None:
    return read_exemplar(tail)


def as_bytes(body: bytes) -> ByteArray:
    """The body as uint8[B]."""
    return np.frombuffer(body, dtype=np.uint8)
