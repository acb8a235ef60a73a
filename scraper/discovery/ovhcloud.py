"""`ovhcloud_sd_configs`: virtual private or dedicated servers of OVHcloud (prometheus discovery/ovhcloud).

See https://api.ovh.com/console/ and, for signatures, https://help.ovhcloud.com/csm/en-api-getting-started-ovhcloud-api.
"""

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Literal, TypeVar
from urllib.parse import quote_plus

import msgspec

from common.yamlfile import Duration, Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery, url_problems
from scraper.discovery.labels import flag
from scraper.discovery.model import DiscoveryError, Surroundings, TargetGroup

log = logging.getLogger(__name__)

PREFIX = "__meta_ovhcloud_"

# The names that go-ovh knows.
ENDPOINTS = {
    "ovh-eu": "https://eu.api.ovh.com/1.0",
    "ovh-ca": "https://ca.api.ovh.com/1.0",
    "ovh-us": "https://api.us.ovhcloud.com/1.0",
    "kimsufi-eu": "https://eu.api.kimsufi.com/1.0",
    "kimsufi-ca": "https://ca.api.kimsufi.com/1.0",
    "soyoustart-eu": "https://eu.api.soyoustart.com/1.0",
    "soyoustart-ca": "https://ca.api.soyoustart.com/1.0",
}

Labels = dict[str, str]
T = TypeVar("T")


class OVHcloudSDConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys of an application, and which servers are wanted; `endpoint` is a name or a URL."""

    service: Literal["", "vps", "dedicated_server"] = ""
    endpoint: str = "ovh-eu"
    application_key: str = ""
    application_secret: str = ""
    consumer_key: str = ""
    refresh_interval: Duration = Duration(60_000)

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        if not self.service:
            yield Problem(f"{path}.service", "is missing: one of vps, dedicated_server")
        for key in ("application_key", "application_secret", "consumer_key"):
            if not getattr(self, key):
                yield Problem(f"{path}.{key}", "is missing")
        if self.endpoint not in ENDPOINTS:
            yield from url_problems(self.endpoint, f"{path}.endpoint")
        yield from APIConfig(refresh_interval=self.refresh_interval).problems(path)

    def discoverer(self, surroundings: Surroundings) -> HTTPDiscovery:
        """See SDConfig."""
        source = f"ovhcloud_{self.service}"

        async def fetch(api: HTTPAPI) -> Sequence[TargetGroup]:
            signed = _SignedAPI(api, self)
            await signed.set_clock()
            targets = await (_dedicated_servers(signed) if self.service == "dedicated_server" else _vps(signed))
            return [TargetGroup(source, targets)]

        return HTTPDiscovery("ovhcloud", APIConfig(refresh_interval=self.refresh_interval), surroundings, fetch)


class _SignedAPI:
    """Requests that are signed with the keys of a config. Methods raise FleetwatchError."""

    def __init__(self, api: HTTPAPI, config: OVHcloudSDConfig) -> None:
        self._api = api
        self._config = config
        self._url = ENDPOINTS.get(config.endpoint, config.endpoint).rstrip("/")
        self._ahead_s = 0.0

    async def set_clock(self) -> None:
        """Learn the server's time, which signatures have."""
        self._ahead_s = await self._api.json(f"{self._url}/auth/time", int) - time.time()

    async def get(self, path: str, type_: type[T]) -> T:
        """What the API has at a path."""
        config, url, now_s = self._config, self._url + path, str(round(time.time() + self._ahead_s))
        text = "+".join((config.application_secret, config.consumer_key, "GET", url, "", now_s))
        headers = {
            "X-Ovh-Application": config.application_key,
            "X-Ovh-Consumer": config.consumer_key,
            "X-Ovh-Timestamp": now_s,
            # The API prescribes the hash.
            "X-Ovh-Signature": "$1$" + hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(),
        }
        return await self._api.json(url, type_, headers=headers)

    async def servers(self, path: str, type_: type[T]) -> "list[tuple[T, Labels]]":
        """The servers of a list, each with its addresses as labels; without those that the API does not tell of."""
        found = []
        for name in await self.get(path, list[str]):
            here = f"{path}/{quote_plus(name)}"
            try:
                server = await self.get(here, type_)
                found.append((server, _addresses(await self.get(f"{here}/ips", list[str]))))
            except DiscoveryError as error:
                log.warning("a server is left out", extra={"server": name, "error": str(error)})
        return found


async def _vps(api: _SignedAPI) -> list[Labels]:
    return [
        _target("vps", server.name, addresses, _vps_labels(server))
        for server, addresses in await api.servers("/vps", _VPS)
    ]


async def _dedicated_servers(api: _SignedAPI) -> list[Labels]:
    servers = await api.servers("/dedicated/server", _DedicatedServer)
    return [
        _target("dedicated_server", server.name, addresses, _dedicated_labels(server)) for server, addresses in servers
    ]


def _target(service: str, name: str, addresses: Labels, labels: Labels) -> Labels:
    prefix = f"{PREFIX}{service}_"
    return {
        "__address__": addresses.get("ipv4") or addresses["ipv6"],
        "instance": name,
        **{prefix + key: value for key, value in {"name": name, **addresses, **labels}.items()},
    }


def _addresses(texts: Iterable[str]) -> Labels:
    """The last address of each kind, and of networks those with the mask /32. Raises DiscoveryError."""
    found = {}
    for text in texts:
        address, slash, mask = text.partition("/")
        try:
            ip = ip_address(address)
        except ValueError as error:
            raise DiscoveryError(f"{text!r} is not an address") from error
        if (not slash or mask == "32") and not ip.is_unspecified:
            found[f"ipv{ip.version}"] = str(ip)
    if not found:
        raise DiscoveryError("the server has no address")
    return found


def _vps_labels(server: "_VPS") -> Labels:
    model = server.model
    return {
        "offer": model.offer,
        "datacenter": f"[{' '.join(model.datacenter or ())}]",  # as Go prints a list
        "model_vcore": str(model.vcore),
        "maximum_additional_ip": str(model.maximum_additional_ip),
        "version": model.version,
        "model_name": model.name,
        "disk": str(model.disk),
        "memory": str(model.memory),
        "zone": server.zone,
        "display_name": server.display_name or "",
        "cluster": server.cluster,
        "state": server.state,
        "netboot_mode": server.netboot_mode,
        "memory_limit": str(server.memory_limit),
        "offer_type": server.offer_type,
        "vcore": str(server.vcore),
    }


def _dedicated_labels(server: "_DedicatedServer") -> Labels:
    return {
        "state": server.state,
        "commercial_range": server.commercial_range or "",
        "link_speed": str(server.link_speed or 0),
        "rack": server.rack or "",
        "no_intervention": flag(server.no_intervention),
        "os": server.os,
        "support_level": server.support_level,
        "server_id": str(server.server_id),
        "reverse": server.reverse or "",
        "datacenter": server.datacenter,
    }


class _Camel(msgspec.Struct, rename="camel"):
    """OVHcloud's names."""


class _Model(_Camel):
    maximum_additional_ip: int = msgspec.field(default=0, name="maximumAdditionnalIp")  # sic
    offer: str = ""
    datacenter: list[str] | None = None
    vcore: int = 0
    version: str = ""
    name: str = ""
    disk: int = 0
    memory: int = 0


class _VPS(_Camel):
    name: str = ""
    zone: str = ""
    model: _Model = msgspec.field(default_factory=_Model)
    display_name: str | None = None
    cluster: str = ""
    state: str = ""
    netboot_mode: str = ""
    memory_limit: int = 0
    offer_type: str = ""
    vcore: int = 0


class _DedicatedServer(_Camel):
    name: str = ""
    state: str = ""
    commercial_range: str | None = None
    link_speed: int | None = None
    rack: str | None = None
    no_intervention: bool = False
    os: str = ""
    support_level: str = ""
    server_id: int = 0
    reverse: str | None = None
    datacenter: str = ""
