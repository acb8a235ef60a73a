"""The exporter's HTTP application: `/metrics`, a landing page, `/-/healthy`.

A scrape runs in a worker thread of its own, one at a time: a file system that hangs then holds up the scrape and not
the event loop.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aiohttp import web
from isal import igzip
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder, gzip_accepted

from exporter.registry import Registry, make_collectors
from exporter.roots import Roots
from exposition.formats import choose_format
from exposition.writer import write

LANDING_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Fleetwatch exporter</title></head>
<body>
<h1>Fleetwatch exporter</h1>
<p>Metrics of this host, under the names of Prometheus's node_exporter.</p>
<ul>
<li><a href="metrics">Metrics</a></li>
<li><a href="-/healthy">Health</a></li>
</ul>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Response:
    """A body with its headers."""

    body: bytes
    headers: dict[str, str]


class MetricsPage:
    """Renders the host's metrics followed by the exporter process's own. Not thread-safe."""

    def __init__(self, roots: Roots) -> None:
        self._host = Registry(make_collectors(roots))
        self._self = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._self)

    def render(self, accept: str, accept_encoding: str) -> Response:
        """Collect, and write in the format and the compression that the client accepts."""
        try:
            encode_self, content_type = choose_encoder(accept)
        except TypeError:
            # What prometheus_client makes of a version that is no number: such a header counts for nothing.
            encode_self, content_type = choose_encoder("")
        body = write(self._host.collect(), choose_format(content_type)) + encode_self(self._self)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if gzip_accepted(accept_encoding):
            body = igzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers)


PAGE = web.AppKey("page", MetricsPage)
WORKER = web.AppKey("worker", ThreadPoolExecutor)


def create_app(roots: Roots | None = None) -> web.Application:
    """The application; by default it reads this host's own files."""
    app = web.Application()
    app[PAGE] = MetricsPage(roots or Roots())
    app[WORKER] = ThreadPoolExecutor(max_workers=1, thread_name_prefix="exporter")
    app.on_cleanup.append(_stop_worker)
    app.add_routes(
        [web.get("/", _landing_page), web.get("/metrics", _metrics), web.get("/-/healthy", _healthy)],
    )
    return app


async def _stop_worker(app: web.Application) -> None:
    app[WORKER].shutdown(wait=False, cancel_futures=True)


async def _landing_page(_request: web.Request) -> web.Response:
    return web.Response(text=LANDING_PAGE, content_type="text/html")


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="The exporter is healthy.\n")


async def _metrics(request: web.Request) -> web.Response:
    app = request.app
    accept = ",".join(request.headers.getall("Accept", []))
    accept_encoding = ",".join(request.headers.getall("Accept-Encoding", []))
    response = await asyncio.get_running_loop().run_in_executor(app[WORKER], app[PAGE].render, accept, accept_encoding)
    return web.Response(body=response.body, headers=response.headers)
