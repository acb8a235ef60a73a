"""A kept-alive HTTP/1.1 connection for the plain case of a scrape: http, no proxy, the same request every time.

aiohttp's parser reads the answers. What is saved is all that its session does anew for each request, which is more than
half of the whole. The connection is the target's own, so there is no pool; it is kept only after a complete answer.
"""

import asyncio

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpResponseParser, RawResponseMessage

from scraper.errors import RequestError
from scraper.http_body import body_too_large

Answer = tuple[RawResponseMessage, bytes]

CLOSED = "the server closed the connection before its answer was complete"

# The parser's limit is a C int, of which it takes the double.
_MAX_PARSER_LIMIT = 2**30 - 1
# Go's IdleConnTimeout in Prometheus.
_IDLE_S = 300


class _UnansweredError(RequestError):
    """The connection was closed without a byte of an answer, as servers do with idle ones."""


class PlainClient:
    """GETs of one server over one connection, which is opened when needed. Belongs to the running event loop."""

    def __init__(self, host: str, port: int, limit_bytes: int) -> None:
        self._host = host
        self._port = port
        self._limit_bytes = limit_bytes
        self._connection: _Connection | None = None
        self._idle_check: asyncio.TimerHandle | None = None
        self._used_s = 0.0

    async def exchange(self, request: bytes, deadline_s: float) -> Answer:
        """Send the bytes of a GET request and read its answer, until a time of the loop's clock.

        The body is not decompressed, and left out where the status is not 200. Raises TimeoutError, RequestError
        without method and URL, and BodyTooLargeError.
        """
        connection = self._connection
        if connection is not None and connection.transport is not None:
            try:
                return await self._use(connection, request, deadline_s)
            except _UnansweredError:
                pass  # it was closed while it was idle, or at this moment
        connection = await self._connect(deadline_s)
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

    async def _connect(self, deadline_s: float) -> "_Connection":
        self.close()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline_s):
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop, self._limit_bytes), self._host, self._port
                )
        except OSError as error:
            if loop.time() >= deadline_s:
                raise TimeoutError from error
            reason = error.strerror or error
            raise RequestError(f"cannot connect to {self._host}:{self._port}: {reason}") from error
        self._connection = connection
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
        timer = self._loop.call_at(deadline_s, self._finish, TimeoutError())
        self.transport.write(request)
        complete = False
        try:
            await waiter
            message, payload = self._message, self._payload
            if message is None or payload is None:
                raise RequestError(CLOSED)
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
        self._received = True
        if self._waiter is None or self._waiter.done():
            self.abort()  # what was not asked for must not become the next answer
            return
        try:
            messages, _, _ = self._reader.feed_data(data)
        except HttpProcessingError as error:
            self._finish(RequestError(f"the answer is not HTTP: {error.message.strip()}"))
            return
        for message, payload in messages:
            if self._message is not None:
                self._surplus = True
            elif message.code >= 200:  # others announce the one that counts
                self._message, self._payload = message, payload
        self._collect()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self._waiter is None:
            return
        if exc is not None:
            kind = RequestError if self._received else _UnansweredError
            self._finish(kind(f"the connection broke: {exc}"))
            return
        try:
            self._reader.feed_eof()
        except HttpProcessingError as error:
            self._finish(RequestError(f"the answer broke off: {error.message.strip()}"))
            return
        self._collect()
        self._finish(RequestError(CLOSED) if self._received else _UnansweredError(CLOSED))

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
