"""A store that has no room for new series: what becomes of the scrapes of its targets."""

import pytest

from common.labels import Labels
from scraper.series import REFUSED_NAME
from tests.scraper.loops import REPORT, Samples, Scraped, scraping
from tests.scraper.targets import STALE
from tsdb import Store, open_store
from tsdb.limits import SeriesLimits
from tsdb.memory import MemoryStore

T1, T2, T3, T4 = (1_700_000_000_000 + second * 1000 for second in range(4))
REPORTED = len(REPORT)


def limited(series: int) -> Store:
    """A store with room for the report series of a target and so many more."""
    return open_store("memory:", limits=SeriesLimits(series=REPORTED + series))


def exposed(target: Scraped) -> dict[str, Samples]:
    return {series: samples for series, samples in target.samples().items() if series != REFUSED_NAME}


async def test_a_scrape_with_series_too_many_fails_with_the_store_s_error() -> None:
    async with scraping(limited(2)) as target:
        await target.scrape(T1, "a 1\nb 2\n")
        await target.scrape(T2, "a 1\nb 2\nc 3\nd 4\n")
        assert target.loop.state.last_error == (
            "series limit exceeded: 2 new series, and the store has 7 of the 7 that storage.limits.series allows: "
            "raise it, or drop series by metric_relabel_configs"
        )
        assert target.report("up") == [(T1, 1.0), (T2, 0.0)]
        assert target.report("scrape_samples_scraped") == [(T1, 2.0), (T2, 4.0)]
        assert target.report("scrape_samples_post_metric_relabeling") == [(T1, 2.0), (T2, 4.0)]
        assert exposed(target) == {"a": [(T1, 1.0), (T2, STALE)], "b": [(T1, 2.0), (T2, STALE)]}
        assert target.counter("scrapes_exceeded_limit") == 1
        await target.scrape(T3, "b 5\na 4\n")
        assert target.loop.state.last_error == ""
        assert exposed(target)["b"] == [(T1, 2.0), (T2, STALE), (T3, 5.0)]
        assert target.store.stats()["series_refused_total"] == 2


async def test_neighbours_go_on_and_a_new_target_is_told() -> None:
    store = limited(REPORTED + 1)
    async with scraping(store) as first:
        await first.scrape(T1, "a 1\n")
        async with scraping(store) as second:
            await second.scrape(T2, "b 1\n")
            assert second.report("up")[-1:] == [(T2, 0.0)]
            assert second.loop.state.last_error.startswith("series limit exceeded: 1 new series")
            await first.scrape(T2)
            assert first.loop.state.last_error == ""


@pytest.mark.parametrize("action", ["fail", "keep_known"])
async def test_the_same_lines_are_taken_as_soon_as_there_is_room(action: str) -> None:
    store = MemoryStore(limits=SeriesLimits(series=10))
    index = store._catalog.index
    others = store.series_ids([Labels.of(__name__="other", n=str(number)) for number in range(10 - REPORTED)])
    index.drop(others[:0])  # what was made lately is spared by the next
    async with scraping(store, sample_limit_action=action) as target:
        await target.scrape(T1, "a 1\n")
        await target.scrape(T2)
        assert exposed(target) == {}
        index.drop(others[:2])
        await target.scrape(T3)
        await target.scrape(T4)
        assert exposed(target) == {"a": [(T3, 1.0), (T4, 1.0)]}
        refused = 0.0 if action == "fail" else 1.0
        assert [value for _, value in target.report("up")] == [refused, refused, 1.0, 1.0]


async def test_known_series_are_kept_where_the_job_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with scraping(limited(3), sample_limit_action="keep_known") as target:
        await target.scrape(T1, "a 1\nb 2\n")
        await target.scrape(T2, "c 3\na 1\nb 2\nd 4\n")
        await target.scrape(T3)
        assert exposed(target) == {
            name: [(T1, value), (T2, value), (T3, value)] for name, value in (("a", 1.0), ("b", 2.0))
        }
        assert target.report("up") == [(T1, 1.0), (T2, 1.0), (T3, 1.0)]
        assert target.report(REFUSED_NAME) == [(T1, 0.0), (T2, 2.0), (T3, 2.0)]
        assert target.report("scrape_series_added") == [(T1, 2.0), (T2, 0.0), (T3, 0.0)]
        (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
        assert (vars(warning)["refused"], vars(warning)["metrics"]) == (2, "c, d")


async def test_what_the_store_knows_from_before_a_restart_is_no_new_series() -> None:
    store = limited(3)
    async with scraping(store, sample_limit_action="keep_known") as target:
        await target.scrape(T1, "a 1\nb 2\n")
        cache = type(target.loop.cache)(
            store, target.loop.cache._target_id, target.loop.target.labels, target.loop._job
        )
        target.loop.cache = cache
        await target.scrape(T2, "c 3\na 1\nb 2\n")
        assert exposed(target) == {"a": [(T1, 1.0), (T2, 1.0)], "b": [(T1, 2.0), (T2, 2.0)]}


async def test_both_limits_at_once() -> None:
    async with scraping(limited(3), sample_limit_action="keep_known", sample_limit=3) as target:
        await target.scrape(T1, "a 1\nb 2\nc 3\nd 4\n")
        assert exposed(target) == {"a": [(T1, 1.0)], "b": [(T1, 2.0)]}
        assert target.report(REFUSED_NAME) == [(T1, 2.0)]
