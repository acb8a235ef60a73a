"""Triton over TLS with a client certificate, as it is asked, and a live Prometheus that asks the same."""

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from aiohttp import web

from common.yamlfile import loads
from scraper.discovery.triton import TritonSDConfig
from scraper.target import discovered_labels
from tests.components import require
from tests.scraper.discovery.api_case import read_case
from tests.scraper.discovery.discovering import running, surroundings
from tests.scraper.discovery.test_against_prometheus import DROP, found_by, known, running_prometheus, text_key
from tests.scraper.http_servers import Authority, web_server
from tests.scraper.targets import eventually, resolved_job

CASES = ("triton_container", "triton_cn")


def entry_for(case: str, url: str) -> dict[str, Any]:
    port = int(url.rpartition(":")[2])
    tls = {"ca_file": "ca.pem", "cert_file": "client.crt", "key_file": "client.crt.key"}
    return {**read_case(case).config, "endpoint": "127.0.0.1", "port": port, "tls_config": tls}


def targets_of(case: str, port: int) -> list[dict[str, str]]:
    return [
        {**target, "__address__": f"{target['__address__'].rpartition(':')[0]}:{port}"}
        for target in read_case(case).targets
    ]


async def test_over_tls_like_prometheus(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("client")
    tls = authority.server_context()
    tls.load_verify_locations(authority.ca)
    tls.verify_mode = ssl.CERT_REQUIRED
    answers = {path: answer for case in CASES for path, answer in read_case(case).answers.items()}
    asked = set()

    async def answer(request: web.Request) -> web.Response:
        asked.add(unquote(request.path_qs))
        return web.json_response(answers[request.path])

    async with web_server(answer, tls) as url:
        entries = {case: entry_for(case, url) for case in CASES}
        expected = {case: targets_of(case, entries[case]["port"]) for case in CASES}
        for case, entry in entries.items():
            config = loads(yaml.safe_dump(entry), TritonSDConfig)
            async with running(config.discoverer(surroundings(tmp_path))) as published:
                await eventually(lambda: published.times == 1)
            assert published.targets == expected[case]
        if not known("triton_sd_configs", tmp_path):
            pytest.skip("the Prometheus here has no triton_sd_configs")
        jobs = [
            {"job_name": case, "metrics_path": f"/{case}", "relabel_configs": DROP, "triton_sd_configs": [entry]}
            for case, entry in entries.items()
        ]
        async with running_prometheus(require("prometheus"), {"scrape_configs": jobs}, tmp_path) as api:
            found = await found_by(api, {case: len(targets) for case, targets in expected.items()})
    for case, targets in expected.items():
        job = resolved_job(job_name=case, metrics_path=f"/{case}")
        own = [dict(discovered_labels(target, {}, job)) for target in targets]
        assert sorted(found.get(case, []), key=text_key) == sorted(own, key=text_key)
    assert len(asked) == len(CASES)  # Prometheus asks with the same paths and queries
