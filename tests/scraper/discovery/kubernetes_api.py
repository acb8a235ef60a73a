"""A server that behaves as the API server of a Kubernetes cluster does towards those who list and watch.

See https://kubernetes.io/docs/reference/using-api/api-concepts/. Objects are JSON as kubectl prints it; each change of
one gives it a new resourceVersion, and those who watch are told. `forget` drops the past, so that old versions are
answered with 410 Gone; `disconnect` ends all watches; `outage` makes every request fail; `forbidden` and `held` name
what is refused, or not answered before an event (`namespace/plural`).
"""

import asyncio
import copy
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import yaml
from aiohttp import web

Object = dict[str, Any]
Query = dict[str, str]

# kind -> API, plural
KINDS = {
    "Node": ("v1", "nodes"),
    "Pod": ("v1", "pods"),
    "Service": ("v1", "services"),
    "Endpoints": ("v1", "endpoints"),
    "EndpointSlice": ("discovery.k8s.io/v1", "endpointslices"),
    "Ingress": ("networking.k8s.io/v1", "ingresses"),
}
_KIND_OF = {plural: kind for kind, (_, plural) in KINDS.items()}


def read_objects(text: str) -> list[Object]:
    """The objects of a file of YAML documents."""
    return [document for document in yaml.safe_load_all(text) if document]


def pod(name: str, ip: str, namespace: str = "default", **metadata: Any) -> Object:
    """A pod with one container and the port 80."""
    container = {"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}]}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {"containers": [container]},
        "status": {"podIP": ip},
    }


@dataclass(frozen=True)
class _Event:
    version: int
    plural: str
    type: str
    object: Object


class KubernetesAPI:
    """The server's state, and what it was asked; `url` once it is served.

    `watches` counts those at work, by resource, and `told` has the newest version that one of them told.
    """

    def __init__(self, *objects: Object) -> None:
        self.url = ""
        self.outage = False
        self.authorization: str | None = None
        self.forbidden: set[str] = set()
        self.gone_as_status = False
        self.page_limit = 0
        self.prefix = ""
        self.ends_watches = True
        self.held: dict[str, asyncio.Event] = {}
        self.told: dict[str, int] = {}
        self.requests: list[tuple[str, Query]] = []
        self.watches: dict[str, int] = {}
        self._version = 100
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._events: list[_Event] = []
        self._oldest = 0
        self._changed = asyncio.Condition()
        self._connections = 0
        self._abruptly = False
        for object_ in objects:
            self._store("ADDED", object_)
        self._oldest = self._version

    async def put(self, *objects: Object) -> None:
        """Make or change objects."""
        async with self._changed:
            for object_ in objects:
                self._store("MODIFIED" if self._key(object_) in self._objects else "ADDED", object_)
            self._changed.notify_all()

    async def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object."""
        async with self._changed:
            object_ = self._objects[KINDS[kind][1], namespace, name]
            self._store("DELETED", object_)
            self._changed.notify_all()

    async def bookmark(self) -> None:
        """Tell all who watch how far they have heard."""
        async with self._changed:
            self._version += 1
            for kind, (api, plural) in KINDS.items():
                marker = {"kind": kind, "apiVersion": api, "metadata": {"resourceVersion": str(self._version)}}
                self._events.append(_Event(self._version, plural, "BOOKMARK", marker))
            self._changed.notify_all()

    def forget(self) -> None:
        """Compact: the past is not known any more."""
        self._version += 1
        self._oldest = self._version
        self._events.clear()

    async def disconnect(self, abruptly: bool = False) -> None:
        """End all watches; `abruptly` as when a cable is cut."""
        async with self._changed:
            self._connections += 1
            self._abruptly = abruptly
            self._changed.notify_all()

    def asked(self, plural: str, watch: bool) -> list[Query]:
        """The queries of lists or watches of a resource."""
        return [query for path, query in self.requests if path.endswith(f"/{plural}") and ("watch" in query) == watch]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.requests.append((request.path, query))
        if self.outage:
            return _status(503, "the server is currently unable to handle the request")
        if self.authorization not in (None, request.headers.get("Authorization")):
            return _status(401, "Unauthorized")
        if request.path == "/version":
            return web.json_response({"major": "1", "minor": "33", "gitVersion": "v1.33.0"})
        path = request.path.removeprefix(self.prefix)
        *_, plural = path.split("/")
        namespace = request.match_info.get("namespace", "")
        api = path.removeprefix("/apis/").removeprefix("/api/").split("/namespaces/")[0]
        if plural not in _KIND_OF or api.removesuffix(f"/{plural}") != KINDS[_KIND_OF[plural]][0]:
            return _status(404, "the server could not find the requested resource")
        if f"{namespace}/{plural}" in self.forbidden:
            return _status(403, f'{plural} is forbidden: User "fleetwatch" cannot list resource "{plural}"')
        if event := self.held.get(f"{namespace}/{plural}"):
            await event.wait()
        if query.get("watch") in ("true", "1"):
            return await self._watch(request, plural, namespace, query)
        return self._list(plural, namespace, query)

    def _list(self, plural: str, namespace: str, query: Query) -> web.Response:
        found = [
            object_
            for (kind, _, _), object_ in sorted(self._objects.items())
            if kind == plural and _selected(object_, namespace, query)
        ]
        start = int(query.get("continue", "0"))
        limit = min(int(query.get("limit", "0")), self.page_limit) or len(found)
        metadata = {"resourceVersion": str(self._version)}
        if start + limit < len(found):
            metadata["continue"] = str(start + limit)
        kind = _KIND_OF[plural]
        answer = {"kind": f"{kind}List", "apiVersion": KINDS[kind][0], "metadata": metadata}
        return web.json_response({**answer, "items": found[start : start + limit] or None})

    async def _watch(self, request: web.Request, plural: str, namespace: str, query: Query) -> web.StreamResponse:
        if "sendInitialEvents" in query:  # as servers before 1.32 answer; clients list then
            return _status(422, "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
        version = int(query.get("resourceVersion") or 0)
        is_gone = version < self._oldest
        if is_gone and self.gone_as_status:
            return _status(410, f"too old resource version: {version}")
        connection = self._connections
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        if is_gone:
            status = {"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired"}
            error = {"type": "ERROR", "object": {**status, "message": f"too old resource version: {version}"}}
            await response.write(json.dumps(error).encode() + b"\n")
            return response
        self.watches[plural] = self.watches.get(plural, 0) + 1
        bookmarks = query.get("allowWatchBookmarks") == "true"
        try:
            async with asyncio.timeout(int(query["timeoutSeconds"]) if self.ends_watches else None):
                while connection == self._connections:
                    news = self._since(version, plural, namespace, query)
                    version = max(version, self._newest(plural))
                    for event in news:
                        if event.type != "BOOKMARK" or bookmarks:
                            line = json.dumps({"type": event.type, "object": event.object}).encode() + b"\n"
                            # Lines come in pieces as networks like it.
                            await response.write(line[: len(line) // 2])
                            await response.write(line[len(line) // 2 :])
                            self.told[plural] = event.version
                    async with self._changed:
                        while connection == self._connections and self._newest(plural) <= version:
                            await self._changed.wait()
        except TimeoutError:
            pass
        finally:
            self.watches[plural] -= 1
        if self._abruptly and request.transport is not None:
            request.transport.abort()
        return response

    def _newest(self, plural: str) -> int:
        return max((event.version for event in self._events if event.plural == plural), default=0)

    def _since(self, version: int, plural: str, namespace: str, query: Query) -> list[_Event]:
        """What is new; an object that is not selected any more counts as deleted."""
        events = []
        for event in self._events:
            if event.plural != plural or event.version <= version:
                continue
            if event.type == "BOOKMARK" or _selected(event.object, namespace, query):
                events.append(event)
            elif event.object["metadata"].get("namespace", "") == namespace or not namespace:
                events.append(_Event(event.version, plural, "DELETED", event.object))
        return events

    def _store(self, type_: str, object_: Object) -> None:
        key = self._key(object_)
        self._version += 1
        object_ = copy.deepcopy(object_)
        object_["metadata"]["resourceVersion"] = str(self._version)
        object_.setdefault("apiVersion", KINDS[object_["kind"]][0])
        if type_ == "DELETED":
            del self._objects[key]
        else:
            self._objects[key] = object_
        self._events.append(_Event(self._version, key[0], type_, object_))

    @staticmethod
    def _key(object_: Object) -> tuple[str, str, str]:
        metadata = object_["metadata"]
        return KINDS[object_["kind"]][1], metadata.get("namespace", ""), metadata["name"]


def _selected(object_: Object, namespace: str, query: Query) -> bool:
    """Whether an object is in a namespace and has what selectors of the form a=b,c=d want."""
    metadata = object_["metadata"]
    if namespace not in ("", metadata.get("namespace", "")):
        return False
    labels = metadata.get("labels") or {}
    wanted = [term.partition("=") for term in query.get("labelSelector", "").split(",") if term]
    if any(labels.get(name) != value for name, _, value in wanted):
        return False
    for name, _, value in (term.partition("=") for term in query.get("fieldSelector", "").split(",") if term):
        field: Any = object_
        for step in name.split("."):
            field = field.get(step, {})
        if field != value:
            return False
    return True


def _status(code: int, message: str) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return web.json_response({**status, "message": message, "code": code}, status=code)


@asynccontextmanager
async def serving_kubernetes(
    *objects: Object, tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[KubernetesAPI]:
    """Serve a cluster with these objects on a free port of 127.0.0.1."""
    api = KubernetesAPI(*objects)
    app = web.Application()
    app.router.add_get("/{path:.*}/namespaces/{namespace}/{plural}", api.handle)
    app.router.add_get("/{path:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    api.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield api
    finally:
        await api.disconnect()
        await runner.cleanup()
