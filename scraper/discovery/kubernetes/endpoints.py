"""Role `endpoints`: a target for each address and port of a service's endpoints, and for more ports of their pods."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from scraper.discovery.kubernetes.meta import NAMESPACE, PREFIX, Labels, key, object_labels
from scraper.discovery.kubernetes.nodes import node_labels
from scraper.discovery.kubernetes.objects import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    Node,
    ObjectReference,
    Pod,
    Service,
)
from scraper.discovery.kubernetes.pods import CONTAINER, container_labels, containers_of, pod_labels, port_labels
from scraper.discovery.kubernetes.services import service_labels
from scraper.discovery.labels import host_port
from scraper.discovery.model import TargetGroup


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind endpoints, by key; nodes are there where their labels are wanted."""

    services: Mapping[str, Service]
    pods: Mapping[str, Pod]
    nodes: Mapping[str, Node] | None

    def service_labels(self, namespace: str, name: str) -> Labels:
        """What is known of a service; nothing where it is not known itself."""
        service = self.services.get(f"{namespace}/{name}")
        return service_labels(service) if service else {}

    def pod(self, reference: ObjectReference | None) -> Pod | None:
        """The pod that an address belongs to, where it does and the pod is known."""
        if reference is None or reference.kind != "Pod":
            return None
        return self.pods.get(key(reference))


class PodPorts:
    """The pods met behind the addresses of one group, and which of their ports were among them."""

    def __init__(self) -> None:
        self._met: dict[str, tuple[Pod, set[int | None]]] = {}

    def labels(self, pod: Pod, port: int | None) -> Labels:
        """What a target with this port says of its pod; the last container with that port is named."""
        self._met.setdefault(key(pod.metadata), (pod, set()))[1].add(port)
        labels = pod_labels(pod)
        for container, is_init in containers_of(pod):
            same = (container_port for container_port in container.ports or () if container_port.container_port == port)
            if container_port := next(same, None):
                labels |= container_labels(container, is_init) | port_labels(container_port)
        return labels

    def others(self) -> Iterator[Labels]:
        """Targets for the ports of those pods that were not met."""
        for pod, met in self._met.values():
            ip = pod.status.pod_ip
            for container, is_init in containers_of(pod) if ip else ():
                for port in container.ports or ():
                    if port.container_port not in met:
                        labels = container_labels(container, is_init) | port_labels(port) | pod_labels(pod)
                        yield {"__address__": host_port(ip, port.container_port), **labels}


def endpoints_group(endpoints: Endpoints, behind: Behind) -> TargetGroup:
    """The targets of an Endpoints object."""
    meta = endpoints.metadata
    labels = {
        NAMESPACE: meta.namespace,
        **behind.service_labels(meta.namespace, meta.name),
        **object_labels("endpoints", meta),
    }
    pod_ports = PodPorts()
    targets = [
        _target(address, port, ready, behind, pod_ports)
        for subset in endpoints.subsets or ()
        for port in subset.ports or ()
        for addresses, ready in ((subset.addresses, "true"), (subset.not_ready_addresses, "false"))
        for address in addresses or ()
    ]
    targets += pod_ports.others()
    return TargetGroup(f"endpoints/{meta.namespace}/{meta.name}", targets, labels)


def _target(address: EndpointAddress, port: EndpointPort, ready: str, behind: Behind, pod_ports: PodPorts) -> Labels:
    labels = {
        "__address__": host_port(address.ip, port.port),
        f"{PREFIX}endpoint_port_name": port.name,
        f"{PREFIX}endpoint_port_protocol": port.protocol,
        f"{PREFIX}endpoint_ready": ready,
        f"{PREFIX}endpoint_hostname": address.hostname,
    }
    reference = address.target_ref
    if reference is not None:
        labels[f"{PREFIX}endpoint_address_target_kind"] = reference.kind
        labels[f"{PREFIX}endpoint_address_target_name"] = reference.name
    if address.node_name is not None:
        labels[f"{PREFIX}endpoint_node_name"] = address.node_name
    is_node = reference is not None and reference.kind == "Node"
    labels |= node_labels(behind.nodes, address.node_name or (reference.name if reference and is_node else None))
    if pod := behind.pod(reference):
        labels |= pod_ports.labels(pod, port.port)
        if f"{CONTAINER}port_protocol" in labels:
            labels[f"{CONTAINER}port_protocol"] = port.protocol
    return labels
