"""One namespace as a role sees it: the copies of what it looks at, and the targets they make."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scraper.discovery.kubernetes.endpoints import Behind, endpoints_group
from scraper.discovery.kubernetes.endpointslices import endpointslice_group
from scraper.discovery.kubernetes.ingresses import ingress_group
from scraper.discovery.kubernetes.nodes import node_group
from scraper.discovery.kubernetes.objects import Endpoints, EndpointSlice, Ingress, Node, Pod, Service
from scraper.discovery.kubernetes.pods import pod_group
from scraper.discovery.kubernetes.reflector import Reflector
from scraper.discovery.kubernetes.services import service_group
from scraper.discovery.model import TargetGroup


@dataclass(frozen=True, slots=True)
class Namespace:
    """The copies; those that the role does not look at are never filled. `nodes` are of the whole cluster."""

    role: str
    attach_nodes: bool
    nodes: Reflector[Node]
    pods: Reflector[Pod]
    services: Reflector[Service]
    endpoints: Reflector[Endpoints]
    endpointslices: Reflector[EndpointSlice]
    ingresses: Reflector[Ingress]

    def seen(self) -> Sequence[Reflector[Any]]:
        """What the role looks at."""
        nodes: list[Reflector[Any]] = [self.nodes] if self.attach_nodes else []
        match self.role:
            case "node":
                return [self.nodes]
            case "pod":
                return [self.pods, *nodes]
            case "service":
                return [self.services]
            case "endpoints":
                return [self.endpoints, self.services, self.pods, *nodes]
            case "endpointslice":
                return [self.endpointslices, self.services, self.pods, *nodes]
            case _:
                return [self.ingresses]

    def groups(self) -> Iterator[TargetGroup]:
        """The targets, a group for each object that is there now; what comes while they are taken may be left out."""
        nodes: Mapping[str, Node] | None = self.nodes.objects if self.attach_nodes else None
        behind = Behind(self.services.objects, self.pods.objects, nodes)
        match self.role:
            case "node":
                return filter(None, map(node_group, list(self.nodes.objects.values())))
            case "pod":
                return (pod_group(pod, nodes) for pod in list(self.pods.objects.values()))
            case "service":
                return map(service_group, list(self.services.objects.values()))
            case "endpoints":
                return (endpoints_group(endpoints, behind) for endpoints in list(self.endpoints.objects.values()))
            case "endpointslice":
                return (endpointslice_group(slice_, behind) for slice_ in list(self.endpointslices.objects.values()))
            case _:
                return map(ingress_group, list(self.ingresses.objects.values()))
