"""Writes the messages of the protobuf exposition, well-formed or not, for tests to read."""

import struct
from collections.abc import Iterable, Mapping

COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)
_VALUE_FIELDS = {COUNTER: 3, GAUGE: 2, SUMMARY: 4, UNTYPED: 5, HISTOGRAM: 7, GAUGE_HISTOGRAM: 7}


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def field(number: int, value: float | int | str | bytes) -> bytes:
    """A double for a float, a varint for an int, else bytes."""
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    payload = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def labels(pairs: Mapping[str, str], number: int = 1) -> bytes:
    return b"".join(field(number, field(1, name) + field(2, value)) for name, value in pairs.items())


def simple(value: float, exemplar: bytes = b"") -> bytes:
    return field(1, value) + (field(2, exemplar) if exemplar else b"")


def exemplar(pairs: Mapping[str, str], value: float, seconds: int | None = None, nanoseconds: int = 0) -> bytes:
    time = b"" if seconds is None else field(3, field(1, seconds) + field(2, nanoseconds))
    return labels(pairs) + field(2, value) + time


def bucket(count: int, bound: float, exemplar: bytes = b"") -> bytes:
    return field(1, count) + field(2, bound) + (field(3, exemplar) if exemplar else b"")


def histogram(count: int, total: float, *buckets: bytes) -> bytes:
    return field(1, count) + field(2, total) + b"".join(field(3, text) for text in buckets)


def summary(count: int, total: float, quantiles: Mapping[float, float]) -> bytes:
    parts = [field(3, field(1, quantile) + field(2, value)) for quantile, value in quantiles.items()]
    return field(1, count) + field(2, total) + b"".join(parts)


def metric(kind: int, value: bytes, pairs: Mapping[str, str] = {}, time_ms: int | None = None) -> bytes:
    time = b"" if time_ms is None else field(6, time_ms)
    return labels(pairs) + field(_VALUE_FIELDS[kind], value) + time


def family(name: str, kind: int, metrics: Iterable[bytes], help_text: str = "", unit: str = "") -> bytes:
    """A MetricFamily behind its length."""
    body = field(1, name) + field(2, help_text) + field(3, kind) + b"".join(field(4, text) for text in metrics)
    if unit:
        body += field(5, unit)
    return delimited(body)


def delimited(message: bytes) -> bytes:
    return varint(len(message)) + message
