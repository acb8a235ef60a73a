"""Health, readiness, reload and the server's own metrics."""

import asyncio
import logging

from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder

from common.errors import FleetwatchError
from server.deps import Dependencies

log = logging.getLogger(__name__)


class Lifecycle:
    """What supervisors, load balancers and scrapers ask."""

    def __init__(self, deps: Dependencies) -> None:
        self._ready = deps.ready
        self._reload = deps.reload
        self._registry = deps.registry

    async def healthy(self, request: web.Request) -> web.Response:
        """GET, HEAD /-/healthy: the process answers."""
        return web.Response(text="Fleetwatch Server is Healthy.\n")

    async def ready(self, request: web.Request) -> web.Response:
        """GET, HEAD /-/ready: queries can be served."""
        if not self._ready():
            return web.Response(text="Service Unavailable\n", status=503)
        return web.Response(text="Fleetwatch Server is Ready.\n")

    async def reload(self, request: web.Request) -> web.Response:
        """POST, PUT /-/reload: read the configuration again; what ran goes on where it is refused."""
        if request.method not in (hdrs.METH_POST, hdrs.METH_PUT):
            return web.Response(text="Only POST or PUT requests allowed\n", status=405, headers={"Allow": "POST, PUT"})
        if self._reload is None:
            return web.Response(text="Lifecycle API is not enabled.\n", status=403)
        try:
            await self._reload()
        except FleetwatchError as error:
            log.error("the configuration is refused, the old one stays", extra={"error": str(error)})
            return web.Response(text=f"failed to reload config: {error}\n", status=500)
        return web.Response()

    async def metrics(self, request: web.Request) -> web.Response:
        """GET /metrics, in the text format or OpenMetrics as the client asks."""
        encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        body = await asyncio.to_thread(encode, self._registry)
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})
