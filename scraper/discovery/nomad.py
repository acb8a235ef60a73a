"""`nomad_sd_configs`: the services registered in Nomad (prometheus discovery/nomad)."""

from collections.abc import Iterator, Sequence
from urllib.parse import quote

import msgspec

from common.yamlfile import Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery, url_problems
from scraper.discovery.labels import host_port, listed
from scraper.discovery.model import Surroundings, TargetGroup

PREFIX = "__meta_nomad_"


class NomadSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The Nomad server to ask; `allow_stale` lets any of its servers answer."""

    server: str = "http://localhost:4646"
    namespace: str = "default"
    region: str = "global"
    allow_stale: bool = True
    tag_separator: str = ","

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        yield from url_problems(self.server, f"{path}.server")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings) -> HTTPDiscovery:
        """See SDConfig."""
        return HTTPDiscovery("nomad", self, surroundings, self._groups)

    async def _groups(self, api: HTTPAPI) -> Sequence[TargetGroup]:
        params = [("namespace", self.namespace), ("region", self.region)]
        if self.allow_stale:
            params.append(("stale", ""))
        url = f"{self.server.rstrip('/')}/v1"
        stubs = await api.json(f"{url}/services", list[_Stub], params=params)
        names = [service.service_name for stub in stubs for service in stub.services or ()]
        targets = []
        for name in names:
            instances = await api.json(f"{url}/service/{quote(name, safe='')}", list[_Instance], params=params)
            targets += [self._target(instance) for instance in instances]
        return [TargetGroup("Nomad", targets)]

    def _target(self, instance: "_Instance") -> dict[str, str]:
        return {
            "__address__": host_port(instance.address, instance.port),
            f"{PREFIX}address": instance.address,
            f"{PREFIX}dc": instance.datacenter,
            f"{PREFIX}node_id": instance.node_id,
            f"{PREFIX}namespace": instance.namespace,
            f"{PREFIX}service": instance.service_name,
            f"{PREFIX}service_address": instance.address,
            f"{PREFIX}service_id": instance.id,
            f"{PREFIX}service_port": str(instance.port),
            f"{PREFIX}tags": listed(instance.tags, self.tag_separator) if instance.tags else "",
        }


class _Service(msgspec.Struct, rename="pascal"):
    service_name: str


class _Stub(msgspec.Struct, rename="pascal"):
    """One of GET /v1/services: a namespace."""

    services: list[_Service] | None = None


class _Instance(msgspec.Struct, rename="pascal"):
    """One of GET /v1/service/:name."""

    id: str = msgspec.field(default="", name="ID")
    service_name: str = ""
    namespace: str = ""
    node_id: str = msgspec.field(default="", name="NodeID")
    datacenter: str = ""
    address: str = ""
    port: int = 0
    tags: list[str] | None = None
