"""What series there are and which metrics are read, as the API says it."""

import asyncio
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from common.labels import Labels
from tests.exposition.prometheus_process import STEP_S, STEPS, prometheus
from tests.scraper.loops import scraping
from tests.server.conftest import Serve, Server
from tests.server.sample_data import fill
from tsdb import open_store
from tsdb.memory import MemoryStore
from tsdb.usage import MetricReads

COUNTS = ("seriesCountByMetricName", "labelValueCountByLabelName", "seriesCountByLabelValuePair")
LIMITS = ("", "1", "3", "+3", "10000", "0", "-1", "x", "1.5", "99999999999999999999")

BODY = "".join(
    f'requests_total{{code="{code}",path="/{path}",zone="ü=\\"{path % 3}\\""}} 1\n'
    for code in (200, 404)
    for path in range(20)
) + "".join(f"plain_{number} 1\n" for number in range(15))


def comparable(data: Any) -> Any:
    """What must be equal: names and counts, of which equal ones stand in any order."""
    return {
        "numSeries": data["headStats"]["numSeries"],
        "numLabelPairs": data["headStats"]["numLabelPairs"],
        **{kind: sorted((count["value"], count["name"]) for count in data[kind]) for kind in COUNTS},
        "labels": sorted(count["name"] for count in data["memoryInBytesByLabelName"]),
    }


async def test_the_same_as_a_prometheus_that_scraped_the_same(serve: Serve, tmp_path: Path) -> None:
    async with scraping() as target:
        await target.scrape(1_700_000_000_000, BODY)
        server = await serve(store=target.store)
        config = (
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: job, static_configs: [{{targets: ['{target.exposed.address}']}}]}}]\n"
        )
        async with prometheus(config, tmp_path) as theirs:
            for _ in range(STEPS):
                if await count(theirs, "up == 1"):
                    break
                await asyncio.sleep(STEP_S)
            _, answer = await status(theirs, "10000")
            _, ours = await server.get("status/tsdb", limit="10000")
            assert comparable(ours["data"]) == comparable(answer["data"])
            assert set(answer["data"]) | {"fleetwatch"} == set(ours["data"])
            assert set(answer["data"]["headStats"]) == set(ours["data"]["headStats"])
            assert ours["data"]["headStats"]["chunkCount"] == answer["data"]["headStats"]["chunkCount"]
            for limit in LIMITS:
                their_code, answer = await status(theirs, limit)
                our_code, ours = await server.get("status/tsdb", limit=limit)
                assert our_code == their_code, limit
                if our_code != 200:
                    assert ours == answer
                    continue
                for kind in (*COUNTS, "memoryInBytesByLabelName"):
                    assert len(ours["data"][kind]) == len(answer["data"][kind]), (limit, kind)
                for kind in COUNTS:
                    values = [count["value"] for count in ours["data"][kind]]
                    assert values == [count["value"] for count in answer["data"][kind]], (limit, kind)


async def count(session: aiohttp.ClientSession, expr: str) -> int:
    async with session.get("/api/v1/query", params={"query": expr}) as response:
        return len((await response.json())["data"]["result"])


async def status(session: aiohttp.ClientSession, limit: str) -> tuple[int, Any]:
    async with session.get("/api/v1/status/tsdb", params={"limit": limit}) as response:
        return response.status, await response.json()


async def test_an_empty_store_has_the_times_of_nothing(serve: Serve) -> None:
    server = await serve(store=open_store("memory:"))
    assert await server.data("status/tsdb") == {
        "headStats": {"numSeries": 0, "numLabelPairs": 0, "chunkCount": 0, "minTime": 2**63 - 1, "maxTime": -(2**63)},
        "seriesCountByMetricName": [],
        "labelValueCountByLabelName": [],
        "memoryInBytesByLabelName": [],
        "seriesCountByLabelValuePair": [],
        "fleetwatch": {"seriesCountByTarget": [], "newSince": None},
    }


async def test_series_by_target(serve: Serve) -> None:
    async with scraping() as target:
        await target.scrape(1_700_000_000_000, "a 1\nb 2\n")
        target.store.maintain(1_700_000_001_000)
        await target.scrape(1_700_000_002_000, "a 1\nc 2\n")
        found = (await (await serve(store=target.store)).data("status/tsdb"))["fleetwatch"]
        labels = {"instance": target.exposed.address, "job": "job"}
        assert found == {
            "seriesCountByTarget": [{"name": str(Labels.of(labels)), "labels": labels, "value": 8, "new": 1}],
            "newSince": "2023-11-14T22:13:21Z",
        }


# Usage


async def test_metrics_that_nobody_reads_come_first_with_a_rule_that_drops_them(server: Server) -> None:
    await server.data("query", query="up", time="1700000000")
    found = await server.data("fleetwatch/usage")
    assert [(metric["name"], metric["series"], metric["reads"], metric["unused"]) for metric in found["metrics"]] == [
        ("odd", 8, 0, True),
        ("cpu_seconds_total", 2, 0, True),
        ("up", 2, 1, False),
    ]
    assert found["metrics"][0]["lastRead"] is None
    assert datetime.fromisoformat(found["countedSince"]) <= datetime.fromisoformat(found["metrics"][2]["lastRead"])
    assert found["dropRule"] == {"source_labels": ["__name__"], "regex": "cpu_seconds_total|odd", "action": "drop"}


async def test_usage_of_a_shorter_time_and_of_the_first_ones(serve: Serve) -> None:
    store = MemoryStore()
    fill(store)
    now_ms = time.time_ns() // 1_000_000
    reads = {"odd": MetricReads(3, now_ms - 7_200_000), "up": MetricReads(1, now_ms - 60_000)}
    store._reads.load(now_ms - 10_000_000, reads)
    server = await serve(store=store)
    for unused_for, unused in (("1h", ["odd", "cpu_seconds_total"]), ("3h", ["cpu_seconds_total"]), ("0", 3)):
        found = await server.data("fleetwatch/usage", unused_for=unused_for)
        names = [metric["name"] for metric in found["metrics"] if metric["unused"]]
        assert unused in (names, len(names))
        (first,) = (await server.data("fleetwatch/usage", unused_for=unused_for, limit="1"))["metrics"]
        assert first["name"] == names[0]


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"unused_for": "x"}, 'invalid parameter "unused_for": cannot parse "x" to a valid duration'),
        ({"limit": "-1"}, 'invalid parameter "limit": limit must be non-negative'),
    ],
)
async def test_wrong_requests(server: Server, params: dict[str, str], error: str) -> None:
    assert await server.get("fleetwatch/usage", **params) == (
        400,
        {"status": "error", "errorType": "bad_data", "error": error},
    )
