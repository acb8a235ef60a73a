"""`linode_sd_configs`: Linode instances (prometheus discovery/linode).

Prometheus asks the event list whether it need ask anew; here every refresh asks for all. See
https://techdocs.akamai.com/linode-api/reference/get-linode-instances.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec
import orjson

from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery
from scraper.discovery.labels import host_port, listed
from scraper.discovery.model import Surroundings, TargetGroup

API_URL = "https://api.linode.com"
PAGE_SIZE = 500

PREFIX = "__meta_linode_"

T = TypeVar("T")


class LinodeSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The token is given as `authorization`; without `region`, instances of all."""

    port: int = 80
    tag_separator: str = ","
    region: str = ""

    def discoverer(self, surroundings: Surroundings, url: str = API_URL) -> HTTPDiscovery:
        """See SDConfig."""
        return HTTPDiscovery("linode", self, surroundings, lambda api: self._groups(api, f"{url}/v4"))

    async def _groups(self, api: HTTPAPI, url: str) -> Sequence[TargetGroup]:
        instances = await self._all(api, f"{url}/linode/instances", _Page[_Instance])
        addresses = {entry.address: entry for entry in await self._all(api, f"{url}/networking/ips", _Page[_Address])}
        ranges = await self._all(api, f"{url}/networking/ipv6/ranges", _Page[_Range])
        targets = [self._target(instance, addresses, ranges) for instance in instances if instance.ipv4]
        return [TargetGroup("Linode", targets)]

    async def _all(self, api: HTTPAPI, url: str, type_: "type[_Page[T]]") -> list[T]:
        headers = {"X-Filter": orjson.dumps({"region": self.region}).decode()} if self.region else {}
        found: list[T] = []
        number, pages = 1, 1
        while number <= pages:
            params = [("page", str(number)), ("page_size", str(PAGE_SIZE))]
            page = await api.json(url, type_, params=params, headers=headers)
            found += page.data
            number, pages = number + 1, page.pages
        return found

    def _target(
        self, instance: "_Instance", addresses: dict[str, "_Address"], ranges: Sequence["_Range"]
    ) -> dict[str, str]:
        known = [addresses[address] for address in instance.ipv4 or () if address in addresses]
        public = next((address for address in known if address.public), _Address())
        private = next((address for address in known if not address.public), _Address())
        slaac = (instance.ipv6 or "").partition("/")[0]
        public_v6 = addresses.get(slaac, _Address())
        specs = instance.specs
        return {
            "__address__": host_port(public.address, self.port),
            f"{PREFIX}instance_id": str(instance.id),
            f"{PREFIX}instance_label": instance.label,
            f"{PREFIX}image": instance.image or "",
            f"{PREFIX}private_ipv4": private.address,
            f"{PREFIX}public_ipv4": public.address,
            f"{PREFIX}public_ipv6": public_v6.address,
            f"{PREFIX}private_ipv4_rdns": private.reverse_name,
            f"{PREFIX}public_ipv4_rdns": public.reverse_name,
            f"{PREFIX}public_ipv6_rdns": public_v6.reverse_name,
            f"{PREFIX}region": instance.region,
            f"{PREFIX}type": instance.type or "",
            f"{PREFIX}status": instance.status,
            f"{PREFIX}group": instance.group or "",
            f"{PREFIX}gpus": str(specs.gpus),
            f"{PREFIX}hypervisor": instance.hypervisor,
            f"{PREFIX}backups": "enabled" if instance.backups.enabled else "disabled",
            f"{PREFIX}specs_disk_bytes": str(specs.disk << 20),
            f"{PREFIX}specs_memory_bytes": str(specs.memory << 20),
            f"{PREFIX}specs_vcpus": str(specs.vcpus),
            f"{PREFIX}specs_transfer_bytes": str(specs.transfer << 20),
            f"{PREFIX}tags": self._listed(instance.tags or ()),
            f"{PREFIX}extra_ips": self._listed(
                [address.address for address in known if address not in (public, private)]
            ),
            f"{PREFIX}ipv6_ranges": self._listed(
                [f"{entry.range}/{entry.prefix}" for entry in ranges if slaac and entry.route_target == slaac]
            ),
        }

    def _listed(self, values: Sequence[str]) -> str:
        return listed(values, self.tag_separator) if values else ""


class _Page(msgspec.Struct, Generic[T]):
    data: list[T]
    pages: int = 1


class _Specs(msgspec.Struct):
    """`disk`, `memory` and `transfer` in MiB."""

    disk: int = 0
    memory: int = 0
    vcpus: int = 0
    gpus: int = 0
    transfer: int = 0


class _Backups(msgspec.Struct):
    enabled: bool = False


class _Instance(msgspec.Struct):
    id: int
    label: str = ""
    group: str | None = None
    status: str = ""
    type: str | None = None
    ipv4: list[str] | None = None
    ipv6: str | None = None
    image: str | None = None
    region: str = ""
    specs: _Specs = msgspec.field(default_factory=_Specs)
    backups: _Backups = msgspec.field(default_factory=_Backups)
    hypervisor: str = ""
    tags: list[str] | None = None


class _Address(msgspec.Struct):
    address: str = ""
    public: bool = False
    rdns: str | None = None

    @property
    def reverse_name(self) -> str:
        return "" if self.rdns in (None, "null") else str(self.rdns)


class _Range(msgspec.Struct):
    range: str = ""
    prefix: int = 0
    route_target: str | None = None
