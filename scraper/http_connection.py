"""A kept-alive HTTP/1.1 connection for the plain case of a scrape: no proxy, the same request every time.

aiohttp's parser reads the answers. What is saved is all that its session does anew for each request, which is more than
half of the whole. The connection is the target's own, so there is no pool; it is kept only after a complete answer.
"""

import asyncio
import ssl

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpResponseParser, RawResponseMessage

from scraper.errors import BrokenBodyError, RequestError
from scraper.http_body import body_too_large
from scraper.http_dial import dial, shown_address
from scraper.http_reasons import (
    BROKEN,
    CLOSED,
    CUT_OFF,
    TIMEOUT,
    of_body,
    of_head,
    of_system,
    of_tls,
)

Answer = tuple[RawResponseMessage, bytes]

# The parser's limit is a C int, of which it takes the double.
_MAX_PARSER_LIMIT = 2**30 - 1
# Go's IdleConnTimeout in Prometheus.
_IDLE_S = 300


class _UnansweredError(RequestError):
    """The connection was closed without a byte of an answer, as servers do with idle ones."""


class PlainClient:
    """GETs of one server over one connection, which is opened when needed. Belongs to the running event loop.

    With TLS, a certificate must be for `server_name`.
    """

    def __init__(self, host: str, port: int, server_name: str, limit_bytes: int) -> None:
        self._host = host
        self._port = port
        self._server_name = server_name
        self._limit_bytes = limit_bytes
        self._connection: _Connection | None = None
        self._tls: ssl.SSLContext | None = None
        self._idle_check: asyncio.TimerHandle | None = None
        self._used_s = 0.0

    async def exchange(self, request: bytes, deadline_s: float, tls: ssl.SSLContext | None = None) -> Answer:
        """Send the bytes of a GET request and read its answer, until a time of the loop's clock.

        A connection that was made with another `tls` is not used. The body is not decompressed, and left out where the
        status is not 200. Raises TimeoutError, RequestError without method and URL, BrokenBodyError, BodyTooLargeError.
        """
        connection = self._connection
        if connection is not None and connection.transport is not None and tls is self._tls:
            try:
                return await self._use(connection, request, deadline_s)
            except _UnansweredError:
                pass  # it was closed while it was idle, or at this moment
        connection = await self._connect(deadline_s, tls)
        return await self._use(connection, request, deadline_s)

    def close(self) -> None:
        """Close the connection. Idempotent; a further exchange opens a new one."""
        if self._idle_check is not None:
            self._idle_check.cancel()
            self._idle_check = None
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    async def _use(self, connection: "_Connection", request: bytes, deadline_s: float) -> Answer:
        answer = await connection.exchange(request, deadline_s)
        self._used_s = asyncio.get_running_loop().time()
        return answer

    async def _connect(self, deadline_s: float, tls: ssl.SSLContext | None) -> "_Connection":
        self.close()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout_at(deadline_s):
            dialled = await dial(self._host, self._port)
            try:
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop, self._limit_bytes),
                    sock=dialled,
                    ssl=tls,
                    server_hostname=self._server_name if tls else None,
                )
            except ssl.SSLError as error:
                raise RequestError(of_tls(error, self._server_name)) from error
            except OSError as error:
                raise RequestError(f"read: {of_system(error)}" if error.errno else CLOSED) from error
        self._connection, self._tls = connection, tls
        self._used_s = loop.time()
        self._idle_check = loop.call_later(_IDLE_S, self._close_if_idle)
        return connection

    def _close_if_idle(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._used_s + _IDLE_S:
            self._idle_check = loop.call_at(self._used_s + _IDLE_S, self._close_if_idle)
        else:
            self.close()


class _Connection(BaseProtocol):
    """One connection; `transport` is None before and after its life."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_bytes: int) -> None:
        super().__init__(loop)
        self._reader = HttpResponseParser(
            self, loop, min(limit_bytes, _MAX_PARSER_LIMIT), read_until_eof=True, auto_decompress=False
        )
        self._limit_bytes = limit_bytes
        self._waiter: asyncio.Future[None] | None = None
        self._message: RawResponseMessage | None = None
        self._payload: StreamReader | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._received = False
        self._surplus = False

    async def exchange(self, request: bytes, deadline_s: float) -> Answer:
        """See PlainClient. A transport that is gone is an error like a server that closes."""
        if self.transport is None:
            raise _UnansweredError(CLOSED)
        self._forget()
        self._waiter = waiter = self._loop.create_future()
        timer = self._loop.call_at(deadline_s, self._expire)
        self.transport.write(request)
        complete = False
        try:
            await waiter
            message, payload = self._message, self._payload
            if message is None or payload is None:
                raise RequestError(CUT_OFF)
            complete = payload.is_eof() and not message.should_close and not self._surplus
            return message, self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        finally:
            timer.cancel()
            self._forget()
            if not complete:
                self.abort()

    def _forget(self) -> None:
        """Hold nothing of an answer, also for the long time between two scrapes."""
        self._waiter = self._message = self._payload = None
        self._parts, self._size = [], 0
        self._received = self._surplus = False

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()
            self.transport = None

    def data_received(self, data: bytes) -> None:
        first, self._received = not self._received, True
        if self._waiter is None or self._waiter.done():
            self.abort()  # what was not asked for must not become the next answer
            return
        try:
            # The head goes first, as of what is fed at once with an error nothing comes back.
            while self._message is None and (end := data.find(b"\r\n\r\n") + 4) >= 4 and end < len(data):
                self._take(data[:end])
                data = data[end:]
            self._take(data)
        except HttpProcessingError as error:
            if self._payload is None:
                self._finish(RequestError(of_head(error, data if first else b"")))
                return
            if not self._payload.is_eof():
                self._finish(BrokenBodyError(of_body(error)))
                return
            self._surplus = True  # it sends more than it announced
        self._collect()

    def _take(self, data: bytes) -> None:
        messages, _, _ = self._reader.feed_data(data)
        for message, payload in messages:
            if self._message is not None:
                self._surplus = True
            elif message.code >= 200:  # others announce the one that counts
                self._message, self._payload = message, payload

    def connection_lost(self, exc: BaseException | None) -> None:
        transport = self.transport
        super().connection_lost(exc)
        if self._waiter is None:
            return
        if exc is not None:
            self._break_off(_reason(transport, exc))
            return
        try:
            self._reader.feed_eof()
        except HttpProcessingError as error:
            self._break_off(of_body(error))
            return
        self._collect()
        self._break_off(f"{BROKEN}{CUT_OFF}" if self._received else CLOSED)

    def _break_off(self, reason: str) -> None:
        """End with the error that says how far the answer had come, where it has not ended yet."""
        kind = RequestError if self._received else _UnansweredError
        self._finish(BrokenBodyError(reason) if self._message is not None else kind(reason))

    def _expire(self) -> None:
        self._finish(TimeoutError() if self._message is None else BrokenBodyError(TIMEOUT))

    def pause_reading(self) -> None:
        """Nothing: what the parser holds is taken away at once, and limited."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Nothing, as reading is never paused."""

    def _collect(self) -> None:
        """Take what the parser has of the body, so that many small chunks do not pile up there."""
        message, payload = self._message, self._payload
        if message is None or payload is None:
            return
        if message.code != 200:
            self._finish(None)
            return
        if int(message.headers.get("Content-Length", 0)) > self._limit_bytes:
            self._finish(body_too_large(self._limit_bytes))
            return
        if part := payload.read_nowait():
            self._parts.append(part)
            self._size += len(part)
        if self._size > self._limit_bytes:
            self._finish(body_too_large(self._limit_bytes))
        elif payload.is_eof():
            self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)


def _reason(transport: asyncio.BaseTransport | None, error: BaseException) -> str:
    """Why a connection broke."""
    if not isinstance(error, OSError):
        return str(error)
    if isinstance(error, ssl.SSLError) or transport is None:
        return of_system(error)
    ours, theirs = (shown_address(transport.get_extra_info(end)) for end in ("sockname", "peername"))
    return f"read tcp {ours}->{theirs}: read: {of_system(error)}"
