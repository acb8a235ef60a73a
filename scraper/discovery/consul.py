"""`consul_sd_configs`: the services of a Consul catalog (prometheus discovery/consul).

Changes are waited for with Consul's blocking queries: a query names the index of the answer before it and is answered
when there is something newer. The catalog is watched for which services there are, then each service for its
instances. `refresh_interval` is the least time between two queries of a watch.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import TypeVar
from urllib.parse import quote

import msgspec

from common.errors import FleetwatchError
from common.yamlfile import Duration, Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, decode
from scraper.discovery.labels import host_port, listed, prefixed
from scraper.discovery.model import Publish, Surroundings, TargetGroup
from scraper.discovery.refresh import Failures
from scraper.http_body import HTTPResponse
from scraper.http_config import BasicAuth

WAIT_S = 120
"""How long Consul may wait for news."""

TIMEOUT_S = WAIT_S + 15

PREFIX = "__meta_consul_"

T = TypeVar("T")

# From worst to best.
_STATES = ("maintenance", "critical", "warning", "passing")
_FLAGS = ("stale",)


class ConsulSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The agent to ask, and which services of its catalog are wanted; all without `services` and `tags`."""

    server: str = "localhost:8500"
    scheme: str = "http"
    path_prefix: str = ""
    token: str = ""
    username: str = ""
    password: str = ""
    datacenter: str = ""
    namespace: str = ""
    partition: str = ""
    services: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    node_meta: dict[str, str] = msgspec.field(default_factory=dict)
    filter: str = ""
    health_filter: str = ""
    tag_separator: str = ","
    allow_stale: bool = True
    refresh_interval: Duration = Duration(30_000)

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        if not self.server.strip():
            yield Problem(f"{path}.server", "is missing")
        if (self.username or self.password) and self.basic_auth is not None:
            yield Problem(f"{path}.basic_auth", "only one of username and password, and basic_auth can be used")
        if self.token and (self.authorization is not None or self.oauth2 is not None):
            yield Problem(f"{path}.token", "only one of token, authorization and oauth2 can be used")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings) -> "ConsulDiscovery":
        """See SDConfig."""
        return ConsulDiscovery(self, surroundings)


class ConsulDiscovery:
    """Publishes one group for each service.

    What is known at first is published when every service has been heard of, so that a start does not look as if
    targets had gone.
    """

    def __init__(self, config: ConsulSDConfig, surroundings: Surroundings) -> None:
        self._config = config
        self._metrics = surroundings.metrics
        http_config = config
        if config.username or config.password:
            basic_auth = BasicAuth(username=config.username, password=config.password)
            http_config = msgspec.structs.replace(config, basic_auth=basic_auth)
        self._api = HTTPAPI(http_config, surroundings.directory, TIMEOUT_S)
        self._groups: dict[str, TargetGroup] = {}
        self._unheard: set[str] = set()
        self._watched: dict[str, asyncio.Task[None]] = {}

    async def run(self, publish: Publish) -> None:
        """See Discoverer."""
        config = self._config
        try:
            async with asyncio.TaskGroup() as tasks:
                datacenter = config.datacenter or await self._local_datacenter()
                start = partial(self._watch_services, datacenter=datacenter, tasks=tasks, publish=publish)
                if config.services and not config.tags:
                    start(config.services)
                    return  # the group waits for the watches, which never end
                catalog = self._watch("catalog/services", dict[str, list[str]], ("filter", config.filter))
                async for services in catalog:
                    if services is not None:
                        start([name for name, tags in services.items() if self._wanted(name, tags)])
        finally:
            await self._api.close()

    def _watch(self, path: str, type_: type[T], *params: tuple[str, str]) -> AsyncIterator[T | None]:
        return watch(self._api, self._config, path, type_, params, Failures("consul", self._metrics))

    def _wanted(self, name: str, tags: Sequence[str]) -> bool:
        config = self._config
        return (not config.services or name in config.services) and set(config.tags) <= set(tags)

    def _watch_services(
        self, names: Sequence[str], datacenter: str, tasks: asyncio.TaskGroup, publish: Publish
    ) -> None:
        """Watch these services and no others."""
        for name in self._watched.keys() - set(names):
            self._watched.pop(name).cancel()
            self._groups.pop(name, None)
            self._unheard.discard(name)
        for name in names:
            if name not in self._watched:
                self._unheard.add(name)
                self._watched[name] = tasks.create_task(self._watch_service(name, datacenter, publish))
        self._publish(publish)

    async def _watch_service(self, name: str, datacenter: str, publish: Publish) -> None:
        config = self._config
        params = [("tag", tag) for tag in config.tags] + [("filter", config.health_filter)]
        labels = {f"{PREFIX}service": name, f"{PREFIX}dc": datacenter}
        async for entries in self._watch(f"health/service/{quote(name, safe='')}", list[_Entry], *params):
            if entries is not None:
                targets = [_target(entry, config.tag_separator) for entry in entries]
                self._groups[name] = TargetGroup(name, targets, labels)
            self._unheard.discard(name)
            self._publish(publish)

    def _publish(self, publish: Publish) -> None:
        if not self._unheard:
            publish(list(self._groups.values()))

    async def _local_datacenter(self) -> str:
        """The datacenter of the agent that is asked."""
        failures = Failures("consul", self._metrics)
        while True:
            try:
                response = await request(self._api, self._config, "agent/self", [])
                return decode(response.body, _Agent, "agent/self").config.datacenter
            except FleetwatchError as error:
                failures.failed(error)
                await asyncio.sleep(failures.wait_s(self._config.refresh_interval / 1000))


async def watch(
    api: HTTPAPI,
    config: ConsulSDConfig,
    path: str,
    type_: type[T],
    params: Sequence[tuple[str, str]],
    failures: Failures,
) -> AsyncIterator[T | None]:
    """Each new answer of a blocking query, None after one that failed; for ever.

    See https://developer.hashicorp.com/consul/api-docs/features/blocking.
    """
    interval_s = config.refresh_interval / 1000
    consistency = [("stale", "")] if config.allow_stale else []
    meta = [("node-meta", f"{key}:{value}") for key, value in sorted(config.node_meta.items())]
    index = 0
    while True:
        start_s = time.monotonic()
        blocking = [("index", str(index)), ("wait", f"{WAIT_S}s")] if index else []
        try:
            response = await request(api, config, path, [*params, *consistency, *meta, *blocking])
            answer = decode(response.body, type_, path)
        except FleetwatchError as error:
            failures.failed(error)
            yield None
            await asyncio.sleep(failures.wait_s(interval_s))
            continue
        failures.succeeded()
        answered = response.headers.get("X-Consul-Index", "")
        last, index = index, int(answered) if answered.isdecimal() else 0
        if index != last or not index:
            yield answer
        await asyncio.sleep(max(0.0, interval_s - (time.monotonic() - start_s)))


async def request(api: HTTPAPI, config: ConsulSDConfig, path: str, params: Sequence[tuple[str, str]]) -> HTTPResponse:
    """The answer of a path below /v1; parameters without a value are left out, flags not. Raises FleetwatchError."""
    url = f"{config.scheme}://{config.server}{config.path_prefix.rstrip('/')}/v1/{path}"
    where = (("dc", config.datacenter), ("ns", config.namespace), ("partition", config.partition))
    given = [(name, value) for name, value in (*where, *params) if value or name in _FLAGS]
    return await api.request(url, params=given, headers={"X-Consul-Token": config.token} if config.token else None)


def _target(entry: "_Entry", tag_separator: str) -> dict[str, str]:
    node, service = entry.node, entry.service
    return {
        "__address__": host_port(service.address or node.address, service.port),
        f"{PREFIX}address": node.address,
        f"{PREFIX}node": node.node,
        f"{PREFIX}namespace": service.namespace,
        f"{PREFIX}partition": service.partition,
        f"{PREFIX}tags": listed(service.tags or (), tag_separator),
        f"{PREFIX}service_address": service.address,
        f"{PREFIX}service_port": str(service.port),
        f"{PREFIX}service_id": service.id,
        f"{PREFIX}health": _health(entry.checks or ()),
        **prefixed(f"{PREFIX}metadata_", node.meta),
        **prefixed(f"{PREFIX}service_metadata_", service.meta),
        **prefixed(f"{PREFIX}tagged_address_", node.tagged_addresses),
    }


def _health(checks: Sequence["_Check"]) -> str:
    """The worst of the states of an instance's checks (hashicorp/consul api HealthChecks.AggregatedStatus)."""
    found: set[str] = set()
    for check in checks:
        if check.check_id == "_node_maintenance" or check.check_id.startswith("_service_maintenance:"):
            found.add("maintenance")
        elif check.status in _STATES:
            found.add(check.status)
        else:
            return ""
    return next((state for state in _STATES if state in found), "passing")


class _Node(msgspec.Struct, rename="pascal"):
    node: str = ""
    address: str = ""
    meta: dict[str, str] | None = None
    tagged_addresses: dict[str, str] | None = None


class _Service(msgspec.Struct, rename="pascal"):
    id: str = msgspec.field(default="", name="ID")
    address: str = ""
    port: int = 0
    tags: list[str] | None = None
    meta: dict[str, str] | None = None
    namespace: str = ""
    partition: str = ""


class _Check(msgspec.Struct, rename="pascal"):
    check_id: str = msgspec.field(default="", name="CheckID")
    status: str = ""


class _Entry(msgspec.Struct, rename="pascal"):
    """One of GET /v1/health/service/:service."""

    node: _Node
    service: _Service
    checks: list[_Check] | None = None


class _AgentConfig(msgspec.Struct, rename="pascal"):
    datacenter: str


class _Agent(msgspec.Struct, rename="pascal"):
    """GET /v1/agent/self."""

    config: _AgentConfig
