"""Imports: OpenMetrics text into a store, what is refused, and that a second time changes nothing."""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.labels import Labels
from exposition.errors import ExpositionError
from exposition.openmetrics import parse_openmetrics
from tests.tsdb import promtool
from tests.tsdb.reading import Samples as Read
from tests.tsdb.reading import bits, read
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.tools import imports
from tsdb.embedded.tools.imports import Importer, ImportRefusedError, Samples
from tsdb.embedded.tools.openmetrics_reader import OpenMetricsReader
from tsdb.memory import MemoryStore
from tsdb.model import IntArray
from tsdb.store import Store

LONG_AGO_MS, FAR_FUTURE_MS = -(2**62), 2**62


def nothing(*_: object) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "data")
    yield store
    store.close()


def import_text(store: Store, text: bytes, seal: Callable[[], None] = nothing) -> int:
    """Import as `db import` does; how many samples it were."""
    importer = Importer(store, seal)
    try:
        for samples in OpenMetricsReader(io.BytesIO(text), "file", importer.series_ids).samples(nothing):
            importer.add(samples)
    finally:
        importer.flush()
    return importer.appended


def read_text(text: bytes) -> list[tuple[Labels, int, int]]:
    """The samples of a text by the stream reader: (labels, milliseconds, bits)."""
    known: dict[Labels, int] = {}

    def series_ids(labels: Sequence[Labels]) -> IntArray:
        return np.array([known.setdefault(each, len(known)) for each in labels])

    found = list(OpenMetricsReader(io.BytesIO(text), "file", series_ids).samples(nothing))
    labels = list(known)
    return [
        (labels[series_id], time_ms, bits(value))
        for samples in found
        for series_id, time_ms, value in zip(
            samples.series_ids.tolist(), samples.times_ms.tolist(), samples.values.tolist(), strict=True
        )
    ]


def everything(store: Store) -> Read:
    return read(store, [], LONG_AGO_MS, FAR_FUTURE_MS)


def text_of_hosts(hosts: int, rows: int) -> bytes:
    """Series after series, as promtool and `db export` write them; each host has times of its own."""
    lines = [
        f'{name}{{instance="h{host}",job="node"}} {row * host % 7 / 10} {1_700_000_000 + 15 * row}.00{host}'
        for name in ("cpu", "load1", "memory")
        for host in range(hosts)
        for row in range(rows)
    ]
    return "\n".join([*lines, "# EOF\n"]).encode()


def expected_of(text: bytes) -> Read:
    expected: Read = {}
    for sample in parse_openmetrics(text).samples:
        assert sample.time_ms is not None
        expected.setdefault(sample.labels, []).append((sample.time_ms, bits(sample.value)))
    return expected


# Into the store


@pytest.mark.parametrize("at_once", [100, 10**6])
def test_every_sample_arrives(at_once: int, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "SAMPLES_AT_ONCE", at_once)
    text = text_of_hosts(4, 200)
    assert import_text(store, text, lambda: store.maintain(1_700_100_000_000)) == 3 * 4 * 200
    assert everything(store) == expected_of(text)


def test_a_second_import_changes_nothing(store: EmbeddedStore) -> None:
    text = text_of_hosts(3, 50)
    import_text(store, text)
    import_text(store, text)
    assert everything(store) == expected_of(text)


def test_series_of_a_target_share_their_batches(store: EmbeddedStore) -> None:
    import_text(store, text_of_hosts(3, 50))
    assert store.stats()["journal_rows"] == 3 * 50


def test_imported_samples_join_those_that_were_scraped(store: EmbeddedStore) -> None:
    labels = Labels.of(__name__="cpu", instance="h0", job="node")
    store.append_samples(labels, [(1_700_000_000_000, 5.0), (1_800_000_000_000, 6.0)])
    import_text(store, text_of_hosts(1, 2))
    assert everything(store)[labels] == [
        (1_700_000_000_000, bits(0)),  # the import came last
        (1_700_000_015_000, bits(0)),
        (1_800_000_000_000, bits(6)),
    ]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.floats(allow_nan=False)), max_size=30),
    st.integers(1, 9),
)
def test_samples_in_any_order_with_repeats(samples: list[tuple[int, int, float]], at_once: int) -> None:
    store = MemoryStore()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imports, "SAMPLES_AT_ONCE", at_once)
        importer = Importer(store, nothing)
        names = [Labels.of(__name__="x", instance=str(n // 2), n=str(n)) for n in range(4)]
        ids = importer.series_ids(names)
        for series, second, value in samples:
            importer.add(Samples(ids[[series]], np.array([second * 1000]), np.array([value])))
        importer.flush()
    last = {(series, second): value for series, second, value in samples}
    expected = {
        names[series]: [(second * 1000, bits(last[series, second])) for second in range(6) if (series, second) in last]
        for series in {series for series, _, _ in samples}
    }
    assert everything(store) == expected


def test_what_promtool_dumps_of_prometheus_data_is_imported(store: EmbeddedStore, tmp_path: Path) -> None:
    text = text_of_hosts(3, 300).replace(b" 0.1 ", b" NaN ").replace(b" 0.2 ", b" -Inf ").replace(b" 0.3 ", b" 1e+300 ")
    (tmp_path / "samples.om").write_bytes(text)
    promtool.make_blocks(tmp_path / "samples.om", tmp_path / "blocks")

    import_text(store, promtool.dump(tmp_path / "blocks"))

    assert everything(store) == expected_of(text)


# The text


@pytest.mark.parametrize(
    ("line", "labels", "time_ms", "value"),
    [
        (b"up 1 1.5", Labels.of(__name__="up"), 1500, 1.0),
        (b"up{} -0 0", Labels.of(__name__="up"), 0, -0.0),
        (b"up NaN -2.001", Labels.of(__name__="up"), -2001, math.nan),
        (b"up +Inf 1700000000.123", Labels.of(__name__="up"), 1_700_000_000_123, math.inf),
        (b'a{b="c d\\n\\"#"} 5 1e3', Labels.of(__name__="a", b='c d\n"#'), 1_000_000, 5.0),
        (b'{"my.metric","q.r"="s"} 5 1', Labels.of({"__name__": "my.metric", "q.r": "s"}), 1000, 5.0),
        (b'a_bucket{le="1"} 5 1 # {trace="x y"} 0.5 1', Labels.of(__name__="a_bucket", le="1"), 1000, 5.0),
    ],
)
def test_lines(line: bytes, labels: Labels, time_ms: int, value: float) -> None:
    ((found, milliseconds, value_bits),) = read_text(line + b"\n# EOF\n")
    assert (found, milliseconds) == (labels, time_ms)
    assert value_bits == bits(value) or (math.isnan(value) and value_bits & 0x7FF8 << 48 == 0x7FF8 << 48)


def test_comments_and_types_between_the_lines() -> None:
    text = b'# HELP a text\n# TYPE a histogram\na_bucket{le="1"} 1 1\n# TYPE b gauge\nb{le="1"} 2 2\n# EOF'
    assert [labels.get("le") for labels, _, _ in read_text(text)] == ["1.0", "1"]


_SERIES = st.sampled_from([b"up", b"up{}", b'a{b="c d"}', b'a{b="5 6"}', b'{"x.y"}', b"a{", b"", b"# x", b"1"])
_NUMBER = st.sampled_from([b"1", b"-0", b"+Inf", b"NaN", b"1e3", b"0.5", b"-2.5", b"x", b"", b"1e400"])
_REST = st.sampled_from([b"", b"", b"", b" ", b"\t", b' # {t="1"} 2', b' # {t="1"} 2 3'])


@settings(deadline=None)
@given(st.lists(st.tuples(_SERIES, _NUMBER, _NUMBER, _REST).map(lambda parts: b" ".join(parts[:3]) + parts[3])))
def test_lines_mean_what_the_strict_reader_says(lines: list[bytes]) -> None:
    """All of them where all are good, else those before the first bad one."""
    expected = []
    bad = None
    for number, line in enumerate(lines):
        try:
            (sample,) = parse_openmetrics(line + b"\n# EOF\n").samples
        except (ExpositionError, ValueError):
            bad = number + 1
            break
        if sample.time_ms is None:
            bad = number + 1
            break
        expected.append((sample.labels, sample.time_ms, bits(sample.value)))
    store = MemoryStore()
    refusal = ""
    try:
        import_text(store, b"\n".join([*lines, b"# EOF\n"]))
    except ImportRefusedError as error:
        refusal = str(error)
    assert refusal.startswith(f"file, line {bad}: ") if bad else refusal == ""
    last = {(labels, time_ms): value for labels, time_ms, value in expected}
    assert everything(store) == {
        labels: sorted((time_ms, value) for (of, time_ms), value in last.items() if of == labels)
        for labels in {labels for labels, _, _ in expected}
    }


def test_a_text_cut_anywhere_into_reads() -> None:
    text = text_of_hosts(2, 3)

    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(7, size or 7))

    known: dict[Labels, int] = {}
    reader = OpenMetricsReader(
        Trickle(text), "file", lambda labels: np.array([known.setdefault(each, len(known)) for each in labels])
    )
    bytes_done: list[int] = []
    assert sum(len(samples) for samples in reader.samples(bytes_done.append)) == 18
    assert bytes_done[-1] == len(text)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"up", "file, line 3: column 3: expected a blank and a value after the metric, found the end of the line"),
        (b"up 1", "file, line 3: the sample has no timestamp: an import needs one on every line"),
        (b"up 1 x", "file, line 3: column 6: `x` is no number that a float64 can hold"),
        (b"up 1 1e300", "file, line 3: column 6: the timestamp is no time"),
        (b"up  1 1", "file, line 3: column 3: expected a blank and a value"),
        (b"up 1 1 ", "file, line 3: column 7: expected the end of the line"),
        (b"up 1\t1", "file, line 3: "),
        (b"", "file, line 3: column 1: expected a metric name"),
        (
            b"my.metric 1 1",
            "file, line 3: column 3: expected a blank and a value after the metric, found `.metric 1 1`",
        ),
        (b'up{a="b} 1 1', "file, line 3: column 6: expected a label value in double quotes"),
        (b"\xff 1 1", "file, line 3: column 1: "),
        (b"# nonsense", "file, line 3: column 1: expected `# HELP `"),
        (b"# EOF", "file, line 4: there is more after `# EOF`"),
    ],
)
def test_a_bad_line_is_named_and_what_came_before_stays(bad: bytes, message: str, store: EmbeddedStore) -> None:
    with pytest.raises(ImportRefusedError) as raised:
        import_text(store, b"good 1 1\ngood 2 2\n" + bad + b"\ngood 3 3\n# EOF\n")
    assert str(raised.value).startswith(message)
    assert everything(store) == {Labels.of(__name__="good"): [(1000, bits(1)), (2000, bits(2))]}


@pytest.mark.parametrize("text", [b"", b"good 1 1\n", b"good 1 1"])
def test_a_file_that_may_be_cut_off_is_named(text: bytes) -> None:
    with pytest.raises(ImportRefusedError, match="the file does not end with `# EOF`"):
        read_text(text)


def test_a_file_of_something_else_is_refused_in_little_memory() -> None:
    with pytest.raises(ImportRefusedError, match="file, line 1: the line has more than 16777216 bytes"):
        read_text(bytes(20_000_000))
