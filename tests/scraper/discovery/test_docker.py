"""Docker discovery over a Unix socket, and what its configs may not be. The rest is in cases/."""

from pathlib import Path

import pytest
from aiohttp import web

from common.yamlfile import Duration
from scraper.discovery.docker import DockerSDConfig
from scraper.discovery.dockerswarm import DockerSwarmSDConfig
from scraper.http_config import BasicAuth
from tests.scraper.discovery.api_case import read_case
from tests.scraper.discovery.discovering import REFRESH_MS, failures, running, serving_api, surroundings
from tests.scraper.targets import eventually


def ping(request: web.Request) -> web.Response:
    return web.Response(text="OK", headers={"Api-Version": "1.51"})


async def test_unix_socket(tmp_path: Path) -> None:
    answers = read_case("docker").answers | {"/_ping": ping}
    socket = tmp_path / "docker.sock"
    around = surroundings()
    config = DockerSDConfig(host=f"unix://{socket}", refresh_interval=Duration(REFRESH_MS))
    async with running(config.discoverer(around)) as published:
        await eventually(lambda: failures(around, "docker") > 0)  # the daemon is not there yet
        async with serving_api(answers, socket) as api:
            await eventually(lambda: "172.20.0.3:9104" in published.addresses)
            assert {request.path for request in api.requests} >= {
                "/_ping", "/v1.51/containers/json", "/v1.51/networks"
            }  # fmt: skip


async def test_tcp_is_http() -> None:
    async with serving_api(dict(read_case("docker").answers)) as api:
        host = api.url.replace("http://", "tcp://")
        config = DockerSDConfig(host=host, basic_auth=BasicAuth(username="me"))
        async with running(config.discoverer(surroundings())) as published:
            await eventually(lambda: published.times > 0)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (DockerSDConfig(host="unix:///var/run/docker.sock"), []),
        (DockerSDConfig(), ["x.host"]),
        (DockerSDConfig(host="localhost:2375"), ["x.host"]),
        (DockerSwarmSDConfig(host="tcp://a:1"), ["x.role"]),
        (DockerSwarmSDConfig(host="tcp://a:1", role="nodes"), []),
    ],
)
def test_problems(config: DockerSDConfig | DockerSwarmSDConfig, expected: list[str]) -> None:
    assert [problem.key_path for problem in config.problems("x")] == expected
