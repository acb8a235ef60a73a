"""OpenMetrics text of a store: what promtool makes of it, and the walk over series that it comes from."""

import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.labels import Labels
from common.matchers import Matcher
from exposition.openmetrics import parse_openmetrics
from tests.tsdb import promtool
from tests.tsdb.reading import bits, read
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.tools import series_walk
from tsdb.embedded.tools.exports import write_openmetrics
from tsdb.embedded.tools.series_walk import SeriesSamples, SeriesWalk
from tsdb.model import ABSENT, STALE_NAN, Batch

START_MS = 1_700_000_000_123
LONG_AGO_MS, FAR_FUTURE_MS = -(2**62), 2**62
VALUES = [1.5, -0.0, 0.1 + 0.2, 1e300, 5e-324, 1e16, 123456789.0, math.inf, -math.inf, math.nan]


def no_report(_done: int, _total: int) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "data")
    yield store
    store.close()


def series_of(labels: Labels, times_ms: Sequence[int], values: Sequence[float]) -> SeriesSamples:
    return SeriesSamples(labels, np.array(times_ms, dtype=np.int64), np.array(values, dtype=np.float64))


def text_of(*series: SeriesSamples) -> bytes:
    out = io.BytesIO()
    assert write_openmetrics(series, out) == out.getvalue().count(b"\n") - 1
    return out.getvalue()


def parsed(text: bytes) -> list[tuple[Labels, int | None, int]]:
    """The samples in their order; every NaN is one."""
    return [
        (sample.labels, sample.time_ms, bits(math.nan if math.isnan(sample.value) else sample.value))
        for sample in parse_openmetrics(text).samples
    ]


def write_some(store: EmbeddedStore) -> None:
    """Hosts with a few metrics each, interesting values, one series that ends, and labels that need escapes."""
    for host in ("a", "b", "c"):
        target = store.register_target(Labels.of(job="node", instance=host))
        names = [Labels.of(__name__=name, job="node", instance=host) for name in ("up", "node_load1", "a_total")]
        names.append(Labels.of(__name__="info", instance=host, text='a "quoted" \\ and\nbroken é line'))
        layout = store.layout(store.series_ids(names))
        for row in range(300):
            values = np.array([1.0, VALUES[row % len(VALUES)], row * 0.1, 1.0])
            if row % 7 == 0:
                values[0] = ABSENT
            if row > 250:
                values[3] = STALE_NAN
            store.append(Batch(target, layout, START_MS + row * 15_000 + ord(host), values)).result()


def test_promtool_makes_equal_blocks_of_it(store: EmbeddedStore, tmp_path: Path) -> None:
    write_some(store)
    path = tmp_path / "samples.om"
    with path.open("wb") as out:
        write_openmetrics(SeriesWalk(store, [], LONG_AGO_MS, FAR_FUTURE_MS).samples(no_report), out)

    promtool.make_blocks(path, tmp_path / "blocks")

    ours = parsed(path.read_bytes())
    assert len(ours) == 3 * (257 + 2 * 300 + 251)
    assert parsed(promtool.dump(tmp_path / "blocks")) == ours


@pytest.mark.parametrize("budget", [1, 700, 10**6])
def test_a_walk_gives_what_select_gives_in_groups_of_any_size(
    budget: int, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_walk, "SAMPLES_AT_ONCE", budget)
    write_some(store)
    selectors = [[Matcher.equal("__name__", "up")], [Matcher.equal("instance", "b")]]
    start_ms, end_ms = START_MS + 150_000, START_MS + 300_000
    walk = SeriesWalk(store, selectors, start_ms, end_ms)
    seen: list[tuple[int, int]] = []

    found = list(walk.samples(lambda done, total: seen.append((done, total))))

    expected = read(store, selectors[0], start_ms, end_ms) | read(store, selectors[1], start_ms, end_ms)
    assert {
        one.labels: list(zip(one.times_ms.tolist(), one.values.view(np.uint64).tolist(), strict=True)) for one in found
    } == expected
    assert len(walk) == len(found) == 6
    assert seen[-1] == (6, 6)
    names = [one.labels.metric_name for one in found]
    assert names == sorted(names)


def test_series_without_a_sample_in_the_range_are_left_out(store: EmbeddedStore) -> None:
    store.append_samples(Labels.of(__name__="old"), [(1000, 1.0)])
    store.append_samples(Labels.of(__name__="new"), [(9000, 1.0)])
    assert [one.labels.metric_name for one in SeriesWalk(store, [], 5000, 10_000).samples(no_report)] == ["new"]


def test_staleness_markers_are_left_out() -> None:
    assert text_of(series_of(Labels.of(__name__="x"), [1000, 2000], [1, STALE_NAN])) == b"x{} 1.0 1.0\n# EOF\n"


def test_names_beyond_the_legacy_set_are_quoted() -> None:
    labels = Labels.of({"__name__": "my.metric", "a.b": "c", "d": "e,f"})
    text = text_of(series_of(labels, [1500, -500], [1, 2]))
    assert text == b'{"my.metric","a.b"="c",d="e,f"} 1.0 1.5\n{"my.metric","a.b"="c",d="e,f"} 2.0 -0.5\n# EOF\n'


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(min_size=1, max_size=4), st.text(min_size=1, max_size=4), max_size=3),
            st.text(min_size=1, max_size=4),
            st.lists(st.floats(), max_size=6),
            st.integers(-(10**12), 10**13),
        ),
        max_size=3,
    )
)
def test_the_strict_reader_reads_it_back(series: list[tuple[dict[str, str], str, list[float], int]]) -> None:
    """Labels, values and milliseconds survive the text."""
    written = [
        series_of(Labels.of({**labels, "__name__": name}), [first_ms + 7 * n for n in range(len(values))], values)
        for labels, name, values, first_ms in series
        if "__name__" not in labels
    ]
    expected = [
        (one.labels, time_ms, bits(math.nan if math.isnan(value) else value))
        for one in written
        for time_ms, value in zip(one.times_ms.tolist(), one.values.tolist(), strict=True)
    ]
    assert parsed(text_of(*written)) == expected
