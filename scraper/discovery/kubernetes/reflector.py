"""A copy of the objects of a resource, kept in step with the API server: listed once, then watched.

A watch that ends is taken up where it ended. Where the server does not know that version any more, the resource is
listed anew; until that succeeds the copy stays as it is.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Generic, NoReturn, TypeVar

from common.errors import FleetwatchError
from scraper.discovery.kubernetes.api import Change, GoneError, Params, Resource, list_objects, watching
from scraper.discovery.kubernetes.connection import Connection
from scraper.discovery.kubernetes.meta import key
from scraper.discovery.kubernetes.objects import KubernetesObject
from scraper.discovery.metrics import DiscoveryMetrics
from scraper.discovery.model import DiscoveryError
from scraper.discovery.refresh import Failures

T = TypeVar("T", bound=KubernetesObject)

WATCH_S = 120
"""The least time that a watch is asked to last, the most is twice that; so long a dead connection can go unnoticed."""

GRACE_S = 10
"""How much longer than asked for a watch may last."""

SHORT_S = 1.0
"""A watch that ends before without a word was not a watch."""

MAX_RETRY_S = 30.0


class Reflector(Generic[T]):
    """`objects` by key are those that the server knew last; `synced` once it was heard of them.

    `heard` once it was asked, whether or not it answered. `changed` is called with every change of these three.
    """

    def __init__(
        self,
        resource: Resource[T],
        namespace: str,
        params: Params,
        metrics: DiscoveryMetrics,
        changed: Callable[[], None],
    ) -> None:
        self.objects: dict[str, T] = {}
        self.synced = False
        self.heard = False
        self._resource = resource
        self._namespace = namespace
        self._params = params
        self._failures = Failures("kubernetes", metrics)
        self._changed = changed
        self._version = ""

    async def run(self, connection: Connection) -> NoReturn:
        """Keep the copy in step until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list(connection)
                await self._watch(connection)
            except FleetwatchError as error:
                self._failures.failed(error)
                self._note()
                await asyncio.sleep(self._failures.wait_s(MAX_RETRY_S))

    async def _list(self, connection: Connection) -> None:
        objects, self._version = await list_objects(connection, self._resource, self._namespace, self._params)
        self.objects = {key(object_.metadata): object_ for object_ in objects}
        self.synced = True
        self._note()

    async def _watch(self, connection: Connection) -> None:
        start_s = time.monotonic()
        told = False
        watch_s = random.randint(WATCH_S, 2 * WATCH_S)
        request = watching(connection, self._resource, self._namespace, self._params, self._version, watch_s)
        try:
            async with asyncio.timeout(watch_s + GRACE_S), request as changes:
                async for change in changes:
                    told = True
                    self._take(change)
        except GoneError:
            self._version = ""
            if time.monotonic() - start_s < SHORT_S:
                raise
        except TimeoutError:
            pass  # the connection is dead; the next one will tell
        if not told and time.monotonic() - start_s < SHORT_S:
            raise DiscoveryError(f"the watch of {self._resource.name} ended as soon as it began")
        self._failures.succeeded()

    def _take(self, change: Change[T]) -> None:
        self._failures.succeeded()
        self._version = change.version
        if change.changed is not None:
            self.objects[key(change.changed.metadata)] = change.changed
            self._note()
        if change.deleted is not None:
            self.objects.pop(key(change.deleted.metadata), None)
            self._note()

    def _note(self) -> None:
        self.heard = True
        self._changed()
