"""Query results as the bytes of Prometheus's JSON (web/api/v1/json_codec.go), in parts of about a megabyte."""

from collections.abc import Iterator

import numpy as np
import orjson

from common.labels import Labels
from promql.result import Matrix, RangeVector, Scalar, String, Value, Vector
from server.numbertext import float_texts, format_time, plain_float
from server.points import Openings, Part, Run, rows_at_once, written

# Series of an instant vector in one part.
_VECTOR_ROWS = 10_000


def write_result(value: Value, limit: int = 0, stats: bytes | None = None) -> Iterator[Part]:
    """`{"resultType": ..., "result": ...}`, with at most `limit` series where that is not 0, and `stats` if given."""
    yield from _result(value, limit)
    yield b"}" if stats is None else b',"stats":%s}' % stats


def _result(value: Value, limit: int) -> Iterator[Part]:
    match value:
        case Scalar():
            text = plain_float(value.value).encode()
            yield b'{"resultType":"scalar","result":[%s,"%s"]' % (_seconds(value.time_ms), text)
            return
        case String():
            string = orjson.dumps(value.value)
            yield b'{"resultType":"string","result":[%s,%s]' % (_seconds(value.time_ms), string)
            return
    series = len(value.labels) if limit == 0 else min(limit, len(value.labels))
    match value:
        case Vector():
            yield b'{"resultType":"vector","result":['
            yield from _vector(value, series)
        case RangeVector():
            yield b'{"resultType":"matrix","result":['
            yield from _range_vector(value, series)
        case Matrix():
            yield b'{"resultType":"matrix","result":['
            yield from written(_runs(value, series), Openings(value.times_ms))
    yield b"]"


def is_truncated(value: Value, limit: int) -> bool:
    """Whether a limit leaves series out."""
    return not isinstance(value, Scalar | String) and 0 < limit < len(value.labels)


def _vector(vector: Vector, series: int) -> Iterator[Part]:
    time = format_time(vector.time_ms)
    for start in range(0, series, _VECTOR_ROWS):
        rows = slice(start, min(start + _VECTOR_ROWS, series))
        texts = float_texts(vector.values[rows]).list()
        if start:
            yield b","
        yield b",".join(
            [
                b'{"metric":%s,"value":[%s,"%s"]}' % (write_labels(labels), time, text)
                for labels, text in zip(vector.labels[rows], texts, strict=True)
            ]
        )


def _range_vector(vector: RangeVector, series: int) -> Iterator[Part]:
    known_ms = np.unique(np.concatenate([*vector.times_ms[:series], np.empty(0, np.int64)]))

    def runs() -> Iterator[Run]:
        size = rows_at_once(max((len(times) for times in vector.times_ms[:series]), default=0))
        for start in range(0, series, size):
            rows = slice(start, min(start + size, series))
            counts = np.array([len(times) for times in vector.times_ms[rows]])
            steps = np.searchsorted(known_ms, np.concatenate(vector.times_ms[rows]))
            metrics = [write_labels(labels) for labels in vector.labels[rows]]
            yield Run(metrics, counts, steps, np.concatenate(vector.values[rows]))

    yield from written(runs(), Openings(known_ms))


def _runs(matrix: Matrix, series: int) -> Iterator[Run]:
    size = rows_at_once(len(matrix.times_ms))
    for start in range(0, series, size):
        rows = slice(start, min(start + size, series))
        present = matrix.present[rows]
        metrics = [write_labels(labels) for labels in matrix.labels[rows]]
        if present.all():
            steps = np.tile(np.arange(present.shape[1]), len(present))
            values = matrix.values[rows].reshape(-1)
        else:
            steps = np.nonzero(present)[1]
            values = matrix.values[rows][present]
        yield Run(metrics, present.sum(axis=1), steps, values)


def write_labels(labels: Labels) -> bytes:
    """A label set as a JSON object."""
    return orjson.dumps(dict(labels))


def _seconds(time_ms: int) -> bytes:
    """Seconds as a float: how scalars and strings carry their time."""
    return plain_float(time_ms / 1000).encode()
