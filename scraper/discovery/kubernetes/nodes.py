"""Role `node`: a target for each node, its kubelet; and what targets of other roles say of the node they run on."""

from collections.abc import Mapping

from scraper.discovery.kubernetes.meta import PREFIX, Labels, object_labels
from scraper.discovery.kubernetes.objects import Node
from scraper.discovery.labels import host_port, label_name
from scraper.discovery.model import TargetGroup

_PREFERRED = ("InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname")


def node_group(node: Node) -> TargetGroup | None:
    """The target of a node; None while it has no address."""
    first: dict[str, str] = {}
    for address in node.status.addresses or ():
        first.setdefault(address.type, address.address)
    host = next((first[type_] for type_ in _PREFERRED if type_ in first), None)
    if host is None:
        return None
    name = node.metadata.name
    target = {
        "__address__": host_port(host, node.status.daemon_endpoints.kubelet_endpoint.port),
        "instance": name,
        **{f"{PREFIX}node_address_{label_name(type_)}": address for type_, address in first.items()},
    }
    labels = {f"{PREFIX}node_provider_id": node.spec.provider_id, **object_labels("node", node.metadata)}
    return TargetGroup(f"node/{name}", [target], labels)


def node_labels(nodes: Mapping[str, Node] | None, name: str | None) -> Labels:
    """What is attached of a node; nothing where it is not known, or nodes are not asked for."""
    node = (nodes or {}).get(name or "")
    return object_labels("node", node.metadata) if node else {}
