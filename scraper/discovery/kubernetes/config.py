"""The entry of a config file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from common.yamlfile import Problem
from scraper.discovery.kubernetes.connection import SERVICE_ACCOUNT, Connector
from scraper.discovery.kubernetes.discovery import GATHER_S, KubernetesDiscovery
from scraper.discovery.kubernetes.selectors import field_selector_problem, label_selector_problem
from scraper.discovery.model import Surroundings
from scraper.http_config import HTTPConfig, http_problems
from scraper.http_url import url_problem

Role = Literal["node", "pod", "service", "endpoints", "endpointslice", "ingress"]

_SELECTABLE: dict[str, tuple[Role, ...]] = {
    "node": ("node",),
    "pod": ("pod",),
    "service": ("service",),
    "endpoints": ("pod", "service", "endpoints"),
    "endpointslice": ("pod", "service", "endpointslice"),
    "ingress": ("ingress",),
}
"""Which objects a role looks at, and so can be restricted to."""


class Namespaces(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`namespaces`: those to look at, all where none is named; `own_namespace` is the one of Fleetwatch's own pod."""

    own_namespace: bool = False
    names: tuple[str, ...] = ()


class Selector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of `selectors`: which of the objects of a kind the API server shall tell of."""

    role: Literal["", Role] = ""
    label: str = ""
    field: str = ""


class AttachMetadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`attach_metadata`: what targets say of the node they run on."""

    node: bool = False


class KubernetesSDConfig(HTTPConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The API server, by URL, by a kubeconfig file or, with neither, that of the cluster Fleetwatch runs in."""

    role: Literal["", Role] = ""
    api_server: str | None = None
    kubeconfig_file: str = ""
    namespaces: Namespaces = Namespaces()
    selectors: tuple[Selector, ...] = ()
    attach_metadata: AttachMetadata = AttachMetadata()

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        if not self.role:
            yield Problem(f"{path}.role", f"is missing: one of {', '.join(_SELECTABLE)}")
        if self.api_server is not None and (reason := url_problem(self.api_server)):
            yield Problem(f"{path}.api_server", f"{self.api_server!r} is not a URL: {reason}")
        yield from http_problems(self, path)
        yield from self._access_problems(path)
        seen: set[str] = set()
        for number, selector in enumerate(self.selectors):
            yield from self._selector_problems(selector, f"{path}.selectors[{number}]", seen)

    def discoverer(
        self, surroundings: Surroundings, service_account: Path = SERVICE_ACCOUNT, gather_s: float = GATHER_S
    ) -> KubernetesDiscovery:
        """See SDConfig."""
        http = HTTPConfig(**{key: getattr(self, key) for key in HTTPConfig.__struct_fields__})
        connector = Connector(self.api_server, self.kubeconfig_file, http, surroundings.directory, service_account)
        return KubernetesDiscovery(
            self.role,
            connector,
            surroundings.metrics,
            namespaces=self.namespaces.names,
            own_namespace=self.namespaces.own_namespace,
            selectors={selector.role: (selector.label, selector.field) for selector in self.selectors},
            attach_nodes=self.attach_metadata.node,
            gather_s=gather_s,
        )

    def _access_problems(self, path: str) -> Iterator[Problem]:
        given = [key for key in ("api_server", "kubeconfig_file") if getattr(self, key) not in (None, "")]
        if self.api_server == "":
            given.insert(0, "api_server")
        if len(given) > 1:
            yield Problem(f"{path}.kubeconfig_file", "only one of api_server and kubeconfig_file can be given")
        if given and self.namespaces.own_namespace:
            yield Problem(f"{path}.namespaces.own_namespace", f"cannot be used with {given[0]}")
        custom = [key for key in HTTPConfig.__struct_fields__ if getattr(self, key) != getattr(HTTPConfig(), key)]
        if custom and "api_server" not in given:
            yield Problem(f"{path}.{custom[0]}", "says how api_server is asked, which is missing")

    def _selector_problems(self, selector: Selector, path: str, seen: set[str]) -> Iterator[Problem]:
        allowed = _SELECTABLE.get(self.role, ())
        if self.role and selector.role not in allowed:
            yield Problem(f"{path}.role", f"the role {self.role} supports only selectors for {', '.join(allowed)}")
        if selector.role in seen:
            yield Problem(f"{path}.role", f"there is another selector for {selector.role}")
        seen.add(selector.role)
        if reason := label_selector_problem(selector.label):
            yield Problem(f"{path}.label", f"is not a label selector: {reason}")
        if reason := field_selector_problem(selector.field):
            yield Problem(f"{path}.field", f"is not a field selector: {reason}")
