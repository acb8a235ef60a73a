"""`hetzner_sd_configs`: servers of Hetzner Cloud or of Hetzner Robot (prometheus discovery/hetzner).

See https://docs.hetzner.cloud and https://robot.hetzner.com/doc/webservice/en.html.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

from common.yamlfile import Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery
from scraper.discovery.labels import flag, host_port, prefixed
from scraper.discovery.model import Surroundings, TargetGroup

HCLOUD_URL = "https://api.hetzner.cloud"
ROBOT_URL = "https://robot-ws.your-server.de"
PER_PAGE = 50

PREFIX = "__meta_hetzner_"
HCLOUD_PREFIX = f"{PREFIX}hcloud_"

# How Go prints an address that is not there; relabel rules may look for it.
NO_ADDRESS = "<nil>"

Labels = dict[str, str]


class HetznerSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The token (hcloud) is given as `authorization`, the user (robot) as `basic_auth`."""

    role: Literal["", "hcloud", "robot"] = ""
    port: int = 80
    label_selector: str = ""

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        if not self.role:
            yield Problem(f"{path}.role", "is missing: one of hcloud, robot")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings, url: str = "") -> HTTPDiscovery:
        """See SDConfig."""
        targets = self._robot if self.role == "robot" else self._hcloud

        async def fetch(api: HTTPAPI) -> Sequence[TargetGroup]:
            return [TargetGroup("hetzner", await targets(api, url))]

        return HTTPDiscovery("hetzner", self, surroundings, fetch)

    async def _hcloud(self, api: HTTPAPI, url: str) -> list[Labels]:
        base = f"{url or HCLOUD_URL}/v1"
        selector = [("label_selector", self.label_selector)] if self.label_selector else []
        pages = await _pages(api, f"{base}/servers", _Servers, selector)
        networks = {
            network.id: network.name
            for page in await _pages(api, f"{base}/networks", _Networks, [])
            for network in page.networks
        }
        return [self._hcloud_target(server, networks) for page in pages for server in page.servers]

    def _hcloud_target(self, server: "_Server", networks: dict[int, str]) -> Labels:
        public_net, type_, location = server.public_net, server.server_type, server.datacenter.location
        ipv4 = public_net.ipv4.ip if public_net.ipv4 else NO_ADDRESS
        image = server.image or _Image()
        return {
            "__address__": host_port(ipv4, self.port),
            f"{PREFIX}role": "hcloud",
            f"{PREFIX}server_id": str(server.id),
            f"{PREFIX}server_name": server.name,
            f"{PREFIX}server_status": server.status,
            f"{PREFIX}datacenter": server.datacenter.name,
            f"{PREFIX}public_ipv4": ipv4,
            f"{PREFIX}public_ipv6_network": public_net.ipv6.ip if public_net.ipv6 else NO_ADDRESS,
            f"{HCLOUD_PREFIX}datacenter_location": location.name,
            f"{HCLOUD_PREFIX}datacenter_location_network_zone": location.network_zone,
            f"{HCLOUD_PREFIX}server_type": type_.name,
            f"{HCLOUD_PREFIX}cpu_cores": str(type_.cores),
            f"{HCLOUD_PREFIX}cpu_type": type_.cpu_type,
            f"{HCLOUD_PREFIX}memory_size_gb": str(int(type_.memory)),
            f"{HCLOUD_PREFIX}disk_size_gb": str(type_.disk),
            f"{HCLOUD_PREFIX}image_name": image.name or "",
            f"{HCLOUD_PREFIX}image_description": image.description,
            f"{HCLOUD_PREFIX}image_os_version": image.os_version or "",
            f"{HCLOUD_PREFIX}image_os_flavor": image.os_flavor,
            **prefixed(
                f"{HCLOUD_PREFIX}private_ipv4_",
                {networks[net.network]: net.ip for net in server.private_net or () if net.network in networks},
            ),
            **prefixed(f"{HCLOUD_PREFIX}label_", server.labels),
            **prefixed(f"{HCLOUD_PREFIX}labelpresent_", dict.fromkeys(server.labels or {}, "true")),
        }

    async def _robot(self, api: HTTPAPI, url: str) -> list[Labels]:
        entries = await api.json(f"{url or ROBOT_URL}/server", list[_RobotEntry])
        return [self._robot_target(entry.server) for entry in entries]

    def _robot_target(self, server: "_RobotServer") -> Labels:
        network = next((subnet for subnet in server.subnet or () if ":" in subnet.ip), None)
        return {
            "__address__": host_port(server.server_ip or "", self.port),
            f"{PREFIX}role": "robot",
            f"{PREFIX}server_id": str(server.server_number),
            f"{PREFIX}server_name": server.server_name,
            f"{PREFIX}server_status": server.status,
            f"{PREFIX}datacenter": server.dc.lower(),
            f"{PREFIX}public_ipv4": server.server_ip or "",
            f"{PREFIX}public_ipv6_network": f"{network.ip}/{network.mask}" if network else "",
            f"{PREFIX}robot_product": server.product,
            f"{PREFIX}robot_cancelled": flag(server.cancelled),
        }


class _Paged(Protocol):
    meta: "_Meta"


P = TypeVar("P", bound=_Paged)


async def _pages(api: HTTPAPI, url: str, type_: type[P], params: list[tuple[str, str]]) -> list[P]:
    pages: list[P] = []
    number: int | None = 1
    while number:
        here = [("page", str(number)), ("per_page", str(PER_PAGE))]
        pages.append(await api.json(url, type_, params=[*here, *params]))
        number = pages[-1].meta.pagination.next_page
    return pages


class _Pagination(msgspec.Struct):
    next_page: int | None = None


class _Meta(msgspec.Struct):
    pagination: _Pagination = msgspec.field(default_factory=_Pagination)


class _Location(msgspec.Struct):
    name: str = ""
    network_zone: str = ""


class _Datacenter(msgspec.Struct):
    name: str = ""
    location: _Location = msgspec.field(default_factory=_Location)


class _Address(msgspec.Struct):
    ip: str = ""


class _PublicNet(msgspec.Struct):
    ipv4: _Address | None = None
    ipv6: _Address | None = None


class _PrivateNet(msgspec.Struct):
    network: int
    ip: str = ""


class _ServerType(msgspec.Struct):
    name: str = ""
    cores: int = 0
    cpu_type: str = ""
    memory: float = 0
    disk: int = 0


class _Image(msgspec.Struct):
    name: str | None = None
    description: str = ""
    os_version: str | None = None
    os_flavor: str = ""


class _Server(msgspec.Struct):
    id: int
    name: str = ""
    status: str = ""
    datacenter: _Datacenter = msgspec.field(default_factory=_Datacenter)
    public_net: _PublicNet = msgspec.field(default_factory=_PublicNet)
    private_net: list[_PrivateNet] | None = None
    server_type: _ServerType = msgspec.field(default_factory=_ServerType)
    image: _Image | None = None
    labels: dict[str, str] | None = None


class _Servers(msgspec.Struct):
    servers: list[_Server]
    meta: _Meta = msgspec.field(default_factory=_Meta)


class _Network(msgspec.Struct):
    id: int
    name: str = ""


class _Networks(msgspec.Struct):
    networks: list[_Network]
    meta: _Meta = msgspec.field(default_factory=_Meta)


class _Subnet(msgspec.Struct):
    ip: str = ""
    mask: str = ""


class _RobotServer(msgspec.Struct):
    server_number: int
    server_ip: str | None = None
    server_name: str = ""
    dc: str = ""
    status: str = ""
    product: str = ""
    cancelled: bool = False
    subnet: list[_Subnet] | None = None


class _RobotEntry(msgspec.Struct):
    server: _RobotServer
