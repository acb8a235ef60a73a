"""Exemplars as they are asked for: the same answers as a live Prometheus that scraped the same bodies."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from common.labels import Labels
from exposition.formats import Format
from promql import Engine
from scraper.cache import ScrapeCache
from tests.exposition.prometheus_process import prometheus
from tests.scraper.targets import Exposed, resolved_job, serving
from tests.server.conftest import Serve
from tests.server.exemplar_data import BODIES, PROTOBUF_BODIES, REQUESTS
from tests.server.test_against_prometheus import ask
from tsdb.memory import MemoryStore

T1 = 1_700_000_000_000
DEADLINE_S = 30
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 900ms}}
scrape_configs: [{{job_name: job, static_configs: [{{targets: ["{address}"]}}]}}]
"""


IN_OPENMETRICS = [f"{body}# EOF\n".encode() for body in BODIES]


def scraped(address: str, bodies: list[bytes], body_format: Format) -> MemoryStore:
    """A store after one scrape of each body."""
    store = MemoryStore()
    target = Labels.of(job="job", instance=address)
    cache = ScrapeCache(store, store.register_target(target), target, resolved_job())
    for step, body in enumerate(bodies):
        now_ms = T1 + step * 1000
        scrape = cache.repeated(body, now_ms) or cache.read(body, body_format, now_ms)
        store.append_exemplars(scrape.exemplars)
        for batch in cache.assemble(scrape, (1.0, 0.0, 0.0, 0.0, 0.0), now_ms):
            store.append(batch).result()
    return store


def comparable(answer: Any) -> Any:
    """An answer without error texts, which are the parsers' own, and without the times of scrapes."""
    if not isinstance(answer, dict):
        return answer
    for series in answer.get("data", []):
        for exemplar in series["exemplars"]:
            if "untimed" in exemplar["labels"]:
                del exemplar["timestamp"]
    return {key: value for key, value in answer.items() if key != "error"}


@pytest.mark.parametrize(
    ("body_format", "bodies"), [(Format.OPENMETRICS, IN_OPENMETRICS), (Format.PROTOBUF, PROTOBUF_BODIES)]
)
async def test_answers_are_prometheus_s(serve: Serve, tmp_path: Path, body_format: Format, bodies: list[bytes]) -> None:
    answered = 0
    all_stored = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        nonlocal answered
        body = bodies[min(answered, len(bodies) - 1)]
        answered += 1
        if answered == len(bodies) + 2:
            all_stored.set()
        return web.Response(body=body, headers={"Content-Type": body_format.value})

    async with (
        serving(Exposed(handler=answer)) as address,
        prometheus(CONFIG.format(address=address), tmp_path, "--enable-feature=exemplar-storage") as session,
    ):
        store = scraped(address, bodies, body_format)
        own = await serve(store=store, engine=Engine(store))
        async with asyncio.timeout(DEADLINE_S):
            await all_stored.wait()
        async with aiohttp.ClientSession() as client:
            for request in REQUESTS.strip().splitlines():
                theirs = await ask(client, str(session._base_url).rstrip("/"), request)
                ours = await ask(client, own.url, request)
                assert (ours[0], comparable(ours[1])) == (theirs[0], comparable(theirs[1])), request


async def test_the_json(serve: Serve) -> None:
    store = scraped("host:1", IN_OPENMETRICS, Format.OPENMETRICS)
    server = await serve(store=store, engine=Engine(store))
    async with server.session.get("/api/v1/query_exemplars", params={"query": 'req_total{code="200"}'}) as response:
        text = await response.text()

    assert text == (
        '{"status":"success","data":[{"seriesLabels":{"__name__":"req_total","code":"200","instance":"host:1",'
        '"job":"job"},"exemplars":[{"labels":{"span_id":"s","trace_id":"first"},"value":"0.5","timestamp":100.500},'
        '{"labels":{"trace_id":"second"},"value":"0.75","timestamp":100.500}]}]}'
    )
    stats = {name: figure for name, figure in store.stats().items() if name.startswith("exemplar")}
    assert stats == {
        "exemplars": 19,
        "exemplar_series": 13,
        "exemplars_refused_labels_too_long_total": 2,
        "exemplars_refused_out_of_order_total": 3,
    }


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"query": "up", "start": "5", "end": "1"}, "end timestamp must not be before start timestamp"),
        (
            {"query": "up[", "start": "x"},
            'invalid parameter "start": invalid time value for \'start\': cannot parse "x" to a valid timestamp',
        ),
    ],
)
async def test_wrong_requests(serve: Serve, params: dict[str, str], error: str) -> None:
    server = await serve()
    status, answer = await server.get("query_exemplars", **params)

    assert (status, answer["errorType"], answer["error"]) == (400, "bad_data", error)


async def test_no_content_without_a_selector(serve: Serve) -> None:
    server = await serve()
    async with server.session.get("/api/v1/query_exemplars", params={"query": "1 + 1"}) as response:
        assert (response.status, await response.read()) == (204, b"")
