"""The web application: which address leads where.

`make_runner` sets what aiohttp takes outside of the application: limits on request lines and headers, and that a
handler is cancelled when its client goes away.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from server import metrics, syntax
from server.active_queries import ActiveQueries
from server.admin import AdminApi
from server.answers import Answer, send_answer
from server.deps import Dependencies
from server.exemplars import ExemplarApi
from server.lifecycle import Lifecycle
from server.lookups import LookupApi
from server.middleware import add_headers, errors_as_answers, measure, preflight
from server.page import PAGE_ROUTES, Page
from server.params import Params, read_params
from server.queries import QueryApi
from server.status import StatusApi
from server.targets import TargetsApi
from server.tsdb_status import TsdbStatusApi
from server.workers import Workers

MAX_BODY_BYTES = 10 * 1024 * 1024  # as Go's net/http allows for a form
MAX_LINE_BYTES = 256 * 1024  # a query may be long, and GET carries it in the request line
MAX_HEADER_BYTES = 64 * 1024
SHUTDOWN_TIMEOUT_S = 5.0

ApiHandler = Callable[[web.Request, Params], Awaitable[Answer]]


def create_app(deps: Dependencies) -> web.Application:
    """The application over the given parts. It registers its collectors on `deps.registry`."""
    http_metrics = metrics.register(deps.registry, deps.store, deps.build)
    app = web.Application(
        middlewares=[measure(http_metrics), preflight, errors_as_answers], client_max_size=MAX_BODY_BYTES
    )
    app.on_response_prepare.append(add_headers)
    workers = Workers(deps.query_threads)

    async def close_workers(_: web.Application) -> None:
        workers.close()
        if deps.range_cache is not None:
            deps.range_cache.close()

    app.on_cleanup.append(close_workers)
    _add_api(app, deps, workers)
    _add_lifecycle(app, Lifecycle(deps))
    _add_page(app, Page(deps.static_directory))
    return app


def make_runner(app: web.Application) -> web.AppRunner:
    """A runner for the application, to be set up and given sites by whoever owns the process."""
    return web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        shutdown_timeout=SHUTDOWN_TIMEOUT_S,
    )


def _add_api(app: web.Application, deps: Dependencies, workers: Workers) -> None:
    def add(path: str, handler: ApiHandler, methods: str = "GET") -> None:
        endpoint = _endpoint(handler, deps.ready)
        for method in methods.split():
            app.router.add_route(method, f"/api/v1/{path}", endpoint)

    active = ActiveQueries(deps.query_memory)
    add("status/queries", active.list)
    add(r"status/queries/{id:[^/]+}", active.kill, "DELETE")
    queries = QueryApi(deps, workers, active)
    add("query", queries.query, "GET POST")
    add("query_range", queries.query_range, "GET POST")
    add("fleetwatch/explain", queries.explain, "GET POST")
    add("format_query", syntax.format_query, "GET POST")
    add("parse_query", syntax.parse_query, "GET POST")
    add("query_exemplars", ExemplarApi(deps, workers).query_exemplars, "GET POST")
    lookups = LookupApi(deps, workers)
    add("labels", lookups.labels, "GET POST")
    add(r"label/{name:[^/]+}/values", lookups.label_values)
    add("series", lookups.series, "GET POST")
    targets = TargetsApi(deps)
    add("targets", targets.targets)
    add("targets/metadata", targets.target_metadata)
    add("targets/relabel_steps", targets.relabel_steps)
    add("fleetwatch/inventory", targets.inventory)
    add("fleetwatch/inventory/retire", targets.retire, "POST")
    add("scrape_pools", targets.scrape_pools)
    add("metadata", targets.metadata)
    admin = AdminApi(deps)
    add("admin/tsdb/delete_series", admin.delete_series, "POST PUT")
    add("admin/tsdb/clean_tombstones", admin.clean_tombstones, "POST PUT")
    add("admin/tsdb/snapshot", admin.snapshot, "POST PUT")
    add("fleetwatch/deletions", admin.deletions)
    add(r"fleetwatch/deletions/{id:[^/]+}/undo", admin.undo, "POST")
    status = StatusApi(deps)
    add("status/buildinfo", status.buildinfo)
    add("status/runtimeinfo", status.runtimeinfo)
    add("status/config", status.config)
    add("status/flags", status.flags)
    tsdb_status = TsdbStatusApi(deps, workers)
    add("status/tsdb", tsdb_status.tsdb)
    add("fleetwatch/usage", tsdb_status.usage)
    add("rules", status.rules)
    add("alerts", status.alerts)


def _endpoint(handler: ApiHandler, ready: Callable[[], bool]) -> Handler:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        if not ready():
            return web.Response(text="Service Unavailable\n", status=503)
        return await send_answer(request, await handler(request, await read_params(request)))

    return endpoint


def _add_lifecycle(app: web.Application, lifecycle: Lifecycle) -> None:
    app.router.add_get("/-/healthy", lifecycle.healthy)
    app.router.add_get("/-/ready", lifecycle.ready)
    app.router.add_route("*", "/-/reload", lifecycle.reload)
    app.router.add_get("/metrics", lifecycle.metrics)


def _add_page(app: web.Application, page: Page) -> None:
    app.router.add_get("/", page.index)
    for route in PAGE_ROUTES:
        app.router.add_get(route, page.to_index)
    app.router.add_get("/assets/{name}", page.asset)
    app.router.add_get(r"/{name:[^/]+\.[^/]+}", page.file)
