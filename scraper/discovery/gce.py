"""`gce_sd_configs`: the instances of a zone of Google Cloud (prometheus discovery/gce).

See https://cloud.google.com/compute/docs/reference/rest/v1/instances/list.
"""

from collections.abc import Iterator, Sequence
from urllib.parse import quote

import msgspec

from common.yamlfile import Duration, Problem
from scraper.discovery.gce_token import TokenSource
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery
from scraper.discovery.labels import label_name, listed, prefixed
from scraper.discovery.model import Surroundings, TargetGroup

API_URL = "https://compute.googleapis.com"

PREFIX = "__meta_gce_"


class GCESDConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The zone of a project, and a filter of the instances in the API's language."""

    project: str = ""
    zone: str = ""
    filter: str = ""
    tag_separator: str = ","
    port: int = 80
    refresh_interval: Duration = Duration(60_000)

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        for key in ("project", "zone"):
            if not getattr(self, key):
                yield Problem(f"{path}.{key}", "is missing")
        yield from APIConfig(refresh_interval=self.refresh_interval).problems(path)

    def discoverer(self, surroundings: Surroundings, url: str = API_URL) -> HTTPDiscovery:
        """See SDConfig."""
        tokens = TokenSource()
        zone = f"{url}/compute/v1/projects/{quote(self.project, safe='')}/zones/{quote(self.zone, safe='')}"

        async def fetch(api: HTTPAPI) -> Sequence[TargetGroup]:
            headers = {"Authorization": f"Bearer {await tokens.current(api)}"}
            instances = await self._instances(api, f"{zone}/instances", headers)
            targets = [self._target(instance) for instance in instances if instance.network_interfaces]
            return [TargetGroup(f"GCE_{self.project}_{self.zone}", targets)]

        return HTTPDiscovery("gce", APIConfig(refresh_interval=self.refresh_interval), surroundings, fetch)

    async def _instances(self, api: HTTPAPI, url: str, headers: dict[str, str]) -> "list[_Instance]":
        params = [("filter", self.filter)] if self.filter else []
        found: list[_Instance] = []
        page = await api.json(url, _Page, params=params, headers=headers)
        while True:
            found += page.items
            if not page.next_page_token:
                return found
            here = [*params, ("pageToken", page.next_page_token)]
            page = await api.json(url, _Page, params=here, headers=headers)

    def _target(self, instance: "_Instance") -> dict[str, str]:
        first = instance.network_interfaces[0]
        access = first.access_configs[0] if first.access_configs else _AccessConfig()
        metadata = {item.key: item.value for item in instance.metadata.items if item.value is not None}
        return {
            "__address__": f"{first.network_ip}:{self.port}",
            f"{PREFIX}project": self.project,
            f"{PREFIX}zone": instance.zone,
            f"{PREFIX}instance_id": instance.id,
            f"{PREFIX}instance_name": instance.name,
            f"{PREFIX}instance_status": instance.status,
            f"{PREFIX}machine_type": instance.machine_type,
            f"{PREFIX}network": first.network,
            f"{PREFIX}subnetwork": first.subnetwork,
            f"{PREFIX}private_ip": first.network_ip,
            f"{PREFIX}public_ip": access.nat_ip if access.type == "ONE_TO_ONE_NAT" else "",
            f"{PREFIX}tags": listed(instance.tags.items, self.tag_separator) if instance.tags.items else "",
            **{
                f"{PREFIX}interface_ipv4_{label_name(interface.name)}": interface.network_ip
                for interface in instance.network_interfaces
            },
            **prefixed(f"{PREFIX}metadata_", metadata),
            **prefixed(f"{PREFIX}label_", instance.labels),
        }


class _Camel(msgspec.Struct, rename="camel"):
    """Google's names."""


class _AccessConfig(_Camel):
    type: str = ""
    nat_ip: str = msgspec.field(default="", name="natIP")


class _Interface(_Camel):
    name: str = ""
    network: str = ""
    subnetwork: str = ""
    network_ip: str = msgspec.field(default="", name="networkIP")
    access_configs: list[_AccessConfig] = []


class _Item(_Camel):
    key: str = ""
    value: str | None = None


class _Metadata(_Camel):
    items: list[_Item] = []


class _Tags(_Camel):
    items: list[str] = []


class _Instance(_Camel):
    id: str = ""
    name: str = ""
    status: str = ""
    zone: str = ""
    machine_type: str = ""
    network_interfaces: list[_Interface] = []
    tags: _Tags = msgspec.field(default_factory=_Tags)
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    labels: dict[str, str] = {}


class _Page(_Camel):
    items: list[_Instance] = []
    next_page_token: str = ""
