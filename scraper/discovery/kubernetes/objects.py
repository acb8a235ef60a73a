"""The objects of the Kubernetes API, as far as they are read.

See https://kubernetes.io/docs/reference/kubernetes-api/. Lists and mappings may be null, as Go writes empty ones.
"""

import msgspec


class _Part(msgspec.Struct, frozen=True, rename="camel"):
    """Base of all parts of objects; keys that are not named are skipped."""


class OwnerReference(_Part, frozen=True):
    """What an object belongs to; `controller` where that one manages it."""

    kind: str = ""
    name: str = ""
    controller: bool | None = None


class ObjectMeta(_Part, frozen=True):
    """What is said of every object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None


class ObjectReference(_Part, frozen=True):
    """The object behind an address."""

    kind: str = ""
    namespace: str = ""
    name: str = ""


class KubernetesObject(_Part, frozen=True):
    """What every object has."""

    metadata: ObjectMeta = ObjectMeta()


class NodeAddress(_Part, frozen=True):
    """One address of a node; `type` is InternalIP, Hostname, ..."""

    type: str = ""
    address: str = ""


class _KubeletEndpoint(_Part, frozen=True):
    port: int = msgspec.field(default=0, name="Port")


class _DaemonEndpoints(_Part, frozen=True):
    kubelet_endpoint: _KubeletEndpoint = _KubeletEndpoint()


class _NodeStatus(_Part, frozen=True):
    addresses: list[NodeAddress] | None = None
    daemon_endpoints: _DaemonEndpoints = _DaemonEndpoints()


class _NodeSpec(_Part, frozen=True):
    provider_id: str = msgspec.field(default="", name="providerID")


class Node(KubernetesObject, frozen=True):
    """A machine of the cluster."""

    spec: _NodeSpec = _NodeSpec()
    status: _NodeStatus = _NodeStatus()


class ContainerPort(_Part, frozen=True):
    """A port that a container names."""

    container_port: int = 0
    name: str = ""
    protocol: str = ""


class Container(_Part, frozen=True):
    """A container that a pod is to have."""

    name: str = ""
    image: str = ""
    ports: list[ContainerPort] | None = None


class ContainerStatus(_Part, frozen=True):
    """A container that a pod has."""

    name: str = ""
    container_id: str = msgspec.field(default="", name="containerID")


class PodCondition(_Part, frozen=True):
    """Ready, Initialized, ...: True, False or Unknown."""

    type: str = ""
    status: str = ""


class _PodSpec(_Part, frozen=True):
    node_name: str = ""
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None


class _PodStatus(_Part, frozen=True):
    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    host_ip: str = msgspec.field(default="", name="hostIP")
    conditions: list[PodCondition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None


class Pod(KubernetesObject, frozen=True):
    """Containers that run together at one address."""

    spec: _PodSpec = _PodSpec()
    status: _PodStatus = _PodStatus()


class ServicePort(_Part, frozen=True):
    """A port of a service."""

    name: str = ""
    port: int = 0
    protocol: str = ""


class _ServiceSpec(_Part, frozen=True):
    type: str = ""
    ports: list[ServicePort] | None = None
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    external_name: str = ""
    load_balancer_ip: str = msgspec.field(default="", name="loadBalancerIP")


class Service(KubernetesObject, frozen=True):
    """A name for several pods."""

    spec: _ServiceSpec = _ServiceSpec()


class EndpointAddress(_Part, frozen=True):
    """Where a service is served."""

    ip: str = ""
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointPort(_Part, frozen=True):
    """The port it is served at."""

    name: str = ""
    port: int = 0
    protocol: str = ""


class _EndpointSubset(_Part, frozen=True):
    addresses: list[EndpointAddress] | None = None
    not_ready_addresses: list[EndpointAddress] | None = None
    ports: list[EndpointPort] | None = None


class Endpoints(KubernetesObject, frozen=True):
    """Where the service of the same name is served."""

    subsets: list[_EndpointSubset] | None = None


class _EndpointConditions(_Part, frozen=True):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class SliceEndpoint(_Part, frozen=True):
    """Where a service is served: one pod, with one address."""

    addresses: list[str] | None = None
    conditions: _EndpointConditions = _EndpointConditions()
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    target_ref: ObjectReference | None = None
    deprecated_topology: dict[str, str] | None = None


class SlicePort(_Part, frozen=True):
    """The port it is served at."""

    name: str | None = None
    port: int | None = None
    protocol: str | None = None
    app_protocol: str | None = None


class EndpointSlice(KubernetesObject, frozen=True):
    """Where a service is served, a part of it."""

    address_type: str = ""
    endpoints: list[SliceEndpoint] | None = None
    ports: list[SlicePort] | None = None


class _IngressPath(_Part, frozen=True):
    path: str = ""


class _IngressHTTP(_Part, frozen=True):
    paths: list[_IngressPath] | None = None


class IngressRule(_Part, frozen=True):
    """The paths of a host."""

    host: str = ""
    http: _IngressHTTP | None = None


class _IngressTLS(_Part, frozen=True):
    hosts: list[str] | None = None


class _IngressSpec(_Part, frozen=True):
    ingress_class_name: str | None = None
    tls: list[_IngressTLS] | None = None
    rules: list[IngressRule] | None = None


class Ingress(KubernetesObject, frozen=True):
    """What is served to the world."""

    spec: _IngressSpec = _IngressSpec()
