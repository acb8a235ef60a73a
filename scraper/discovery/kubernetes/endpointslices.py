"""Role `endpointslice`: as `endpoints`, from the slices that large services have their endpoints in."""

from scraper.discovery.kubernetes.endpoints import Behind, PodPorts
from scraper.discovery.kubernetes.meta import NAMESPACE, PREFIX, Labels, object_labels
from scraper.discovery.kubernetes.nodes import node_labels
from scraper.discovery.kubernetes.objects import EndpointSlice, SliceEndpoint, SlicePort
from scraper.discovery.labels import flag, host_port, label_name
from scraper.discovery.model import TargetGroup

SLICE = f"{PREFIX}endpointslice_"
SERVICE_NAME = "kubernetes.io/service-name"
"""The label of a slice that names its service."""


def endpointslice_group(slice_: EndpointSlice, behind: Behind) -> TargetGroup:
    """The targets of an EndpointSlice object."""
    meta = slice_.metadata
    service = (meta.labels or {}).get(SERVICE_NAME)
    labels = {
        NAMESPACE: meta.namespace,
        f"{SLICE}address_type": slice_.address_type,
        **object_labels("endpointslice", meta),
        **(behind.service_labels(meta.namespace, service) if service is not None else {}),
    }
    pod_ports = PodPorts()
    targets = [
        _target(address, endpoint, port, behind, pod_ports)
        for endpoint in slice_.endpoints or ()
        for port in slice_.ports or ()
        for address in endpoint.addresses or ()
    ]
    targets += pod_ports.others()
    return TargetGroup(f"endpointslice/{meta.namespace}/{meta.name}", targets, labels)


def _target(address: str, endpoint: SliceEndpoint, port: SlicePort, behind: Behind, pod_ports: PodPorts) -> Labels:
    labels = {
        "__address__": address if port.port is None else host_port(address, port.port),
        **_port_labels(port),
        **_endpoint_labels(endpoint),
    }
    reference = endpoint.target_ref
    is_node = reference is not None and reference.kind == "Node"
    labels |= node_labels(behind.nodes, reference.name if reference is not None and is_node else endpoint.node_name)
    if pod := behind.pod(reference):
        labels |= pod_ports.labels(pod, port.port)
    return labels


def _port_labels(port: SlicePort) -> Labels:
    values = {
        "port_name": port.name,
        "port_protocol": port.protocol,
        "port": None if port.port is None else str(port.port),
        "port_app_protocol": port.app_protocol,
    }
    return {SLICE + name: value for name, value in values.items() if value is not None}


def _endpoint_labels(endpoint: SliceEndpoint) -> Labels:
    conditions, reference = endpoint.conditions, endpoint.target_ref
    flags = {
        "endpoint_conditions_ready": conditions.ready,
        "endpoint_conditions_serving": conditions.serving,
        "endpoint_conditions_terminating": conditions.terminating,
    }
    values = {
        "endpoint_hostname": endpoint.hostname,
        "endpoint_node_name": endpoint.node_name,
        "endpoint_zone": endpoint.zone,
        "address_target_kind": reference.kind if reference else None,
        "address_target_name": reference.name if reference else None,
    }
    labels = {SLICE + name: flag(value) for name, value in flags.items() if value is not None}
    labels |= {SLICE + name: value for name, value in values.items() if value is not None}
    for key, value in (endpoint.deprecated_topology or {}).items():
        labels[f"{SLICE}endpoint_topology_{label_name(key)}"] = value
        labels[f"{SLICE}endpoint_topology_present_{label_name(key)}"] = "true"
    return labels
