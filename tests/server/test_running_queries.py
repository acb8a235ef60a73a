"""Queries that run: listed, killed, bounded in memory and in the size of their answers; their stats and their log."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.labels import Labels
from fleetwatch.query import run_explain
from promql import Engine, EngineOptions
from promql.cache import RangeCache
from promql.memory import MemoryBudget
from server.query_log import QueryLog
from tests.server.conftest import Serve, Server
from tests.server.sample_data import START_S
from tsdb.model import Batch
from tsdb.store import Store

RANGE = {"start": START_S, "end": START_S + 120, "step": 60}
HEAVY = {"query": "max_over_time(quantile_over_time(0.9, load[1h])[1h:1s])", "start": 0, "end": 10_000, "step": 1}


def fill_heavily(store: Store) -> None:
    """Enough that HEAVY takes minutes."""
    labels = [Labels.of(__name__="load", instance=f"host{number}") for number in range(100)]
    layout = store.layout(store.series_ids(labels))
    target_id = store.register_target(Labels.of(instance="all"))
    for step in range(3000):
        store.append(Batch(target_id, layout, step * 4000, np.arange(100.0))).result()


async def until_queries(server: Server, count: int) -> list[dict[str, Any]]:
    """Until so many queries are there."""
    async with asyncio.timeout(10):
        while True:
            data = await server.data("status/queries")
            queries: list[dict[str, Any]] = data["queries"]
            if len(queries) == count:
                return queries


async def kill(server: Server, number: str) -> tuple[int, Any]:
    async with server.session.delete(f"/api/v1/status/queries/{number}") as response:
        return response.status, await response.json()


async def test_queries_are_listed_and_killed_while_they_run_and_while_they_wait(serve: Serve, store: Store) -> None:
    fill_heavily(store)
    server = await serve(query_threads=1)
    running = asyncio.create_task(server.get("query_range", **HEAVY))
    await until_queries(server, 1)
    waiting = asyncio.create_task(server.get("query", query="up"))
    first, second = await until_queries(server, 2)
    assert (first["query"], first["step"], first["state"], first["client"]) == (
        HEAVY["query"],
        1,
        "running",
        "127.0.0.1",
    )
    assert (second["query"], second["path"], second["state"]) == ("up", "/api/v1/query", "queued")
    for number, task, place in ((second["id"], waiting, "queue"), (first["id"], running, "execution")):
        status, answer = await kill(server, number)
        assert (status, answer["data"]["killed"]["id"]) == (200, number)
        status, answer = await task
        assert status == 499
        assert answer == {"status": "error", "errorType": "canceled", "error": f"query was canceled in query {place}"}
    assert await until_queries(server, 0) == []
    # The thread is free again: what was killed has ended.
    assert await asyncio.wait_for(server.data("query", query="1", time=5), 5)


async def test_what_is_not_there_cannot_be_killed(server: Server) -> None:
    for number in ("1", "-1", "x", "9" * 5000):
        status, answer = await kill(server, number)
        assert (status, answer["errorType"]) == (404, "not_found")


async def test_a_client_that_goes_away_ends_its_query(serve: Serve, store: Store) -> None:
    fill_heavily(store)
    server = await serve(query_threads=1)
    gone = asyncio.create_task(server.get("query_range", **HEAVY))
    await until_queries(server, 1)
    gone.cancel()
    await until_queries(server, 0)
    assert await asyncio.wait_for(server.data("query", query="1", time=5), 5)


async def test_stats_have_prometheus_names(server: Server) -> None:
    data = await server.data("query_range", query="up", stats="all", **RANGE)
    assert list(data) == ["resultType", "result", "stats"]
    timings = data["stats"]["timings"]
    assert list(timings) == [
        "evalTotalTime",
        "resultSortTime",
        "queryPreparationTime",
        "innerEvalTime",
        "execQueueTime",
        "execTotalTime",
    ]
    assert all(seconds >= 0 for seconds in timings.values())
    assert timings["execTotalTime"] >= timings["evalTotalTime"] >= timings["innerEvalTime"] > 0
    samples = data["stats"]["samples"]
    assert samples["totalQueryableSamples"] == 6
    assert samples["totalQueryableSamplesPerStep"] == [[START_S + 60 * step, 2] for step in range(3)]
    assert samples["peakSamples"] >= 6
    data = await server.data("query", query="count_over_time(up[2m])", time=START_S + 60, stats="1")
    assert data["stats"]["samples"]["totalQueryableSamples"] == 4
    assert "totalQueryableSamplesPerStep" not in data["stats"]["samples"]
    assert "stats" not in await server.data("query", query="up", time=START_S)
    assert "stats" in await server.data("query", query="1", stats="true")


async def test_the_query_log(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "queries.log"
    server = await serve(query_log=QueryLog(path))
    await server.data("query_range", query="up", **RANGE)
    await server.get("query", query="up +", time=5)
    first, second = map(json.loads, path.read_text().splitlines())
    assert first["params"] == {
        "end": "2023-11-14T22:15:20.000Z",
        "query": "up",
        "start": "2023-11-14T22:13:20.000Z",
        "step": 60,
    }
    assert first["stats"]["samples"]["totalQueryableSamples"] == 6
    assert first["httpRequest"] == {"clientIP": "127.0.0.1", "method": "GET", "path": "/api/v1/query_range"}
    assert "error" not in first
    assert "parse error" in second["error"]


async def test_a_log_that_cannot_be_written_costs_no_answer(serve: Serve, tmp_path: Path) -> None:
    server = await serve(query_log=QueryLog(tmp_path / "missing" / "queries.log"))
    assert await server.data("query", query="1", time=5)


async def test_a_query_that_would_take_too_much_memory_is_refused(serve: Serve, store: Store) -> None:
    budget = MemoryBudget(max_query_bytes=300_000)
    server = await serve(query_memory=budget)
    status, answer = await server.get("query_range", query="up", start=0, end=10_000, step=1)
    assert status == 200, answer
    status, answer = await server.get("query_range", query="up", start=START_S, end=START_S + 10_000, step=1)
    assert (status, answer["errorType"]) == (422, "execution")
    assert "of memory, more than the 292 KiB that query.max_memory allows" in answer["error"]
    assert budget.taken_bytes == 0


async def test_an_answer_that_is_too_large_is_refused(serve: Serve, store: Store) -> None:
    server = await serve(max_response_bytes=1000)
    assert (await server.get("query", query="up", time=START_S))[0] == 200
    status, answer = await server.get("query_range", query="vector(1)", start=0, end=10_000, step=1)
    assert (status, answer["errorType"]) == (422, "execution")
    assert "larger than the 1000 B that query.max_response_size allows" in answer["error"]


async def test_prometheus_limits_of_samples(serve: Serve, store: Store) -> None:
    server = await serve(engine=Engine(store, EngineOptions(max_samples=3)))
    status, answer = await server.get("query_range", query="up", **RANGE)
    assert (status, answer["errorType"]) == (422, "execution")
    assert answer["error"] == "query processing would load too many samples into memory in query execution"


async def test_explain_names_what_a_query_does(server: Server) -> None:
    data = await server.data("fleetwatch/explain", query="sum by (job) (rate(up[2m])) * 2 > 0", **RANGE)
    lines = [(line["depth"], line["node"], line["series"]) for line in data["plan"]]
    assert lines == [
        (0, "operator >", 1),
        (1, "operator *", 1),
        (2, "sum by (job)", 1),
        (3, "rate()", 2),
        (4, "up[2m]", 2),
        (2, "2", None),
        (1, "0", None),
    ]
    assert data["plan"][4]["notes"] == ["6 samples of 4m"]
    assert data["plan"][0]["seconds"] >= data["plan"][3]["seconds"] > 0
    assert data["estimatedBytes"] > 0
    assert data["stats"]["samples"]["totalQueryableSamples"] == 10
    data = await server.data("fleetwatch/explain", query="up + up", time=START_S)
    assert [(line["node"], line["notes"][-1]) for line in data["plan"][1:]] == [
        ("up", "2 samples of 5m"),
        ("up", "as above, evaluated once"),
    ]


async def test_explain_on_the_command_line(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    await asyncio.to_thread(run_explain, "topk(1, up)", server.url, str(START_S), None, None, False)
    shown = capsys.readouterr().out
    assert "topk (1)" in shown
    assert "2 samples of 5m" in shown
    assert "evaluated in" in shown
    await asyncio.to_thread(run_explain, "up", server.url, str(START_S + 60), "1m", "10s", True)
    assert json.loads(capsys.readouterr().out)["plan"][0]["node"] == "up"


async def test_a_range_query_asked_again_is_answered_from_the_cache(serve: Serve, store: Store) -> None:
    engine = Engine(store)
    cache = RangeCache(engine, store, 1 << 20, recent_ms=0)
    server = await serve(engine=engine, range_cache=cache, enable_admin_api=True)
    # The cache learns the time from what is written.
    store.append_samples(Labels.of(__name__="late"), [((START_S + 1000) * 1000, 1.0)])
    first = await server.data("query_range", query="up", **RANGE)
    assert await server.data("query_range", query="up", **RANGE) == first
    assert cache.steps_served == 3
    assert await server.data("query_range", query="up", nocache=1, **RANGE) == first
    assert cache.steps_served == 3
    async with server.session.post("/api/v1/admin/tsdb/delete_series", params={"match[]": "up"}) as response:
        assert response.status == 204
    assert (await server.data("query_range", query="up", **RANGE))["result"] == []
