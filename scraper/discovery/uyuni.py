"""`uyuni_sd_configs`: the monitored systems of a Uyuni server (prometheus discovery/uyuni).

The server is asked by XML-RPC; see https://www.uyuni-project.org/uyuni-docs-api/uyuni/.
"""

import time
import xmlrpc.client
from collections.abc import Iterator, Sequence
from typing import TypeVar
from urllib.parse import urlsplit
from xml.parsers.expat import ExpatError

import msgspec

from common.yamlfile import Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery, url_problems
from scraper.discovery.model import DiscoveryError, Surroundings, TargetGroup

PREFIX = "__meta_uyuni_"

TOKEN_LIFE_S = 600

T = TypeVar("T")
Argument = str | int | list[int]


class UyuniSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The server, who asks it, and the entitlement that the systems wanted have."""

    server: str = ""
    username: str = ""
    password: str = ""
    entitlement: str = "monitoring_entitled"
    separator: str = ","

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        yield from url_problems(self.server, f"{path}.server")
        for key in ("username", "password"):
            if not getattr(self, key):
                yield Problem(f"{path}.{key}", "is missing")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings) -> HTTPDiscovery:
        """See SDConfig."""
        parts = urlsplit(self.server)
        url = parts._replace(path=f"{parts.path.rstrip('/')}/rpc/api").geturl()
        session = _Session(url, self.username, self.password)

        async def fetch(api: HTTPAPI) -> Sequence[TargetGroup]:
            try:
                return [TargetGroup(url, await self._targets(api, session))]
            except DiscoveryError:
                session.forget()
                raise

        return HTTPDiscovery("uyuni", self, surroundings, fetch)

    async def _targets(self, api: HTTPAPI, session: "_Session") -> list[dict[str, str]]:
        method = "system.listSystemGroupsForSystemsWithEntitlement"
        systems = await session.call(api, list[_System], method, self.entitlement)
        ids = [system.id for system in systems]
        endpoints = await session.call(api, list[_Endpoint], "system.monitoring.listEndpoints", ids)
        networks = await session.call(api, list[_Network], "system.getNetworkForSystems", ids)
        groups = {system.id: self.separator.join(group.name for group in system.system_groups) for system in systems}
        network_of = {network.system_id: network for network in networks}
        targets = []
        for endpoint in endpoints:
            network = network_of.get(endpoint.system_id, _Network())
            targets.append(_target(endpoint, network, groups.get(endpoint.system_id, "")))
        return targets


def _target(endpoint: "_Endpoint", network: "_Network", groups: str) -> dict[str, str]:
    return {
        "__address__": f"{network.hostname}:{endpoint.port}",
        f"{PREFIX}minion_hostname": network.hostname,
        f"{PREFIX}primary_fqdn": network.primary_fqdn or "",
        f"{PREFIX}system_id": str(endpoint.system_id),
        f"{PREFIX}groups": groups,
        f"{PREFIX}endpoint_name": endpoint.endpoint_name or "",
        f"{PREFIX}exporter": endpoint.exporter_name or "",
        f"{PREFIX}proxy_module": endpoint.module or "",
        f"{PREFIX}metrics_path": endpoint.path or "",
        f"{PREFIX}scheme": "https" if endpoint.tls_enabled else "http",
    }


class _Session:
    """Calls of methods with a token, which is renewed at half its life. Methods raise FleetwatchError."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self._url = url
        self._username = username
        self._password = password
        self._token = ""
        self._renew_s = 0.0  # on the monotonic clock

    def forget(self) -> None:
        """Sign in anew with the next call."""
        self._token = ""

    async def call(self, api: HTTPAPI, type_: type[T], method: str, argument: Argument) -> T:
        """The result of a method that takes the token and one argument."""
        if not self._token or time.monotonic() >= self._renew_s:
            user = (self._username, self._password, TOKEN_LIFE_S)
            self._token = await self._ask(api, str, "auth.login", user)
            self._renew_s = time.monotonic() + TOKEN_LIFE_S / 2
        return await self._ask(api, type_, method, (self._token, argument))

    async def _ask(self, api: HTTPAPI, type_: type[T], method: str, arguments: tuple[Argument, ...]) -> T:
        body = xmlrpc.client.dumps(arguments, method).encode()
        headers = {"Accept": "text/xml", "Content-Type": "text/xml"}
        response = await api.request(self._url, method="POST", headers=headers, data=body)
        try:
            (result,), _ = xmlrpc.client.loads(response.body)
            return msgspec.convert(result, type_)
        except xmlrpc.client.Fault as error:
            raise DiscoveryError(f'"{self._url}" refuses {method}: {error.faultString}') from error
        except (ExpatError, ValueError, TypeError, xmlrpc.client.Error) as error:  # ValueError: msgspec's too
            raise DiscoveryError(f'"{self._url}" did not answer {method} as expected: {error}') from error


class _Group(msgspec.Struct):
    name: str = ""


class _System(msgspec.Struct):
    id: int
    system_groups: list[_Group] = []


class _Endpoint(msgspec.Struct):
    system_id: int
    port: int = 0
    endpoint_name: str | None = None
    exporter_name: str | None = None
    module: str | None = None
    path: str | None = None
    tls_enabled: bool = False


class _Network(msgspec.Struct):
    system_id: int = 0
    hostname: str = ""
    primary_fqdn: str | None = None
