"""Role `ingress`: a target for each path of an ingress."""

from collections.abc import Iterable

from scraper.discovery.kubernetes.meta import NAMESPACE, PREFIX, object_labels
from scraper.discovery.kubernetes.objects import Ingress, IngressRule
from scraper.discovery.model import TargetGroup


def ingress_group(ingress: Ingress) -> TargetGroup:
    """The targets of an ingress."""
    meta, spec = ingress.metadata, ingress.spec
    labels = {NAMESPACE: meta.namespace, **object_labels("ingress", meta)}
    if spec.ingress_class_name is not None:
        labels[f"{PREFIX}ingress_class_name"] = spec.ingress_class_name
    secured = [host for tls in spec.tls or () for host in tls.hosts or ()]
    targets = [
        {
            "__address__": rule.host,
            f"{PREFIX}ingress_scheme": "https" if _covers(secured, rule.host) else "http",
            f"{PREFIX}ingress_host": rule.host,
            f"{PREFIX}ingress_path": path,
        }
        for rule in spec.rules or ()
        for path in _paths(rule)
    ]
    return TargetGroup(f"ingress/{meta.namespace}/{meta.name}", targets, labels)


def _paths(rule: IngressRule) -> list[str]:
    if rule.http is None:
        return ["/"]
    return [path.path or "/" for path in rule.http.paths or ()]


def _covers(patterns: Iterable[str], host: str) -> bool:
    """Whether one of the patterns is the host, or has a * in place of the host's first part."""
    wildcard = "*" + host[len(host.partition(".")[0]) :]
    return any(pattern in (host, wildcard) for pattern in patterns)
