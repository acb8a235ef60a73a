"""Fetching a target's body over HTTP, as Prometheus asks for it.

A `JobClient` has what is particular to a job: headers, TLS, limits. A target keeps a connection for itself
(scraper.http_connection); what needs a proxy or redirects goes through the session that all jobs share
(scraper.http_client).
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from scraper.config import EscapingScheme, ScrapeConfig, ScrapeProtocol
from scraper.errors import BodyTooLargeError, BrokenBodyError, RequestError, ScrapeError, ScrapeLimitError
from scraper.http_body import decompress
from scraper.http_client import (
    REDIRECTS,
    USER_AGENT,
    HTTPClient,
    merged_headers,
    open_session,
    parsed_url,
    request_error,
)
from scraper.http_connection import PlainClient
from scraper.http_reasons import TIMEOUT
from scraper.http_secrets import Headers
from scraper.target import Target

__all__ = ["JobClient", "Response", "TargetClient", "accept_header", "open_session"]

_SOUND_URL = re.compile(r"[!-~]+")

MAX_BODY_BYTES = 256 * 1024 * 1024
"""The most a body may have where `body_size_limit` sets no limit: one target must not take all memory."""

_MEDIA_TYPES: dict[ScrapeProtocol, str] = {
    "PrometheusProto": ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"),
    "OpenMetricsText1.0.0": "application/openmetrics-text;version=1.0.0",
    "OpenMetricsText0.0.1": "application/openmetrics-text;version=0.0.1",
    "PrometheusText1.0.0": "text/plain;version=1.0.0",
    "PrometheusText0.0.4": "text/plain;version=0.0.4",
}
_WITH_ESCAPING = ("OpenMetricsText1.0.0", "PrometheusText1.0.0")
# Prometheus counts its five protocols plus one down, so the first always has 0.6.
_FIRST_WEIGHT = 6


@dataclass(frozen=True, slots=True)
class Response:
    """A successful answer: the decompressed body, and the Content-Type header, empty where there was none."""

    body: bytes
    content_type: str


def accept_header(protocols: tuple[ScrapeProtocol, ...], escaping: EscapingScheme) -> str:
    """The Accept header with Prometheus's quality values (prometheus scrape acceptHeader)."""
    accepted = []
    weight = _FIRST_WEIGHT
    for protocol in protocols:
        suffix = f";escaping={escaping}" if protocol in _WITH_ESCAPING else ""
        accepted.append(f"{_MEDIA_TYPES[protocol]}{suffix};q=0.{weight}")
        weight -= 1
    return ",".join([*accepted, f"*/*;q=0.{weight}"])


class JobClient:
    """What the requests of a job have in common. Raises ScraperError where its TLS files are unusable."""

    def __init__(self, session: aiohttp.ClientSession, job: ScrapeConfig, directory: Path) -> None:
        self.http = HTTPClient(job, directory, session=session)
        # A body as large as its limit is over it, as in Prometheus.
        self.limit_bytes: int = job.body_size_limit - 1 if job.body_size_limit else MAX_BODY_BYTES
        self.has_limit = job.body_size_limit > 0
        self.headers = {
            "User-Agent": USER_AGENT,
            "Accept": accept_header(job.scrape_protocols or (), job.metric_name_escaping_scheme),
            "Accept-Encoding": "gzip" if job.enable_compression else "identity",
        }

    def plain_client(self, url: URL) -> PlainClient | None:
        """A client for a target that needs no more than a connection, None for any other."""
        direct = url.user is None and url.password is None and self.http.proxies.proxy_for(url) is None
        # Anything else in a URL is for aiohttp to refuse.
        if not direct or not _SOUND_URL.fullmatch(str(url)):
            return None
        host = url.host or ""
        port = url.explicit_port if url.explicit_port is not None else (443 if url.scheme == "https" else 80)
        return PlainClient(host, port, self.http.server_name or host.rstrip("."), self.limit_bytes)


class TargetClient:
    """Fetches one target; URL and headers are made once. The owner closes it."""

    def __init__(self, client: JobClient, target: Target) -> None:
        self._client = client
        self._target = target
        timeout_s = str(target.timeout_ms / 1000).removesuffix(".0")
        self._headers = {**client.headers, "X-Prometheus-Scrape-Timeout-Seconds": timeout_s}
        self._timeout_s = target.timeout_ms / 1000
        self._url: URL | None = None
        self._plain: PlainClient | None = None
        self._own_headers: Headers | None = None
        self._request = b""

    async def fetch(self) -> Response:
        """One GET within the target's timeout. Raises ScrapeError."""
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            if self._url is None:
                self._url = parsed_url(self._target.url)
                self._plain = self._client.plain_client(self._url)
            if self._plain is not None:
                return await self._get_plain(self._plain, self._url, deadline_s)
            return await self._get(self._url, deadline_s)
        except TimeoutError as error:
            raise ScrapeError(self._failed(TIMEOUT)) from error
        except BodyTooLargeError as error:
            raise ScrapeLimitError("body size limit exceeded" if self._client.has_limit else str(error)) from error
        except RequestError as error:
            raise ScrapeError(str(error)) from error

    def close(self) -> None:
        """Close the target's connection. Idempotent; a further fetch opens a new one."""
        if self._plain is not None:
            self._plain.close()

    async def _get_plain(self, plain: PlainClient, url: URL, deadline_s: float) -> Response:
        try:
            tls = await self._prepare(url, deadline_s)
            message, body = await plain.exchange(self._request, deadline_s, tls)
        except (BodyTooLargeError, BrokenBodyError):
            raise
        except RequestError as error:
            raise RequestError(self._failed(str(error))) from error
        if message.code in REDIRECTS and self._client.http.follow_redirects:
            self._plain = None  # from now on: what is redirected once is so always
            plain.close()
            return await self._get(url, deadline_s)
        if message.code != 200:
            raise _status_error(message.code, message.reason)
        if (encoding := message.headers.get("Content-Encoding", "")) == "gzip":
            body = await decompress(body, encoding, self._client.limit_bytes)
        return Response(body, message.headers.get("Content-Type", ""))

    async def _prepare(self, url: URL, deadline_s: float) -> ssl.SSLContext | None:
        """Have the request with the headers of the moment, and give the TLS context of the moment."""
        http, secure = self._client.http, url.scheme == "https"
        may_wait = http.own_headers.may_wait or (secure and http.tls.may_wait)
        async with asyncio.timeout_at(deadline_s) if may_wait else nullcontext():
            own = await http.own_headers.current()
            tls = await http.tls.current() if secure else None
        if own is not self._own_headers:
            self._own_headers = own
            self._request = request_bytes(url, merged_headers(self._headers, own))
        return tls

    async def _get(self, url: URL, deadline_s: float) -> Response:
        async with asyncio.timeout_at(deadline_s):
            stream = await self._client.http.send("GET", url, self._headers)
        try:
            if stream.status != 200:
                raise _status_error(stream.status, stream.reason)
            async with asyncio.timeout_at(deadline_s):
                return Response(await stream.read(self._client.limit_bytes), stream.content_type)
        except TimeoutError as error:
            raise BrokenBodyError(TIMEOUT) from error
        finally:
            stream.release()

    def _failed(self, reason: str) -> str:
        return str(request_error("GET", self._target.url, reason))


def request_bytes(url: URL, headers: Mapping[str, str]) -> bytes:
    """A GET request as it goes over the wire; names and values of the headers are sound."""
    lines = [f"GET {url.raw_path_qs} HTTP/1.1", f"Host: {url.host_port_subcomponent}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode()


def _status_error(status: int, reason: str | None) -> ScrapeError:
    return ScrapeError(f"server returned HTTP status {status} {reason or ''}".rstrip())
