"""Query results as the bytes of Prometheus's JSON, written from arrays.

orjson turns a whole array into text at once; the text is split at its commas and joined again between the
timestamps, which are written once per step and shared by all series. Where orjson's notation of a number is not
Go's (huge, tiny, NaN, infinite: rarely more than a few) the text is replaced one by one.

The forms are those of Prometheus's web/api/v1/json_codec.go and util/jsonutil, and of promql/value.go for scalars.
"""

from collections.abc import Iterator
from decimal import Decimal
from operator import add

import numpy as np
import numpy.typing as npt
import orjson

from common.labels import Labels
from promql.result import Matrix, RangeVector, Scalar, String, Value, Vector
from tsdb.model import FloatArray, IntArray

# Within these bounds orjson writes plain decimals, as Go does.
_PLAIN_MIN = 1e-5
_PLAIN_MAX = 1e16

ObjectArray = npt.NDArray[np.object_]

_FRACTIONS = np.array([b""] + [b".%03d" % ms for ms in range(1, 1000)], dtype=object)


def write_result(value: Value, limit: int = 0) -> tuple[bytes, bool]:
    """`{"resultType": ..., "result": ...}` and whether series were left out by the limit (0: none)."""
    match value:
        case Scalar():
            text = plain_float(value.value).encode()
            return b'{"resultType":"scalar","result":[%s,"%s"]}' % (_seconds(value.time_ms), text), False
        case String():
            string = orjson.dumps(value.value)
            return b'{"resultType":"string","result":[%s,%s]}' % (_seconds(value.time_ms), string), False
        case Vector():
            kind, series = b"vector", _vector(value, limit)
        case RangeVector():
            kind, series = b"matrix", _range_vector(value, limit)
        case Matrix():
            kind, series = b"matrix", _matrix(value, limit)
    body = b'{"resultType":"%s","result":[%s]}' % (kind, b",".join(series))
    return body, 0 < limit < len(value.labels)


def _vector(vector: Vector, limit: int) -> Iterator[bytes]:
    count = min(limit, len(vector.labels)) if limit else len(vector.labels)
    time = format_time(vector.time_ms)
    texts = float_texts(vector.values[:count])
    for labels, text in zip(vector.labels, texts, strict=False):
        yield b'{"metric":%s,"value":[%s,"%s"]}' % (write_labels(labels), time, text)


def _range_vector(vector: RangeVector, limit: int) -> Iterator[bytes]:
    selected = vector.labels[:limit] if limit else vector.labels
    shared_ms, openings = np.empty(0, dtype=np.int64), _openings(np.empty(0, dtype=np.int64))
    for labels, times_ms, values in zip(selected, vector.times_ms, vector.values, strict=False):
        # series of one target follow each other and mostly share their times
        if not np.array_equal(times_ms, shared_ms):
            shared_ms, openings = times_ms, _openings(times_ms)
        yield _series(labels, openings, values)


def _matrix(matrix: Matrix, limit: int) -> Iterator[bytes]:
    selected = matrix.labels[:limit] if limit else matrix.labels
    openings = _openings(matrix.times_ms)
    complete: list[bool] = np.all(matrix.present, axis=1).tolist()
    for row, labels in enumerate(selected):
        if complete[row]:
            yield _series(labels, openings, matrix.values[row])
        else:
            present = matrix.present[row]
            yield _series(labels, openings[present], matrix.values[row][present])


def _openings(times_ms: IntArray) -> ObjectArray:
    """What stands before each value: the end of the point before it, then its own up to the value's quote."""
    return np.array([b'"],[%s,"' % time for time in time_texts(times_ms)], dtype=object)


def _series(labels: Labels, openings: ObjectArray, values: FloatArray) -> bytes:
    """One series."""
    points = [b""] * (2 * len(values))
    points[0::2] = openings.tolist()
    points[1::2] = float_texts(values)
    points[0] = points[0].removeprefix(b'"],')
    return b'{"metric":%s,"values":[%s"]]}' % (write_labels(labels), b"".join(points))


def write_labels(labels: Labels) -> bytes:
    """A label set as a JSON object."""
    return orjson.dumps(dict(labels))


def float_texts(values: FloatArray) -> list[bytes]:
    """The values as format_float writes them."""
    if not len(values):
        return []
    raw = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    texts = (raw[1:-1] + b",").replace(b".0,", b",").replace(b"null", b"NaN").split(b",")
    texts.pop()
    size = np.abs(values)
    plain = ((size >= _PLAIN_MIN) & (size < _PLAIN_MAX)) | (size == 0) | np.isnan(values)
    for index in np.flatnonzero(~plain).tolist():
        texts[index] = format_float(float(values[index])).encode()
    return texts


def time_texts(times_ms: IntArray) -> list[bytes]:
    """The times as format_time writes them."""
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


def _seconds(time_ms: int) -> bytes:
    """Seconds as a float: how scalars and strings carry their time."""
    return plain_float(time_ms / 1000).encode()
