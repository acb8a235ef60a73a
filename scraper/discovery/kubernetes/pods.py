"""Role `pod`: a target for each port of each container of a pod, one without port for a container that names none."""

from collections.abc import Iterator, Mapping

from scraper.discovery.kubernetes.meta import NAMESPACE, PREFIX, Labels, object_labels
from scraper.discovery.kubernetes.nodes import node_labels
from scraper.discovery.kubernetes.objects import Container, ContainerPort, Node, Pod
from scraper.discovery.labels import flag, host_port
from scraper.discovery.model import TargetGroup

CONTAINER = f"{PREFIX}pod_container_"


def pod_group(pod: Pod, nodes: Mapping[str, Node] | None) -> TargetGroup:
    """The targets of a pod; none while it has no address. `nodes` by name are given where their labels are wanted."""
    source = f"pod/{pod.metadata.namespace}/{pod.metadata.name}"
    if not pod.status.pod_ip:
        return TargetGroup(source, [])
    labels = pod_labels(pod) | {NAMESPACE: pod.metadata.namespace} | node_labels(nodes, pod.spec.node_name)
    return TargetGroup(source, list(_targets(pod)), labels)


def pod_labels(pod: Pod) -> Labels:
    """What targets of all roles say of the pod behind them."""
    status = pod.status
    ready = next((condition.status for condition in status.conditions or () if condition.type == "Ready"), "Unknown")
    labels = {
        f"{PREFIX}pod_ip": status.pod_ip,
        f"{PREFIX}pod_ready": ready.lower(),
        f"{PREFIX}pod_phase": status.phase,
        f"{PREFIX}pod_node_name": pod.spec.node_name,
        f"{PREFIX}pod_host_ip": status.host_ip,
        f"{PREFIX}pod_uid": pod.metadata.uid,
        **object_labels("pod", pod.metadata),
    }
    owners = pod.metadata.owner_references or ()
    if controller := next((owner for owner in owners if owner.controller), None):
        labels[f"{PREFIX}pod_controller_kind"] = controller.kind
        labels[f"{PREFIX}pod_controller_name"] = controller.name
    return labels


def containers_of(pod: Pod) -> Iterator[tuple[Container, bool]]:
    """The containers, and whether each is one that only runs before the others do."""
    for container in pod.spec.containers or ():
        yield container, False
    for container in pod.spec.init_containers or ():
        yield container, True


def container_labels(container: Container, is_init: bool) -> Labels:
    """A container without its ports."""
    return {
        f"{CONTAINER}name": container.name,
        f"{CONTAINER}image": container.image,
        f"{CONTAINER}init": flag(is_init),
    }


def port_labels(port: ContainerPort) -> Labels:
    """A port of a container."""
    return {
        f"{CONTAINER}port_name": port.name,
        f"{CONTAINER}port_number": str(port.container_port),
        f"{CONTAINER}port_protocol": port.protocol,
    }


def _targets(pod: Pod) -> Iterator[Labels]:
    ip = pod.status.pod_ip
    for container, is_init in containers_of(pod):
        statuses = pod.status.init_container_statuses if is_init else pod.status.container_statuses
        id_ = next((status.container_id for status in statuses or () if status.name == container.name), "")
        labels = {**container_labels(container, is_init), f"{CONTAINER}id": id_}
        if not container.ports:
            yield {"__address__": ip, **labels}
        for port in container.ports or ():
            yield {"__address__": host_port(ip, port.container_port), **labels, **port_labels(port)}
