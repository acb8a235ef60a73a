"""The two requests that keep a copy of a resource in step: list it, then watch its changes.

See https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from scraper.discovery.kubernetes.connection import Connection
from scraper.discovery.kubernetes.objects import (
    Endpoints,
    EndpointSlice,
    Ingress,
    KubernetesObject,
    Node,
    ObjectMeta,
    Pod,
    Service,
)
from scraper.discovery.model import DiscoveryError
from scraper.errors import BodyTooLargeError, RequestError

T = TypeVar("T", bound=KubernetesObject)
Params = Sequence[tuple[str, str]]

PAGE = 500
"""How many objects are asked for at once."""

LIMIT_BYTES = 256 * 1024 * 1024
"""The most a page may have; servers keep objects below 2 MiB."""

TIMEOUT_S = 60.0

_GONE = 410


class GoneError(DiscoveryError):
    """The server does not know the version any more: the resource must be listed anew."""


@dataclass(frozen=True, slots=True)
class Resource(Generic[T]):
    """A kind of objects: the API it belongs to, its name in URLs, and its type."""

    api: str
    name: str
    type_: type[T]

    def url(self, connection: Connection, namespace: str) -> str:
        """Where the objects of a namespace are; those of all namespaces where it is empty."""
        within = f"/namespaces/{namespace}" if namespace else ""
        return f"{connection.url}{self.api}{within}/{self.name}"


NODES = Resource("/api/v1", "nodes", Node)
PODS = Resource("/api/v1", "pods", Pod)
SERVICES = Resource("/api/v1", "services", Service)
ENDPOINTS = Resource("/api/v1", "endpoints", Endpoints)
ENDPOINTSLICES = Resource("/apis/discovery.k8s.io/v1", "endpointslices", EndpointSlice)
INGRESSES = Resource("/apis/networking.k8s.io/v1", "ingresses", Ingress)


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Status(msgspec.Struct):
    """What the server says where it refuses."""

    message: str = ""
    code: int = 0


class _Bookmark(msgspec.Struct):
    metadata: ObjectMeta


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """What a watch tells: an object is new or different, or gone, or (without one) all is told up to `version`."""

    version: str
    changed: T | None = None
    deleted: T | None = None


async def list_objects(
    connection: Connection, resource: Resource[T], namespace: str, params: Params
) -> tuple[list[T], str]:
    """All objects, and the version they are of. Raises FleetwatchError; GoneError where paging took too long."""
    url = resource.url(connection, namespace)
    found: list[T] = []
    page = ""
    while True:
        response = await connection.client.request(
            "GET",
            url,
            headers={"Accept": "application/json"},
            params=[*params, ("limit", str(PAGE)), *([("continue", page)] if page else [])],
            timeout_s=TIMEOUT_S,
            limit_bytes=LIMIT_BYTES,
        )
        _check(url, response.status, response.reason, response.body)
        answer = _decode(response.body, _List, url)
        found += [_decode(item, resource.type_, url) for item in answer.items or ()]
        page = answer.metadata.continue_
        if not page:
            return found, answer.metadata.resource_version


@asynccontextmanager
async def watching(
    connection: Connection, resource: Resource[T], namespace: str, params: Params, version: str, watch_s: int
) -> AsyncIterator[AsyncGenerator[Change[T], None]]:
    """The changes since a version, as they come, for about `watch_s`. Raises FleetwatchError where it is refused."""
    url = resource.url(connection, namespace)
    asked = [("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", version)]
    async with connection.client.stream(
        "GET",
        url,
        headers={"Accept": "application/json"},
        params=[*params, *asked, ("timeoutSeconds", str(watch_s))],
        connect_timeout_s=TIMEOUT_S,
    ) as stream:
        if stream.status != 200:
            _check(url, stream.status, stream.reason, await stream.read(LIMIT_BYTES))
        async with aclosing(_changes(stream.lines(), resource.type_, url)) as changes:
            yield changes


async def _changes(lines: AsyncGenerator[bytes, None], type_: type[T], url: str) -> AsyncGenerator[Change[T], None]:
    try:
        async for line in lines:
            yield _change(_decode(line, _Event, url), type_, url)
    except BodyTooLargeError:
        raise
    except RequestError:
        return  # a connection that broke is as good as one that ended: the watch is taken up again


def _change(event: _Event, type_: type[T], url: str) -> Change[T]:
    match event.type:
        case "ERROR":
            raise _refusal(url, _decode(event.object, _Status, url))
        case "BOOKMARK":
            return Change(_decode(event.object, _Bookmark, url).metadata.resource_version)
        case _:
            object_ = _decode(event.object, type_, url)
            is_gone = event.type == "DELETED"
            changed, deleted = (None, object_) if is_gone else (object_, None)
            return Change(object_.metadata.resource_version, changed, deleted)


D = TypeVar("D")


def _decode(body: bytes | msgspec.Raw, type_: type[D], url: str) -> D:
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.MsgspecError as error:
        raise DiscoveryError(f'"{url}" did not answer with the JSON expected: {error}') from error


def _check(url: str, status: int, reason: str, body: bytes) -> None:
    if status == 200:
        return
    try:
        said = msgspec.json.decode(body, type=_Status).message
    except msgspec.MsgspecError:
        said = ""  # a proxy on the way speaks other than the API
    raise _refusal(url, _Status(said or reason, status))


def _refusal(url: str, status: _Status) -> DiscoveryError:
    error = GoneError if status.code == _GONE else DiscoveryError
    return error(f'"{url}": server returned status {status.code}: {status.message}')
