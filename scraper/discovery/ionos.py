"""`ionos_sd_configs`: the servers of a data center of IONOS Cloud (prometheus discovery/ionos).

See https://api.ionos.com/docs/cloud/v6/.
"""

from collections.abc import Iterator, Sequence

import msgspec

from common.yamlfile import Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery
from scraper.discovery.labels import host_port, label_name, listed
from scraper.discovery.model import Surroundings, TargetGroup

API_URL = "https://api.ionos.com"

PREFIX = "__meta_ionos_server_"


class IONOSSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The data center; the user is given as `basic_auth`, or a token as `authorization`."""

    datacenter_id: str = ""
    port: int = 80

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        if not self.datacenter_id:
            yield Problem(f"{path}.datacenter_id", "is missing")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings, url: str = API_URL) -> HTTPDiscovery:
        """See SDConfig."""
        return HTTPDiscovery("ionos", self, surroundings, lambda api: self._groups(api, f"{url}/cloudapi/v6"))

    async def _groups(self, api: HTTPAPI, url: str) -> Sequence[TargetGroup]:
        servers = await api.json(f"{url}/datacenters/{self.datacenter_id}/servers", _Servers, params=[("depth", "3")])
        targets = [self._target(server, servers.id or "") for server in servers.items or ()]
        return [TargetGroup("ionos", [target for target in targets if target])]

    def _target(self, server: "_Server", servers_id: str) -> dict[str, str] | None:
        """None for a server without an address."""
        addresses: list[str] = []
        by_name: dict[str, list[str]] = {}
        entities = server.entities or _Entities()
        for nic in (entities.nics and entities.nics.items) or ():
            its = nic.properties or _NICProperties()
            name = "unnamed" if its.name is None else its.name
            addresses[:0] = its.ips or ()
            by_name[name] = [*(its.ips or ()), *by_name.get(name, ())]
        if not addresses:
            return None
        properties = server.properties or _ServerProperties()
        volumes = entities.volumes and entities.volumes.items
        image = volumes[0].properties.image if volumes and volumes[0].properties else None
        optional = {
            "availability_zone": properties.availability_zone,
            "cpu_family": properties.cpu_family,
            "id": server.id,
            "lifecycle": server.metadata.state if server.metadata else None,
            "name": properties.name,
            "state": properties.vm_state,
            "type": properties.type,
            "boot_cdrom_id": properties.boot_cdrom.id if properties.boot_cdrom else None,
            "boot_volume_id": properties.boot_volume.id if properties.boot_volume else None,
            "boot_image_id": image,
        }
        return {
            "__address__": host_port(addresses[0], self.port),
            f"{PREFIX}ip": listed(addresses),
            f"{PREFIX}servers_id": servers_id,
            **{f"{PREFIX}nic_ip_{label_name(name)}": listed(ips) for name, ips in by_name.items()},
            **{PREFIX + name: value for name, value in optional.items() if value is not None},
        }


class _Camel(msgspec.Struct, rename="camel"):
    """IONOS's names."""


class _Reference(_Camel):
    id: str | None = None


class _NICProperties(_Camel):
    name: str | None = None
    ips: list[str] | None = None


class _NIC(_Camel):
    properties: _NICProperties | None = None


class _NICs(_Camel):
    items: list[_NIC] | None = None


class _VolumeProperties(_Camel):
    image: str | None = None


class _Volume(_Camel):
    properties: _VolumeProperties | None = None


class _Volumes(_Camel):
    items: list[_Volume] | None = None


class _Entities(_Camel):
    nics: _NICs | None = None
    volumes: _Volumes | None = None


class _Metadata(_Camel):
    state: str | None = None


class _ServerProperties(_Camel):
    name: str | None = None
    availability_zone: str | None = None
    cpu_family: str | None = None
    vm_state: str | None = None
    type: str | None = None
    boot_cdrom: _Reference | None = None
    boot_volume: _Reference | None = None


class _Server(_Camel):
    id: str | None = None
    metadata: _Metadata | None = None
    properties: _ServerProperties | None = None
    entities: _Entities | None = None


class _Servers(_Camel):
    id: str | None = None
    items: list[_Server] | None = None
