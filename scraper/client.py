"""Fetching a target's body over HTTP, as Prometheus asks for it.

One `ClientSession` serves all targets, a `JobClient` has what is particular to a job: headers, TLS, limits. Bodies are
decompressed here and not by aiohttp, so that a limit holds for what comes out and not only for what comes in.
"""

import asyncio
from base64 import b64encode
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast

import aiohttp
from isal import isal_zlib
from multidict import CIMultiDict
from yarl import URL

from common.durations import format_duration
from scraper.config import EscapingScheme, ScrapeConfig, ScrapeProtocol
from scraper.errors import ScrapeError, ScrapeLimitError
from scraper.http_config import TLSConfig, ssl_context
from scraper.target import Target

MAX_BODY_BYTES = 256 * 1024 * 1024
"""The most a body may have where `body_size_limit` sets no limit: one target must not take all memory."""

_MEDIA_TYPES: dict[ScrapeProtocol, str] = {
    "OpenMetricsText1.0.0": "application/openmetrics-text;version=1.0.0",
    "OpenMetricsText0.0.1": "application/openmetrics-text;version=0.0.1",
    "PrometheusText1.0.0": "text/plain;version=1.0.0",
    "PrometheusText0.0.4": "text/plain;version=0.0.4",
}
_WITH_ESCAPING = ("OpenMetricsText1.0.0", "PrometheusText1.0.0")
# Prometheus counts its five protocols plus one down, so the first always has 0.6.
_FIRST_WEIGHT = 6

# A connection stays open between scrapes, also with long intervals (Go's IdleConnTimeout in Prometheus).
_KEEPALIVE_S = 300
_READ_BUFFER_BYTES = 1024 * 1024
_GZIP_WINDOW_BITS = 31
# The package's type information has the class as an instance.
_GzipError = cast(type[Exception], isal_zlib.error)
# Decompressing more than this would hold up the other targets' loops; it goes to a thread.
_INLINE_GZIP_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """A successful answer: the decompressed body, and the Content-Type header, empty where there was none."""

    body: bytes
    content_type: str


def open_session() -> aiohttp.ClientSession:
    """The session that all clients share; belongs to the running event loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(),
        auto_decompress=False,
        read_bufsize=_READ_BUFFER_BYTES,
    )


def accept_header(protocols: tuple[ScrapeProtocol, ...], escaping: EscapingScheme) -> str:
    """The Accept header with Prometheus's quality values (prometheus scrape acceptHeader)."""
    accepted = []
    weight = _FIRST_WEIGHT
    for protocol in protocols:
        if protocol in _MEDIA_TYPES:
            suffix = f";escaping={escaping}" if protocol in _WITH_ESCAPING else ""
            accepted.append(f"{_MEDIA_TYPES[protocol]}{suffix};q=0.{weight}")
        weight -= 1
    return ",".join([*accepted, f"*/*;q=0.{weight}"])


class JobClient:
    """What the requests of a job have in common. Raises ScraperError where its TLS files are unusable."""

    def __init__(self, session: aiohttp.ClientSession, job: ScrapeConfig, directory: Path) -> None:
        self.session = session
        self.limit_bytes: int = job.body_size_limit or MAX_BODY_BYTES
        self.headers = {
            "Accept": accept_header(job.scrape_protocols or (), job.metric_name_escaping_scheme),
            "Accept-Encoding": "gzip" if job.enable_compression else "identity",
            "User-Agent": f"Fleetwatch/{version('fleetwatch')}",
        }
        self.ssl = ssl_context(job.tls_config, directory) if _needs_tls(job) else True
        self.server_name = job.tls_config.server_name or None
        self.follow_redirects = job.follow_redirects
        self.proxy_url = job.proxy_url or None
        self._job = job
        self._directory = directory

    async def authorization(self) -> str:
        """The Authorization header, empty for none; files are read anew each time, as secrets are rotated.

        Raises ScrapeError where a file cannot be read.
        """
        job = self._job
        if basic := job.basic_auth:
            username = basic.username or await self._secret(basic.username_file)
            password = basic.password or await self._secret(basic.password_file)
            return "Basic " + b64encode(f"{username}:{password}".encode()).decode()
        if token := job.authorization:
            return f"{token.type} {token.credentials or await self._secret(token.credentials_file)}"
        if job.bearer_token or job.bearer_token_file:
            return f"Bearer {job.bearer_token or await self._secret(job.bearer_token_file)}"
        return ""

    async def _secret(self, file: str) -> str:
        if not file:
            return ""
        try:
            return (await asyncio.to_thread((self._directory / file).read_text, "utf-8")).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ScrapeError(f"the secret file {file} cannot be read: {error}") from error


def _needs_tls(job: ScrapeConfig) -> bool:
    return job.scheme == "https" or job.tls_config != TLSConfig()


class TargetClient:
    """Fetches one target; URL and headers are made once."""

    def __init__(self, client: JobClient, target: Target) -> None:
        self._client = client
        self._target = target
        timeout_s = str(target.timeout_ms / 1000).removesuffix(".0")
        self._headers = CIMultiDict(client.headers, **{"X-Prometheus-Scrape-Timeout-Seconds": timeout_s})
        self._url: URL | str
        try:
            self._url = URL(target.url, encoded=True)
        except ValueError:
            self._url = target.url  # aiohttp refuses it with each scrape, and says why

    async def fetch(self) -> Response:
        """One GET within the target's timeout. Raises ScrapeError."""
        target = self._target
        try:
            async with asyncio.timeout(target.timeout_ms / 1000):
                return await self._get()
        except TimeoutError as error:
            limit = format_duration(target.timeout_ms)
            reason = f"context deadline exceeded: no complete answer within {limit}"
            raise ScrapeError(f'Get "{target.url}": {reason}') from error
        except aiohttp.ClientConnectorError as error:
            reason = f"cannot connect to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
            raise ScrapeError(f'Get "{target.url}": {reason}') from error
        except aiohttp.InvalidURL as error:
            reason = "not a URL that can be scraped: expected http or https, and a port up to 65535"
            raise ScrapeError(f'Get "{target.url}": {reason}') from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: aiohttp refuses a URL or a header.
            raise ScrapeError(f'Get "{target.url}": {error or type(error).__name__}') from error

    async def _get(self) -> Response:
        client = self._client
        headers = self._headers
        if authorization := await client.authorization():
            headers = CIMultiDict(headers, Authorization=authorization)
        async with client.session.get(
            self._url,
            headers=headers,
            ssl=client.ssl,
            server_hostname=client.server_name,
            allow_redirects=client.follow_redirects,
            proxy=client.proxy_url,
        ) as response:
            if response.status != 200:
                raise ScrapeError(f"server returned HTTP status {response.status} {response.reason or ''}".rstrip())
            body = await self._read(response.content)
            encoding = response.headers.get("Content-Encoding", "")
            content_type = response.headers.get("Content-Type", "")
        if encoding == "gzip":
            if len(body) > _INLINE_GZIP_BYTES:
                body = await asyncio.to_thread(gunzip, body, client.limit_bytes)
            else:
                body = gunzip(body, client.limit_bytes)
        return Response(body, content_type)

    async def _read(self, content: aiohttp.StreamReader) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while chunk := await content.readany():
            chunks.append(chunk)
            size += len(chunk)
            if size > self._client.limit_bytes:
                raise _body_too_large(self._client.limit_bytes)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def gunzip(body: bytes, limit_bytes: int) -> bytes:
    """Decompress all gzip members; raises ScrapeError where that is damaged or more than `limit_bytes`."""
    parts: list[bytes] = []
    room = limit_bytes
    while body:
        decompressor = isal_zlib.decompressobj(wbits=_GZIP_WINDOW_BITS)
        try:
            part = decompressor.decompress(body, room + 1)
        except _GzipError as error:
            raise ScrapeError(f"the body is damaged gzip: {error}") from error
        if len(part) > room:
            raise _body_too_large(limit_bytes)
        if not decompressor.eof:
            raise ScrapeError("the body is damaged gzip: it ends too early")
        parts.append(part)
        room -= len(part)
        body = decompressor.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _body_too_large(limit_bytes: int) -> ScrapeLimitError:
    return ScrapeLimitError(f"body size limit exceeded: the body has more than {limit_bytes} bytes")
