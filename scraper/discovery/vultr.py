"""`vultr_sd_configs`: Vultr instances (prometheus discovery/vultr).

See https://www.vultr.com/api/#operation/list-instances.
"""

from collections.abc import Sequence

import msgspec

from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery
from scraper.discovery.labels import host_port, listed
from scraper.discovery.model import Surroundings, TargetGroup

API_URL = "https://api.vultr.com"
PER_PAGE = 100

PREFIX = "__meta_vultr_instance_"


class VultrSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The token is given as `authorization`."""

    port: int = 80

    def discoverer(self, surroundings: Surroundings, url: str = API_URL) -> HTTPDiscovery:
        """See SDConfig."""
        return HTTPDiscovery("vultr", self, surroundings, lambda api: self._groups(api, url))

    async def _groups(self, api: HTTPAPI, url: str) -> Sequence[TargetGroup]:
        instances: list[_Instance] = []
        params = [("per_page", str(PER_PAGE))]
        while True:
            page = await api.json(f"{url}/v2/instances", _Page, params=params)
            instances += page.instances
            if not page.meta.links.next:
                return [TargetGroup("Vultr", [self._target(instance) for instance in instances])]
            params = [("per_page", str(PER_PAGE)), ("cursor", page.meta.links.next)]

    def _target(self, instance: "_Instance") -> dict[str, str]:
        return {
            "__address__": host_port(instance.main_ip, self.port),
            f"{PREFIX}id": instance.id,
            f"{PREFIX}label": instance.label,
            f"{PREFIX}os": instance.os,
            f"{PREFIX}os_id": str(instance.os_id),
            f"{PREFIX}region": instance.region,
            f"{PREFIX}plan": instance.plan,
            f"{PREFIX}main_ip": instance.main_ip,
            f"{PREFIX}main_ipv6": instance.v6_main_ip,
            f"{PREFIX}internal_ip": instance.internal_ip,
            f"{PREFIX}hostname": instance.hostname,
            f"{PREFIX}server_status": instance.server_status,
            f"{PREFIX}vcpu_count": str(instance.vcpu_count),
            f"{PREFIX}ram_mb": str(instance.ram),
            f"{PREFIX}allowed_bandwidth_gb": str(instance.allowed_bandwidth),
            f"{PREFIX}disk_gb": str(instance.disk),
            f"{PREFIX}features": listed(instance.features) if instance.features else "",
            f"{PREFIX}tags": listed(instance.tags) if instance.tags else "",
        }


class _Instance(msgspec.Struct):
    id: str
    label: str = ""
    os: str = ""
    os_id: int = 0
    region: str = ""
    plan: str = ""
    main_ip: str = ""
    v6_main_ip: str = ""
    internal_ip: str = ""
    hostname: str = ""
    server_status: str = ""
    vcpu_count: int = 0
    ram: int = 0
    allowed_bandwidth: int = 0
    disk: int = 0
    features: list[str] | None = None
    tags: list[str] | None = None


class _Links(msgspec.Struct):
    next: str = ""


class _Meta(msgspec.Struct):
    links: _Links = msgspec.field(default_factory=_Links)


class _Page(msgspec.Struct):
    instances: list[_Instance]
    meta: _Meta = msgspec.field(default_factory=_Meta)
