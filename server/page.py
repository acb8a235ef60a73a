"""The built web page: one HTML file, its hashed assets, and the headers that keep it closed to strangers."""

import re
from pathlib import Path

from aiohttp import hdrs, web

PAGE_ROUTES = ("/graph", "/query", "/targets", "/alerts")
"""Prometheus's addresses of pages. The page keeps its own place behind `#`, so these lead to its start."""

_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")

# What the page needs and nothing else: no inline script, no other host, no frames around it.
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_REVALIDATE = "no-cache"
_IMMUTABLE = "public, max-age=31536000, immutable"

_NOT_BUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Fleetwatch: the page is not built</title>
<h1>The web page is not built</h1>
<p>Build it with <code>make ui</code> and load this address again. Everything else works: the HTTP API under
<code>/api/v1</code> and <a href="metrics"><code>/metrics</code></a>.</p>
</html>
"""


class Page:
    """Serves a directory as Vite builds it: index.html and a few files beside it, the rest in assets/."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def index(self, request: web.Request) -> web.StreamResponse:
        """The page."""
        index = self._directory / "index.html"
        if not index.is_file():
            headers = _SECURITY_HEADERS | {hdrs.CACHE_CONTROL: _REVALIDATE}
            return web.Response(text=_NOT_BUILT, content_type="text/html", status=503, headers=headers)
        return web.FileResponse(index, headers=_SECURITY_HEADERS | {hdrs.CACHE_CONTROL: _REVALIDATE})

    async def to_index(self, request: web.Request) -> web.StreamResponse:
        """A page's address from Prometheus, led to the page."""
        raise web.HTTPFound("./")

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """A file under assets/: its name changes with its content, so that it can be kept for ever."""
        return self._file(self._directory / "assets", request.match_info["name"], _IMMUTABLE)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """A file beside the page, like its icon."""
        return self._file(self._directory, request.match_info["name"], _REVALIDATE)

    def _file(self, directory: Path, name: str, caching: str) -> web.StreamResponse:
        # a plain name, without a slash or a leading dot, cannot lead out of the directory
        if not _FILE_NAME.fullmatch(name) or not (directory / name).is_file():
            raise web.HTTPNotFound
        return web.FileResponse(directory / name, headers=_SECURITY_HEADERS | {hdrs.CACHE_CONTROL: caching})
