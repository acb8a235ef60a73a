"""The samples of series as JSON: `{"metric":{...},"values":[[1700000000,"0.5"],...]}`, without an object per sample.

Every piece of the text has a place that is known beforehand. The numbers are copied from the text of the whole array
to theirs, in rising order and each with the same length, so that what is copied too much of one is covered by the
next. Then what stands before each number is copied over it, and last what stands before each series.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from server.numbertext import MAX_TEXT, ByteArray, float_texts, time_texts
from tsdb.model import FloatArray, IntArray

Part = bytes | memoryview
"""Of a body, as it is sent."""

# What is worked on at once: about a megabyte of text.
_CHUNK_SAMPLES = 1 << 15

_CLOSED = b'"],'  # ends a sample that another one follows
_SERIES_END = b'"]]}'


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The samples of a few series, one series after the other.

    `metrics` has the JSON of their labels, `counts` int64[S] how many samples each has, at least one. `steps` and
    `values` are int64[J] and float64[J]: of each sample the number of its time in the openings, and the value.
    """

    metrics: Sequence[bytes]
    counts: IntArray
    steps: IntArray
    values: FloatArray


class Openings:
    """What stands before each value: the end of the sample before it, then its own up to the value's quote."""

    def __init__(self, times_ms: IntArray) -> None:
        texts = [b'%s[%s,"' % (_CLOSED, text) for text in time_texts(times_ms)]
        self.lengths = np.array([len(text) for text in texts], dtype=np.int64)
        # For each length the texts that have it, and for every time where in those it is.
        self._places = np.zeros(len(texts), dtype=np.int64)
        self._by_length: list[tuple[int, npt.NDArray[np.void]]] = []
        for length in np.unique(self.lengths).tolist():
            chosen = np.flatnonzero(self.lengths == length)
            self._places[chosen] = np.arange(len(chosen))
            joined = b"".join([texts[index] for index in chosen.tolist()])
            self._by_length.append((length, np.frombuffer(joined, dtype=f"V{length}")))

    def put(self, steps: IntArray, places: IntArray, into: ByteArray) -> None:
        """Write those of some times to places in a buffer."""
        if len(self._by_length) == 1:
            length, texts = self._by_length[0]
            _words(into, length)[places] = texts[steps]
            return
        lengths = self.lengths[steps]
        for length, texts in self._by_length:
            chosen = np.flatnonzero(lengths == length)
            _words(into, length)[places[chosen]] = texts[self._places[steps[chosen]]]


def rows_at_once(samples_of_a_series: int) -> int:
    """How many series a run should have."""
    return max(1, _CHUNK_SAMPLES // max(1, samples_of_a_series))


def write_run(run: Run, openings: Openings, *, first: bool) -> memoryview:
    """The series of a run, less the end of the last one; before them the end of the one before, unless `first`."""
    before = [b'%s,{"metric":%s,"values":[' % (_SERIES_END, metric) for metric in run.metrics]
    if first:
        before[0] = before[0].removeprefix(_SERIES_END + b",")
    texts = float_texts(run.values)
    # The first sample of a series has nothing to close: its opening begins within what stands before the series.
    extra = np.array([len(text) - len(_CLOSED) for text in before])
    opening_lengths = openings.lengths[run.steps]
    ends = np.cumsum(opening_lengths + texts.lengths) + np.repeat(np.cumsum(extra), run.counts)
    value_places = ends - texts.lengths
    opening_places = value_places - opening_lengths
    body = np.empty(int(ends[-1]) + MAX_TEXT, np.uint8)
    width = int(texts.lengths.max())
    _words(body, width)[value_places] = _words(texts.buffer, width)[texts.starts]
    openings.put(run.steps, opening_places, body)
    view = body.data
    firsts = opening_places[np.cumsum(run.counts) - run.counts].tolist()
    for text, place in zip(before, firsts, strict=True):
        end = place + len(_CLOSED)
        view[end - len(text) : end] = text
    return view[: int(ends[-1])]


def written(runs: Iterator[Run], openings: Openings) -> Iterator[Part]:
    """All series of runs over the same times, with commas between them."""
    some = False
    for run in runs:
        yield write_run(run, openings, first=not some)
        some = True
    if some:
        yield _SERIES_END


def _words(buffer: ByteArray, width: int) -> npt.NDArray[np.void]:
    """The buffer as overlapping words: element i is its bytes from i on."""
    return np.ndarray((len(buffer) - width + 1,), dtype=f"V{width}", buffer=buffer, strides=(1,))
