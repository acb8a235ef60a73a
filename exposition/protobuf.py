"""The delimited protobuf exposition: MetricFamily messages, each behind its length, read as Prometheus 3 reads them.

Source: https://github.com/prometheus/client_model, io/prometheus/client/metrics.proto. A family becomes the series
that the text format has for it: a histogram its `_count`, `_sum` and `_bucket`, a summary its `_count`, `_sum` and
quantiles. Of native histograms only that classic part is read, with the bucket for +Inf alone where they have no
other. Created timestamps are no samples.

Reading finds out where in the body each value, time and exemplar lies and what identifies its series; a
`ProtobufTemplate` then takes them out, and does the same alone for the next body with the same series.
"""

import struct
from functools import lru_cache

from common.labels import METRIC_NAME, Labels
from exposition.errors import WireError
from exposition.lexing import bound_text
from exposition.model import Exposition, Metadata, Sample
from exposition.protobuf_template import Places, ProtobufTemplate, read_double, read_label
from exposition.readings import BoolArray, Readings
from exposition.wire import BYTES, FIXED64, VARINT, read_fields, read_varint

_COUNTER, _GAUGE, _SUMMARY, _UNTYPED, _HISTOGRAM, _GAUGE_HISTOGRAM = range(6)
_TYPES = ("counter", "gauge", "summary", "unknown", "histogram", "gaugehistogram")
# The field of Metric that holds the values, by type.
_VALUE_FIELDS = (3, 2, 4, 5, 7, 7)

# The key of a series: the family's name, a byte that no UTF-8 has, which series of a metric it is, the bound or
# quantile of those that have one, and the messages of the labels.
_SEPARATOR = b"\xff"
_ITSELF, _COUNT, _SUM, _BUCKET, _QUANTILE = (bytes([code]) for code in range(5))
_SUFFIXES = ("", "_count", "_sum", "_bucket", "")
_BOUND_LABELS = {_BUCKET[0]: "le", _QUANTILE[0]: "quantile"}
_PLUS_INFINITY = struct.pack("<d", float("inf"))
_ZERO = bytes(8)

_MAX_LENGTH_BYTES = 5

# The wire types of the fields that are read, by message.
_FAMILY = {1: BYTES, 2: BYTES, 3: VARINT, 4: BYTES, 5: BYTES}
_METRIC = {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 5: BYTES, 6: VARINT, 7: BYTES}
_SIMPLE = {1: FIXED64, 2: BYTES}
_SUMMARY_FIELDS = {1: VARINT, 2: FIXED64, 3: BYTES}
_QUANTILE_FIELDS = {1: FIXED64, 2: FIXED64}
_HISTOGRAM_FIELDS = {1: VARINT, 2: FIXED64, 3: BYTES, 4: FIXED64}
_BUCKET_FIELDS = {1: VARINT, 2: FIXED64, 3: BYTES, 4: FIXED64}

_Place = tuple[int, int, int] | None
"""Where a value is: wire type, start and end. None stands for 0, which may be left out."""


def parse_protobuf(body: bytes) -> Exposition:
    """Read a whole body. Raises ExpositionError at the first thing that is wrong."""
    parts = read_protobuf(body)
    values, times, exemplars = parts.readings
    exemplar_of = dict(exemplars)
    timed = parts.timed
    return Exposition(
        [
            Sample(
                parts.series(index),
                value,
                int(times[index]) if times is not None and timed is not None and timed[index] else None,
                exemplar_of.get(index),
            )
            for index, value in enumerate(values.tolist())
        ],
        parts.metadata(),
    )


def read_protobuf(body: bytes, empty_value: str = "") -> "ProtobufParts":
    """Find the samples of a body; labels with the empty value get `empty_value`. Raises WireError."""
    return ProtobufParts(body, empty_value)


class ProtobufParts:
    """A body taken apart: the counterpart of exposition.fast.Split. Labels are not looked at before `series`."""

    def __init__(self, body: bytes, empty_value: str) -> None:
        self._body = body
        self._empty_value = empty_value
        self._keys: list[bytes] = []
        self._metric_starts: list[int] = []
        self._metadata: dict[str, Metadata] = {}
        self._places = Places()
        position = 0
        while position < len(body):
            length, start = read_varint(body, position, len(body))
            if start - position > _MAX_LENGTH_BYTES:
                raise WireError("expected the length of a metric family", position)
            position = start + length
            if position > len(body):
                raise WireError(f"a metric family of {length} bytes ends behind the body", start)
            self._read_family(start, position)
        self._places.count = len(self._keys)
        self._template = ProtobufTemplate(body, self._places)
        self.readings: Readings = self._template.take(body)

    @property
    def timed(self) -> BoolArray | None:
        """bool[N], which samples bring a time of their own; None where none does."""
        return self._template.timed

    def prefixes(self) -> list[bytes]:
        """N keys for a cache of series."""
        return self._keys

    def series(self, index: int) -> Labels:
        """The labels of a sample, counted from 0. Raises WireError."""
        try:
            return _read_series(self._keys[index], self._empty_value)
        except WireError as error:
            raise WireError(error.reason, self._metric_starts[index]) from None

    def metadata(self) -> dict[str, Metadata]:
        """What the families say of themselves, by name."""
        return self._metadata

    def template(self) -> ProtobufTemplate:
        """What recognises the same series in another body."""
        return self._template

    def _read_family(self, start: int, end: int) -> None:
        body = self._body
        texts = {1: b"", 2: b"", 5: b""}
        metric_type = _COUNTER
        metrics: list[tuple[int, int]] = []
        for number, _, first, last in read_fields(body, start, end, _FAMILY):
            if number == 4:
                metrics.append((first, last))
            elif number == 3:
                metric_type, _ = read_varint(body, first, last)
            elif number in texts:
                texts[number] = body[first:last]
        if not metrics:
            return
        try:
            name, help_text, unit = [text.decode() for text in texts.values()]
        except UnicodeDecodeError:
            raise WireError("name, help or unit of a metric family is not valid UTF-8", start) from None
        if not name:
            raise WireError("a metric family has no name", start)
        if metric_type >= len(_TYPES):
            raise WireError(f"metric family `{name}` has the unknown type {metric_type}", start)
        if unit and not _ends_with_unit(name, unit, metric_type):
            raise WireError(f"unit `{unit}` is not the end of the metric name `{name}`", start)
        self._metadata[name] = Metadata(_TYPES[metric_type], help_text, unit)
        key = texts[1] + _SEPARATOR
        for first, last in metrics:
            self._read_metric(metric_type, key, first, last)

    def _read_metric(self, metric_type: int, key: bytes, start: int, end: int) -> None:
        labels: list[bytes] = []
        value_field = _VALUE_FIELDS[metric_type]
        value: tuple[int, int] = end, end
        time: tuple[int, int] | None = None
        field_start = start
        for number, wire_type, first, last in read_fields(self._body, start, end, _METRIC):
            if number == 1:
                labels.append(self._body[field_start:last])
            elif number == value_field:
                value = first, last
            elif number == 6:
                time = first, last
            else:
                self._ignore(wire_type, first, last)
            field_start = last
        first_sample = len(self._keys)
        _READERS[metric_type](self, key, b"".join(labels), *value)
        samples = range(first_sample, len(self._keys))
        self._metric_starts += [start] * len(samples)
        # As in Prometheus a time of 0 is none.
        if time is not None and read_varint(self._body, *time)[0]:
            self._places.times += [(sample, *time) for sample in samples]

    def _read_simple(self, key: bytes, labels: bytes, start: int, end: int) -> None:
        """A Counter, Gauge or Untyped message."""
        value: _Place = None
        for number, wire_type, first, last in read_fields(self._body, start, end, _SIMPLE):
            if number == 1:
                value = wire_type, first, last
            elif number == 2:
                self._places.exemplars.append((len(self._keys), first, last))
        self._add(key + _ITSELF + labels, value)

    def _read_summary(self, key: bytes, labels: bytes, start: int, end: int) -> None:
        count: _Place = None
        total: _Place = None
        quantiles: list[tuple[int, int]] = []
        for number, wire_type, first, last in read_fields(self._body, start, end, _SUMMARY_FIELDS):
            if number == 1:
                count = wire_type, first, last
            elif number == 2:
                total = wire_type, first, last
            elif number == 3:
                quantiles.append((first, last))
        self._add(key + _COUNT + labels, count)
        self._add(key + _SUM + labels, total)
        for begin, stop in quantiles:
            bound = _ZERO
            value: _Place = None
            for number, wire_type, first, last in read_fields(self._body, begin, stop, _QUANTILE_FIELDS):
                if number == 1:
                    bound = self._body[first:last]
                elif number == 2:
                    value = wire_type, first, last
            self._add(key + _QUANTILE + bound + labels, value)

    def _read_histogram(self, key: bytes, labels: bytes, start: int, end: int) -> None:
        count: _Place = None
        float_count: _Place = None
        total: _Place = None
        buckets: list[tuple[int, int]] = []
        for number, wire_type, first, last in read_fields(self._body, start, end, _HISTOGRAM_FIELDS):
            if number == 3:
                buckets.append((first, last))
            elif number == 1:
                count = wire_type, first, last
            elif number == 2:
                total = wire_type, first, last
            elif number == 4:
                float_count = self._positive(first, last)
            else:
                self._ignore(wire_type, first, last)
        count = float_count or count
        self._add(key + _COUNT + labels, count)
        self._add(key + _SUM + labels, total)
        for first, last in buckets:
            if self._read_bucket(key + _BUCKET, labels, first, last) == _PLUS_INFINITY:
                return
        self._add(key + _BUCKET + _PLUS_INFINITY + labels, count)

    def _read_bucket(self, key: bytes, labels: bytes, start: int, end: int) -> bytes:
        """Read a Bucket message; returns its bound as eight bytes."""
        bound = _ZERO
        count: _Place = None
        float_count: _Place = None
        for number, wire_type, first, last in read_fields(self._body, start, end, _BUCKET_FIELDS):
            if number == 1:
                count = wire_type, first, last
            elif number == 2:
                bound = self._body[first:last]
            elif number == 3:
                self._places.exemplars.append((len(self._keys), first, last))
            elif number == 4:
                float_count = self._positive(first, last)
        self._add(key + bound + labels, float_count or count)
        return bound

    def _positive(self, first: int, last: int) -> _Place:
        """The place of a float histogram's count, unless it is 0: then the whole number counts."""
        self._places.exact = False
        return (FIXED64, first, last) if read_double(self._body, first) else None

    def _add(self, key: bytes, value: _Place) -> None:
        if value is not None:
            wire_type, first, last = value
            places = self._places.doubles if wire_type == FIXED64 else self._places.varints
            places.append((len(self._keys), first, last))
        self._keys.append(key)

    def _ignore(self, wire_type: int, first: int, last: int) -> None:
        (self._places.loose_varints if wire_type == VARINT else self._places.loose).append((first, last))


_READERS = (
    ProtobufParts._read_simple,
    ProtobufParts._read_simple,
    ProtobufParts._read_summary,
    ProtobufParts._read_simple,
    ProtobufParts._read_histogram,
    ProtobufParts._read_histogram,
)


def _ends_with_unit(name: str, unit: str, metric_type: int) -> bool:
    return name.removesuffix("_total" if metric_type == _COUNTER else "").endswith(f"_{unit}")


# The same exporter says the same on every host.
@lru_cache(maxsize=10_000)
def _read_series(key: bytes, empty_value: str) -> Labels:
    name, _, rest = key.partition(_SEPARATOR)
    kind = rest[0]
    pairs = [(METRIC_NAME, name.decode() + _SUFFIXES[kind])]
    start = 1
    if kind in _BOUND_LABELS:
        pairs.append((_BOUND_LABELS[kind], bound_text(read_double(rest, start))))
        start += len(_ZERO)
    for _, _, first, last in read_fields(rest, start, len(rest), _METRIC):
        label, value = read_label(rest, first, last)
        if not label:
            raise WireError("a label has no name", start)
        try:
            pairs.append((label.decode(), value.decode() or empty_value))
        except UnicodeDecodeError:
            raise WireError("name or value of a label is not valid UTF-8", start) from None
    if len(dict(pairs)) < len(pairs):
        raise WireError("a label name is there twice", start)
    return Labels.of(pairs)
