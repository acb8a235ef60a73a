"""What is special about Scaleway: the secret key, addresses that are routed, pages."""

from pathlib import Path
from typing import Any

from aiohttp import web

from common.yamlfile import Duration
from scraper.discovery.scaleway import ScalewaySDConfig
from tests.scraper.discovery.discovering import FakeAPI, running, serving_api, surroundings
from tests.scraper.targets import eventually

SERVERS = "/instance/v1/zones/fr-par-1/servers"

FINE: dict[str, Any] = {
    "role": "instance",
    "project_id": "11111111-1111-1111-1111-111111111112",
    "access_key": "SCWXXXXXXXXXXXXXXXXX",
    "secret_key": "11111111-1111-1111-1111-111111111111",
}


def config_for(api: FakeAPI, **keys: Any) -> ScalewaySDConfig:
    return ScalewaySDConfig(**{**FINE, "api_url": api.url, "refresh_interval": Duration(60_000), **keys})


async def test_the_secret_key_is_sent_and_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("22222222-2222-2222-2222-222222222222\n")
    async with serving_api({SERVERS: {"servers": []}}) as api:
        for keys in ({}, {"secret_key": "", "secret_key_file": "secret_key"}):
            async with running(config_for(api, **keys).discoverer(surroundings(tmp_path))) as published:
                await eventually(lambda: published.times == 1)
        assert [request.headers["X-Auth-Token"] for request in api.requests] == [
            "11111111-1111-1111-1111-111111111111",
            "22222222-2222-2222-2222-222222222222",
        ]


async def test_routed_addresses() -> None:
    ips = [
        {"family": "inet6", "address": "2001:bc8:1640::1"},
        {"family": "inet", "address": "51.158.183.115"},
        {"family": "inet", "address": "51.158.183.116"},
    ]
    server = {"id": "1", "zone": "nl-ams-1", "private_ip": None, "public_ip": None, "ipv6": None}
    answer = {"servers": [{**server, "public_ips": ips}, {**server, "public_ips": ips[:1]}]}
    async with (
        serving_api({SERVERS: answer}) as api,
        running(config_for(api).discoverer(surroundings())) as published,
    ):
        await eventually(lambda: published.times == 1)
        assert published.addresses == ["51.158.183.115:80", "[2001:bc8:1640::1]:80"]
        dual = published.targets[0]
    prefix = "__meta_scaleway_instance_public_"
    assert dual[f"{prefix}ipv4_addresses"] == ",51.158.183.115,51.158.183.116,"
    assert dual[f"{prefix}ipv6_addresses"] == ",2001:bc8:1640::1,"
    assert f"{prefix}ipv4" not in dual


async def test_pages_by_the_header_of_instances() -> None:
    def page(request: web.Request) -> web.Response:
        number = int(request.query["page"])
        server = {"id": str(number), "zone": "fr-par-1", "private_ip": f"10.0.0.{number}"}
        return web.json_response({"servers": [server]}, headers={"X-Total-Count": "3"})

    async with serving_api({SERVERS: page}) as api:
        async with running(config_for(api).discoverer(surroundings())) as published:
            await eventually(lambda: published.times == 1)
            assert published.addresses == ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
        assert len(api.requests) == 3
