"""The exporter's HTTP application: the metrics, a landing page, `/-/healthy`.

A scrape runs in a worker thread of its own, one at a time: a file system that hangs then holds up the scrape and not
the event loop.
"""

import asyncio
import html
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Middleware
from isal import igzip
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder, gzip_accepted

from exporter.errors import UnknownCollectorError
from exporter.registry import Registry
from exporter.settings import ExporterSettings, WebSettings
from exposition.formats import choose_format
from exposition.writer import write

LANDING_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Fleetwatch exporter</title></head>
<body>
<h1>Fleetwatch exporter</h1>
<p>Metrics of this host, under the names of Prometheus's node_exporter.</p>
<ul>
<li><a href="{path}">Metrics</a></li>
<li><a href="-/healthy">Health</a></li>
</ul>
</body>
</html>
"""


LANDING_TEXT = web.AppKey("landing_text", str)


@dataclass(frozen=True, slots=True)
class Response:
    """A body with its headers."""

    body: bytes
    headers: dict[str, str]


class MetricsPage:
    """Renders the host's metrics followed by those of the exporter's own process. Not thread-safe."""

    def __init__(self, host: Registry, own: CollectorRegistry) -> None:
        self._host = host
        self._own = own

    def render(self, accept: str, accept_encoding: str, names: Iterable[str] | None = None) -> Response:
        """Collect, and write in the format and the compression that the client accepts."""
        try:
            encode_own, content_type = choose_encoder(accept)
        except TypeError:
            # What prometheus_client makes of a version that is no number: such a header counts for nothing.
            encode_own, content_type = choose_encoder("")
        body = write(self._host.collect(names), choose_format(content_type)) + encode_own(self._own)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if gzip_accepted(accept_encoding):
            body = igzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers)


class MetricsHandler:
    """Answers scrapes: which collectors, how many at once."""

    def __init__(self, registry: Registry, own: CollectorRegistry, max_requests: int) -> None:
        self._registry = registry
        self._page = MetricsPage(registry, own)
        self._max_requests = max_requests
        self._requests = 0
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="exporter")

    async def handle(self, request: web.Request) -> web.Response:
        """`GET /metrics`, with `collect[]` or `exclude[]` as node_exporter takes them."""
        only, without = request.query.getall("collect[]", []), request.query.getall("exclude[]", [])
        if only and without:
            raise web.HTTPBadRequest(text="Combined collect and exclude queries are not allowed.\n")
        try:
            names = self._registry.select(only, without)
        except UnknownCollectorError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error
        if self._requests >= self._max_requests > 0:
            text = f"Limit of concurrent requests reached ({self._max_requests}), try again later.\n"
            raise web.HTTPServiceUnavailable(text=text)
        accept = ",".join(request.headers.getall("Accept", []))
        accept_encoding = ",".join(request.headers.getall("Accept-Encoding", []))
        self._requests += 1
        try:
            loop = asyncio.get_running_loop()
            response = await loop.run_in_executor(self._worker, self._page.render, accept, accept_encoding, names)
        finally:
            self._requests -= 1
        return web.Response(body=response.body, headers=response.headers)

    async def close(self, _app: web.Application) -> None:
        """End the threads that do nothing."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._registry.close()


def own_registry(settings: WebSettings) -> CollectorRegistry:
    """What the exporter says of its own process."""
    registry = CollectorRegistry()
    for collector in () if settings.disable_exporter_metrics else (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


def create_app(settings: ExporterSettings | None = None, middlewares: Iterable[Middleware] = ()) -> web.Application:
    """The application. Raises ExporterError where a setting cannot be used."""
    settings = settings or ExporterSettings()
    path = settings.web.telemetry_path
    own = own_registry(settings.web)
    own_names = {sample.name for metric in own.collect() for sample in metric.samples}
    handler = MetricsHandler(settings.registry(reserved=own_names), own, settings.web.max_requests)
    app = web.Application(middlewares=middlewares)
    app.on_cleanup.append(handler.close)
    app.router.add_get(path, handler.handle)
    app.router.add_get("/-/healthy", _healthy)
    if path != "/":
        app[LANDING_TEXT] = LANDING_PAGE.format(path=html.escape(path.removeprefix("/")))
        app.router.add_get("/", _landing_page)
    return app


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="The exporter is healthy.\n")


async def _landing_page(request: web.Request) -> web.Response:
    return web.Response(text=request.app[LANDING_TEXT], content_type="text/html")
