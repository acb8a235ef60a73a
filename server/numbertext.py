"""Numbers and times as Prometheus's JSON has them, one by one and whole arrays at once.

orjson turns an array of floats into text: shortest digits, as in Go. Where its notation is not Go's (huge, tiny, NaN,
infinite: rarely more than a few) other texts stand in, so that a vector of numbers is always one buffer, and where in
it each number's text starts and how long it is.

The forms are those of Prometheus's util/jsonutil, and of promql/value.go for scalars.
"""

from dataclasses import dataclass
from decimal import Decimal
from operator import add

import numpy as np
import numpy.typing as npt
import orjson

from tsdb.model import FloatArray, IntArray

ByteArray = npt.NDArray[np.uint8]

MAX_TEXT = 26
"""Bytes of the longest text of a float: a sign, 17 digits, a point, an exponent, or the zeros in the place of one."""

# Within these bounds orjson writes plain decimals, as Go does.
_PLAIN_MIN = 1e-5
_PLAIN_MAX = 1e16

_COMMA = ord(",")
_FRACTIONS = np.array([b""] + [b".%03d" % ms for ms in range(1, 1000)], dtype=object)


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """J texts in a buffer: `starts` and `lengths` are int64[J]. MAX_TEXT bytes may be read from every start."""

    buffer: ByteArray
    starts: IntArray
    lengths: IntArray

    def list(self) -> list[bytes]:
        """Each as an object of its own."""
        raw = self.buffer.tobytes()
        return [
            raw[start : start + length]
            for start, length in zip(self.starts.tolist(), self.lengths.tolist(), strict=True)
        ]


def float_texts(values: FloatArray) -> Texts:
    """float64[J] as format_float writes them."""
    raw = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    bounds = np.empty(len(values) + 1, np.int64)
    bounds[1:-1] = np.flatnonzero(np.frombuffer(raw, np.uint8) == _COMMA)
    bounds[0], bounds[-1] = 0, len(raw) - 1
    starts = bounds[:-1] + 1
    lengths = bounds[1:] - starts
    size = np.abs(values)
    with np.errstate(invalid="ignore"):  # of NaN that signal
        whole = np.floor(values) == values
    lengths[whole & (size < _PLAIN_MAX)] -= len(".0")
    others = b""
    odd = np.flatnonzero(~(((size >= _PLAIN_MIN) & (size < _PLAIN_MAX)) | (size == 0)))
    if len(odd):
        others = _replace(values[odd], odd, starts, lengths, len(raw))
    return Texts(np.frombuffer(raw + others + bytes(MAX_TEXT), np.uint8), starts, lengths)


def _replace(odd_values: FloatArray, odd: IntArray, starts: IntArray, lengths: IntArray, at: int) -> bytes:
    """Lead some places to texts that are to be put in the buffer at `at`; returns those."""
    bits, which = np.unique(odd_values.view(np.uint64), return_inverse=True)
    texts = [format_float(value).encode() for value in bits.view(np.float64).tolist()]
    ends = np.cumsum([len(text) for text in texts])
    lengths[odd] = np.array([len(text) for text in texts])[which]
    starts[odd] = at + ends[which] - lengths[odd]
    return b"".join(texts)


def time_texts(times_ms: IntArray) -> list[bytes]:
    """Rising times as format_time writes them."""
    if not len(times_ms):
        return []
    if times_ms[0] < 0:
        return [format_time(time_ms) for time_ms in times_ms.tolist()]
    seconds, milliseconds = np.divmod(times_ms, 1000)
    whole = orjson.dumps(seconds, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
    return list(map(add, whole, _FRACTIONS[milliseconds].tolist()))


def format_float(value: float) -> str:
    """Go's shortest form: plain decimals from 1e-6 up to 1e21, else an exponent (jsonutil.MarshalFloat)."""
    size = abs(value)
    if size != 0 and size != np.inf and (size < 1e-6 or size >= 1e21):
        # Python's repr has the same digits and the same exponent of at least two digits
        return repr(value)
    return plain_float(value)


def plain_float(value: float) -> str:
    """Go's strconv.FormatFloat(value, 'f', -1, 64): shortest digits that read back, never an exponent."""
    if value != value:
        return "NaN"
    if value in (np.inf, -np.inf):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    return f"{Decimal(text):f}" if "e" in text else text.removesuffix(".0")


def format_time(time_ms: int) -> bytes:
    """Seconds with three decimals where there is a fraction (jsonutil.MarshalTimestamp)."""
    seconds, milliseconds = divmod(abs(time_ms), 1000)
    sign = b"-" if time_ms < 0 else b""
    return b"%s%d.%03d" % (sign, seconds, milliseconds) if milliseconds else b"%s%d" % (sign, seconds)
