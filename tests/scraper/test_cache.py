"""The scrape cache against a plain model of a scrape, and a store that refuses."""

import contextlib
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.labels import Labels
from exposition.formats import Format
from scraper.cache import ScrapeCache
from scraper.errors import ScrapeLimitError
from scraper.series import SeriesRules
from tests.scraper.loops import scraping
from tests.scraper.targets import STALE, read_series, resolved_job
from tsdb.errors import WriteRefusedError
from tsdb.memory import MemoryStore
from tsdb.model import Batch

T1 = 1_700_000_000_000
TARGET = Labels.of(job="job", instance="host:1")
NAMES = [f"m{number}" for number in range(6)]


def histories(own_times: st.SearchStrategy[int | None]) -> st.SearchStrategy[list[Any]]:
    """Scrapes one after the other: lines of (name, value, own time in seconds before the scrape), None for failed."""
    line = st.tuples(st.sampled_from(NAMES), st.integers(0, 99), own_times)
    return st.lists(st.none() | st.lists(line, max_size=8), min_size=1, max_size=6)


Lines = list[tuple[str, int, int | None]]


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


def stored(history: list[Lines | None]) -> dict[str, dict[int, float | str]]:
    store = MemoryStore()
    cache = ScrapeCache(store, store.register_target(TARGET), TARGET, resolved_job())
    for step, scrape in enumerate(history):
        now = T1 + step * 10_000
        if scrape is None:
            read = cache.read_nothing()
        else:
            body = "".join(
                f"{name} {value}" + ("\n" if age_s is None else f" {now - age_s * 1000}\n")
                for name, value, age_s in scrape
            )
            read = cache.read(body.encode(), Format.TEXT, now)
        for batch in cache.assemble(read, (1.0, 0.0, 0.0, 0.0, 0.0), now):
            store.append(batch).result()
    return {
        labels.metric_name: dict(samples)
        for labels, samples in read_series(store).items()
        if labels.metric_name in NAMES
    }


@given(histories(st.none()))
def test_any_history_is_stored_as_the_model_says(history: list[Lines | None]) -> None:
    assert stored(history) == modelled(history)


@given(histories(st.none() | st.integers(1, 3)))
def test_with_times_of_their_own_too(history: list[Lines | None]) -> None:
    assert stored(history) == modelled(history)


@given(st.lists(st.lists(st.sampled_from(NAMES), unique=True), min_size=1, max_size=6), st.integers(1, 4))
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
        scrape = cache.read("".join(f"{name} {step}\n" for name in names).encode(), Format.TEXT, now)
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
        cache.read("".join(f'a{{n="{step}-{number}"}} 1\n' for number in range(10)).encode(), Format.TEXT, T1)
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

    def read(body: str) -> None:
        with contextlib.suppress(ScrapeLimitError):
            cache.read(body.encode(), Format.TEXT, T1)

    read("a 1\nb 2\nc 3\n")
    read("a 4\nb 5\nc 6\n")
    assert applied == ["a", "b", "c"]
    if action == "keep_known":
        read("c 4\na 5\nb 6\n")
        assert applied == ["a", "b", "c"]


def test_batches_of_one_scrape_have_times_of_their_own() -> None:
    """A store keeps one batch for each target and time."""
    store = MemoryStore()
    cache = ScrapeCache(store, store.register_target(TARGET), TARGET, resolved_job())
    body = "".join(f"a {value} {T1 - value}\n" for value in range(1, 4))
    batches = cache.assemble(cache.read(body.encode(), Format.TEXT, T1), (1.0, 0.0, 0.0, 0.0, 0.0), T1)
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
