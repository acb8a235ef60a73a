"""Targets and metadata, as a real scraper has them."""

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from common.yamlfile import Duration
from scraper.config import GlobalConfig, ScrapeConfig, ScrapeSettings
from scraper.discovery.static import StaticConfig
from scraper.manager import ScrapeManager
from scraper.relabel import RelabelConfig
from server.targets import rfc3339
from tests.scraper.targets import Exposed, eventually, serving
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
        dropping = RelabelConfig(source_labels=("site",), regex="far", action="drop")
        settings = ScrapeSettings(
            global_=GlobalConfig(scrape_interval=Duration(100), scrape_timeout=Duration(100)),
            scrape_configs=(
                ScrapeConfig(job_name="weather", static_configs=statics, relabel_configs=(dropping,)),
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


async def test_a_process_without_a_scraper_has_none(server: Server) -> None:
    assert await server.data("targets") == {"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}}
    assert await server.data("scrape_pools") == {"scrapePools": []}
    assert await server.data("metadata") == {}


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1_700_000_000_120, "2023-11-14T22:13:20.12Z"), (-1, "1969-12-31T23:59:59.999Z")],
)
def test_times_as_go_prints_them(time_ms: int, text: str) -> None:
    assert rfc3339(time_ms) == text
