"""Labels of targets and of what they expose, and the limits on them."""

import pytest

from common.labels import Labels
from scraper.relabel import RelabelConfig
from scraper.series import REPORT_NAMES, SeriesRules
from tests.scraper.loops import scraping
from tests.scraper.targets import resolved_job

T1 = 1_700_000_000_000


async def stored(body: str, **job: object) -> dict[str, dict[str, str]]:
    """The series that a body comes to: metric name to labels, less `instance` where it is the target's."""
    async with scraping(**job) as target:
        await target.scrape(T1, body)
        assert target.loop.state.last_error == ""
        found = {}
        for labels in target.store.series([], 0, 2**53):
            if labels.metric_name not in REPORT_NAMES:
                own = target.exposed.address
                found[labels.metric_name] = {
                    name: "TARGET" if value == own else value for name, value in labels.without("__name__")
                }
        return found


async def test_conflicting_labels_are_kept_as_exported() -> None:
    assert await stored('a{job="own",exported_job="before",instance="i"} 1\n') == {
        "a": {
            "job": "job",
            "instance": "TARGET",
            "exported_exported_job": "own",
            "exported_job": "before",
            "exported_instance": "i",
        }
    }


def test_the_shortest_of_conflicting_labels_is_renamed_first() -> None:
    rules = SeriesRules(resolved_job(), Labels.of(job="target", exported_job="target"))
    assert rules.apply(Labels.of(__name__="a", job="short", exported_job="long")) == Labels.of(
        __name__="a",
        job="target",
        exported_job="target",
        exported_exported_job="short",
        exported_exported_exported_job="long",
    )


async def test_honoured_labels_win() -> None:
    assert await stored('a{job="own"} 1\nb 2\n', honor_labels=True) == {
        "a": {"job": "own", "instance": "TARGET"},
        "b": {"job": "job", "instance": "TARGET"},
    }


@pytest.mark.parametrize("time", ["", f" {T1}"])
async def test_an_honoured_label_that_is_empty_keeps_the_targets_away(time: str) -> None:
    """What /federate relies on, whose samples have times of their own."""
    body = f'a{{instance="",job="own"}} 1{time}\nb{{x=""}} 2{time}\n'
    assert await stored(body, honor_labels=True) == {
        "a": {"job": "own"},
        "b": {"job": "job", "instance": "TARGET"},
    }


async def test_names_beyond_the_legacy_set() -> None:
    assert await stored('{"my.metric","a.b"="c"} 1\n') == {
        "my.metric": {"job": "job", "instance": "TARGET", "a.b": "c"}
    }
    async with scraping(metric_name_validation_scheme="legacy") as target:
        await target.scrape(T1, '{"my.metric"} 1\n')
        assert "invalid metric name or label names" in target.loop.state.last_error


LIMITS = [
    ({"label_limit": 3}, "label_limit exceeded (metric: a, number of labels: 5, limit: 3)"),
    ({"label_name_length_limit": 9}, "label_name_length_limit exceeded (metric: a, label name: long_label"),
    ({"label_value_length_limit": 25}, "label_value_length_limit exceeded (metric: a, label name: long_label"),
]


@pytest.mark.parametrize(("limit", "error"), LIMITS)
async def test_label_limits_fail_the_scrape(limit: dict[str, int], error: str) -> None:
    async with scraping(**limit) as target:
        await target.scrape(T1, f'a{{long_label="{"v" * 30}",x="y"}} 1\n')
        assert target.loop.state.last_error.startswith(error)
        assert target.samples() == {}
        assert target.counter("scrapes_exceeded_limit") == 1


async def test_a_series_without_a_name_fails_the_scrape() -> None:
    drop = RelabelConfig(regex="__name__", action="labeldrop")
    async with scraping(metric_relabel_configs=(drop,)) as target:
        await target.scrape(T1, "a 1\n")
        assert "missing metric name" in target.loop.state.last_error


async def test_a_target_may_expose_a_report_series() -> None:
    async with scraping() as target:
        await target.scrape(T1, "up 7\na 1\n")
        await target.scrape(T1 + 1000, "a 1\n")
        assert target.report("up") == [(T1, 7.0), (T1 + 1000, 1.0)]
