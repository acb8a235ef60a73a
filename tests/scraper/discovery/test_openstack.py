"""OpenStack against an API that answers as its reference says, from signing in to the targets."""

import json
from typing import Any

import pytest
from aiohttp import web

from common.yamlfile import Duration
from scraper.discovery.model import DiscoveryError
from scraper.discovery.openstack import OpenStackSDConfig
from scraper.discovery.openstack_session import Credentials, auth_request, from_environment
from tests.scraper.discovery.discovering import (
    REFRESH_MS,
    FakeAPI,
    Published,
    failures,
    running,
    serving_api,
    surroundings,
)
from tests.scraper.targets import eventually

TOKEN = "cbc36478b0bd8e67e89469c7749d4127"
PROJECT = "fcad67a6189847c4aecfa3c81a05783b"


def signed_in(request: web.Request) -> web.Response:
    here = f"{request.scheme}://{request.host}"

    def service(type_: str, path: str) -> dict[str, Any]:
        elsewhere = {"interface": "public", "region": "RegionTwo", "region_id": "RegionTwo", "url": f"{here}/elsewhere"}
        internal = {**elsewhere, "interface": "internal", "region": "RegionOne", "region_id": "RegionOne"}
        wanted = {"interface": "public", "region": None, "region_id": "RegionOne", "url": here + path}
        return {"type": type_, "endpoints": [elsewhere, internal, wanted]}

    catalog = [service("compute", "/nova/v2.1"), service("network", "/neutron/"), service("load-balancer", "/octavia")]
    return web.json_response({"token": {"catalog": catalog}}, status=201, headers={"X-Subject-Token": TOKEN})


def following(request: web.Request) -> dict[str, Any]:
    """A first page of servers, with a link to the next."""
    next_url = f"http://{request.host}/nova/v2.1/servers/more?marker=herp"
    return {"servers": SERVERS[:2], "servers_links": [{"rel": "next", "href": next_url}]}


SERVERS: list[dict[str, Any]] = [
    {"id": "unconnected", "status": "ERROR", "addresses": {}, "flavor": {"id": "1"}},
    {
        "id": "ef079b0c",
        "name": "herp",
        "status": "ACTIVE",
        "tenant_id": PROJECT,
        "user_id": "9349aff8",
        "image": {"id": "f90f6034"},
        "flavor": {"id": "1", "links": []},
        "metadata": {},
        "addresses": {"private": [{"version": 4, "addr": "10.0.0.32"}, {"version": 4, "addr": "10.10.10.2"}]},
    },
    {
        "id": "9e5476bd",
        "name": "merp",
        "status": "ACTIVE",
        "tenant_id": PROJECT,
        "user_id": "9349aff8",
        "image": "",
        "flavor": {"vcpus": 2, "original_name": "m1.small"},
        "metadata": {"my-env": "prod"},
        "addresses": {"private": [{"addr": "10.0.0.33"}], "six": [{"addr": "2001:db8::34"}]},
    },
    {"id": "flavorless", "flavor": {}, "addresses": {"private": [{"addr": "10.0.0.99"}]}},
]

ANSWERS: dict[str, Any] = {
    "/v3/auth/tokens": signed_in,
    "/neutron/v2.0/ports": {"ports": [{"id": "p1", "device_id": "ef079b0c"}, {"id": "p2", "device_id": "other"}]},
    "/neutron/v2.0/floatingips": {
        "floatingips": [
            {"port_id": None, "fixed_ip_address": None, "floating_ip_address": "10.10.10.1", "tenant_id": PROJECT},
            {
                "port_id": "p1",
                "fixed_ip_address": "10.0.0.32",
                "floating_ip_address": "10.10.10.2",
                "tenant_id": PROJECT,
            },
            {
                "port_id": "px",
                "fixed_ip_address": "10.0.0.33",
                "floating_ip_address": "10.0.0.33",
                "tenant_id": PROJECT,
            },
            {"port_id": "vip", "fixed_ip_address": "10.0.2.78", "floating_ip_address": "192.168.3.4"},
        ]
    },
    "/nova/v2.1/servers/detail?all_tenants=true": following,
    "/nova/v2.1/servers/more?marker=herp": {"servers": SERVERS[2:]},
    "/nova/v2.1/servers/detail": {"servers": []},
    "/nova/v2.1/os-hypervisors/detail": {
        "hypervisors": [
            {
                "id": 721,
                "status": "enabled",
                "state": "up",
                "hypervisor_type": "QEMU",
                "hypervisor_hostname": "nc14.cloud.com",
                "host_ip": "172.16.70.14",
            }
        ]
    },
    "/octavia/v2.0/lbaas/loadbalancers": {
        "loadbalancers": [
            {
                "id": "lb-3",
                "name": "lb3",
                "operating_status": "ONLINE",
                "provisioning_status": "ACTIVE",
                "availability_zone": "az3",
                "vip_address": "10.0.2.78",
                "vip_port_id": "vip",
                "provider": "amphora",
                "tags": ["tag5", "tag6"],
                "project_id": "ac57f03d",
            },
            {"id": "lb-4", "vip_address": "10.0.3.99", "availability_zone": None, "tags": []},
            {"id": "lb-5", "vip_address": "10.0.3.98"},
        ]
    },
    "/octavia/v2.0/lbaas/listeners": {
        "listeners": [
            {"protocol": "HTTP", "protocol_port": 80, "loadbalancers": [{"id": "lb-3"}, {"id": "lb-5"}]},
            {"protocol": "PROMETHEUS", "protocol_port": 8080, "loadbalancers": [{"id": "lb-3"}]},
            {"protocol": "PROMETHEUS", "protocol_port": 8081, "loadbalancers": [{"id": "lb-3"}, {"id": "lb-4"}]},
        ]
    },
}


def config_for(api: FakeAPI, role: Any, **keys: Any) -> OpenStackSDConfig:
    user = {"username": "me", "password": "secret", "domain_name": "Default", "project_name": "demo"}
    return OpenStackSDConfig(
        **{**user, "identity_endpoint": api.url, "region": "RegionOne", "role": role, "port": 9100, **keys}
    )


async def found(config: OpenStackSDConfig) -> Published:
    async with running(config.discoverer(surroundings())) as published:
        await eventually(lambda: published.times == 1)
    return published


async def test_instances() -> None:
    async with serving_api(dict(ANSWERS)) as api:
        published = await found(config_for(api, "instance", all_tenants=True))
        assert {request.headers.get("X-Auth-Token") for request in api.requests[1:]} == {TOKEN}
    common = {
        "__meta_openstack_instance_status": "ACTIVE",
        "__meta_openstack_project_id": PROJECT,
        "__meta_openstack_user_id": "9349aff8",
    }
    merp = {
        **common,
        "__meta_openstack_instance_id": "9e5476bd",
        "__meta_openstack_instance_name": "merp",
        "__meta_openstack_instance_flavor": "m1.small",
        "__meta_openstack_tag_my_env": "prod",
    }
    assert published.targets == [
        {
            **common,
            "__address__": "10.0.0.32:9100",
            "__meta_openstack_instance_id": "ef079b0c",
            "__meta_openstack_instance_name": "herp",
            "__meta_openstack_instance_flavor": "1",
            "__meta_openstack_instance_image": "f90f6034",
            "__meta_openstack_address_pool": "private",
            "__meta_openstack_private_ip": "10.0.0.32",
            "__meta_openstack_public_ip": "10.10.10.2",
        },
        {
            **merp,
            "__address__": "10.0.0.33:9100",
            "__meta_openstack_address_pool": "private",
            "__meta_openstack_private_ip": "10.0.0.33",
        },
        {
            **merp,
            "__address__": "[2001:db8::34]:9100",
            "__meta_openstack_address_pool": "six",
            "__meta_openstack_private_ip": "2001:db8::34",
        },
    ]
    assert [group.source for group in published.groups] == ["OS_RegionOne"]


async def test_hypervisors() -> None:
    async with serving_api(dict(ANSWERS)) as api:
        published = await found(config_for(api, "hypervisor"))
    assert published.targets == [
        {
            "__address__": "172.16.70.14:9100",
            "__meta_openstack_hypervisor_host_ip": "172.16.70.14",
            "__meta_openstack_hypervisor_hostname": "nc14.cloud.com",
            "__meta_openstack_hypervisor_id": "721",
            "__meta_openstack_hypervisor_state": "up",
            "__meta_openstack_hypervisor_status": "enabled",
            "__meta_openstack_hypervisor_type": "QEMU",
        }
    ]


async def test_load_balancers_with_a_prometheus_listener() -> None:
    async with serving_api(dict(ANSWERS)) as api:
        published = await found(config_for(api, "loadbalancer"))
    assert published.targets == [
        {
            "__address__": "10.0.2.78:8080",
            "__meta_openstack_loadbalancer_availability_zone": "az3",
            "__meta_openstack_loadbalancer_floating_ip": "192.168.3.4",
            "__meta_openstack_loadbalancer_id": "lb-3",
            "__meta_openstack_loadbalancer_name": "lb3",
            "__meta_openstack_loadbalancer_operating_status": "ONLINE",
            "__meta_openstack_loadbalancer_provider": "amphora",
            "__meta_openstack_loadbalancer_provisioning_status": "ACTIVE",
            "__meta_openstack_loadbalancer_tags": "tag5,tag6",
            "__meta_openstack_loadbalancer_vip": "10.0.2.78",
            "__meta_openstack_project_id": "ac57f03d",
        },
        {
            "__address__": "10.0.3.99:8081",
            "__meta_openstack_loadbalancer_id": "lb-4",
            "__meta_openstack_loadbalancer_vip": "10.0.3.99",
        },
    ]


@pytest.mark.parametrize("endpoint", ["", "/", "/v3", "/v3/"])
async def test_how_a_token_is_asked_for(endpoint: str) -> None:
    async with serving_api(dict(ANSWERS)) as api:
        await found(config_for(api, "instance", identity_endpoint=api.url + endpoint))
        assert api.requests[0].method == "POST"
        user = {"name": "me", "domain": {"name": "Default"}, "password": "secret"}
        assert json.loads(api.bodies[0]) == {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": "demo", "domain": {"name": "Default"}}},
            }
        }


REQUESTS: list[tuple[dict[str, str], dict[str, Any]]] = [
    (
        {"userid": "u", "password": "s", "project_id": "p"},
        {
            "identity": {"methods": ["password"], "password": {"user": {"id": "u", "password": "s"}}},
            "scope": {"project": {"id": "p"}},
        },
    ),
    (
        {"application_credential_id": "c", "application_credential_secret": "s", "project_id": "p"},
        {
            "identity": {
                "methods": ["application_credential"],
                "application_credential": {"id": "c", "secret": "s"},
            }
        },
    ),
    (
        {
            "application_credential_name": "c",
            "application_credential_secret": "s",
            "username": "u",
            "domain_id": "d",
        },
        {
            "identity": {
                "methods": ["application_credential"],
                "application_credential": {"name": "c", "secret": "s", "user": {"name": "u", "domain": {"id": "d"}}},
            }
        },
    ),
]


@pytest.mark.parametrize(("keys", "request_"), REQUESTS)
def test_other_ways_to_sign_in(keys: dict[str, str], request_: dict[str, Any]) -> None:
    assert auth_request(Credentials(**keys)) == request_


@pytest.mark.parametrize("keys", [{"username": "u", "domain_id": "d"}, {"username": "u", "password": "s"}])
def test_who_cannot_sign_in(keys: dict[str, str]) -> None:
    with pytest.raises(DiscoveryError):
        auth_request(Credentials(**keys))


def test_the_environment() -> None:
    variables = {"OS_AUTH_URL": "http://k", "OS_USERNAME": "u", "OS_TENANT_ID": "old", "OS_PROJECT_ID": "p"}
    assert from_environment(variables) == Credentials(identity_endpoint="http://k", username="u", project_id="p")
    with pytest.raises(DiscoveryError, match="OS_AUTH_URL"):
        from_environment({})


async def test_a_service_that_the_catalog_lacks_is_a_failure_and_keeps_the_targets() -> None:
    async with serving_api(dict(ANSWERS)) as api:
        around = surroundings()
        config = config_for(api, "hypervisor", refresh_interval=Duration(REFRESH_MS))
        async with running(config.discoverer(around)) as published:
            await eventually(lambda: published.times > 0)
            api.answers["/v3/auth/tokens"] = lambda _: web.json_response({"token": {"catalog": []}}, status=201)
            await eventually(lambda: failures(around, "openstack") > 0)
            assert published.addresses == ["172.16.70.14:9100"]
