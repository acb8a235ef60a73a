"""From discovered labels to targets."""

import pytest

from common.labels import Labels
from common.yamlfile import Duration
from scraper.discovery.model import TargetGroup
from scraper.relabel import RelabelConfig, compile_rules
from scraper.target import Target, populate
from tests.scraper.targets import resolved_job


def made(target: dict[str, str], group: dict[str, str] | None = None, **job: object) -> Target:
    resolved = resolved_job(**job)
    rules = compile_rules(resolved.relabel_configs)
    populated = populate([TargetGroup("g", [target], group or {})], resolved, rules)
    assert populated.errors == []
    (only,) = populated.active
    return only


def refused(target: dict[str, str], **job: object) -> str:
    populated = populate([TargetGroup("g", [target])], resolved_job(**job), ())
    assert populated.active == []
    (error,) = populated.errors
    return error


def test_labels_and_defaults() -> None:
    target = made({"__address__": "host:9100"}, {"dc": "eu", "__meta_filepath": "/f"})
    assert dict(target.labels) == {"instance": "host:9100", "job": "job", "dc": "eu"}
    assert dict(target.discovered_labels) == {
        "__address__": "host:9100",
        "__meta_filepath": "/f",
        "__metrics_path__": "/metrics",
        "__scheme__": "http",
        "__scrape_interval__": "1m",
        "__scrape_timeout__": "10s",
        "dc": "eu",
        "job": "job",
    }
    assert (target.url, target.interval_ms, target.timeout_ms) == ("http://host:9100/metrics", 60_000, 10_000)


def test_the_targets_own_labels_win_over_the_groups_and_the_jobs() -> None:
    target = made({"__address__": "h", "job": "mine", "dc": "own"}, {"dc": "group", "job": "theirs"})
    assert target.labels.get("job") == "mine"
    assert target.labels.get("dc") == "own"


def test_no_port_is_added() -> None:
    assert made({"__address__": "host"}).url == "http://host/metrics"
    assert made({"__address__": "host"}).labels.get("instance") == "host"


def test_params_and_path_make_the_url() -> None:
    target = made(
        {"__address__": "h:1", "__param_module": "tcp", "__metrics_path__": "probe/a b?"},
        params={"module": ("http", "second"), "target": ("x y&z",)},
    )
    # The label replaces the first value only, as in Prometheus.
    assert target.url == "http://h:1/probe/a%20b%3F?module=tcp&module=second&target=x+y%26z"
    assert target.discovered_labels.get("__param_target") == "x y&z"


def test_relabelling_steers_the_scrape() -> None:
    rules = (
        RelabelConfig(source_labels=("__address__",), target_label="__param_target"),
        RelabelConfig(source_labels=("__param_target",), target_label="instance"),
        RelabelConfig(target_label="__address__", replacement="prober:9115"),
        RelabelConfig(target_label="__scheme__", replacement="https"),
        RelabelConfig(target_label="__scrape_interval__", replacement="30s"),
        RelabelConfig(target_label="__tmp", replacement="gone"),
    )
    target = made({"__address__": "example.org"}, relabel_configs=rules)
    assert target.url == "https://prober:9115/metrics?target=example.org"
    assert dict(target.labels) == {"instance": "example.org", "job": "job"}
    assert target.interval_ms == 30_000


def test_dropped_targets_keep_their_discovered_labels() -> None:
    job = resolved_job(relabel_configs=(RelabelConfig(source_labels=("env",), regex="test", action="drop"),))
    groups = [TargetGroup("g", [{"__address__": "a", "env": "test"}, {"__address__": "b"}])]
    populated = populate(groups, job, compile_rules(job.relabel_configs))
    assert [target.url for target in populated.active] == ["http://b/metrics"]
    assert [labels.get("__address__") for labels in populated.dropped] == ["a"]


def test_the_same_target_twice_is_one() -> None:
    groups = [TargetGroup("1", [{"__address__": "a"}]), TargetGroup("2", [{"__address__": "a"}, {"__address__": "b"}])]
    assert len(populate(groups, resolved_job(), ()).active) == 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({}, "no address"),
        ({"__address__": "http://host/"}, "not a host and port"),
        ({"__address__": "h", "__scrape_interval__": "soon"}, "__scrape_interval__: not a valid duration"),
        ({"__address__": "h", "__scrape_interval__": "0s"}, "cannot be 0"),
        ({"__address__": "h", "__scrape_timeout__": "2m"}, "__scrape_timeout__ 2m is greater"),
        ({"__address__": "h", "bad": "\udcff"}, "not valid UTF-8"),
    ],
)
def test_what_makes_no_target(labels: dict[str, str], message: str) -> None:
    assert message in refused(labels)


def test_offsets_are_stable_and_spread() -> None:
    def offset(instance: str, seed: str = "") -> int:
        labels = Labels.of(job="j", instance=instance)
        return Target(labels, f"http://{instance}/metrics", 15_000, 10_000, labels).offset_ms(seed)

    assert offset("a") == offset("a") == 4350, "changing this moves every target's scrapes at an upgrade"
    assert offset("a", "replica-2") != offset("a")
    offsets = [offset(f"host{number}") for number in range(1500)]
    seconds = [sum(1 for value in offsets if value // 1000 == second) for second in range(15)]
    assert min(seconds) > 60
    assert max(seconds) < 140


def test_intervals_of_the_job() -> None:
    target = made({"__address__": "h"}, scrape_interval=Duration(5000))
    assert (target.interval_ms, target.timeout_ms) == (5000, 5000)
