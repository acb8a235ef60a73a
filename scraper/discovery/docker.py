"""`docker_sd_configs`: the containers of a Docker daemon (prometheus discovery/moby/docker.go).

A container is one target for each of its networks and TCP ports; one without TCP ports, one for each network with the
`port` of the config.
"""

from collections.abc import Iterator, Sequence

import msgspec

from scraper.discovery.docker_api import Engine, EngineConfig, Labels
from scraper.discovery.http_api import HTTPDiscovery
from scraper.discovery.labels import host_port, prefixed
from scraper.discovery.model import Surroundings, TargetGroup

PREFIX = "__meta_docker_"


class DockerSDConfig(EngineConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`match_first_network`: of several networks only the first by name makes targets."""

    host_networking_host: str = "localhost"
    match_first_network: bool = True

    def discoverer(self, surroundings: Surroundings) -> HTTPDiscovery:
        """See SDConfig."""
        return self.engine_discovery("docker", surroundings, self._groups)

    async def _groups(self, engine: Engine) -> Sequence[TargetGroup]:
        url, params = f"{engine.url}/containers/json", self.filter_params()
        containers = await engine.api.json(url, list[_Container], params=params)
        networks = await engine.network_labels(PREFIX)
        by_id = {container.id: container for container in containers}
        targets = [
            target
            for container in containers
            if container.names
            for target in self._targets(container, by_id, networks)
        ]
        return [TargetGroup("Docker", targets)]

    def _targets(
        self, container: "_Container", by_id: dict[str, "_Container"], networks: dict[str, Labels]
    ) -> Iterator[Labels]:
        common = {
            f"{PREFIX}container_id": container.id,
            f"{PREFIX}container_name": (container.names or [""])[0],
            f"{PREFIX}container_network_mode": container.host_config.network_mode,
            **prefixed(f"{PREFIX}container_label_", container.labels),
        }
        endpoints = _endpoints(container, by_id)
        if self.match_first_network:
            endpoints = endpoints[:1]
        ports = [port for port in container.ports or () if port.type == "tcp"]
        for endpoint in endpoints:
            network = {f"{PREFIX}network_ip": endpoint.ip_address, **networks.get(endpoint.network_id, {})}
            for port in ports:
                address = host_port(endpoint.ip_address, port.private_port)
                yield {"__address__": address, **network, **common, **_port_labels(port)}
            if not ports:
                yield {"__address__": self._address_without_ports(container, endpoint), **network, **common}

    def _address_without_ports(self, container: "_Container", endpoint: "_Endpoint") -> str:
        if container.host_config.network_mode == "host":
            return self.host_networking_host
        return host_port(endpoint.ip_address, self.port)


def _endpoints(container: "_Container", by_id: dict[str, "_Container"]) -> list["_Endpoint"]:
    """Where a container is on networks, sorted by their names; it may share those of another container."""
    seen: set[str] = set()
    owner = container
    while not owner.network_settings.networks and owner.id not in seen:
        seen.add(owner.id)
        mode, _, shared_id = owner.host_config.network_mode.partition(":")
        if mode != "container" or shared_id not in by_id:
            break
        owner = by_id[shared_id]
    networks = owner.network_settings.networks or {}
    return [endpoint for _, endpoint in sorted(networks.items()) if endpoint is not None]


def _port_labels(port: "_Port") -> Labels:
    labels = {f"{PREFIX}port_private": str(port.private_port)}
    if port.public_port:
        labels |= {f"{PREFIX}port_public": str(port.public_port), f"{PREFIX}port_public_ip": port.ip}
    return labels


class _Port(msgspec.Struct, rename="pascal"):
    private_port: int = 0
    public_port: int = 0
    type: str = ""
    ip: str = msgspec.field(default="", name="IP")


class _Endpoint(msgspec.Struct, rename="pascal"):
    ip_address: str = msgspec.field(default="", name="IPAddress")
    network_id: str = msgspec.field(default="", name="NetworkID")


class _HostConfig(msgspec.Struct, rename="pascal"):
    network_mode: str = ""


class _NetworkSettings(msgspec.Struct, rename="pascal"):
    networks: dict[str, _Endpoint | None] | None = None


class _Container(msgspec.Struct, rename="pascal"):
    """One of GET /containers/json."""

    id: str
    names: list[str] | None = None
    labels: dict[str, str] | None = None
    ports: list[_Port] | None = None
    host_config: _HostConfig = msgspec.field(default_factory=_HostConfig)
    network_settings: _NetworkSettings = msgspec.field(default_factory=_NetworkSettings)
