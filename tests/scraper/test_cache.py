"""The scrape cache against a plain model of a scrape, and a store that refuses."""

import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.labels import Labels
from exposition.formats import Format
from scraper.cache import Scrape, ScrapeCache
from scraper.errors import ScrapeLimitError
from scraper.relabel import RelabelConfig
from scraper.series import SeriesRules
from tests.exposition.protobuf_bodies import COUNTER, GAUGE, exemplar, family, metric, simple
from tests.scraper.loops import scraping
from tests.scraper.targets import STALE, read_series, resolved_job
from tsdb.embedded import EmbeddedStore
from tsdb.errors import WriteRefusedError
from tsdb.memory import MemoryStore
from tsdb.model import Batch, SeriesExemplar

T1 = 1_700_000_000_000
TARGET = Labels.of(job="job", instance="host:1")
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
NAMES = [f"m{number}" for number in range(6)]


def histories(own_times: st.SearchStrategy[int | None]) -> st.SearchStrategy[list[Any]]:
    """Scrapes one after the other: lines of (name, value, own time in seconds before the scrape), None for failed."""
    line = st.tuples(st.sampled_from(NAMES), st.integers(0, 99), own_times)
    return st.lists(st.none() | st.lists(line, max_size=8), min_size=1, max_size=6)


Lines = list[tuple[str, int, int | None]]


def read(cache: ScrapeCache, body: str | bytes, now_ms: int = T1, body_format: Format = Format.TEXT) -> Scrape:
    """As the scrape loop reads a body."""
    raw = body.encode() if isinstance(body, str) else body
    return cache.repeated(raw, now_ms) or cache.read(raw, body_format, now_ms)


def modelled(history: list[Lines | None]) -> dict[str, dict[int, float | str]]:
    """What Prometheus stores of these scrapes, worked out line by line."""
    stored: dict[str, dict[int, float | str]] = {name: {} for name in NAMES}
    tracked: set[str] = set()
    for step, scrape in enumerate(history):
        now = T1 + step * 10_000
        times: dict[str, list[int | None]] = {}
        for name, value, age_s in scrape or ():
            earlier = times.setdefault(name, [])
            if age_s not in earlier and not (age_s is None and earlier):
                stored[name][now - (age_s or 0) * 1000] = float(value)
                earlier.append(age_s)
        for name in tracked - times.keys():
            stored[name][now] = STALE
        tracked = {name for name, ages in times.items() if ages[0] is None}
    return {name: samples for name, samples in stored.items() if samples}


def as_text(lines: Lines, now_ms: int) -> bytes:
    parts = [
        f"{name} {value}" + ("\n" if age_s is None else f" {now_ms - age_s * 1000}\n") for name, value, age_s in lines
    ]
    return "".join(parts).encode()


def as_protobuf(lines: Lines, now_ms: int) -> bytes:
    return b"".join(
        family(
            name,
            GAUGE,
            [metric(GAUGE, simple(float(value)), time_ms=None if age_s is None else now_ms - age_s * 1000)],
        )
        for name, value, age_s in lines
    )


WRITERS = {Format.TEXT: as_text, Format.PROTOBUF: as_protobuf}
formats = st.sampled_from(list(WRITERS))


def stored(history: list[Lines | None], body_format: Format) -> dict[str, dict[int, float | str]]:
    store = MemoryStore()
    cache = ScrapeCache(store, store.register_target(TARGET), TARGET, resolved_job())
    for step, scrape in enumerate(history):
        now = T1 + step * 10_000
        if scrape is None:
            found = cache.read_nothing()
        else:
            found = read(cache, WRITERS[body_format](scrape, now), now, body_format)
        for batch in cache.assemble(found, (1.0, 0.0, 0.0, 0.0, 0.0), now):
            store.append(batch).result()
    return {
        labels.metric_name: dict(samples)
        for labels, samples in read_series(store).items()
        if labels.metric_name in NAMES
    }


@given(histories(st.none()), formats)
@settings(deadline=None)
def test_any_history_is_stored_as_the_model_says(history: list[Lines | None], body_format: Format) -> None:
    assert stored(history, body_format) == modelled(history)


@given(histories(st.none() | st.integers(1, 3)), formats)
@settings(deadline=None)
def test_with_times_of_their_own_too(history: list[Lines | None], body_format: Format) -> None:
    assert stored(history, body_format) == modelled(history)


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.none() | st.integers(1, 3)), max_size=6), formats)
@settings(deadline=None)
def test_lines_that_stay_are_read_by_the_cheap_look(lines: list[tuple[str, int | None]], body_format: Format) -> None:
    """Whatever is stored is the same as by a cache that never saw the lines."""
    store = MemoryStore()
    target_id = store.register_target(TARGET)
    cache = ScrapeCache(store, target_id, TARGET, resolved_job())
    for step in range(3):
        now = T1 + step * 10_000
        body = WRITERS[body_format]([(name, 10 * step + number, age) for number, (name, age) in enumerate(lines)], now)
        repeated = cache.repeated(body, now)
        assert (repeated is not None) == (step > 0 or not body)
        fresh = ScrapeCache(store, target_id, TARGET, resolved_job()).read(body, body_format, now)
        found = repeated or cache.read(body, body_format, now)
        assert contents(found) == contents(fresh)
        assert found.added == (fresh.added if step == 0 else 0)


def contents(scrape: Scrape) -> tuple[object, ...]:
    times = None if scrape.times_ms is None else scrape.times_ms.tolist()
    kept = scrape.plan.layout.series_ids.tolist()
    return kept, scrape.values.tolist(), times, scrape.repeats, scrape.out_of_bounds, scrape.exemplars


@pytest.mark.parametrize("body_format", WRITERS)
def test_times_too_far_ahead_are_left_out_although_the_lines_repeat(body_format: Format) -> None:
    store = MemoryStore()
    cache = ScrapeCache(store, store.register_target(TARGET), TARGET, resolved_job())
    write = WRITERS[body_format]
    for step, ahead_s in enumerate((0, 601, 600)):
        now = T1 + step * 10_000
        scrape = read(cache, write([("m0", 7, -ahead_s), ("m1", 8, None)], now), now, body_format)
        assert scrape.out_of_bounds == (ahead_s > 600)
        assert scrape.plan.kept + scrape.out_of_bounds == 2
        for batch in cache.assemble(scrape, (1.0, 0.0, 0.0, 0.0, 0.0), now):
            store.append(batch).result()
    (samples,) = [samples for labels, samples in read_series(store).items() if labels.metric_name == "m0"]
    assert samples == [(T1, 7.0), (T1 + 20_000 + 600_000, 7.0)]


def test_without_honor_timestamps_all_is_at_the_time_of_the_scrape() -> None:
    store = MemoryStore()
    cache = ScrapeCache(store, store.register_target(TARGET), TARGET, resolved_job(honor_timestamps=False))
    for now in (T1, T1 + 1000):
        scrape = read(cache, f"a 1 {T1 - 5000}\n", now)
        assert (scrape.times_ms, scrape.plan.duplicates, len(scrape.plan.tracked)) == (None, 0, 1)


def openmetrics_exemplars(number: int) -> bytes:
    return (
        f'a_total 1 # {{trace_id="{number}"}} 0.5 {number}\nb_total 1 {T1 // 1000} # {{}} 1\n'
        f"dropped_total 1 # {{}} 2\nc_total 3 # {{}} 4\nd_total 5\n# EOF\n"
    ).encode()


def protobuf_exemplars(number: int) -> bytes:
    shown = [exemplar({"trace_id": str(number)}, 0.5, number), exemplar({}, 1.0), exemplar({}, 2.0), exemplar({}, 4.0)]
    times = [None, T1 // 1000 * 1000, None, None]
    return b"".join(
        family(f"{name}_total", COUNTER, [metric(COUNTER, simple(1.0, text), time_ms=time)])
        for name, text, time in zip(("a", "b", "dropped", "c"), shown, times, strict=True)
    )


@pytest.mark.parametrize(
    ("body_format", "write"), [(Format.OPENMETRICS, openmetrics_exemplars), (Format.PROTOBUF, protobuf_exemplars)]
)
def test_exemplars_come_with_their_series(body_format: Format, write: Callable[[int], bytes]) -> None:
    drop = RelabelConfig(source_labels=("__name__",), regex="dropped.*", action="drop")
    store = MemoryStore()
    cache = ScrapeCache(store, store.register_target(TARGET), TARGET, resolved_job(metric_relabel_configs=(drop,)))
    for number in (5, 6):
        now = T1 + number * 1000
        scrape = read(cache, write(number), now, body_format)
        (ids,) = {tuple(store.series_ids([Labels.of(TARGET, __name__=f"{name}_total") for name in "abc"]).tolist())}
        assert scrape.exemplars == (
            SeriesExemplar(ids[0], number * 1000, 0.5, Labels.of(trace_id=str(number)), own_time=True),
            SeriesExemplar(ids[1], T1, 1.0, Labels()),
            SeriesExemplar(ids[2], now, 4.0, Labels()),
        )
    assert cache.repeated(write(7), T1) is not None


@pytest.mark.parametrize("body_format", [Format.TEXT, Format.PROTOBUF])
def test_an_honoured_empty_label_keeps_the_target_s_away(body_format: Format) -> None:
    store = MemoryStore()
    cache = ScrapeCache(store, store.register_target(TARGET), TARGET, resolved_job(honor_labels=True))
    body = b'a{instance="",x=""} 1\n'
    if body_format is Format.PROTOBUF:
        body = family("a", GAUGE, [metric(GAUGE, simple(1.0), {"instance": "", "x": ""})], 'of {job=""}')
    scrape = read(cache, body, T1, body_format)
    for batch in cache.assemble(scrape, (1.0, 0.0, 0.0, 0.0, 0.0), T1):
        store.append(batch).result()
    assert Labels.of(__name__="a", job="job") in read_series(store)


@given(st.lists(st.lists(st.sampled_from(NAMES), unique=True), min_size=1, max_size=6), st.integers(1, 4))
@settings(deadline=None)
def test_known_series_keep_their_places_under_a_limit(bodies: list[list[str]], limit: int) -> None:
    store = MemoryStore()
    job = resolved_job(sample_limit=limit, sample_limit_action="keep_known")
    cache = ScrapeCache(store, store.register_target(TARGET), TARGET, job)
    known: list[str] = []
    for step, names in enumerate(bodies):
        now = T1 + step * 10_000
        if names:
            stay = [name for name in names if name in known]
            known = stay + [name for name in names if name not in known][: limit - len(stay)]
        scrape = read(cache, "".join(f"{name} {step}\n" for name in names), now)
        assert scrape.plan.refused == len(names) - (len(known) if names else 0)
        for batch in cache.assemble(scrape, [1.0] + 5 * [0.0], now):
            store.append(batch).result()
        current = {
            labels.metric_name
            for labels, samples in read_series(store, now, now).items()
            if labels.metric_name in NAMES and samples[0][1] != STALE
        }
        assert current == (set(known) if names else set())


def test_the_cache_forgets_lines_that_are_gone() -> None:
    store = MemoryStore()
    cache = ScrapeCache(store, store.register_target(TARGET), TARGET, resolved_job())
    for step in range(50):
        read(cache, "".join(f'a{{n="{step}-{number}"}} 1\n' for number in range(10)))
    assert len(cache._ids) == 10


@pytest.mark.parametrize("action", ["fail", "keep_known"])
def test_a_body_over_the_limit_is_relabelled_once(action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    job = resolved_job(sample_limit=2, sample_limit_action=action)
    cache = ScrapeCache(store, store.register_target(TARGET), TARGET, job)
    applied: list[str] = []

    class CountingRules(SeriesRules):
        def apply(self, exposed: Labels) -> Labels | None:
            applied.append(exposed.metric_name)
            return super().apply(exposed)

    monkeypatch.setattr(cache, "_rules", CountingRules(job, TARGET))

    def try_reading(body: str) -> None:
        with contextlib.suppress(ScrapeLimitError):
            read(cache, body)

    try_reading("a 1\nb 2\nc 3\n")
    try_reading("a 4\nb 5\nc 6\n")
    assert applied == ["a", "b", "c"]
    if action == "keep_known":
        try_reading("c 4\na 5\nb 6\n")
        assert applied == ["a", "b", "c"]


def test_batches_of_one_scrape_have_times_of_their_own() -> None:
    """A store keeps one batch for each target and time."""
    store = MemoryStore()
    cache = ScrapeCache(store, store.register_target(TARGET), TARGET, resolved_job())
    body = "".join(f"a {value} {T1 - value}\n" for value in range(1, 4))
    batches = cache.assemble(read(cache, body), (1.0, 0.0, 0.0, 0.0, 0.0), T1)
    assert [batch.time_ms for batch in batches] == [T1, T1 + 1, T1 + 2]
    assert [batch.times_ms[0] for batch in batches if batch.times_ms is not None] == [T1 - 1, T1 - 2, T1 - 3]


class RefusingStore(MemoryStore):
    """A memory store that can be told to refuse, as one on a full disk does."""

    refusing = False

    def append(self, batch: Batch) -> Future[None]:
        if not self.refusing:
            return super().append(batch)
        future: Future[None] = Future()
        future.set_exception(WriteRefusedError("the disk is full"))
        return future


async def test_markers_that_were_refused_are_written_with_the_next_scrape(caplog: pytest.LogCaptureFixture) -> None:
    store = RefusingStore()
    async with scraping(store) as target:
        await target.scrape(T1, "a 1\nb 2\n")
        store.refusing = True
        await target.scrape(T1 + 1000, "a 1\n")
        await target.scrape(T1 + 2000, "a 1\n")
        store.refusing = False
        await target.scrape(T1 + 3000, "a 1\n")
        await target.scrape(T1 + 4000, "a 1\n")
        assert target.samples() == {
            "a": [(T1, 1.0), (T1 + 3000, 1.0), (T1 + 4000, 1.0)],
            "b": [(T1, 2.0), (T1 + 3000, STALE)],
        }
        assert target.counter("writes_refused") == 2
        assert "the disk is full" in vars(caplog.records[-1])["error"]
        assert target.loop.state.health.value == "up"


async def test_a_target_that_serves_protobuf() -> None:
    async with scraping(scrape_protocols=("PrometheusProto", "PrometheusText0.0.4")) as target:
        target.exposed.content_type = PROTOBUF
        for step in range(3):
            target.exposed.body = as_protobuf([("a", step, None), ("b", 2 * step, 5)], T1 + step)
            await target.scrape(T1 + step)
        assert target.samples() == {
            "a": [(T1, 0.0), (T1 + 1, 1.0), (T1 + 2, 2.0)],
            "b": [(T1 - 5000, 0.0), (T1 - 4999, 2.0), (T1 - 4998, 4.0)],
        }
        assert target.exposed.requests[0].headers["Accept"].startswith(PROTOBUF.replace(" ", ""))
        target.exposed.body = b"\x05"
        await target.scrape(T1 + 3)
        assert target.loop.state.last_error == "byte 1: a metric family of 5 bytes ends behind the body"


@pytest.mark.parametrize("body", ["m0 1\n", "  m0 1\n"], ids=["split", "read strictly"])
def test_a_target_that_was_down_for_longer_than_the_retention(tmp_path: Path, body: str) -> None:
    day_ms = 86_400_000
    with contextlib.closing(EmbeddedStore(tmp_path, retention_ms=day_ms)) as store:
        cache = ScrapeCache(store, store.register_target(TARGET), TARGET, resolved_job())

        def scrape(now_ms: int) -> None:
            for batch in cache.assemble(read(cache, body, now_ms), [1, 0.1, 1, 1, 0], now_ms):
                store.append(batch).result()

        scrape(T1)
        for days in range(1, 6):
            store.maintain(T1 + days * day_ms)
        assert store.stats()["blocks"] == 0
        scrape(T1 + 6 * day_ms)
        found = {labels.metric_name: samples for labels, samples in read_series(store).items()}
        assert found["m0"] == [(T1 + 6 * day_ms, 1.0)]
