"""What surrounds every request: own metrics, security headers, CORS, and errors as answers without tracebacks."""

import logging
import time

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from common.errors import FleetwatchError
from server.answers import error_response
from server.errors import InternalError, translate
from server.metrics import HttpMetrics

log = logging.getLogger(__name__)

API_PREFIX = "/api/"

# Prometheus's util/httputil SetCORS with its default --web.cors.origin=.*
CORS_HEADERS = {
    "Access-Control-Allow-Headers": "Accept, Authorization, Content-Type, Origin",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Expose-Headers": "Date",
}


def measure(metrics: HttpMetrics) -> Middleware:
    """Count and time requests by route."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        name = resource.canonical if resource is not None else "unmatched"
        started = time.monotonic()
        code = 499  # what is counted when the client goes away and the task is cancelled
        with metrics.in_flight.track_inprogress():
            try:
                response = await handler(request)
                code = response.status
                return response
            except web.HTTPException as error:
                code = error.status
                raise
            finally:
                metrics.requests.labels(name, str(code)).inc()
                metrics.duration.labels(name).observe(time.monotonic() - started)

    return middleware


@web.middleware
async def preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer CORS's question before a request; what it asks for is in the headers that add_headers adds."""
    if request.method == hdrs.METH_OPTIONS and request.path.startswith(API_PREFIX):
        return web.Response(status=204)
    return await handler(request)


@web.middleware
async def errors_as_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into an answer."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return web.Response(text="404 page not found\n", status=404)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted({*error.allowed_methods, hdrs.METH_OPTIONS}))
        return web.Response(text="Method Not Allowed\n", status=405, headers={"Allow": allowed})
    except (web.HTTPException, ConnectionResetError):
        raise  # aiohttp answers the first and ends the connection for the second, which a client has closed
    except FleetwatchError as error:
        answer = translate(error)
        if answer.status == InternalError.status:
            log.error("request failed", extra=_about(request) | {"error": str(error)})
        return error_response(answer)
    except Exception:
        log.exception("request failed", extra=_about(request))
        return error_response(InternalError("internal error; the server's log says more"))


def _about(request: web.Request) -> dict[str, str]:
    return {"method": request.method, "path": request.rel_url.raw_path}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: CORS for the API, no sniffing for everything."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    if request.path.startswith(API_PREFIX):
        response.headers[hdrs.VARY] = ", ".join(filter(None, [response.headers.get(hdrs.VARY), "Origin"]))
        if origin := request.headers.get(hdrs.ORIGIN):
            response.headers.update(CORS_HEADERS)
            response.headers["Access-Control-Allow-Origin"] = origin
