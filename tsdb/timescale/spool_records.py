"""Writes as bytes, for the spool: without any number of the database, which may be away before it was ever asked.

Records of a segment of the spool build on each other: the labels of a target, and those of a layout's series, are in
the first record that names them. Label sets are in their canonical bytes, so that every text comes back as it was.
"""

import uuid
from typing import cast

import msgspec
import numpy as np
from isal import isal_zlib

from common.labels import Labels
from tsdb.catalog import Catalog
from tsdb.label_sets import LabelTable
from tsdb.model import Batch, Layout, LogEntry, SeriesExemplar, Server
from tsdb.timescale.canonical import canonical, labels_of
from tsdb.timescale.writes import Write, WriteId


class SpoolRecordError(Exception):
    """A record that cannot be read: it is damaged, or one that it builds on is."""


class _Target(msgspec.Struct, array_like=True):
    number: int
    labels: bytes


class _Layout(msgspec.Struct, array_like=True):
    """Its label sets as a LabelTable: the pairs in turn, int32[], int64[]."""

    number: int
    pairs: bytes
    flat: bytes
    ends: bytes


class _Batch(msgspec.Struct, array_like=True):
    target: int
    layout: int
    time_ms: int
    values: bytes
    times_ms: bytes | None


class _Exemplar(msgspec.Struct, array_like=True):
    series: bytes
    time_ms: int
    value: float
    labels: bytes
    own_time: bool


class _Record(msgspec.Struct, array_like=True):
    writer: bytes
    number: int
    targets: list[_Target]
    layouts: list[_Layout]
    batches: list[_Batch]
    exemplars: list[_Exemplar]
    logs: list[LogEntry]
    servers: list[Server]
    made_servers: list[Server]


# Not an exception to its stub.
_IsalError = cast(type[Exception], isal_zlib.error)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Record)


class SegmentEncoder:
    """Makes the records of one segment, in their order."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._targets: set[int] = set()
        self._layouts: set[int] = set()

    def encode(self, write_id: WriteId, write: Write) -> bytes:
        """The next record. It counts once `written` is called."""
        index = self._catalog.index
        targets = {batch.target_id for batch in write.batches} - self._targets
        layouts = {batch.layout for batch in write.batches if batch.layout.layout_id not in self._layouts}
        series = index.labels(np.array([one.series_id for one in write.exemplars], dtype=np.int64))
        record = _Record(
            write_id.writer.bytes,
            write_id.number,
            [_Target(number, canonical(self._catalog.target_labels(number))) for number in targets],
            [_layout_labels(layout, index.labels(layout.series_ids)) for layout in layouts],
            [
                _Batch(
                    batch.target_id,
                    batch.layout.layout_id,
                    batch.time_ms,
                    batch.values.tobytes(),
                    None if batch.times_ms is None else batch.times_ms.tobytes(),
                )
                for batch in write.batches
            ],
            [
                _Exemplar(canonical(labels), one.time_ms, one.value, canonical(one.labels), one.own_time)
                for labels, one in zip(series, write.exemplars, strict=True)
            ],
            write.logs,
            write.servers,
            write.made_servers,
        )
        return isal_zlib.compress(_encoder.encode(record), isal_zlib.ISAL_BEST_SPEED)

    def written(self, write: Write) -> None:
        """Later records may build on this write's."""
        self._targets |= {batch.target_id for batch in write.batches}
        self._layouts |= {batch.layout.layout_id for batch in write.batches}


class SegmentDecoder:
    """Reads the records of one segment, in their order, into the catalog of this process."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._targets: dict[int, int] = {}
        self._layouts: dict[int, Layout] = {}

    def decode(self, data: bytes) -> tuple[WriteId, Write]:
        """The write of a record. Raises SpoolRecordError."""
        record = _record(data)
        for target in record.targets:
            self._targets[target.number] = self._catalog.target(labels_of(target.labels))
        for layout in record.layouts:
            self._layouts[layout.number] = self._catalog.layout(self._catalog.index.ids(_label_sets(layout)))
        series_ids = self._catalog.index.ids([labels_of(exemplar.series) for exemplar in record.exemplars])
        write = Write(
            [self._batch(batch) for batch in record.batches],
            record.logs,
            [
                SeriesExemplar(series_id, one.time_ms, one.value, labels_of(one.labels), one.own_time)
                for series_id, one in zip(series_ids.tolist(), record.exemplars, strict=True)
            ],
            record.servers,
            record.made_servers,
        )
        return WriteId(uuid.UUID(bytes=record.writer), record.number), write

    def _batch(self, batch: _Batch) -> Batch:
        target_id, layout = self._targets.get(batch.target), self._layouts.get(batch.layout)
        if target_id is None or layout is None:
            raise SpoolRecordError("the record that has the labels of its series is damaged")
        values = np.frombuffer(batch.values, dtype=np.float64)
        times_ms = None if batch.times_ms is None else np.frombuffer(batch.times_ms, dtype=np.int64)
        return Batch(target_id, layout, batch.time_ms, values, times_ms)


def oldest_time_ms(data: bytes) -> int | None:
    """The earliest time in a record; None where nothing in it has one. Raises SpoolRecordError."""
    record = _record(data)
    times = [batch.time_ms for batch in record.batches] + [exemplar.time_ms for exemplar in record.exemplars]
    times += [entry.time_ns // 1_000_000 for entry in record.logs]
    return min(times, default=None)


def _record(data: bytes) -> _Record:
    try:
        return _decoder.decode(isal_zlib.decompress(data))
    except (msgspec.DecodeError, _IsalError) as error:
        raise SpoolRecordError(str(error)) from error


def _layout_labels(layout: Layout, label_sets: list[Labels]) -> _Layout:
    table = LabelTable.of(label_sets)
    pairs = canonical(Labels(table.pairs))
    return _Layout(layout.layout_id, pairs, table.flat.tobytes(), table.ends.tobytes())


def _label_sets(layout: _Layout) -> list[Labels]:
    flat, ends = np.frombuffer(layout.flat, dtype=np.int32), np.frombuffer(layout.ends, dtype=np.int64)
    return LabelTable(list(labels_of(layout.pairs)), flat, ends).label_sets()
