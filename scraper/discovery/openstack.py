"""`openstack_sd_configs`: instances, hypervisors or load balancers of OpenStack (prometheus discovery/openstack).

Each refresh asks Keystone for a token, whose catalog names the endpoints of the other services; see
https://docs.openstack.org/api-ref/.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from common.yamlfile import Duration, Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery
from scraper.discovery.labels import host_port, prefixed
from scraper.discovery.model import Surroundings, TargetGroup
from scraper.discovery.openstack_session import Credentials, Session, signed_in
from scraper.http_config import TLSConfig

PREFIX = "__meta_openstack_"
LB_PREFIX = f"{PREFIX}loadbalancer_"

Labels = dict[str, str]


class OpenStackSDConfig(Credentials, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who asks, the region and what is wanted of it; `port` is without effect on load balancers."""

    role: Literal["", "instance", "hypervisor", "loadbalancer"] = ""
    region: str = ""
    port: int = 80
    all_tenants: bool = False
    availability: Literal["public", "admin", "internal"] = "public"
    tls_config: TLSConfig = TLSConfig()
    refresh_interval: Duration = Duration(60_000)

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        if not self.role:
            yield Problem(f"{path}.role", "is missing: one of instance, hypervisor, loadbalancer")
        if not self.region:
            yield Problem(f"{path}.region", "is missing")
        yield from self._api_config().problems(path)

    def discoverer(self, surroundings: Surroundings) -> HTTPDiscovery:
        """See SDConfig."""
        targets = {"hypervisor": self._hypervisors, "loadbalancer": self._load_balancers}.get(
            self.role, self._instances
        )

        async def fetch(api: HTTPAPI) -> Sequence[TargetGroup]:
            session = await signed_in(api, self, self.region, self.availability)
            return [TargetGroup(f"OS_{self.region}", await targets(session))]

        return HTTPDiscovery("openstack", self._api_config(), surroundings, fetch)

    def _api_config(self) -> APIConfig:
        return APIConfig(tls_config=self.tls_config, refresh_interval=self.refresh_interval)

    async def _instances(self, session: Session) -> list[Labels]:
        ports = {port.id: port for port in await session.all("network", "v2.0/ports", "ports", list[_Port])}
        floating: dict[tuple[str, str, str], str] = {}
        for ip in await session.all("network", "v2.0/floatingips", "floatingips", list[_FloatingIP]):
            if ip.port_id in ports and ip.fixed_ip_address:
                floating[ip.owner, ports[ip.port_id].device_id, ip.fixed_ip_address] = ip.floating_ip_address
        everywhere = "?all_tenants=true" if self.all_tenants else ""
        servers = await session.all("compute", f"servers/detail{everywhere}", "servers", list[_Server])
        return [target for server in servers for target in self._instance(server, floating)]

    def _instance(self, server: "_Server", floating: dict[tuple[str, str, str], str]) -> Iterator[Labels]:
        flavor = server.flavor.get("original_name", server.flavor.get("id"))  # the name from microversion 2.47 on
        if not isinstance(flavor, str):
            return
        image = server.image.get("id") if isinstance(server.image, dict) else None
        labels = {
            f"{PREFIX}instance_id": server.id,
            f"{PREFIX}instance_status": server.status,
            f"{PREFIX}instance_name": server.name,
            f"{PREFIX}project_id": server.tenant_id,
            f"{PREFIX}user_id": server.user_id,
            f"{PREFIX}instance_flavor": flavor,
            f"{PREFIX}instance_image": image if isinstance(image, str) else "",
            **prefixed(f"{PREFIX}tag_", server.metadata),
        }
        public = set(floating.values())
        for pool, addresses in server.addresses.items():
            for address in addresses:
                if address.addr not in public:
                    yield {
                        **labels,
                        "__address__": host_port(address.addr, self.port),
                        f"{PREFIX}address_pool": pool,
                        f"{PREFIX}private_ip": address.addr,
                        f"{PREFIX}public_ip": floating.get((server.tenant_id, server.id, address.addr), ""),
                    }

    async def _hypervisors(self, session: Session) -> list[Labels]:
        return [
            {
                "__address__": host_port(hypervisor.host_ip, self.port),
                f"{PREFIX}hypervisor_id": str(hypervisor.id),
                f"{PREFIX}hypervisor_hostname": hypervisor.hypervisor_hostname,
                f"{PREFIX}hypervisor_host_ip": hypervisor.host_ip,
                f"{PREFIX}hypervisor_status": hypervisor.status,
                f"{PREFIX}hypervisor_state": hypervisor.state,
                f"{PREFIX}hypervisor_type": hypervisor.hypervisor_type,
            }
            for hypervisor in await session.all("compute", "os-hypervisors/detail", "hypervisors", list[_Hypervisor])
        ]

    async def _load_balancers(self, session: Session) -> list[Labels]:
        service = "load-balancer"
        balancers = await session.all(service, "v2.0/lbaas/loadbalancers", "loadbalancers", list[_LoadBalancer])
        ports: dict[str, int] = {}  # of the first listener that speaks Prometheus's protocol, by load balancer
        for listener in await session.all(service, "v2.0/lbaas/listeners", "listeners", list[_Listener]):
            if listener.protocol == "PROMETHEUS":
                for balancer in listener.loadbalancers or ():
                    ports.setdefault(balancer.id, listener.protocol_port)
        ips = await session.all("network", "v2.0/floatingips", "floatingips", list[_FloatingIP])
        floating = {ip.port_id: ip.floating_ip_address for ip in ips if ip.port_id}
        return [
            {
                "__address__": host_port(balancer.vip_address, ports[balancer.id]),
                f"{LB_PREFIX}id": balancer.id,
                f"{LB_PREFIX}name": balancer.name,
                f"{LB_PREFIX}operating_status": balancer.operating_status,
                f"{LB_PREFIX}provisioning_status": balancer.provisioning_status,
                f"{LB_PREFIX}availability_zone": balancer.availability_zone or "",
                f"{LB_PREFIX}vip": balancer.vip_address,
                f"{LB_PREFIX}provider": balancer.provider,
                f"{LB_PREFIX}tags": ",".join(balancer.tags or ()),
                f"{LB_PREFIX}floating_ip": floating.get(balancer.vip_port_id, ""),
                f"{PREFIX}project_id": balancer.project_id,
            }
            for balancer in balancers
            if balancer.id in ports
        ]


class _Port(msgspec.Struct):
    id: str
    device_id: str = ""


class _FloatingIP(msgspec.Struct):
    floating_ip_address: str = ""
    fixed_ip_address: str | None = None
    port_id: str | None = None
    tenant_id: str = ""
    project_id: str = ""

    @property
    def owner(self) -> str:
        return self.tenant_id or self.project_id


class _Address(msgspec.Struct):
    addr: str = ""


class _Server(msgspec.Struct):
    id: str
    name: str = ""
    status: str = ""
    tenant_id: str = ""
    user_id: str = ""
    flavor: dict[str, Any] = {}
    image: dict[str, Any] | str | None = None  # "" where it was started from a volume
    metadata: dict[str, str] | None = None
    addresses: dict[str, list[_Address]] = {}


class _Hypervisor(msgspec.Struct):
    id: int | str  # a UUID from microversion 2.53 on
    hypervisor_hostname: str = ""
    hypervisor_type: str = ""
    host_ip: str = ""
    status: str = ""
    state: str = ""


class _Listener(msgspec.Struct):
    protocol: str = ""
    protocol_port: int = 0
    loadbalancers: list["_LoadBalancer"] | None = None


class _LoadBalancer(msgspec.Struct):
    id: str
    name: str = ""
    operating_status: str = ""
    provisioning_status: str = ""
    availability_zone: str | None = None
    vip_address: str = ""
    vip_port_id: str = ""
    provider: str = ""
    project_id: str = ""
    tags: list[str] | None = None
