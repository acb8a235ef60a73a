"""Role `service`: a target for each port of a service, at the name that the cluster's DNS has for it."""

from scraper.discovery.kubernetes.meta import NAMESPACE, PREFIX, Labels, object_labels
from scraper.discovery.kubernetes.objects import Service, ServicePort
from scraper.discovery.labels import host_port
from scraper.discovery.model import TargetGroup


def service_group(service: Service) -> TargetGroup:
    """The targets of a service."""
    meta = service.metadata
    targets = [_target(service, port) for port in service.spec.ports or ()]
    return TargetGroup(f"svc/{meta.namespace}/{meta.name}", targets, service_labels(service))


def service_labels(service: Service) -> Labels:
    """What endpoints say of their service as well."""
    return {NAMESPACE: service.metadata.namespace, **object_labels("service", service.metadata)}


def _target(service: Service, port: ServicePort) -> Labels:
    meta, spec = service.metadata, service.spec
    labels = {
        "__address__": host_port(f"{meta.name}.{meta.namespace}.svc", port.port),
        f"{PREFIX}service_port_name": port.name,
        f"{PREFIX}service_port_number": str(port.port),
        f"{PREFIX}service_port_protocol": port.protocol,
        f"{PREFIX}service_type": spec.type,
    }
    if spec.type == "ExternalName":
        labels[f"{PREFIX}service_external_name"] = spec.external_name
    else:
        labels[f"{PREFIX}service_cluster_ip"] = spec.cluster_ip
    if spec.type == "LoadBalancer":
        labels[f"{PREFIX}service_loadbalancer_ip"] = spec.load_balancer_ip
    return labels
