"""`dockerswarm_sd_configs`: services, tasks or nodes of a Docker Swarm (prometheus discovery/moby)."""

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_interface
from typing import Literal

import msgspec

from common.yamlfile import Problem
from scraper.discovery.docker_api import Engine, EngineConfig, Labels
from scraper.discovery.http_api import HTTPDiscovery
from scraper.discovery.labels import flag, host_port, prefixed
from scraper.discovery.model import DiscoveryError, Surroundings, TargetGroup

PREFIX = "__meta_dockerswarm_"

NODE_ADDRESS = f"{PREFIX}node_address"


class DockerSwarmSDConfig(EngineConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A manager of the swarm, and what of it is a target; `port` is for those that publish none."""

    role: Literal["", "services", "tasks", "nodes"] = ""

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        if not self.role:
            yield Problem(f"{path}.role", "is missing: one of services, tasks, nodes")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings) -> HTTPDiscovery:
        """See SDConfig."""
        return self.engine_discovery("dockerswarm", surroundings, self._groups)

    async def _groups(self, engine: Engine) -> Sequence[TargetGroup]:
        match self.role:
            case "nodes":
                targets = await self._nodes(engine)
            case "tasks":
                targets = await self._tasks(engine)
            case _:
                targets = await self._services(engine)
        return [TargetGroup("DockerSwarm", targets)]

    async def _nodes(self, engine: Engine) -> list[Labels]:
        nodes = await engine.api.json(f"{engine.url}/nodes", list[_Node], params=self.filter_params())
        return [
            {"__address__": host_port(node.status.addr, self.port), **_node_labels(node), **_node_details(node)}
            for node in nodes
        ]

    async def _services(self, engine: Engine) -> list[Labels]:
        services = await engine.api.json(f"{engine.url}/services", list[_Service], params=self.filter_params())
        networks = await engine.network_labels(PREFIX)
        targets: list[Labels] = []
        for service in services:
            common = {**_service_labels(service), **_service_details(service)}
            ports = [port for port in service.endpoint.ports or () if port.protocol == "tcp"]
            for virtual_ip in service.endpoint.virtual_ips or ():
                here = {**common, **networks.get(virtual_ip.network_id, {})}
                targets += self._on_ports(virtual_ip.addr, ports, here, _endpoint_port_labels)
        return targets

    async def _tasks(self, engine: Engine) -> list[Labels]:
        tasks = await engine.api.json(f"{engine.url}/tasks", list[_Task], params=self.filter_params())
        services = {service.id: service for service in await engine.api.json(f"{engine.url}/services", list[_Service])}
        nodes = {node.id: node for node in await engine.api.json(f"{engine.url}/nodes", list[_Node])}
        networks = await engine.network_labels(PREFIX)
        targets = []
        for task in tasks:
            service, node = services.get(task.service_id), nodes.get(task.node_id)
            common = _task_labels(task)
            if service is not None:
                common |= _service_labels(service)
            if node is not None:
                common |= _node_labels(node)
            for port in task.status.port_status.ports or ():
                if port.protocol == "tcp":
                    address = host_port(common.get(NODE_ADDRESS, ""), port.published_port)
                    targets.append({"__address__": address, **common, **_task_port_labels(port)})
            ports = [port for port in (service.endpoint.ports if service else None) or () if port.protocol == "tcp"]
            for attachment in task.networks_attachments or ():
                here = {**common, **networks.get(attachment.network.id, {})}
                for address in attachment.addresses or ():
                    targets += self._on_ports(address, ports, here, _task_port_labels)
        return targets

    def _on_ports(
        self, network: str, ports: Sequence["_Port"], labels: Labels, port_labels: Callable[["_Port"], Labels]
    ) -> Iterator[Labels]:
        """Targets at an address that is written with the size of its network, 10.0.1.4/24."""
        try:
            address = str(ip_interface(network).ip)
        except ValueError as error:
            raise DiscoveryError(f"Docker names an address that is none: {error}") from error
        for port in ports:
            yield {"__address__": host_port(address, port.published_port), **labels, **port_labels(port)}
        if not ports:
            yield {"__address__": host_port(address, self.port), **labels}


def _service_labels(service: "_Service") -> Labels:
    mode = service.spec.mode
    mode_name = "global" if mode.global_ is not None else "replicated" if mode.replicated is not None else ""
    return {
        f"{PREFIX}service_id": service.id,
        f"{PREFIX}service_name": service.spec.name,
        f"{PREFIX}service_mode": mode_name,
        **prefixed(f"{PREFIX}service_label_", service.spec.labels),
    }


def _service_details(service: "_Service") -> Labels:
    """What is not also on the service's tasks."""
    container = service.spec.task_template.container_spec
    return {
        f"{PREFIX}service_task_container_hostname": container.hostname,
        f"{PREFIX}service_task_container_image": container.image,
        f"{PREFIX}service_updating_status": service.update_status.state if service.update_status else "",
    }


def _node_labels(node: "_Node") -> Labels:
    platform = node.description.platform
    return {
        f"{PREFIX}node_id": node.id,
        f"{PREFIX}node_role": node.spec.role,
        NODE_ADDRESS: node.status.addr,
        f"{PREFIX}node_availability": node.spec.availability,
        f"{PREFIX}node_hostname": node.description.hostname,
        f"{PREFIX}node_platform_architecture": platform.architecture,
        f"{PREFIX}node_platform_os": platform.os,
        f"{PREFIX}node_status": node.status.state,
        **prefixed(f"{PREFIX}node_label_", node.spec.labels),
    }


def _node_details(node: "_Node") -> Labels:
    """What is not also on the node's tasks."""
    labels = {f"{PREFIX}node_engine_version": node.description.engine.engine_version}
    if manager := node.manager_status:
        labels |= {
            f"{PREFIX}node_manager_leader": flag(manager.leader),
            f"{PREFIX}node_manager_reachability": manager.reachability,
            f"{PREFIX}node_manager_address": manager.addr,
        }
    return labels


def _task_labels(task: "_Task") -> Labels:
    container = task.status.container_status
    spec = task.spec.container_spec
    return {
        f"{PREFIX}task_id": task.id,
        f"{PREFIX}task_desired_state": task.desired_state,
        f"{PREFIX}task_state": task.status.state,
        f"{PREFIX}task_slot": str(task.slot),
        f"{PREFIX}task_container_id": container.container_id if container else "",
        **prefixed(f"{PREFIX}container_label_", spec.labels if spec else None),
    }


def _task_port_labels(port: "_Port") -> Labels:
    return {f"{PREFIX}task_port_publish_mode": port.publish_mode}


def _endpoint_port_labels(port: "_Port") -> Labels:
    return {
        f"{PREFIX}service_endpoint_port_name": port.name,
        f"{PREFIX}service_endpoint_port_publish_mode": port.publish_mode,
    }


# What is read of GET /nodes, /services and /tasks.


class _Named(msgspec.Struct, rename="pascal"):
    id: str = msgspec.field(default="", name="ID")


class _Platform(msgspec.Struct, rename="pascal"):
    architecture: str = ""
    os: str = msgspec.field(default="", name="OS")


class _Engine(msgspec.Struct, rename="pascal"):
    engine_version: str = ""


class _Description(msgspec.Struct, rename="pascal"):
    hostname: str = ""
    platform: _Platform = msgspec.field(default_factory=_Platform)
    engine: _Engine = msgspec.field(default_factory=_Engine)


class _NodeStatus(msgspec.Struct, rename="pascal"):
    state: str = ""
    addr: str = ""


class _NodeSpec(msgspec.Struct, rename="pascal"):
    role: str = ""
    availability: str = ""
    labels: dict[str, str] | None = None


class _ManagerStatus(msgspec.Struct, rename="pascal"):
    leader: bool = False
    reachability: str = ""
    addr: str = ""


class _Node(_Named, rename="pascal", kw_only=True):
    spec: _NodeSpec
    description: _Description
    status: _NodeStatus
    manager_status: _ManagerStatus | None = None


class _Port(msgspec.Struct, rename="pascal"):
    name: str = ""
    protocol: str = ""
    published_port: int = 0
    publish_mode: str = ""


class _VirtualIP(msgspec.Struct, rename="pascal"):
    network_id: str = msgspec.field(default="", name="NetworkID")
    addr: str = ""


class _Endpoint(msgspec.Struct, rename="pascal"):
    ports: list[_Port] | None = None
    virtual_ips: list[_VirtualIP] | None = msgspec.field(default=None, name="VirtualIPs")


class _Mode(msgspec.Struct, rename="pascal"):
    global_: dict[str, object] | None = msgspec.field(default=None, name="Global")
    replicated: dict[str, object] | None = None


class _ContainerSpec(msgspec.Struct, rename="pascal"):
    image: str = ""
    hostname: str = ""
    labels: dict[str, str] | None = None


class _TaskTemplate(msgspec.Struct, rename="pascal"):
    container_spec: _ContainerSpec = msgspec.field(default_factory=_ContainerSpec)


class _ServiceSpec(msgspec.Struct, rename="pascal"):
    name: str = ""
    labels: dict[str, str] | None = None
    task_template: _TaskTemplate = msgspec.field(default_factory=_TaskTemplate)
    mode: _Mode = msgspec.field(default_factory=_Mode)


class _UpdateStatus(msgspec.Struct, rename="pascal"):
    state: str = ""


class _Service(_Named, rename="pascal", kw_only=True):
    spec: _ServiceSpec
    endpoint: _Endpoint = msgspec.field(default_factory=_Endpoint)
    update_status: _UpdateStatus | None = None


class _ContainerStatus(msgspec.Struct, rename="pascal"):
    container_id: str = msgspec.field(default="", name="ContainerID")


class _PortStatus(msgspec.Struct, rename="pascal"):
    ports: list[_Port] | None = None


class _TaskStatus(msgspec.Struct, rename="pascal"):
    state: str = ""
    container_status: _ContainerStatus | None = None
    port_status: _PortStatus = msgspec.field(default_factory=_PortStatus)


class _TaskSpec(msgspec.Struct, rename="pascal"):
    container_spec: _ContainerSpec | None = None


class _Attachment(msgspec.Struct, rename="pascal"):
    network: _Named
    addresses: list[str] | None = None


class _Task(_Named, rename="pascal", kw_only=True):
    service_id: str = msgspec.field(default="", name="ServiceID")
    node_id: str = msgspec.field(default="", name="NodeID")
    slot: int = 0
    spec: _TaskSpec = msgspec.field(default_factory=_TaskSpec)
    status: _TaskStatus
    desired_state: str = ""
    networks_attachments: list[_Attachment] | None = None
