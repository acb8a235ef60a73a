"""The discoverer: copies of what the role looks at, and the targets that they make."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from common.errors import FleetwatchError
from scraper.discovery.kubernetes.api import ENDPOINTS, ENDPOINTSLICES, INGRESSES, NODES, PODS, SERVICES, Resource
from scraper.discovery.kubernetes.connection import Connection, Connector
from scraper.discovery.kubernetes.namespace import Namespace
from scraper.discovery.kubernetes.objects import KubernetesObject
from scraper.discovery.kubernetes.reflector import MAX_RETRY_S, Reflector
from scraper.discovery.metrics import DiscoveryMetrics
from scraper.discovery.model import Publish, TargetGroup
from scraper.discovery.refresh import Failures

T = TypeVar("T", bound=KubernetesObject)

GATHER_S = 5.0
"""How long changes are gathered after some were published, as Prometheus's discovery manager does."""

SLICE = 200
"""How many groups are made before other tasks may run: a large cluster has tens of thousands."""

Selectors = Mapping[str, tuple[str, str]]
"""Label and field selector by role."""


class KubernetesDiscovery:
    """Publishes a group for each object of the role.

    What is known at first is published when every resource was asked for, so that a start does not look as if targets
    had gone. Of several namespaces, one that could not be seen yet has no targets.
    """

    def __init__(
        self,
        role: str,
        connector: Connector,
        metrics: DiscoveryMetrics,
        *,
        namespaces: Sequence[str],
        own_namespace: bool,
        selectors: Selectors,
        attach_nodes: bool,
        gather_s: float,
    ) -> None:
        self._role = role
        self._connector = connector
        self._metrics = metrics
        self._names = namespaces
        self._own_namespace = own_namespace
        self._selectors = selectors
        self._attach_nodes = attach_nodes
        self._gather_s = gather_s

    async def run(self, publish: Publish) -> None:
        """See Discoverer."""
        connection, names = await self._connect()
        changed = asyncio.Event()
        nodes = Reflector(NODES, "", self._params("node"), self._metrics, changed.set)
        namespaces = [self._namespace(name, nodes, changed) for name in names]
        reflectors = list(dict.fromkeys(reflector for namespace in namespaces for reflector in namespace.seen()))
        try:
            async with asyncio.TaskGroup() as tasks:
                for reflector in reflectors:
                    tasks.create_task(reflector.run(connection))
                await self._publish(namespaces, reflectors, changed, publish)
        finally:
            await connection.client.close()

    async def _publish(
        self,
        namespaces: Sequence[Namespace],
        reflectors: Sequence[Reflector[Any]],
        changed: asyncio.Event,
        publish: Publish,
    ) -> NoReturn:
        while True:
            await changed.wait()
            changed.clear()
            synced = [namespace for namespace in namespaces if all(seen.synced for seen in namespace.seen())]
            if synced and all(reflector.heard for reflector in reflectors):
                groups: list[TargetGroup] = []
                for group in itertools.chain.from_iterable(namespace.groups() for namespace in synced):
                    groups.append(group)
                    if len(groups) % SLICE == 0:
                        await asyncio.sleep(0)
                publish(groups)
                await asyncio.sleep(self._gather_s)

    async def _connect(self) -> tuple[Connection, list[str]]:
        """The API server, and the namespaces to look at; the empty one stands for all."""
        failures = Failures("kubernetes", self._metrics)
        while True:
            try:
                names = [*self._names, *([self._connector.own_namespace()] if self._own_namespace else [])]
                if self._role == "node" or not names:
                    names = [""]
                connection = self._connector.connect()
            except FleetwatchError as error:
                failures.failed(error)
                await asyncio.sleep(failures.wait_s(MAX_RETRY_S))
            else:
                failures.succeeded()
                return connection, list(dict.fromkeys(names))

    def _namespace(self, name: str, nodes: Reflector[Any], changed: asyncio.Event) -> Namespace:
        def reflector(resource: Resource[T], role: str) -> Reflector[T]:
            return Reflector(resource, name, self._params(role), self._metrics, changed.set)

        return Namespace(
            role=self._role,
            attach_nodes=self._attach_nodes,
            nodes=nodes,
            pods=reflector(PODS, "pod"),
            services=reflector(SERVICES, "service"),
            endpoints=reflector(ENDPOINTS, "endpoints"),
            endpointslices=reflector(ENDPOINTSLICES, "endpointslice"),
            ingresses=reflector(INGRESSES, "ingress"),
        )

    def _params(self, role: str) -> list[tuple[str, str]]:
        label, field = self._selectors.get(role, ("", ""))
        return [(name, text) for name, text in (("labelSelector", label), ("fieldSelector", field)) if text]
