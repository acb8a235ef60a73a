"""Samples as Parquet, for DuckDB, pandas, Spark and their like, and back.

    time    timestamp[ms, UTC]
    value   double, bit for bit: staleness markers are there, as the NaN they are
    metric  string
    labels  map<string, string>, without the metric's name

Rows lie series by series, as a SeriesWalk gives them, so that names and times compress well. pyarrow is an extra of
its own, found when it is used: it is larger than all the rest of Fleetwatch.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO

import numpy as np

from common.errors import FleetwatchError
from common.labels import METRIC_NAME, Labels
from tsdb.embedded.tools.imports import ImportRefusedError, Samples, SeriesIds
from tsdb.embedded.tools.series_walk import SeriesSamples

ROWS_AT_ONCE = 128 * 1024
"""Rows of a row group, about: what a reader and the writer hold in memory at once."""


# A third of the size that the defaults give: the times of a series are nearly evenly spaced, its values seldom repeat.
_ENCODING: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["metric", "labels.key_value.key", "labels.key_value.value"],
    "column_encoding": {"time": "DELTA_BINARY_PACKED"},
}
_COLUMNS = "expected time, value, metric and labels, as `db export --format parquet` writes them"


class ParquetMissingError(FleetwatchError):
    """The package that reads and writes Parquet is not installed."""


def write_parquet(series: Iterable[SeriesSamples], out: BinaryIO) -> int:
    """Write all samples; how many they were. Raises ParquetMissingError, OSError."""
    pa, pq = _pyarrow()
    schema = _schema(pa)
    written = 0
    with pq.ParquetWriter(out, schema, **_ENCODING) as writer:
        for group in _groups(series):
            table = _table(pa, schema, group)
            writer.write_table(table, row_group_size=len(table))
            written += len(table)
    return written


def read_parquet(
    file: BinaryIO, name: str, series_ids: SeriesIds, report: Callable[[int, int], None]
) -> Iterator[Samples]:
    """The samples of a file, a batch of rows at a time; `report` is told how many rows are done, of how many.

    Raises ParquetMissingError, ImportRefusedError.
    """
    pa, pq = _pyarrow()
    done = 0
    for table, total in _tables(pa, pq, file, name):
        yield _samples(pa, table, name, series_ids)
        done += len(table)
        report(done, total)


def _pyarrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet, which come without types."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ParquetMissingError(
            f"Parquet needs the package {error.name}: pip install 'fleetwatch[parquet]'"
        ) from error


def _schema(pa: Any) -> Any:
    return pa.schema(
        [
            pa.field("time", pa.timestamp("ms", "UTC"), nullable=False),
            pa.field("value", pa.float64(), nullable=False),
            pa.field("metric", pa.string(), nullable=False),
            pa.field("labels", pa.map_(pa.string(), pa.string()), nullable=False),
        ]
    )


# Writing


def _groups(series: Iterable[SeriesSamples]) -> Iterator[list[SeriesSamples]]:
    """Series together until they have the rows of a group; a long one is cut."""
    group: list[SeriesSamples] = []
    rows = 0
    for one in series:
        for start in range(0, len(one.times_ms), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            group.append(SeriesSamples(one.labels, one.times_ms[part], one.values[part]))
            rows += len(group[-1].times_ms)
            if rows >= ROWS_AT_ONCE:
                yield group
                group, rows = [], 0
    if group:
        yield group


def _table(pa: Any, schema: Any, group: list[SeriesSamples]) -> Any:
    """Rows of some series; what repeats from row to row is repeated by pyarrow."""
    series_of_row = pa.array(np.repeat(np.arange(len(group)), [len(one.times_ms) for one in group]))
    metrics = pa.array([one.labels.metric_name for one in group], pa.string())
    labels = pa.array([list(one.labels.without(METRIC_NAME)) for one in group], schema.field("labels").type)
    return pa.Table.from_arrays(
        [
            pa.array(np.concatenate([one.times_ms for one in group])).cast(schema.field("time").type),
            pa.array(np.concatenate([one.values for one in group])),
            metrics.take(series_of_row),
            labels.take(series_of_row),
        ],
        schema=schema,
    )


# Reading


def _tables(pa: Any, pq: Any, file: BinaryIO, name: str) -> Iterator[tuple[Any, int]]:
    """Some rows at a time, in the columns that they should have; and how many rows there are in all."""
    schema = _schema(pa)
    try:
        reader = pq.ParquetFile(file)
        if missing := set(schema.names) - set(reader.schema_arrow.names):
            raise ImportRefusedError(f"{name} has no column {', '.join(sorted(missing))}: {_COLUMNS}")
        for batch in reader.iter_batches(ROWS_AT_ONCE, columns=schema.names):
            table = pa.Table.from_batches([batch]).select(schema.names).cast(schema).combine_chunks()
            yield table, reader.metadata.num_rows
    except (pa.ArrowException, ValueError, OSError) as error:  # a cast raises plain ValueErrors too
        raise ImportRefusedError(f"{name} is no Parquet file of samples: {error}; {_COLUMNS}") from error


def _samples(pa: Any, table: Any, name: str, series_ids: SeriesIds) -> Samples:
    """The samples of a table in one chunk. Rows of one series that follow each other are looked up together."""
    times, values, metrics, labels = (column.chunk(0) for column in table.columns)
    starts = np.flatnonzero(_changes(metrics, labels))
    first_rows = pa.array(starts)
    names = metrics.take(first_rows).to_pylist()
    pairs = labels.take(first_rows).to_pylist()
    if "" in names:
        raise ImportRefusedError(f"{name} has a row without a metric; {_COLUMNS}")
    series = [Labels.of(chain(own, [(METRIC_NAME, metric)])) for metric, own in zip(names, pairs, strict=True)]
    lengths = np.diff(np.append(starts, len(times)))
    return Samples(
        series_ids(series).repeat(lengths),
        times.cast(pa.int64()).to_numpy(),
        values.to_numpy(),
    )


def _changes(metrics: Any, labels: Any) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """bool[N]: the rows that are of another series than the row before, or write its labels in another order."""
    offsets = labels.offsets.to_numpy().astype(np.int64)
    counts = np.diff(offsets)
    codes = _codes(metrics)
    changed = np.ones(len(counts), dtype=np.bool_)
    changed[1:] = (codes[1:] != codes[:-1]) | (counts[1:] != counts[:-1])
    # Pair by pair against the row before, where that has as many.
    row_of_pair = np.arange(len(counts)).repeat(counts)
    compared = np.flatnonzero(~changed[row_of_pair])
    before = compared - counts[row_of_pair[compared]]
    for side in (labels.keys, labels.items):
        codes = _codes(side.slice(offsets[0], offsets[-1] - offsets[0]))
        changed[row_of_pair[compared[codes[compared] != codes[before]]]] = True
    return changed


def _codes(strings: Any) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """int32[N]: the same number for the same string."""
    codes: np.ndarray[tuple[int], np.dtype[np.int32]] = strings.dictionary_encode().indices.to_numpy()
    return codes
