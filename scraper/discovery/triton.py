"""`triton_sd_configs`: containers or compute nodes of Triton (prometheus discovery/triton).

See https://github.com/TritonDataCenter/triton-cmon.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from common.yamlfile import Duration, Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery
from scraper.discovery.labels import listed
from scraper.discovery.model import Surroundings, TargetGroup
from scraper.http_config import TLSConfig

PREFIX = "__meta_triton_"


class TritonSDConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The monitor to ask; the certificate of `tls_config` says for which account."""

    role: Literal["container", "cn"] = "container"
    account: str = ""
    dns_suffix: str = ""
    endpoint: str = ""
    groups: tuple[str, ...] = ()
    port: int = 9163
    version: int = 1
    tls_config: TLSConfig = TLSConfig()
    refresh_interval: Duration = Duration(60_000)

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        for key in ("account", "dns_suffix", "endpoint"):
            if not getattr(self, key):
                yield Problem(f"{path}.{key}", "is missing")
        yield from self._api_config().problems(path)

    def discoverer(self, surroundings: Surroundings, url: str = "") -> HTTPDiscovery:
        """See SDConfig."""
        url = f"{url or f'https://{self.endpoint}:{self.port}'}/v{self.version}"
        return HTTPDiscovery("triton", self._api_config(), surroundings, lambda api: self._groups(api, url))

    def _api_config(self) -> APIConfig:
        return APIConfig(tls_config=self.tls_config, refresh_interval=self.refresh_interval)

    async def _groups(self, api: HTTPAPI, url: str) -> Sequence[TargetGroup]:
        params = [("groups", ",".join(self.groups))] if self.groups else []
        if self.role == "cn":
            nodes = (await api.json(f"{url}/gz/discover", _Nodes, params=params)).cns
            return [TargetGroup(url, [self._node(node) for node in nodes])]
        containers = (await api.json(f"{url}/discover", _Containers, params=params)).containers
        return [TargetGroup(url, [self._container(container) for container in containers])]

    def _address(self, uuid: str) -> str:
        return f"{uuid}.{self.dns_suffix}:{self.port}"

    def _container(self, container: "_Container") -> dict[str, str]:
        return {
            "__address__": self._address(container.vm_uuid),
            f"{PREFIX}machine_id": container.vm_uuid,
            f"{PREFIX}machine_alias": container.vm_alias,
            f"{PREFIX}machine_brand": container.vm_brand,
            f"{PREFIX}machine_image": container.vm_image_uuid,
            f"{PREFIX}server_id": container.server_uuid,
            f"{PREFIX}groups": listed(container.groups) if container.groups else "",
        }

    def _node(self, node: "_Node") -> dict[str, str]:
        return {
            "__address__": self._address(node.server_uuid),
            f"{PREFIX}machine_id": node.server_uuid,
            f"{PREFIX}machine_alias": node.server_hostname,
        }


class _Container(msgspec.Struct):
    vm_uuid: str
    vm_alias: str = ""
    vm_brand: str = ""
    vm_image_uuid: str = ""
    server_uuid: str = ""
    groups: list[str] | None = None


class _Containers(msgspec.Struct):
    containers: list[_Container]


class _Node(msgspec.Struct):
    server_uuid: str
    server_hostname: str = ""


class _Nodes(msgspec.Struct):
    cns: list[_Node]
