"""Limits on what a target may deliver, and what the report says of them."""

import pytest

from scraper.relabel import RelabelConfig
from scraper.series import EXTRA_REPORT_NAMES, REFUSED_NAME
from tests.scraper.loops import REPORT, Samples, Scraped, scraping
from tests.scraper.targets import STALE, read_series

T1, T2, T3, T4 = (1_700_000_000_000 + second * 1000 for second in range(4))


def exposed(target: Scraped) -> dict[str, Samples]:
    """The series of the body."""
    names = (*REPORT, *EXTRA_REPORT_NAMES, REFUSED_NAME)
    return {series: samples for series, samples in target.samples().items() if series not in names}


# sample_limit_action: keep_known


async def test_over_the_limit_known_series_stay_and_new_ones_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with scraping(sample_limit=3, sample_limit_action="keep_known") as target:
        await target.scrape(T1, "a 1\nb 2\n")
        await target.scrape(T2, 'x{n="1"} 7\nx{n="2"} 8\nx{n="3"} 9\ny 10\na 3\nb 4\n')
        await target.scrape(T3)
        assert exposed(target) == {
            "a": [(T1, 1.0), (T2, 3.0), (T3, 3.0)],
            "b": [(T1, 2.0), (T2, 4.0), (T3, 4.0)],
            'x{n="1"}': [(T2, 7.0), (T3, 7.0)],
        }
        assert target.report("up") == [(T1, 1.0), (T2, 1.0), (T3, 1.0)]
        assert target.report(REFUSED_NAME) == [(T1, 0.0), (T2, 3.0), (T3, 3.0)]
        assert target.report("scrape_samples_post_metric_relabeling") == [(T1, 2.0), (T2, 6.0), (T3, 6.0)]
        assert target.report("scrape_series_added") == [(T1, 2.0), (T2, 1.0), (T3, 0.0)]
        assert target.counter("series_refused") == 6
        assert target.counter("scrapes_exceeded_limit") == 0
        (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
        assert (vars(warning)["refused"], vars(warning)["metrics"]) == (3, "x, y")


async def test_growth_is_logged_when_it_is_another_metric_s_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "scraper.loop")
    async with scraping(sample_limit=1, sample_limit_action="keep_known") as target:
        for body in (
            "a 1\n",
            'a 1\nx{n="1"} 1\n',
            'a 1\nx{n="1"} 1\nx{n="2"} 1\n',
            'a 1\ny{n="1"} 1\ny{n="2"} 1\nx{n="1"} 1\n',
            "a 1\n",
        ):
            await target.scrape(target.loop.state.last_scrape_ms or T1, body)
    noted = [vars(record) for record in caplog.records if record.name == "scraper.loop"]
    assert [(record["levelname"], record.get("refused"), record.get("metrics")) for record in noted] == [
        ("WARNING", 1, "x"),
        ("WARNING", 3, "y, x"),
        ("INFO", None, None),
    ]


async def test_a_refused_series_takes_the_place_of_one_that_vanished() -> None:
    async with scraping(sample_limit=2, sample_limit_action="keep_known") as target:
        await target.scrape(T1, "a 1\nb 2\nc 3\nd 4\n")
        await target.scrape(T2, "a 1\nc 3\nd 4\n")
        await target.scrape(T3, "b 2\na 1\nc 3\n")
        await target.scrape(T4, "b 2\n")
        assert exposed(target) == {
            "a": [(T1, 1.0), (T2, 1.0), (T3, 1.0), (T4, STALE)],
            "b": [(T1, 2.0), (T2, STALE), (T4, 2.0)],
            "c": [(T2, 3.0), (T3, 3.0), (T4, STALE)],
        }
        assert target.report(REFUSED_NAME) == [(T1, 2.0), (T2, 1.0), (T3, 1.0), (T4, 0.0)]


async def test_what_is_known_is_kept_over_a_failed_scrape() -> None:
    async with scraping(sample_limit=1, sample_limit_action="keep_known") as target:
        await target.scrape(T1, "a 1\n")
        await target.scrape(T2, "broken\n")
        await target.scrape(T3, "b 2\na 1\n")
        assert exposed(target) == {"a": [(T1, 1.0), (T2, STALE), (T3, 1.0)]}
        assert target.report(REFUSED_NAME) == [(T1, 0.0), (T2, 0.0), (T3, 1.0)]


async def test_what_relabelling_drops_takes_no_place_and_is_not_refused() -> None:
    drop = RelabelConfig(source_labels=("__name__",), regex="go_.*", action="drop")
    async with scraping(sample_limit=1, sample_limit_action="keep_known", metric_relabel_configs=(drop,)) as target:
        await target.scrape(T1, "go_a 1\na 1\ngo_b 2\nb 2\nb 3\n")
        assert exposed(target) == {"a": [(T1, 1.0)]}
        assert target.report(REFUSED_NAME) == [(T1, 1.0)]
        assert target.report("scrape_samples_post_metric_relabeling") == [(T1, 3.0)]
        assert target.counter("scrapes_sample_duplicate_timestamp") == 0


async def test_series_with_times_of_their_own_are_refused_alike() -> None:
    async with scraping(sample_limit=2, sample_limit_action="keep_known") as target:
        await target.scrape(T1, f"a 1 {T1 - 5}\nb 2\nc 3 {T1 - 5}\nc 4 {T1 - 4}\n")
        assert exposed(target) == {"a": [(T1 - 5, 1.0)], "b": [(T1, 2.0)]}
        assert target.report(REFUSED_NAME) == [(T1, 1.0)]


async def test_a_target_that_stays_over_the_limit_and_comes_back() -> None:
    async with scraping(sample_limit=2) as target:
        await target.scrape(T1, "a 1\nb 2\nc 3\n")
        await target.scrape(T2, "a 4\nb 5\nc 6\n")
        await target.scrape(T3, "a 7\nb 8\n")
        await target.scrape(T4, "a 1\nb 2\nc 3\n")
        assert exposed(target) == {"a": [(T3, 7.0), (T4, STALE)], "b": [(T3, 8.0), (T4, STALE)]}
        assert target.report("scrape_samples_scraped") == [(T1, 3.0), (T2, 3.0), (T3, 2.0), (T4, 3.0)]
        assert target.counter("scrapes_exceeded_limit") == 3


async def test_without_the_action_there_is_no_such_report() -> None:
    async with scraping(sample_limit=2) as target:
        await target.scrape(T1, "a 1\nb 2\nc 3\n")
        names = {labels.metric_name for labels in read_series(target.store)}
        assert names == set(REPORT)
        assert target.loop.state.last_error == "sample limit exceeded"


# extra_scrape_metrics


async def test_extra_metrics_say_what_the_target_may_and_what_it_sent() -> None:
    async with scraping(
        extra_scrape_metrics=True, scrape_timeout=2500, sample_limit=2, body_size_limit=20, enable_compression=True
    ) as target:
        await target.scrape(T1, "a 1\nb 2\n")
        await target.scrape(T2, "a 1\nb 2\nc 3\n")  # over the sample limit
        await target.scrape(T3, "a 1\n" * 10)  # over the body size limit
        target.exposed.status = 500
        await target.scrape(T4)
        every = [T1, T2, T3, T4]
        assert target.report("scrape_timeout_seconds") == [(time_ms, 2.5) for time_ms in every]
        assert target.report("scrape_sample_limit") == [(time_ms, 2.0) for time_ms in every]
        assert target.report("scrape_body_size_bytes") == [(T1, 8.0), (T2, 12.0), (T3, -1.0), (T4, 0.0)]


async def test_extra_metrics_end_with_their_target() -> None:
    async with scraping(extra_scrape_metrics=True, sample_limit_action="keep_known") as target:
        await target.scrape(T1, "a 1\n")
        await target.loop.farewell(T2)
        for name in (*EXTRA_REPORT_NAMES, REFUSED_NAME):
            assert target.report(name)[-1] == (T2, STALE)


async def test_the_body_of_a_refused_scrape_has_no_size() -> None:
    async with scraping(extra_scrape_metrics=True) as target:
        target.loop.refusal = "target_limit exceeded"
        await target.scrape(T1, "a 1\n")
        assert target.report("scrape_body_size_bytes") == [(T1, 0.0)]


async def test_label_limits_count_the_samples_up_to_the_first_that_exceeds_them() -> None:
    async with scraping(label_limit=3) as target:
        await target.scrape(T1, 'a 1\nb 2\nc{x="y"} 3\nd 4\n')
        assert target.report("scrape_samples_scraped") == [(T1, 3.0)]
        assert target.report("scrape_samples_post_metric_relabeling") == [(T1, 2.0)]
