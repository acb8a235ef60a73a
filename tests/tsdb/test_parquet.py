"""Samples through Parquet and back, bit for bit, and what other readers see in the file."""

import io
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.labels import Labels
from tests.tsdb.reading import bits
from tsdb.embedded.tools import parquet
from tsdb.embedded.tools.imports import ImportRefusedError
from tsdb.embedded.tools.parquet import ParquetMissingError, read_parquet, write_parquet
from tsdb.embedded.tools.series_walk import SeriesSamples
from tsdb.model import STALE_NAN, IntArray

pa: Any = import_module("pyarrow")  # without types
pq: Any = import_module("pyarrow.parquet")

Rows = list[tuple[Labels, int, int]]


def series_of(labels: Labels, values: Sequence[float], first_ms: int = 1_700_000_000_123) -> SeriesSamples:
    times = first_ms + 15_000 * np.arange(len(values), dtype=np.int64)
    return SeriesSamples(labels, times, np.array(values, dtype=np.float64))


def file_of(*series: SeriesSamples) -> io.BytesIO:
    out = io.BytesIO()
    assert write_parquet(series, out) == sum(len(one.times_ms) for one in series)
    out.seek(0)
    return out


def rows_of(series: Sequence[SeriesSamples]) -> Rows:
    return [
        (one.labels, time_ms, bits(value))
        for one in series
        for time_ms, value in zip(one.times_ms.tolist(), one.values, strict=True)
    ]


def read_back(file: io.BytesIO) -> Rows:
    known: dict[Labels, int] = {}

    def series_ids(labels: Sequence[Labels]) -> IntArray:
        return np.array([known.setdefault(each, len(known)) for each in labels])

    seen: list[tuple[int, int]] = []
    found = list(read_parquet(file, "file", series_ids, lambda done, total: seen.append((done, total))))
    assert seen == [] or seen[-1][0] == seen[-1][1] == sum(len(samples) for samples in found)
    labels = list(known)
    return [
        (labels[series_id], time_ms, bits(value))
        for samples in found
        for series_id, time_ms, value in zip(
            samples.series_ids.tolist(), samples.times_ms.tolist(), samples.values, strict=True
        )
    ]


def hosts() -> Iterator[SeriesSamples]:
    for name in ("up", "load1"):
        for host in range(5):
            yield series_of(Labels.of(__name__=name, instance=f"h{host}"), [n / (host + 1) for n in range(40)], host)


@pytest.mark.parametrize("rows_at_once", [1, 7, 10**6])
def test_samples_come_back_and_row_groups_are_bounded(rows_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS_AT_ONCE", rows_at_once)
    series = list(hosts())
    file = file_of(*series)
    metadata = pq.ParquetFile(file).metadata
    assert max(metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)) < 2 * rows_at_once
    file.seek(0)
    assert read_back(file) == rows_of(series)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abc"), st.sampled_from(["x", "y", "é\n\"'"]), max_size=3),
            st.sampled_from(["up", "my.metric"]),
            st.lists(st.floats(), max_size=4),
        ),
        max_size=6,
    )
)
def test_values_and_labels_survive(series: list[tuple[dict[str, str], str, list[float]]]) -> None:
    written = [series_of(Labels.of({**labels, "__name__": name}), values) for labels, name, values in series]
    assert read_back(file_of(*written)) == rows_of(written)


def test_staleness_markers_survive() -> None:
    ended = series_of(Labels.of(__name__="x"), [1.0, STALE_NAN])
    assert read_back(file_of(ended)) == rows_of([ended])


def test_columns_are_as_documented() -> None:
    table = pq.read_table(file_of(series_of(Labels.of(__name__="up", job="node"), [1.5], 1500)))
    assert [(field.name, field.type) for field in table.schema] == [
        ("time", pa.timestamp("ms", "UTC")),
        ("value", pa.float64()),
        ("metric", pa.string()),
        ("labels", pa.map_(pa.string(), pa.string())),
    ]
    (row,) = table.to_pylist()
    assert row["time"].isoformat() == "1970-01-01T00:00:01.500000+00:00"
    assert (row["value"], row["metric"], row["labels"]) == (1.5, "up", [("job", "node")])


def test_rows_that_another_tool_sorted_by_time_are_read() -> None:
    series = list(hosts())
    shuffled = io.BytesIO()
    pq.write_table(pq.read_table(file_of(*series)).sort_by([("time", "ascending"), ("value", "ascending")]), shuffled)
    shuffled.seek(0)
    assert sorted(read_back(shuffled)) == sorted(rows_of(series))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"time": [1], "value": [1.0]}, "file has no column labels, metric: expected time, value, metric and labels"),
        ({"time": ["x"], "value": [1.0], "metric": ["a"], "labels": [{}]}, "file is no Parquet file of samples: "),
        ({"time": [1], "value": [None], "metric": ["a"], "labels": [{}]}, "file is no Parquet file of samples: "),
        ({"time": [1], "value": [1.0], "metric": [""], "labels": [{}]}, "file has a row without a metric"),
    ],
)
def test_a_file_of_something_else_is_refused(table: dict[str, list[object]], message: str) -> None:
    out = io.BytesIO()
    labels = {"labels": pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string()))} if "labels" in table else {}
    pq.write_table(pa.table({**table, **labels}), out)
    out.seek(0)
    with pytest.raises(ImportRefusedError) as raised:
        read_back(out)
    assert str(raised.value).startswith(message)


def test_a_damaged_file_is_refused() -> None:
    with pytest.raises(ImportRefusedError, match="file is no Parquet file of samples"):
        read_back(io.BytesIO(b"PAR1 nonsense PAR1"))


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(
        ParquetMissingError, match=r"Parquet needs the package pyarrow: pip install 'fleetwatch\[parquet\]'"
    ):
        write_parquet([], io.BytesIO())
