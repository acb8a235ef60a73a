"""HTTP discovery, and with it what all sources that ask an HTTP API share: failures, retries, limits."""

import asyncio
import logging
from pathlib import Path

import pytest
from aiohttp import web

from common.yamlfile import Duration
from scraper.discovery import refresh
from scraper.discovery.http import HTTPSDConfig
from scraper.discovery.http_api import LIMIT_BYTES
from scraper.http_config import BasicAuth, TLSConfig
from tests.scraper.discovery.discovering import REFRESH_MS, FakeAPI, failures, running, serving_api, surroundings
from tests.scraper.targets import eventually

GROUPS = [
    {"targets": ["10.0.0.1:9100", "10.0.0.2:9100"], "labels": {"dc": "eu"}},
    {"targets": None, "labels": {"dc": "nowhere"}},
    {"targets": ["10.0.0.3:9100"], "labels": None},
]


def config_for(api: FakeAPI, path: str = "/sd") -> HTTPSDConfig:
    return HTTPSDConfig(url=api.url + path, refresh_interval=Duration(REFRESH_MS))


async def test_groups_and_request() -> None:
    async with serving_api({"/sd": GROUPS}) as api:
        url = f"{api.url}/sd?fleet=a%20b"
        config = HTTPSDConfig(
            url=url, refresh_interval=Duration(90_500), basic_auth=BasicAuth(username="me", password="secret")
        )
        async with running(config.discoverer(surroundings())) as published:
            await eventually(lambda: published.times == 1)
            assert published.targets == [
                {"__address__": "10.0.0.1:9100", "dc": "eu", "__meta_url": url},
                {"__address__": "10.0.0.2:9100", "dc": "eu", "__meta_url": url},
                {"__address__": "10.0.0.3:9100", "__meta_url": url},
            ]
            assert [group.source for group in published.groups] == [f"{url}:0", f"{url}:1", f"{url}:2"]
        request = api.requests[0]
        assert request.headers["X-Prometheus-Refresh-Interval-Seconds"] == "90.5"
        assert request.headers["Accept"] == "application/json"
        assert request.headers["Authorization"] == "Basic bWU6c2VjcmV0"
        assert request.query == {"fleet": "a b"}


async def test_changes_are_seen() -> None:
    async with serving_api({"/sd": GROUPS}) as api, running(config_for(api).discoverer(surroundings())) as published:
        await eventually(lambda: len(published.targets) == 3)
        api.answers["/sd"] = [{"targets": ["10.0.0.9:9100"]}]
        await eventually(lambda: published.addresses == ["10.0.0.9:9100"])
        api.answers["/sd"] = []
        await eventually(lambda: published.addresses == [])


def _endless(_: web.Request) -> web.Response:
    return web.json_response(body=b" " * LIMIT_BYTES + b"[]")


BROKEN = {
    "status": lambda _: web.json_response(GROUPS, status=503),
    "content type": lambda _: web.Response(text="[]", content_type="text/html"),
    "charset": lambda _: web.Response(body=b"[]", headers={"Content-Type": "application/json; charset=latin-1"}),
    "not JSON": lambda _: web.json_response(body=b'[{"targets": ["a:1"'),
    "no list": lambda _: web.json_response({"targets": []}),
    "no group": lambda _: web.json_response([None]),
    "unknown key": lambda _: web.json_response([{"hosts": ["a:1"]}]),
    "no text": lambda _: web.json_response([{"targets": [1]}]),
    "too much": _endless,
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
async def test_an_answer_that_is_of_no_use_keeps_the_targets(
    answer: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    around = surroundings()
    async with serving_api({"/sd": GROUPS}) as api, running(config_for(api).discoverer(around)) as published:
        await eventually(lambda: len(published.targets) == 3)
        api.answers["/sd"] = answer
        await eventually(lambda: failures(around, "http") >= 2)
        assert len(published.targets) == 3
        api.answers["/sd"] = []
        await eventually(lambda: published.addresses == [])
    messages = [(record.levelname, record.message) for record in caplog.records if "discovery" in record.message]
    assert messages == [  # once, however often it failed
        ("WARNING", "discovery failed, the last targets are kept"),
        ("INFO", "discovery works again"),
    ]


async def test_a_server_that_is_not_there_yet() -> None:
    around = surroundings()
    async with serving_api({"/sd": GROUPS}) as api:
        config = config_for(api)
    async with running(config.discoverer(around)) as published:
        await eventually(lambda: failures(around, "http") >= 2)
        assert published.times == 0


async def test_tls_files_that_cannot_be_used_are_a_failure(tmp_path: Path) -> None:
    around = surroundings(tmp_path)
    tls = TLSConfig(ca_file="nowhere.pem")
    config = HTTPSDConfig(url="https://127.0.0.1:1/", refresh_interval=Duration(REFRESH_MS), tls_config=tls)
    async with running(config.discoverer(around)):
        await eventually(lambda: failures(around, "http") >= 2)


def test_waits_grow_up_to_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = refresh.Failures("http", surroundings().metrics)
    waits = []
    for _ in range(9):
        failing.failed(ValueError("no"))
        waits.append(failing.wait_s(60))
    for wait_s, expected_s in zip(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert expected_s * (1 - refresh.JITTER) <= wait_s <= expected_s
    failing.succeeded()
    assert len({failing.wait_s(60) for _ in range(20)}) == 20  # they drift apart
    assert all(54 <= failing.wait_s(60) <= 60 for _ in range(100))


async def test_cancelling_closes_the_connection() -> None:
    closed = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()
        return web.Response()

    async with serving_api({"/sd": hang}) as api:
        async with running(config_for(api).discoverer(surroundings())):
            await eventually(lambda: len(api.requests) == 1)
        await eventually(closed.is_set)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (HTTPSDConfig(url="http://a/"), []),
        (HTTPSDConfig(), ["x.url"]),
        (HTTPSDConfig(url="ftp://a/"), ["x.url"]),
        (HTTPSDConfig(url="http:///a"), ["x.url"]),
        (HTTPSDConfig(url="http://[a/"), ["x.url"]),
        (HTTPSDConfig(url="http://a/", refresh_interval=Duration(0)), ["x.refresh_interval"]),
        (HTTPSDConfig(url="http://a/", bearer_token="a", bearer_token_file="b"), ["x.bearer_token_file"]),
    ],
)
def test_problems(config: HTTPSDConfig, expected: list[str]) -> None:
    assert [problem.key_path for problem in config.problems("x")] == expected
