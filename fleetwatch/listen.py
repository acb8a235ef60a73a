"""Serving HTTP: listen addresses as Prometheus's flags spell them, the sockets behind them, and the signal to stop."""

import asyncio
import contextlib
import errno
import logging
import resource
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from common.webconfig import WebConfig
from fleetwatch.errors import StartError

log = logging.getLogger(__name__)


def split_address(address: str) -> tuple[str, int]:
    """`host:port`, `:port` (every interface) or `[::1]:port` as (host, port). Raises StartError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise StartError(f'"{address}" is no listen address: write host:port, like localhost:9090 or 0.0.0.0:9090')
    return host.removeprefix("[").removesuffix("]"), int(port)


def bind(address: str, flag: str) -> list[socket.socket]:
    """Listening sockets, one for each address the host resolves to. Raises StartError.

    With port 0 the first socket takes a free port and the others follow it. `flag` names in the message what sets
    the address.
    """
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise StartError(
            f"cannot listen on {address}: {host} does not resolve ({error.strerror}); set {flag}"
        ) from error
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, where in found:
            chosen = (where[0], port or sockets[0].getsockname()[1] if sockets else port, *where[2:])
            try:
                sockets.append(socket.create_server(chosen, family=family, backlog=1024))
            except OSError as error:
                # localhost may resolve to ::1 on a host where IPv6 is off: one address is enough
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) or not (sockets or len(found) > 1):
                    raise
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, "no address of this host")
    except OSError as error:
        for bound in sockets:
            bound.close()
        taken = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise StartError(f"cannot listen on {address}: {taken}; stop it or set {flag}") from error
    return sockets


async def serve(
    stack: contextlib.AsyncExitStack,
    runner: web.AppRunner,
    addresses: Sequence[str],
    flag: str,
    web_config: WebConfig | None = None,
) -> None:
    """Serve an application at addresses, guarded by the web config, until the stack unwinds. Raises StartError."""
    sockets = [bound for address in addresses for bound in bind(address, flag)]
    if web_config is not None:
        web_config.install(runner.app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    context = None if web_config is None else web_config.ssl_context()
    for bound in sockets:
        await web.SockSite(runner, bound, ssl_context=context).start()
    log.info("listening", extra={"address": ",".join(addresses), "tls": context is not None})


def load_web_config(file: str, directory: Path = Path()) -> WebConfig | None:
    """The web config in a file, none for an empty name; relative names start at `directory`. Raises ConfigError."""
    return WebConfig.load(directory / file) if file else None


def shown_url(address: str, web_config: WebConfig | None) -> str:
    """What a browser on this host takes."""
    scheme = "https" if web_config is not None and web_config.serves_tls else "http"
    return f"{scheme}://{shown_address(address)}"


def shown_address(address: str) -> str:
    """The address for a browser on this host: `localhost` where it stands for every interface."""
    host, port = split_address(address)
    shown = {"": "localhost", "0.0.0.0": "localhost", "::": "localhost"}.get(host, f"[{host}]" if ":" in host else host)
    return f"{shown}:{port}"


def allow_open_files() -> None:
    """Take as many descriptors as the hard limit allows, as Go's programs do: each target holds a connection open, and
    the soft limit is 1024 by default."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
