"""`stackit_sd_configs`: the servers of a STACKIT project (prometheus discovery/stackit).

See https://docs.api.eu01.stackit.cloud/documentation/iaas/version/v1.
"""

from collections.abc import Iterator, Sequence

import msgspec

from common.yamlfile import Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery, url_problems
from scraper.discovery.labels import host_port, label_name, prefixed
from scraper.discovery.model import DiscoveryError, Surroundings, TargetGroup

PREFIX = "__meta_stackit_"


class StackitSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The project, and where it is; a token is given as `authorization`. Key files have no effect but an error."""

    project: str = ""
    region: str = "eu01"
    endpoint: str = ""
    service_account_key: str = ""
    service_account_key_path: str = ""
    private_key: str = ""
    private_key_path: str = ""
    credentials_file_path: str = ""
    port: int = 80

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        if self.endpoint:
            yield from url_problems(self.endpoint, f"{path}.endpoint")
        elif not self.region:
            yield Problem(f"{path}.region", "is missing: region or endpoint is needed")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings) -> HTTPDiscovery:
        """See SDConfig."""
        return HTTPDiscovery("stackit", self, surroundings, self._groups)

    async def _groups(self, api: HTTPAPI) -> Sequence[TargetGroup]:
        if self.service_account_key or self.service_account_key_path:
            raise DiscoveryError("a service account key cannot be used: give a token as authorization")
        base = self.endpoint.rstrip("/") or f"https://iaas.api.{self.region}.stackit.cloud"
        url = f"{base}/v1/projects/{self.project}/servers"
        servers = (await api.json(url, _Servers, params=[("details", "true")])).items or ()
        targets = [self._target(server) for server in servers]
        return [TargetGroup("stackit", [target for target in targets if target])]

    def _target(self, server: "_Server") -> dict[str, str] | None:
        """None for a server without an address."""
        public, private = "", {}
        address = ""
        for nic in server.nics or ():
            if nic.public_ip and not public:
                public = address = nic.public_ip
            if nic.ipv4:
                private[label_name(nic.network_name)] = nic.ipv4
                address = address or nic.ipv4
        if not address:
            return None
        labels = {key: value for key, value in (server.labels or {}).items() if isinstance(value, str)}
        return {
            "__address__": host_port(address, self.port),
            f"{PREFIX}project": self.project,
            f"{PREFIX}id": server.id,
            f"{PREFIX}name": server.name,
            f"{PREFIX}availability_zone": server.availability_zone,
            f"{PREFIX}status": server.status,
            f"{PREFIX}power_status": server.power_status,
            f"{PREFIX}type": server.machine_type,
            f"{PREFIX}public_ipv4": public,
            **{f"{PREFIX}private_ipv4_{name}": ip for name, ip in private.items()},
            **prefixed(f"{PREFIX}label_", labels),
            **prefixed(f"{PREFIX}labelpresent_", dict.fromkeys(labels, "true")),
        }


class _Camel(msgspec.Struct, rename="camel"):
    """STACKIT's names."""


class _NIC(_Camel):
    network_name: str = ""
    ipv4: str | None = None
    public_ip: str | None = None


class _Server(_Camel):
    id: str = ""
    name: str = ""
    availability_zone: str = ""
    machine_type: str = ""
    status: str = ""
    power_status: str = ""
    labels: dict[str, object] | None = None
    nics: list[_NIC] | None = None


class _Servers(_Camel):
    items: list[_Server] | None = None
