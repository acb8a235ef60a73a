"""`scaleway_sd_configs`: Scaleway instances or bare metal servers (prometheus discovery/scaleway).

See https://www.scaleway.com/en/developers/api/instances/ and .../elastic-metal/.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar

import msgspec

from common.yamlfile import Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery, Params, decode, url_problems
from scraper.discovery.labels import host_port, listed
from scraper.discovery.model import DiscoveryError, Surroundings, TargetGroup
from scraper.http_config import Header

INSTANCE_PREFIX = "__meta_scaleway_instance_"
BAREMETAL_PREFIX = "__meta_scaleway_baremetal_"

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ACCESS_KEY = re.compile(r"SCW[A-Z0-9]{17}")
_ZONE = re.compile(r"[a-z]{2}-[a-z]{3}-[1-9]")

Labels = dict[str, str]
T = TypeVar("T")


class ScalewaySDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The zone to look in, and the API key. The name filter matches parts of names; all tags must be there."""

    role: Literal["", "instance", "baremetal"] = ""
    project_id: str = ""
    api_url: str = "https://api.scaleway.com"
    zone: str = "fr-par-1"
    access_key: str = ""
    secret_key: str = ""
    secret_key_file: str = ""
    name_filter: str = ""
    tags_filter: tuple[str, ...] | None = None
    port: int = 80

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        if not self.role:
            yield Problem(f"{path}.role", "is missing: one of instance, baremetal")
        if bool(self.secret_key) == bool(self.secret_key_file):
            yield Problem(f"{path}.secret_key", "exactly one of secret_key and secret_key_file is needed")
        elif self.secret_key and not _UUID.fullmatch(self.secret_key):
            yield Problem(f"{path}.secret_key", "is not a UUID")
        if not _UUID.fullmatch(self.project_id):
            yield Problem(
                f"{path}.project_id", f"{self.project_id!r} is not a UUID" if self.project_id else "is missing"
            )
        if not _ACCESS_KEY.fullmatch(self.access_key):
            yield Problem(f"{path}.access_key", "must be SCW and 17 capital letters and digits")
        if not _ZONE.fullmatch(self.zone):
            yield Problem(f"{path}.zone", f"{self.zone!r} is not a zone like fr-par-1")
        yield from url_problems(self.api_url, f"{path}.api_url")
        if self.api_url.endswith("/"):
            yield Problem(f"{path}.api_url", "must not end with a slash")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings) -> HTTPDiscovery:
        """See SDConfig."""
        targets = self._baremetal if self.role == "baremetal" else self._instances
        key = Header(files=(self.secret_key_file,)) if self.secret_key_file else Header(secrets=(self.secret_key,))
        config = msgspec.structs.replace(self, http_headers={**self.http_headers, "X-Auth-Token": key})

        async def fetch(api: HTTPAPI) -> Sequence[TargetGroup]:
            return [TargetGroup("scaleway", await targets(api))]

        return HTTPDiscovery("scaleway", config, surroundings, fetch)

    async def _instances(self, api: HTTPAPI) -> list[Labels]:
        url = f"{self.api_url}/instance/v1/zones/{self.zone}/servers"
        params = [("name", self.name_filter)] if self.name_filter else []
        if self.tags_filter:
            params.append(("tags", ",".join(self.tags_filter)))
        params.append(("order", "creation_date_desc"))
        return [
            {"__address__": host_port(address, self.port), **_instance_labels(server)}
            for server in await _all(api, url, "servers", list[_Instance], params)
            if (address := _address(server))
        ]

    async def _baremetal(self, api: HTTPAPI) -> list[Labels]:
        url = f"{self.api_url}/baremetal/v1/zones/{self.zone}"
        params = [("name", self.name_filter)] if self.name_filter else []
        params += [("tags", tag) for tag in self.tags_filter or ()]
        params.append(("order_by", "created_at_asc"))
        servers = await _all(api, f"{url}/servers", "servers", list[_Machine], params)
        offers = {offer.id: offer for offer in await _all(api, f"{url}/offers", "offers", list[_Named])}
        systems = {system.id: system for system in await _all(api, f"{url}/os", "os", list[_System])}
        return [self._machine(server, offers, systems) for server in servers]

    def _machine(self, server: "_Machine", offers: dict[str, "_Named"], systems: dict[str, "_System"]) -> Labels:
        addresses: Labels = {}
        for ip in server.ips or ():
            if ip.version not in ("IPv4", "IPv6"):
                raise DiscoveryError(
                    f"server {server.id} has an address of version {ip.version!r}: expected IPv4, IPv6"
                )
            addresses.setdefault(ip.version, ip.address)
        system = systems.get(server.install.os_id, _System()) if server.install else _System()
        address = addresses.get("IPv4") or addresses.get("IPv6")
        return {
            **({"__address__": host_port(address, self.port)} if address else {}),
            f"{BAREMETAL_PREFIX}id": server.id,
            f"{BAREMETAL_PREFIX}name": server.name,
            f"{BAREMETAL_PREFIX}zone": server.zone,
            f"{BAREMETAL_PREFIX}status": server.status,
            f"{BAREMETAL_PREFIX}project_id": server.project_id,
            f"{BAREMETAL_PREFIX}type": offers.get(server.offer_id, _Named()).name,
            f"{BAREMETAL_PREFIX}os_name": system.name,
            f"{BAREMETAL_PREFIX}os_version": system.version,
            f"{BAREMETAL_PREFIX}tags": listed(server.tags) if server.tags else "",
            f"{BAREMETAL_PREFIX}public_ipv4": addresses.get("IPv4", ""),
            f"{BAREMETAL_PREFIX}public_ipv6": addresses.get("IPv6", ""),
        }


def _addresses(server: "_Instance", family: str) -> list[str]:
    return [ip.address for ip in server.public_ips or () if ip.family == family]


def _address(server: "_Instance") -> str:
    if server.private_ip is not None:
        return server.private_ip
    if single := server.public_ip or server.ipv6:
        return single.address
    return next(iter(_addresses(server, "inet") or _addresses(server, "inet6")), "")


def _instance_labels(server: "_Instance") -> Labels:
    v4, v6 = _addresses(server, "inet"), _addresses(server, "inet6")
    image, location, group = server.image or _Image(), server.location or _Location(), server.security_group or _Named()
    labels = {
        "boot_type": server.boot_type,
        "hostname": server.hostname,
        "id": server.id,
        "name": server.name,
        "organization_id": server.organization,
        "project_id": server.project,
        "status": server.state,
        "type": server.commercial_type,
        "zone": server.zone,
        "region": server.zone.rpartition("-")[0],
        "image_arch": image.arch,
        "image_id": image.id,
        "image_name": image.name,
        "location_cluster_id": location.cluster_id,
        "location_hypervisor_id": location.hypervisor_id,
        "location_node_id": location.node_id,
        "security_group_id": group.id,
        "security_group_name": group.name,
        "tags": listed(server.tags) if server.tags else "",
        "public_ipv4_addresses": listed(v4) if v4 else "",
        "public_ipv6_addresses": listed(v6) if v6 else "",
        "public_ipv4": server.public_ip.address if server.public_ip else "",
        "public_ipv6": server.ipv6.address if server.ipv6 else "",
        "private_ipv4": server.private_ip or "",
    }
    return {INSTANCE_PREFIX + name: value for name, value in labels.items()}


async def _all(api: HTTPAPI, url: str, key: str, type_: type[list[T]], params: Params = ()) -> list[T]:
    """The entries of all pages; how many there are says the answer or, with instances, the header X-Total-Count."""
    found: list[T] = []
    number, total = 1, 1
    while len(found) < total:
        response = await api.request(url, params=[*params, ("page", str(number))])
        page = decode(response.body, dict[str, msgspec.Raw], url)
        entries = decode(page.get(key, b"null"), type_, url)
        if not entries:
            break
        found += entries
        header = response.headers.get("X-Total-Count", "")
        number += 1
        total = decode(page.get("total_count", b"0"), int, url) or (int(header) if header.isdecimal() else 0)
    return found


class _Named(msgspec.Struct):
    id: str = ""
    name: str = ""


class _System(_Named):
    version: str = ""


class _Image(_Named):
    arch: str = ""


class _Location(msgspec.Struct):
    cluster_id: str = ""
    hypervisor_id: str = ""
    node_id: str = ""


class _IP(msgspec.Struct):
    address: str = ""
    family: str = ""
    version: str = ""


class _Instance(_Named):
    boot_type: str = ""
    hostname: str = ""
    organization: str = ""
    project: str = ""
    state: str = ""
    commercial_type: str = ""
    zone: str = ""
    tags: list[str] | None = None
    image: _Image | None = None
    location: _Location | None = None
    security_group: _Named | None = None
    public_ips: list[_IP] | None = None
    public_ip: _IP | None = None
    ipv6: _IP | None = None
    private_ip: str | None = None


class _Install(msgspec.Struct):
    os_id: str = ""


class _Machine(_Named):
    zone: str = ""
    status: str = ""
    project_id: str = ""
    offer_id: str = ""
    tags: list[str] | None = None
    install: _Install | None = None
    ips: list[_IP] | None = None
