"""Consul discovery against a server that holds blocking queries until something changes."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from common.yamlfile import Duration
from scraper.discovery.consul import ConsulSDConfig
from scraper.http_config import Authorization, BasicAuth
from tests.scraper.discovery.discovering import (
    REFRESH_MS,
    FakeAPI,
    Labels,
    failures,
    running,
    serving_api,
    surroundings,
)
from tests.scraper.targets import eventually


class Consul:
    """A catalog: name -> (tags, instances). `change` wakes the queries that wait."""

    def __init__(self, **services: tuple[list[str], list[dict[str, Any]]]) -> None:
        self.services = services
        self.index = 7
        self._changed = asyncio.Condition()

    def answers(self) -> dict[str, Any]:
        return {"/v1/agent/self": {"Config": {"Datacenter": "dc1"}}, "/v1/catalog/services": self.catalog} | {
            f"/v1/health/service/{name}": self.health for name in ("web", "db", "new")
        }

    async def change(self, index: int = 0, **services: tuple[list[str], list[dict[str, Any]]]) -> None:
        async with self._changed:
            self.services |= services
            self.index = index or self.index + 1
            self._changed.notify_all()

    async def catalog(self, request: web.Request) -> web.Response:
        await self._wait(request)
        return self._json({name: tags for name, (tags, _) in self.services.items()})

    async def health(self, request: web.Request) -> web.Response:
        await self._wait(request)
        name = request.path.rpartition("/")[2]
        return self._json(self.services[name][1] if name in self.services else [])

    async def _wait(self, request: web.Request) -> None:
        asked = int(request.query.get("index", "0"))
        async with self._changed:
            await self._changed.wait_for(lambda: self.index > asked or self.index < 7)

    def _json(self, answer: Any) -> web.Response:
        return web.json_response(answer, headers={"X-Consul-Index": str(self.index)})


def instance(address: str, port: int = 80, **service: Any) -> dict[str, Any]:
    return {
        "Node": {"Node": "n1", "Address": "10.0.0.1", "Meta": None, "TaggedAddresses": None},
        "Service": {"ID": "s1", "Address": address, "Port": port, "Tags": None, "Meta": None, **service},
        "Checks": [{"CheckID": "serfHealth", "Status": "passing"}],
    }


def config_for(api: FakeAPI, **keys: Any) -> ConsulSDConfig:
    server = api.url.removeprefix("http://")
    return ConsulSDConfig(server=server, refresh_interval=Duration(REFRESH_MS), **keys)


FULL = {
    "Node": {
        "ID": "40e4a748",
        "Node": "foobar",
        "Address": "10.1.10.12",
        "Datacenter": "dc1",
        "TaggedAddresses": {"lan": "10.1.10.12", "wan-1": "198.51.100.1"},
        "Meta": {"instance-type": "t2.medium"},
    },
    "Service": {
        "ID": "web-1",
        "Service": "web",
        "Tags": ["primary", "v1"],
        "Address": "",
        "Meta": {"version": "4.0"},
        "Port": 8000,
        "Weights": {"Passing": 10, "Warning": 1},
        "Namespace": "default",
        "Partition": "part",
    },
    "Checks": [
        {"CheckID": "service:web", "Status": "passing"},
        {"CheckID": "serfHealth", "Status": "warning"},
    ],
}
FULL_LABELS = {
    "__address__": "10.1.10.12:8000",
    "__meta_consul_address": "10.1.10.12",
    "__meta_consul_dc": "dc1",
    "__meta_consul_health": "warning",
    "__meta_consul_metadata_instance_type": "t2.medium",
    "__meta_consul_namespace": "default",
    "__meta_consul_node": "foobar",
    "__meta_consul_partition": "part",
    "__meta_consul_service": "web",
    "__meta_consul_service_id": "web-1",
    "__meta_consul_service_metadata_version": "4.0",
    "__meta_consul_service_port": "8000",
    "__meta_consul_tagged_address_lan": "10.1.10.12",
    "__meta_consul_tagged_address_wan_1": "198.51.100.1",
    "__meta_consul_tags": ",primary,v1,",
}


async def test_all_services_with_their_labels() -> None:
    consul = Consul(web=([], [FULL]), db=([], [instance("10.0.0.2", 5432)]))
    async with serving_api(consul.answers()) as api:
        async with running(config_for(api, token="secret").discoverer(surroundings())) as published:
            await eventually(lambda: published.addresses == ["10.0.0.2:5432", "10.1.10.12:8000"])
            assert FULL_LABELS in published.targets
            other = next(target for target in published.targets if target != FULL_LABELS)
            assert other["__meta_consul_service_address"] == "10.0.0.2"
            assert other["__meta_consul_tags"] == ",,"
        assert {request.headers["X-Consul-Token"] for request in api.requests} == {"secret"}


async def test_changes_are_waited_for() -> None:
    consul = Consul(web=([], [instance("10.0.0.2")]))
    async with serving_api(consul.answers()) as api:
        config = config_for(api)
        async with running(config.discoverer(surroundings())) as published:
            await eventually(lambda: published.addresses == ["10.0.0.2:80"])
            await eventually(lambda: sum("index" in request.query for request in api.requests) == 2)
            asked = len(api.requests)
            await consul.change(web=([], [instance("10.0.0.3")]))
            await eventually(lambda: published.addresses == ["10.0.0.3:80"])
            assert len(api.requests) <= asked + 2  # waited for, not polled
            await consul.change(new=([], [instance("10.0.0.9")]))
            await eventually(lambda: published.addresses == ["10.0.0.3:80", "10.0.0.9:80"])
            del consul.services["web"]
            await consul.change()
            await eventually(lambda: published.addresses == ["10.0.0.9:80"])
            consul.services.clear()
            await consul.change()
            await eventually(lambda: published.addresses == [])
        waiting = next(request for request in api.requests if "index" in request.query)
        assert (waiting.query["index"], waiting.query["wait"]) == ("7", "120s")


async def test_the_first_targets_are_published_together() -> None:
    consul = Consul(web=([], [instance("10.0.0.2")]), db=([], [instance("10.0.0.3")]))
    held = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await held.wait()
        return await consul.health(request)

    answers = consul.answers() | {"/v1/health/service/db": slow}
    async with serving_api(answers) as api, running(config_for(api).discoverer(surroundings())) as published:
        # When the watch of `web` asks a second time, its first answer has been worked on.
        await eventually(lambda: sum(request.path == "/v1/health/service/web" for request in api.requests) == 2)
        assert published.times == 0
        held.set()
        await eventually(lambda: published.addresses == ["10.0.0.2:80", "10.0.0.3:80"])


async def test_a_wait_that_brought_nothing_publishes_nothing() -> None:
    consul = Consul(web=([], [instance("10.0.0.2")]))
    consul.index = 1  # answers at once, always with this index
    async with (
        serving_api(consul.answers()) as api,
        running(config_for(api).discoverer(surroundings())) as published,
    ):
        await eventually(lambda: len(api.requests) >= 9)
        assert published.times == 1
        assert published.addresses == ["10.0.0.2:80"]


async def test_an_index_that_goes_back_is_forgotten() -> None:
    consul = Consul(web=([], [instance("10.0.0.2")]))
    async with (
        serving_api(consul.answers()) as api,
        running(config_for(api).discoverer(surroundings())) as published,
    ):
        await eventually(lambda: published.addresses == ["10.0.0.2:80"])
        await consul.change(index=1, web=([], [instance("10.0.0.3")]))  # a restored server
        await eventually(lambda: published.addresses == ["10.0.0.3:80"])


async def test_named_services_are_asked_for_directly() -> None:
    consul = Consul(web=([], [instance("10.0.0.2")]), db=([], [instance("10.0.0.3")]))
    async with serving_api(consul.answers()) as api:
        config = config_for(
            api,
            services=("web",),
            datacenter="dc7",
            namespace="team",
            partition="part",
            node_meta={"rack": "r1", "a": "b"},
            health_filter='Service.Port != "1"',
            allow_stale=False,
            username="me",
            password="secret",
        )
        async with running(config.discoverer(surroundings())) as published:
            await eventually(lambda: published.addresses == ["10.0.0.2:80"])
            assert published.targets[0]["__meta_consul_dc"] == "dc7"
        request = api.requests[0]
        assert request.path == "/v1/health/service/web"
        assert sorted(request.query.items()) == [
            ("dc", "dc7"),
            ("filter", 'Service.Port != "1"'),
            ("node-meta", "a:b"),
            ("node-meta", "rack:r1"),
            ("ns", "team"),
            ("partition", "part"),
        ]
        assert request.headers["Authorization"] == "Basic bWU6c2VjcmV0"


async def test_tags_choose_services_of_the_catalog() -> None:
    consul = Consul(web=(["prod", "v1"], [instance("10.0.0.2")]), db=(["v1"], [instance("10.0.0.3")]))
    async with serving_api(consul.answers()) as api:
        config = config_for(api, tags=("prod", "v1"), filter='"v1" in ServiceTags', tag_separator=";")
        async with running(config.discoverer(surroundings())) as published:
            await eventually(lambda: published.addresses == ["10.0.0.2:80"])
            assert published.targets[0]["__meta_consul_tags"] == ";;"
        catalog = next(request for request in api.requests if request.path == "/v1/catalog/services")
        assert sorted(catalog.query.items()) == [("filter", '"v1" in ServiceTags'), ("stale", "")]
        health = next(request for request in api.requests if request.path == "/v1/health/service/web")
        assert health.query.getall("tag") == ["prod", "v1"]
        assert not [request for request in api.requests if request.path == "/v1/health/service/db"]


async def test_a_failing_server_keeps_the_targets() -> None:
    around = surroundings()
    consul = Consul(web=([], [instance("10.0.0.2")]))
    async with serving_api(consul.answers()) as api, running(config_for(api).discoverer(around)) as published:
        await eventually(lambda: published.addresses == ["10.0.0.2:80"])
        api.broken = True
        await consul.change(web=([], [instance("10.0.0.3")]))
        await eventually(lambda: failures(around, "consul") >= 2)
        api.broken = False
        await consul.change(web=([], [instance("10.0.0.4")]))
        await eventually(lambda: published.addresses == ["10.0.0.4:80"])


async def test_one_failing_service_does_not_hold_up_the_others() -> None:
    around = surroundings()
    consul = Consul(web=([], [instance("10.0.0.2")]), db=([], [instance("10.0.0.3")]))
    answers = consul.answers() | {"/v1/health/service/db": lambda _: web.Response(status=500)}
    async with serving_api(answers) as api, running(config_for(api).discoverer(around)) as published:
        await eventually(lambda: published.addresses == ["10.0.0.2:80"])
        api.answers["/v1/health/service/db"] = consul.health
        await eventually(lambda: published.addresses == ["10.0.0.2:80", "10.0.0.3:80"])


async def test_nothing_is_published_before_the_server_is_there() -> None:
    around = surroundings()
    consul = Consul(web=([], [instance("10.0.0.2")]))
    async with serving_api(consul.answers()) as api:
        api.broken = True
        async with running(config_for(api).discoverer(around)) as published:
            await eventually(lambda: failures(around, "consul") >= 2)
            assert published.times == 0
            api.broken = False
            await eventually(lambda: published.addresses == ["10.0.0.2:80"])


@pytest.mark.parametrize(
    ("checks", "health"),
    [
        ([], "passing"),
        (["passing", "warning"], "warning"),
        (["warning", "critical", "passing"], "critical"),
        (["passing", "_node_maintenance"], "maintenance"),
        (["critical", "_service_maintenance:web"], "maintenance"),
        (["passing", "odd"], ""),
    ],
)
async def test_health(checks: list[str], health: str) -> None:
    entry = instance("10.0.0.2")
    entry["Checks"] = [{"CheckID": check, "Status": "critical" if "_" in check else check} for check in checks]
    consul = Consul(web=([], [entry]))
    async with (
        serving_api(consul.answers()) as api,
        running(config_for(api).discoverer(surroundings())) as published,
    ):
        await eventually(lambda: len(published.targets) == 1)
        found: Labels = published.targets[0]
        assert found.get("__meta_consul_health", "") == health


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ConsulSDConfig(), []),
        (ConsulSDConfig(server=" "), ["x.server"]),
        (ConsulSDConfig(username="a", basic_auth=BasicAuth(username="b")), ["x.basic_auth"]),
        (ConsulSDConfig(token="a", authorization=Authorization(credentials="b")), ["x.token"]),
    ],
)
def test_problems(config: ConsulSDConfig, expected: list[str]) -> None:
    assert [problem.key_path for problem in config.problems("x")] == expected
