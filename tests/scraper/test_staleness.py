"""Which series end when: staleness markers as Prometheus writes them, and the report series beside them."""

from scraper.relabel import RelabelConfig
from tests.scraper.loops import scraping
from tests.scraper.targets import STALE

T1, T2, T3, T4 = (1_700_000_000_000 + second * 1000 for second in range(4))


async def test_a_vanished_series_ends_once_and_may_come_back() -> None:
    async with scraping() as target:
        await target.scrape(T1, "a 1\nb 2\n")
        await target.scrape(T2, "a 3\n")
        await target.scrape(T3)
        await target.scrape(T4, "a 4\nb 5\n")
        assert target.samples() == {
            "a": [(T1, 1.0), (T2, 3.0), (T3, 3.0), (T4, 4.0)],
            "b": [(T1, 2.0), (T2, STALE), (T4, 5.0)],
        }
        assert target.report("scrape_series_added") == [(T1, 2.0), (T2, 0.0), (T3, 0.0), (T4, 1.0)]


async def test_a_failed_scrape_ends_all_series_and_says_so() -> None:
    async with scraping() as target:
        await target.scrape(T1, "a 1\nb 2\n")
        target.exposed.status = 500
        await target.scrape(T2)
        await target.scrape(T3)
        target.exposed.status = 200
        await target.scrape(T4)
        assert target.samples() == {"a": [(T1, 1.0), (T2, STALE), (T4, 1.0)], "b": [(T1, 2.0), (T2, STALE), (T4, 2.0)]}
        assert target.report("up") == [(T1, 1.0), (T2, 0.0), (T3, 0.0), (T4, 1.0)]
        assert target.report("scrape_samples_scraped") == [(T1, 2.0), (T2, 0.0), (T3, 0.0), (T4, 2.0)]
        assert target.counter("scrapes_failed") == 2


async def test_a_body_that_does_not_parse_is_a_failed_scrape() -> None:
    async with scraping() as target:
        await target.scrape(T1, "a 1\nb 2\n")
        await target.scrape(T2, "a 2\nb two\n")
        assert target.samples() == {"a": [(T1, 1.0), (T2, STALE)], "b": [(T1, 2.0), (T2, STALE)]}
        assert target.report("up") == [(T1, 1.0), (T2, 0.0)]
        assert "line 2, column 3" in target.loop.state.last_error


async def test_an_empty_body_is_a_scrape_without_series() -> None:
    async with scraping() as target:
        await target.scrape(T1, "a 1\n")
        await target.scrape(T2, "")
        assert target.samples() == {"a": [(T1, 1.0), (T2, STALE)]}
        assert target.report("up") == [(T1, 1.0), (T2, 1.0)]


async def test_series_with_times_of_their_own_are_not_tracked() -> None:
    async with scraping() as target:
        await target.scrape(T1, f"own 1 {T1 - 500}\na 1\n")
        await target.scrape(T2, "a 2\n")
        assert target.samples() == {"own": [(T1 - 500, 1.0)], "a": [(T1, 1.0), (T2, 2.0)]}


async def test_unless_the_job_says_so() -> None:
    async with scraping(track_timestamps_staleness=True) as target:
        await target.scrape(T1, f"own 1 {T1 - 500}\na 1\n")
        await target.scrape(T2, "a 2\n")
        assert target.samples()["own"] == [(T1 - 500, 1.0), (T2, STALE)]


async def test_times_that_are_not_honoured_are_the_scrapes() -> None:
    async with scraping(honor_timestamps=False) as target:
        await target.scrape(T1, f"own 1 {T1 - 500}\n")
        await target.scrape(T2, "a 2\n")
        assert target.samples() == {"own": [(T1, 1.0), (T2, STALE)], "a": [(T2, 2.0)]}


async def test_a_time_far_in_the_future_is_refused_and_its_neighbours_are_not() -> None:
    async with scraping() as target:
        await target.scrape(T1, f"own 1 {T1 + 3_600_000}\na 1\n")
        assert target.samples() == {"a": [(T1, 1.0)]}
        assert target.counter("scrapes_sample_out_of_bounds") == 1


async def test_a_series_given_twice_counts_once() -> None:
    async with scraping() as target:
        await target.scrape(T1, "a 1\na 2\nb 3\n")
        await target.scrape(T2, "a 4\na 5\nb 6\n")
        assert target.samples() == {"a": [(T1, 1.0), (T2, 4.0)], "b": [(T1, 3.0), (T2, 6.0)]}
        assert target.report("scrape_samples_scraped") == [(T1, 3.0), (T2, 3.0)]
        assert target.counter("scrapes_sample_duplicate_timestamp") == 2


async def test_a_target_that_is_gone_ends_with_its_report_series() -> None:
    async with scraping() as target:
        await target.scrape(T1, "a 1\n")
        await target.loop.farewell(T2)
        assert target.samples() == {"a": [(T1, 1.0), (T2, STALE)]}
        assert target.report("up") == [(T1, 1.0), (T2, STALE)]


async def test_lines_in_another_order_keep_their_series() -> None:
    async with scraping() as target:
        await target.scrape(T1, 'x{n="1"} 1\nx{n="2"} 2\n')
        await target.scrape(T2, '# HELP x Help.\nx{n="2"} 20\nx{n="1"} 10\n')
        assert target.samples() == {'x{n="1"}': [(T1, 1.0), (T2, 10.0)], 'x{n="2"}': [(T1, 2.0), (T2, 20.0)]}
        assert target.loop.cache.metadata["x"].help == "Help."


async def test_metric_relabelling_drops_and_counts() -> None:
    drop = RelabelConfig(source_labels=("__name__",), regex="go_.*", action="drop")
    async with scraping(metric_relabel_configs=(drop,)) as target:
        for time_ms in (T1, T2):
            await target.scrape(time_ms, "go_threads 9\na 1\n")
        assert target.samples() == {"a": [(T1, 1.0), (T2, 1.0)]}
        assert target.report("scrape_samples_scraped") == [(T1, 2.0), (T2, 2.0)]
        assert target.report("scrape_samples_post_metric_relabeling") == [(T1, 1.0), (T2, 1.0)]


async def test_over_the_sample_limit_the_scrape_fails_and_the_store_learns_nothing() -> None:
    async with scraping(sample_limit=2) as target:
        await target.scrape(T1, "a 1\nb 2\n")
        await target.scrape(T2, "a 1\nb 2\nc 3\n")
        assert target.samples() == {"a": [(T1, 1.0), (T2, STALE)], "b": [(T1, 2.0), (T2, STALE)]}
        assert target.report("up") == [(T1, 1.0), (T2, 0.0)]
        assert target.report("scrape_samples_scraped") == [(T1, 2.0), (T2, 3.0)]
        assert target.counter("scrapes_exceeded_limit") == 1
