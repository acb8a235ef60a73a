"""Uyuni against an XML-RPC server, and a live Prometheus against the same one."""

import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from common.yamlfile import Duration
from scraper.discovery.uyuni import UyuniSDConfig
from scraper.target import discovered_labels
from tests.components import require
from tests.scraper.discovery.discovering import REFRESH_MS, FakeAPI, failures, running, serving_api, surroundings
from tests.scraper.discovery.test_against_prometheus import DROP, found_by, known, running_prometheus, text_key
from tests.scraper.targets import eventually, resolved_job

RESULTS: dict[str, Any] = {
    "auth.login": "token-1",
    "system.listSystemGroupsForSystemsWithEntitlement": [
        {"id": 1, "system_groups": [{"id": 7, "name": "web"}, {"id": 8, "name": "eu"}]},
        {"id": 2, "system_groups": []},
    ],
    "system.monitoring.listEndpoints": [
        {
            "system_id": 1,
            "endpoint_name": "node",
            "port": 9100,
            "path": "/metrics",
            "module": "node",
            "exporter_name": "node_exporter",
            "tls_enabled": True,
        },
        {"system_id": 2, "endpoint_name": "Apache", "port": 9117, "tls_enabled": False},
    ],
    "system.getNetworkForSystems": [
        {"system_id": 1, "hostname": "a.example.com", "primary_fqdn": "a.example.org", "ip": "10.0.0.1"},
        {"system_id": 2, "hostname": "b.example.com", "ip": "10.0.0.2"},
    ],
}

TARGETS = [
    {
        "__address__": "a.example.com:9100",
        "__meta_uyuni_endpoint_name": "node",
        "__meta_uyuni_exporter": "node_exporter",
        "__meta_uyuni_groups": "web,eu",
        "__meta_uyuni_metrics_path": "/metrics",
        "__meta_uyuni_minion_hostname": "a.example.com",
        "__meta_uyuni_primary_fqdn": "a.example.org",
        "__meta_uyuni_proxy_module": "node",
        "__meta_uyuni_scheme": "https",
        "__meta_uyuni_system_id": "1",
    },
    {
        "__address__": "b.example.com:9117",
        "__meta_uyuni_endpoint_name": "Apache",
        "__meta_uyuni_minion_hostname": "b.example.com",
        "__meta_uyuni_scheme": "http",
        "__meta_uyuni_system_id": "2",
    },
]


def xml(value: Any) -> web.Response:
    body = xmlrpc.client.dumps((value,), methodresponse=True)
    return web.Response(text=body, content_type="text/xml")


def answering(results: dict[str, Any], calls: list[tuple[str, Any]]) -> Callable[[web.Request], Any]:
    async def answer(request: web.Request) -> web.Response:
        arguments, method = xmlrpc.client.loads(await request.read())
        calls.append((str(method), arguments))
        return xml(results[str(method)])

    return answer


def config_for(api: FakeAPI, refresh_ms: int = 60_000) -> UyuniSDConfig:
    return UyuniSDConfig(server=api.url, username="me", password="secret", refresh_interval=Duration(refresh_ms))


async def test_targets_and_calls() -> None:
    calls: list[tuple[str, Any]] = []
    async with (
        serving_api({"/rpc/api": answering(RESULTS, calls)}) as api,
        running(config_for(api, REFRESH_MS).discoverer(surroundings())) as published,
    ):
        await eventually(lambda: published.times > 1)
        assert published.targets == TARGETS
    first_refresh = [
        ("auth.login", ("me", "secret", 600)),
        ("system.listSystemGroupsForSystemsWithEntitlement", ("token-1", "monitoring_entitled")),
        ("system.monitoring.listEndpoints", ("token-1", [1, 2])),
        ("system.getNetworkForSystems", ("token-1", [1, 2])),
    ]
    assert calls[:4] == first_refresh
    assert calls[4] == first_refresh[1]  # the token is kept


@pytest.mark.parametrize("answer", [xmlrpc.client.Fault(2950, "Either the password or username is incorrect."), 1])
async def test_after_a_failure_the_targets_are_kept_and_the_token_is_asked_for_again(answer: Any) -> None:
    calls: list[tuple[str, Any]] = []
    around = surroundings()
    async with (
        serving_api({"/rpc/api": answering(RESULTS, calls)}) as api,
        running(config_for(api, REFRESH_MS).discoverer(around)) as published,
    ):
        await eventually(lambda: published.times > 0)
        body = xmlrpc.client.dumps(
            answer if isinstance(answer, xmlrpc.client.Fault) else (answer,), methodresponse=True
        )
        api.answers["/rpc/api"] = lambda _: web.Response(text=body, content_type="text/xml")
        await eventually(lambda: failures(around, "uyuni") > 0)
        assert published.targets == TARGETS
        calls.clear()
        api.answers["/rpc/api"] = answering(RESULTS, calls)
        await eventually(lambda: len(calls) > 3)
        assert calls[0][0] == "auth.login"


@pytest.mark.parametrize("body", ["", "<methodResponse>", "<html></html>", "{}"])
async def test_what_is_not_xml_rpc_is_a_failure(body: str) -> None:
    around = surroundings()
    async with (
        serving_api({"/rpc/api": lambda _: web.Response(text=body)}) as api,
        running(config_for(api).discoverer(around)) as published,
    ):
        await eventually(lambda: failures(around, "uyuni") > 0)
        assert published.times == 0


async def test_prometheus_finds_the_same(tmp_path: Path) -> None:
    prometheus = require("prometheus")
    if not known("uyuni_sd_configs", tmp_path):
        pytest.skip("the Prometheus here has no uyuni_sd_configs")
    async with serving_api({"/rpc/api": answering(RESULTS, [])}) as api:
        entry = {"server": api.url, "username": "me", "password": "secret"}
        job = {"job_name": "u", "metrics_path": "/u", "relabel_configs": DROP, "uyuni_sd_configs": [entry]}
        async with running_prometheus(prometheus, {"scrape_configs": [job]}, tmp_path) as url:
            found = await found_by(url, {"u": len(TARGETS)})
    own = [dict(discovered_labels(target, {}, resolved_job(job_name="u", metrics_path="/u"))) for target in TARGETS]
    assert sorted(found.get("u", []), key=text_key) == sorted(own, key=text_key)
