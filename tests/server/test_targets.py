"""Targets and metadata, as a real scraper has them."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from common.yamlfile import Duration
from scraper.config import GlobalConfig, ScrapeConfig, ScrapeSettings
from scraper.discovery.static import StaticConfig
from scraper.inventory import COMPARE_INTERVAL_MS, Inventory
from scraper.manager import ScrapeManager
from scraper.relabel import RelabelConfig
from server.targets import global_url, rfc3339
from tests.scraper.targets import Exposed, ManualClock, eventually, serving
from tests.server.conftest import Serve, Server
from tsdb.store import Store

BODY = """\
# HELP wind_speed How fast the wind is.
# TYPE wind_speed gauge
wind_speed 3
# TYPE rain counter
rain 7
"""
UNUSED_ADDRESS = "127.0.0.1:1"


@pytest_asyncio.fixture
async def scraped(serve: Serve, store: Store) -> AsyncIterator[tuple[Server, str]]:
    """A server whose scraper has scraped one target, failed with one and dropped one."""
    manager = ScrapeManager(store, offset_seed="test")
    async with serving(Exposed(BODY)) as address:
        statics = (
            StaticConfig(targets=(address, UNUSED_ADDRESS)),
            StaticConfig(targets=("dropped:80",), labels={"site": "far"}),
        )
        rules = (
            RelabelConfig(source_labels=("site",), regex="far", action="drop"),
            RelabelConfig(source_labels=("site",), target_label="place"),
        )
        settings = ScrapeSettings(
            global_=GlobalConfig(scrape_interval=Duration(100), scrape_timeout=Duration(100)),
            scrape_configs=(
                ScrapeConfig(job_name="weather", static_configs=statics, relabel_configs=rules),
                ScrapeConfig(job_name="empty"),
            ),
        )
        await manager.apply(settings)
        try:
            await eventually(lambda: sorted(target.health for target in manager.active_targets()) == ["down", "up"])
            yield await serve(targets=manager), address
        finally:
            await manager.stop()


async def test_targets(scraped: tuple[Server, str]) -> None:
    server, address = scraped
    data = await server.data("targets")
    active = {target["labels"]["instance"]: target for target in data["activeTargets"]}
    up, down = active[address], active[UNUSED_ADDRESS]
    assert up["health"] == "up"
    assert up["lastError"] == ""
    assert up["scrapePool"] == up["labels"]["job"] == "weather"
    assert up["discoveredLabels"]["__address__"] == address
    assert up["scrapeUrl"] == f"http://{address}/metrics"
    assert up["globalUrl"] == f"http://{socket.gethostname()}:{address.split(':')[1]}/metrics"
    assert (up["scrapeInterval"], up["scrapeTimeout"]) == ("100ms", "100ms")
    assert up["lastScrape"].startswith("20")
    assert 0 < up["lastScrapeDuration"] < 1
    assert down["health"] == "down"
    assert down["lastError"] != ""
    assert [target["discoveredLabels"]["__address__"] for target in data["droppedTargets"]] == ["dropped:80"]
    assert data["droppedTargetCounts"] == {"empty": 0, "weather": 1}


@pytest.mark.parametrize(
    ("params", "active", "dropped", "counted"),
    [
        ({}, 2, 1, True),
        ({"state": "any"}, 2, 1, True),
        ({"state": "Active"}, 2, 0, False),
        ({"state": "dropped"}, 0, 1, True),
        ({"state": "what"}, 0, 0, False),
        ({"scrapePool": "weather"}, 2, 1, True),
        ({"scrapePool": "empty"}, 0, 0, True),
    ],
)
async def test_targets_are_filtered(
    scraped: tuple[Server, str], params: dict[str, str], active: int, dropped: int, counted: bool
) -> None:
    data = await scraped[0].data("targets", **params)
    assert (len(data["activeTargets"]), len(data["droppedTargets"])) == (active, dropped)
    assert (data["droppedTargetCounts"] is not None) == counted


async def test_scrape_pools(scraped: tuple[Server, str]) -> None:
    assert await scraped[0].data("scrape_pools") == {"scrapePools": ["empty", "weather"]}


WIND = {"wind_speed": [{"type": "gauge", "help": "How fast the wind is.", "unit": ""}]}
RAIN = {"rain": [{"type": "counter", "help": "", "unit": ""}]}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, RAIN | WIND),
        ({"metric": "wind_speed"}, WIND),
        ({"metric": "snow"}, {}),
        ({"limit": 1}, RAIN),
        ({"limit": -1, "limit_per_metric": 1}, RAIN | WIND),
        ({"limit": 0}, {}),
    ],
)
async def test_metadata(scraped: tuple[Server, str], params: dict[str, Any], expected: dict[str, Any]) -> None:
    assert await scraped[0].data("metadata", **params) == expected


async def test_metadata_of_targets(scraped: tuple[Server, str]) -> None:
    server, address = scraped
    target = {"instance": address, "job": "weather"}
    wind = {"target": target, **WIND["wind_speed"][0]}
    rain = {"target": target, **RAIN["rain"][0]}
    everything = [wind | {"metric": "wind_speed"}, rain | {"metric": "rain"}]

    async def answer(**params: Any) -> Any:
        return await server.data("targets/metadata", **params)

    assert await answer() == everything
    assert await answer(match_target=f'{{instance="{address}",job=~"w.*"}}') == everything
    assert await answer(match_target=f'{{instance!="{address}",job="weather"}}') == []
    assert await answer(match_target='{job!="x"}') == await answer(match_target="{}") == everything
    assert await answer(match_target="up") == []
    assert await answer(metric="rain") == [rain]
    assert await answer(metric="snow") == []
    assert await answer(limit=0) == []
    assert await answer(limit=1) == everything  # it bounds the targets looked at, as in Prometheus
    assert await answer(limit=-1) == everything


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"limit": "x"}, "limit must be a number"),
        (
            {"match_target": "{job"},
            'invalid parameter "match_target": 1:5: parse error: unexpected end of input inside braces',
        ),
    ],
)
async def test_wrong_parameters_of_metadata(server: Server, params: dict[str, Any], error: str) -> None:
    assert await server.get("targets/metadata", **params) == (
        400,
        {"status": "error", "errorType": "bad_data", "error": error},
    )


async def test_relabel_steps(scraped: tuple[Server, str]) -> None:
    rule = {"source_labels": ["site"], "separator": ";", "regex": "far", "replacement": "$1", "action": "drop"}

    async def answer(labels: str) -> Any:
        return await scraped[0].data("targets/relabel_steps", scrapePool="weather", labels=labels)

    near, far = '{"site":"near","empty":""}', '{"site":"far"}'
    rename = {"source_labels": ["site"], "separator": ";", "regex": "(.*)", "target_label": "place"}
    assert await answer(near) == {
        "steps": [
            {"rule": rule, "output": {"site": "near"}, "keep": True},
            {
                "rule": rename | {"replacement": "$1", "action": "replace"},
                "output": {"site": "near", "place": "near"},
                "keep": True,
            },
        ]
    }
    assert [(step["output"], step["keep"]) for step in (await answer(far))["steps"]] == [({}, False), ({}, False)]
    assert await scraped[0].data("targets/relabel_steps", scrapePool="empty", labels=near) == {"steps": []}


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"labels": "{}"}, "no scrapePool parameter provided"),
        ({"scrapePool": "weather"}, "no labels parameter provided"),
        ({"scrapePool": "weather", "labels": "[]"}, "error parsing labels: Expected `object`, got `array`"),
        ({"scrapePool": "snow", "labels": "{}"}, 'error retrieving scrape config: scrape pool "snow" not found'),
    ],
)
async def test_wrong_parameters_of_relabel_steps(
    scraped: tuple[Server, str], params: dict[str, str], error: str
) -> None:
    assert await scraped[0].get("targets/relabel_steps", **params) == (
        400,
        {"status": "error", "errorType": "bad_data", "error": error},
    )


@pytest.mark.parametrize(
    ("scraped_at", "reached_at"),
    [
        ("http://localhost:7/metrics", "http://HERE:7/metrics"),
        ("http://localhost:9090/metrics", "http://HERE:9090/metrics"),
        ("https://127.0.0.1/metrics?a=http://localhost/", "https://HERE/metrics?a=http://localhost/"),
        ("http://[::1]:1/", "http://HERE:1/"),
        ("http://127.0.0.2:1/metrics", "http://127.0.0.2:1/metrics"),
        ("http://localhost.example:1/metrics", "http://localhost.example:1/metrics"),
        ("http://not:a:port/metrics", "http://not:a:port/metrics"),
    ],
)
def test_global_urls(scraped_at: str, reached_at: str) -> None:
    assert global_url(scraped_at, "", 7) == reached_at.replace("HERE", socket.gethostname())


@pytest.mark.parametrize(
    ("scraped_at", "reached_at"),
    [
        ("http://localhost:7/metrics", "https://watch.example/metrics"),
        ("http://[::1]:9100/metrics?a=b", "http://watch.example:9100/metrics?a=b"),
        ("https://127.0.0.1:9100", "https://watch.example:9100"),
        ("http://10.0.0.1:7/metrics", "http://10.0.0.1:7/metrics"),
    ],
)
def test_global_urls_behind_an_external_one(scraped_at: str, reached_at: str) -> None:
    assert global_url(scraped_at, "https://watch.example", 7) == reached_at


async def test_a_server_that_scrapes_itself_shows_where_others_reach_it(serve: Serve, store: Store) -> None:
    manager = ScrapeManager(store)
    server = await serve(targets=manager, external_url="https://watch.example/here")
    own = StaticConfig(targets=(f"localhost:{server.port}", "localhost:1"))
    await manager.apply(ScrapeSettings(scrape_configs=(ScrapeConfig(job_name="self", static_configs=(own,)),)))
    try:
        await eventually(lambda: len(manager.active_targets()) == 2)
        shown = {target["globalUrl"] for target in (await server.data("targets"))["activeTargets"]}
        assert shown == {"https://watch.example/metrics", "http://watch.example:1/metrics"}
    finally:
        await manager.stop()


async def test_inventory(serve: Serve, store: Store, tmp_path: Path) -> None:
    gone = {"targets": [{"job": "weather", "instance": "gone:1", "last_seen_ms": 1_700_000_000_000}]}
    (tmp_path / "inventory.json").write_bytes(orjson.dumps(gone))
    clock = ManualClock()
    inventory = Inventory(tmp_path / "inventory.json", CollectorRegistry(), clock)
    manager = ScrapeManager(store, clock=clock, inventory=inventory)
    statics = (StaticConfig(targets=("here:1",)),)
    await manager.apply(ScrapeSettings(scrape_configs=(ScrapeConfig(job_name="weather", static_configs=statics),)))
    try:
        await eventually(lambda: bool(manager.active_targets()))
        server = await serve(targets=manager)
        clock.advance_to(clock.now_ms() + COMPARE_INTERVAL_MS)
        await eventually(lambda: len(inventory.entries()) == 2)
        here = {"job": "weather", "instance": "here:1", "lastSeen": "2023-11-14T22:13:50Z", "discovered": True}
        absent = {"job": "weather", "instance": "gone:1", "lastSeen": "2023-11-14T22:13:20Z", "discovered": False}
        assert await server.data("fleetwatch/inventory") == {"targets": [absent, here]}

        assert await retire(server, job="weather", instance="gone:1") == (200, None)
        assert await server.data("fleetwatch/inventory") == {"targets": [here]}
        for instance, error in (("gone:1", "is known"), ("here:1", "still discovered")):
            status, answered = await retire(server, job="weather", instance=instance)
            assert status == 400
            assert error in answered
    finally:
        await manager.stop()


async def retire(server: Server, **params: str) -> tuple[int, Any]:
    async with server.session.post("/api/v1/fleetwatch/inventory/retire", params=params) as response:
        answer = await response.json()
        return response.status, answer.get("error", answer.get("data"))


async def test_no_inventory_is_kept_unless_asked_for(scraped: tuple[Server, str]) -> None:
    status, answer = await scraped[0].get("fleetwatch/inventory")
    assert (status, answer["errorType"]) == (404, "not_found")


async def test_a_process_without_a_scraper_has_none(server: Server) -> None:
    assert await server.data("targets") == {"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}}
    assert await server.data("scrape_pools") == {"scrapePools": []}
    assert await server.data("metadata") == {}
    assert await server.data("targets/metadata") == []


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1_700_000_000_120, "2023-11-14T22:13:20.12Z"), (-1, "1969-12-31T23:59:59.999Z")],
)
def test_times_as_go_prints_them(time_ms: int, text: str) -> None:
    assert rfc3339(time_ms) == text
