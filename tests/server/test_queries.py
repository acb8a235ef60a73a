"""Instant and range queries."""

import asyncio
import gzip
import json
import threading
import time
from typing import Any

import pytest

from promql import Engine, Result
from server.errors import TimedOutError
from server.workers import Workers
from tests.server.conftest import Serve, Server
from tests.server.sample_data import SERIES, START_S
from tsdb.cancellation import Cancellation
from tsdb.store import Store

UP = [dict(labels) for labels, _ in SERIES if labels.metric_name == "up"]
RANGE: dict[str, Any] = {"start": START_S, "end": START_S + 120, "step": 60}


async def test_vector(server: Server) -> None:
    data = await server.data("query", query="sort(up)", time=START_S + 60)
    assert data == {
        "resultType": "vector",
        "result": [
            {"metric": UP[1], "value": [START_S + 60, "0"]},
            {"metric": UP[0], "value": [START_S + 60, "1"]},
        ],
    }


async def test_odd_values(server: Server) -> None:
    data = await server.data("query", query="odd", time=START_S)
    assert {series["metric"]["kind"]: series["value"][1] for series in data["result"]} == {
        "nan": "NaN",
        "positive infinity": "+Inf",
        "negative infinity": "-Inf",
        "tiny": "1e-09",
        "large": "150000000000000000000",
        "huge": "1.5e+25",
        "negative zero": "-0",
        'text <&> "é" \\ 世界': "0.1",
    }


async def test_scalar_string_and_range_vector(server: Server) -> None:
    assert await server.data("query", query="time()", time=START_S + 0.5) == {
        "resultType": "scalar",
        "result": [START_S + 0.5, f"{START_S}.5"],
    }
    assert await server.data("query", query='"a\\"b"', time=5) == {"resultType": "string", "result": [5, 'a"b']}
    assert await server.data("query", query="up{instance='b:9100'}[2m]", time=START_S + 60) == {
        "resultType": "matrix",
        "result": [{"metric": UP[1], "values": [[START_S, "0"], [START_S + 60, "0"]]}],
    }


async def test_matrix(server: Server) -> None:
    assert await server.data("query_range", query="up", **RANGE) == {
        "resultType": "matrix",
        "result": [
            {"metric": labels, "values": [[START_S + 60 * step, value] for step, value in enumerate(values)]}
            for labels, values in zip(UP, (["1", "1", "1"], ["0", "0", "1"]), strict=True)
        ],
    }


@pytest.mark.parametrize("step", ["60", "60.0", "1m", "60s"])
async def test_steps_are_seconds_or_durations(server: Server, step: str) -> None:
    data = await server.data("query_range", query="1", **RANGE | {"step": step})
    assert [point[0] for point in data["result"][0]["values"]] == [START_S, START_S + 60, START_S + 120]


@pytest.mark.parametrize("step", [0.29, 1.001, 2.009])
async def test_a_step_keeps_its_milliseconds(server: Server, step: float) -> None:
    data = await server.data("query_range", query="1", start=0, end=2 * step, step=step)
    assert [point[0] for point in data["result"][0]["values"]] == [0, step, 2 * step]


async def test_11001_points_are_allowed_and_no_more(server: Server) -> None:
    data = await server.data("query_range", query="1", start=0, end=11000, step=1)
    assert len(data["result"][0]["values"]) == 11001
    status, answer = await server.get("query_range", query="1", start=0, end=11001, step=1)
    assert (status, answer["errorType"]) == (400, "bad_data")


async def test_limits_cut_and_warn(server: Server) -> None:
    for path, times in (("query", {"time": START_S}), ("query_range", RANGE)):
        _, cut = await server.get(path, query="up", limit=1, **times)
        assert len(cut["data"]["result"]) == 1
        assert cut["warnings"] == ["results truncated due to limit"]
        for limit in (0, 2):
            _, whole = await server.get(path, query="up", limit=limit, **times)
            assert len(whole["data"]["result"]) == 2
            assert "warnings" not in whole


async def test_lookback_is_the_querys_own(server: Server) -> None:
    for lookback, series in (("10", 0), ("31", 2), ("1m", 2), ("0", 2), ("-1", 2)):
        data = await server.data("query", query="up", time=START_S + 150, lookback_delta=lookback)
        assert len(data["result"]) == series, lookback


async def test_annotations_are_beside_the_data(server: Server) -> None:
    _, answer = await server.get("query", query="quantile(2, up)", time=START_S)
    assert answer["warnings"] == ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"]
    _, answer = await server.get("query", query="rate(up[2m])", time=START_S + 120)
    assert "not be a counter" in answer["infos"][0]
    assert "warnings" not in answer


async def test_post_forms(server: Server) -> None:
    async with server.session.post("/api/v1/query?query=2", data={"query": "1", "time": "5"}) as response:
        assert (await response.json())["data"]["result"] == [5, "1"], "the form comes first"
    async with server.session.post("/api/v1/query?query=2", data={"time": "5"}) as response:
        assert (await response.json())["data"]["result"] == [5, "2"]
    async with server.session.post("/api/v1/query_range", data={"query": "up"} | RANGE) as response:
        assert len((await response.json())["data"]["result"]) == 2


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [("gzip", True), ("br, *", True), ("gzip;q=0", False), ("br", False), ("identity", False)],
)
async def test_answers_are_compressed_where_the_client_takes_it(
    server: Server, accepted: str, compressed: bool
) -> None:
    query = {"query": "vector(1)", "start": "0", "end": "11000", "step": "1"}
    headers = {"Accept-Encoding": accepted}
    async with server.session.get(
        "/api/v1/query_range", params=query, headers=headers, auto_decompress=False
    ) as response:
        assert (response.headers.get("Content-Encoding") == "gzip") == compressed
        body = await response.read()
    assert len(json.loads(gzip.decompress(body) if compressed else body)["data"]["result"][0]["values"]) == 11001


async def test_cross_origin_requests_as_with_prometheus(server: Server) -> None:
    for method, status in (("GET", 200), ("OPTIONS", 204)):
        async with server.session.request(
            method, "/api/v1/query?query=1", headers={"Origin": "http://elsewhere"}
        ) as response:
            assert response.status == status
            assert response.headers["Access-Control-Allow-Origin"] == "http://elsewhere"
            assert response.headers["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
            assert "Origin" in response.headers["Vary"]
    async with server.session.get("/api/v1/query?query=1") as response:
        assert "Access-Control-Allow-Origin" not in response.headers


class SlowEngine(Engine):
    """An engine that waits for a word from outside before it evaluates."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()

    def instant(self, expr: str, at_ms: int, **options: Any) -> Result:
        self.begun.release()
        self.go_on.wait(10)
        return super().instant(expr, at_ms, **options)


async def test_a_query_that_takes_too_long_is_given_up(serve: Serve, store: Store) -> None:
    engine = SlowEngine(store)
    server = await serve(engine=engine, query_threads=1)
    for place in ("execution", "queue"):  # the second waits
        status, answer = await server.get("query", query="up", timeout="50ms")
        assert status == 503
        assert answer == {
            "status": "error",
            "errorType": "timeout",
            "error": f"query timed out in query {place}",
        }
    engine.go_on.set()


async def test_the_servers_own_timeout_bounds_the_clients(serve: Serve, store: Store) -> None:
    engine = SlowEngine(store)
    server = await serve(engine=engine, query_timeout_s=0.05)
    started = time.monotonic()
    status, _ = await server.get("query", query="up", timeout="1h")
    assert (status, time.monotonic() - started < 5) == (503, True)
    engine.go_on.set()


async def test_the_event_loop_is_free_while_queries_run(serve: Serve, store: Store) -> None:
    engine = SlowEngine(store)
    server = await serve(engine=engine, query_threads=1)
    queries = [asyncio.create_task(server.get("query", query="1", time=index)) for index in range(3)]
    await asyncio.to_thread(engine.begun.acquire)
    async with server.session.get("/-/healthy") as response:
        assert response.status == 200
    assert not any(query.done() for query in queries)
    engine.go_on.set()
    answers = [await query for query in queries]
    assert [answer["data"]["result"][0] for _, answer in answers] == [0, 1, 2]


async def test_a_client_that_goes_away_takes_its_query_out_of_the_queue(serve: Serve, store: Store) -> None:
    engine = SlowEngine(store)
    server = await serve(engine=engine, query_threads=1)
    first = asyncio.create_task(server.get("query", query="1"))
    await asyncio.to_thread(engine.begun.acquire)
    gone = asyncio.create_task(server.get("query", query="2"))
    await eventually_in_flight(server, 2)
    gone.cancel()
    await eventually_in_flight(server, 1)
    engine.go_on.set()
    assert (await first)[0] == 200
    assert (await server.get("query", query="3"))[0] == 200
    await asyncio.to_thread(engine.begun.acquire)
    assert not engine.begun.acquire(blocking=False), "the query that was given up has run"


async def eventually_in_flight(server: Server, count: int) -> None:
    """Until the server itself says how many queries it is answering, beside the question for it."""
    async with asyncio.timeout(10):
        while True:
            async with server.session.get("/metrics") as response:
                if f"fleetwatch_http_requests_in_flight {count + 1}.0" in await response.text():
                    return


async def test_workers_pass_on_results_and_errors() -> None:
    workers = Workers(1)
    assert await workers.run(lambda _: 7, 1) == 7
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda _: 1 // 0, 1)
    with pytest.raises(TimeoutError):
        await workers.run(_time_out_itself, 1)
    with pytest.raises(TimedOutError):
        await workers.run(lambda _: 7, 0)
    workers.close()


def _time_out_itself(_: Cancellation) -> None:
    raise TimeoutError


async def test_work_is_told_when_it_is_given_up() -> None:
    workers = Workers(1)
    begun, seen = threading.Event(), threading.Event()

    def work(given_up: Cancellation) -> None:
        begun.set()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if given_up.canceled:
                seen.set()
                return
            time.sleep(0.001)

    with pytest.raises(TimedOutError):
        await workers.run(work, 0.01)
    assert await asyncio.to_thread(seen.wait, 10)
    begun.clear()
    seen.clear()
    waiter = asyncio.create_task(workers.run(work, 60))
    assert await asyncio.to_thread(begun.wait, 10)
    waiter.cancel()
    assert await asyncio.to_thread(seen.wait, 10)
    workers.close()
