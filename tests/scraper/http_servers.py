"""Servers on loopback for tests of HTTP clients: an aiohttp one, one that sends any bytes, a proxy, certificates."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from tests.components import missing

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def web_server(handler: Handler, tls: ssl.SSLContext | None = None, unix_socket: str = "") -> AsyncIterator[str]:
    """Any method and path to one handler; yields `host:port`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.UnixSite(runner, unix_socket) if unix_socket else web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield "unix" if unix_socket else "{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@dataclass
class RawServer:
    """Answers each request with `pieces`, one write each, and then closes where `closes`; `resets` does so rudely."""

    pieces: list[bytes] = field(default_factory=list)
    closes: bool = False
    resets: bool = False
    hangs: bool = False
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    address: str = ""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    _writer: asyncio.StreamWriter | None = None

    def unasked(self, data: bytes) -> None:
        """Send something on the newest connection without having been asked."""
        assert self._writer is not None
        self._writer.write(data)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writer = writer
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                self.asked.set()
                for piece in self.pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if self.hangs:
                    await reader.read()  # until the client has had enough
                if self.resets:
                    writer.transport.abort()
                if self.closes or self.resets:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.left.set()
            writer.close()


@asynccontextmanager
async def raw_server(server: RawServer) -> AsyncIterator[RawServer]:
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(server.serve(reader, writer)))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()[:2]
    server.address = f"{host}:{port}"
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Proxy:
    """A proxy that opens tunnels only; refuses with `refuses` where that is not 0."""

    refuses: int = 0
    requests: list[bytes] = field(default_factory=list)
    address: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(request)
        if self.refuses:
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % self.refuses)
            writer.close()
            return
        port = int(request.split(b" ")[1].rpartition(b":")[2])
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
        finally:
            up_writer.close()
            writer.close()


@asynccontextmanager
async def proxy_server(proxy: Proxy) -> AsyncIterator[Proxy]:
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(proxy.serve(reader, writer)))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.address = "{}:{}".format(*listener.sockets[0].getsockname()[:2])
    try:
        yield proxy
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


class Authority:
    """A certificate authority in a directory, made with openssl."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._directory = directory
        self._name = name
        self._openssl = shutil.which("openssl") or missing("openssl is not installed: apt-get install openssl")
        self.ca = directory / f"{name}.pem"
        self._run("req", "-x509", *_NEW_KEY, "-keyout", f"{name}.key", "-out", self.ca.name, "-subj", f"/CN={name}")

    def issue(self, name: str, subject: str = "DNS:localhost,IP:127.0.0.1") -> tuple[Path, Path]:
        """Certificate and key for a server or a client."""
        cert, key = f"{name}.crt", f"{name}.crt.key"
        request = ("req", *_NEW_KEY, "-keyout", key, "-out", f"{name}.csr", "-subj", f"/CN={name}")
        self._run(*request, "-addext", f"subjectAltName={subject}")
        sign = ("x509", "-req", "-in", f"{name}.csr", "-CA", self.ca.name, "-CAkey", f"{self._name}.key")
        self._run(*sign, "-CAcreateserial", "-copy_extensions", "copy", "-days", "2", "-out", cert)
        return self._directory / cert, self._directory / key

    def server_context(self, name: str = "server", subject: str = "DNS:localhost,IP:127.0.0.1") -> ssl.SSLContext:
        """TLS for a server with a certificate of this authority."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.issue(name, subject))
        return context

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._openssl, *arguments], cwd=self._directory, check=True, capture_output=True)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
