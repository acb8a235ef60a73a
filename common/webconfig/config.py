"""The web config in force: read at the start, looked after at requests and new connections, applied to aiohttp.

A listener keeps the TLS context it was started with, so that context only hands each new connection to the one in
force (`tls.connections_by`). The files' stamps are compared at most once a second; a file that changed for the worse
leaves what is in force alone, and is tried again.
"""

import logging
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from common.webconfig import schema
from common.webconfig.auth import BasicAuth
from common.webconfig.rate_limit import TokenBucket
from common.webconfig.schema import WebConfigFile
from common.webconfig.tls import connections_by, server_context
from common.yamlfile import ConfigError, Problem, loads, read_text

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0

# Which write of which file: device and inode, size, change times.
_Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """A file that was read whole and found right, and the TLS context made of it."""

    file: WebConfigFile
    stamps: dict[Path, _Stamp | None]
    context: ssl.SSLContext | None


class WebConfig:
    """A web config file that guards an aiohttp application and its listeners. For one event loop."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigError; `clock` gives monotonic seconds."""
        self._path = path
        self._clock = clock
        self._next_look = clock() + LOOK_INTERVAL_S
        self._read = _read(path)
        self._headers = _headers(self._read.file)
        self.auth = _auth(self._read.file)
        """What checks passwords; None where no users are named."""
        self._limiter = _limiter(self._read.file, clock)
        self.error = ""
        """Why the file as it stands now is not in force; empty when it is."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a web config file. Raises ConfigError with all that is wrong in it."""
        return cls(path)

    @property
    def serves_tls(self) -> bool:
        """Whether listeners speak HTTPS."""
        return self._read.context is not None

    def ssl_context(self) -> ssl.SSLContext | None:
        """For a listener's start; None where the file has no certificate: then HTTP is served in plain text."""
        return None if self._read.context is None else connections_by(self._current_context)

    def install(self, app: web.Application) -> None:
        """Guard all requests of an application, and add the headers to all its responses."""
        app.middlewares.insert(0, self._middleware)
        app.on_response_prepare.append(self._add_headers)

    def look(self) -> None:
        """Put the file in force as it is now, if it changed and is right; looks at most once a second."""
        now = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_INTERVAL_S
        if self.error or self._read.stamps != {path: _stamp(path) for path in self._read.stamps}:
            self._reread()

    def _reread(self) -> None:
        try:
            read = _read(self._path)
            if (read.context is None) != (self._read.context is None):
                switched = "off" if read.context is None else "on"
                raise ConfigError([f"{self._path}: tls_server_config: switching TLS {switched} needs a restart"])
        except ConfigError as error:
            if self.error != str(error):
                self.error = str(error)
                log.error("web config changed and is wrong, the old one stays in force", extra={"error": self.error})
            return
        before, self._read, self.error = self._read.file, read, ""
        self._headers = _headers(read.file)
        if read.file.basic_auth_users != before.basic_auth_users:
            self.auth = _auth(read.file)
        if read.file.rate_limit != before.rate_limit:
            self._limiter = _limiter(read.file, self._clock)
        log.info("web config reread", extra={"file": self._path})

    def _current_context(self) -> ssl.SSLContext:
        self.look()
        if self._read.context is None:
            raise RuntimeError("a TLS listener without a certificate")
        return self._read.context

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what comes too fast or without a password, as exporter-toolkit does."""
        self.look()
        if self._limiter is not None and not self._limiter.take():
            return web.Response(status=429, text="Too Many Requests\n")
        if self.auth is not None and not await self.auth.allows(request.headers.get(hdrs.AUTHORIZATION, "")):
            return web.Response(status=401, text="Unauthorized\n", headers={hdrs.WWW_AUTHENTICATE: "Basic"})
        return await handler(request)

    async def _add_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self._headers)


def _read(path: Path) -> _Read:
    """Raises ConfigError."""
    # Stamps are taken before the reading, so that a write in between is seen at the next look.
    own_stamp = _stamp(path)
    text = read_text(path)
    stamps: dict[Path, _Stamp | None] = {path: own_stamp}
    context: ssl.SSLContext | None = None

    def check(file: WebConfigFile) -> Iterator[Problem]:
        nonlocal context
        yield from schema.problems(file, text)
        if file.tls_server_config.enabled:
            stamps.update((path.parent / name, _stamp(path.parent / name)) for name in file.tls_server_config.files)
            context, problems = server_context(file.tls_server_config, path.parent)
            yield from problems

    file = loads(text, WebConfigFile, check, name=str(path))
    if context is None and file.tls_server_config != schema.TLSServerConfig():
        log.warning("tls_server_config has no certificate: HTTP is served in plain text", extra={"file": path})
    return _Read(file, stamps, context)


def _stamp(path: Path) -> _Stamp | None:
    """None where there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _headers(file: WebConfigFile) -> dict[str, str]:
    """Without blank ones; line breaks, which a header cannot hold, are spaces."""
    values = {name: " ".join(value.split()) for name, value in file.http_server_config.headers.items()}
    return {name: value for name, value in values.items() if value}


def _auth(file: WebConfigFile) -> BasicAuth | None:
    return BasicAuth(file.basic_auth_users) if file.basic_auth_users else None


def _limiter(file: WebConfigFile, clock: Callable[[], float]) -> TokenBucket | None:
    return TokenBucket(file.rate_limit, clock) if file.rate_limit.interval > 0 else None
