"""TCP connections, with Go's words for why there is none."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from scraper.errors import RequestError
from scraper.http_reasons import of_dial, of_lookup

_Addresses = Sequence[tuple[int, int, int, str, Any]]

_LITERAL = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


async def dial(host: str, port: int) -> socket.socket:
    """A socket that is connected to the first of the host's addresses that takes it.

    Raises RequestError without method and URL; of several addresses it is that of the first, as in Go.
    """
    loop = asyncio.get_running_loop()
    failures: list[RequestError] = []
    for family, kind, protocol, _, address in await _addresses(loop, host, port):
        dialled = socket.socket(family, kind, protocol)
        try:
            dialled.setblocking(False)
            await loop.sock_connect(dialled, address)
            return dialled
        except OSError as error:
            dialled.close()
            failures.append(RequestError(of_dial(shown_address(address), error)))
        except asyncio.CancelledError:
            dialled.close()
            raise
    raise failures[0]


def shown_address(address: tuple[object, ...] | None) -> str:
    """An address of a socket as Go writes it; empty host and port for None."""
    host, port = (address or ("", ""))[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


async def _addresses(loop: asyncio.AbstractEventLoop, host: str, port: int) -> _Addresses:
    try:
        # Not in the event loop's threads, which may all wait for a name server that does not answer.
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=_LITERAL)
    except (OSError, UnicodeError):
        pass  # it is a name
    try:
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise RequestError(of_lookup(host, error)) from error
