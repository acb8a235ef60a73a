"""HTTP as an `http_config` says: credentials, TLS, proxies, headers, redirects.

`HTTPClient` is what discovery and the scrapes of targets share. Redirects are followed here and not by aiohttp, as each
hop chooses its proxy anew and must not carry credentials to a foreign host. Bodies are decompressed here too, so that a
limit holds for what comes out and not only for what comes in.
"""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from common.durations import format_duration
from scraper.errors import BodyTooLargeError, BrokenBodyError, RequestError, ScraperError
from scraper.http_body import HTTPResponse, body_too_large, decompress
from scraper.http_config import HTTPConfig, OAuth2, ProxyConfig
from scraper.http_files import FollowedFiles, SecretFile
from scraper.http_proxy import ProxyChoice
from scraper.http_reasons import TIMEOUT, of_body, of_client
from scraper.http_secrets import Headers, RequestHeaders
from scraper.http_tls import TLS
from scraper.oauth2 import TokenSource

USER_AGENT = f"Fleetwatch/{version('fleetwatch')}"
DEFAULT_LIMIT_BYTES = 64 * 1024 * 1024

Query = Mapping[str, str | Sequence[str]] | Sequence[tuple[str, str]]
Data = bytes | str | Mapping[str, str]

# A connection stays open between scrapes, also with long intervals (Go's IdleConnTimeout in Prometheus).
_KEEPALIVE_S = 300
_READ_BUFFER_BYTES = 1024 * 1024
# How many requests one may become by redirects, as in Go's net/http.
_MAX_REQUESTS = 10
_TOKEN_TIMEOUT_S = 30
_PORT = re.compile(r"[^/?#]:([^]/?#:]*)(?:[/?#]|$)")
REDIRECTS = (301, 302, 303, 307, 308)


def open_session(unix_socket: str = "") -> aiohttp.ClientSession:
    """A session that clients can share; belongs to the running event loop."""
    connector: aiohttp.BaseConnector
    if unix_socket:
        connector = aiohttp.UnixConnector(unix_socket, limit=0, keepalive_timeout=_KEEPALIVE_S)
    else:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(),
        auto_decompress=False,
        read_bufsize=_READ_BUFFER_BYTES,
    )


class HTTPStream:
    """An answer whose body is still to be read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.reason = response.reason or ""
        self.headers = response.headers
        self.content_type = response.headers.get("Content-Type", "")
        self._response = response

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives, not decompressed. Raises BrokenBodyError."""
        try:
            while chunk := await self._response.content.readany():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise BrokenBodyError(of_body(error)) from error

    async def lines(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> AsyncGenerator[bytes, None]:
        """The body's lines as they arrive, without their ends. Raises RequestError, also for an overlong line."""
        rest = bytearray()
        try:
            async for chunk in self.chunks():
                *lines, last = chunk.split(b"\n")
                for line in lines:
                    yield bytes(rest) + line
                    rest.clear()
                rest += last
                if len(rest) > limit_bytes:
                    raise BodyTooLargeError(f"a line of the answer has more than {limit_bytes} bytes")
        except BrokenBodyError as error:
            raise request_error(self._response.method, self._response.url, str(error)) from error
        if rest:
            yield bytes(rest)

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body, decompressed. Raises BrokenBodyError, BodyTooLargeError where it exceeds the limit."""
        if (self._response.content_length or 0) > limit_bytes:
            raise body_too_large(limit_bytes)
        chunks: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit_bytes:
                raise body_too_large(limit_bytes)
        return await decompress(b"".join(chunks), self.headers.get("Content-Encoding", ""), limit_bytes)

    def release(self) -> None:
        """Done with it: the connection is kept where the body was read to its end, and closed otherwise."""
        self._response.release()


class HTTPClient:
    """Makes requests as `config` says, whose files are relative to `directory`.

    Uses `session`, which the caller closes, or one of its own, over TCP or over a unix socket; then the host in URLs is
    only a name. Raises ScraperError where TLS files or the proxy's URL are unusable.
    """

    def __init__(
        self,
        config: HTTPConfig,
        directory: Path,
        *,
        session: aiohttp.ClientSession | None = None,
        unix_socket: str = "",
    ) -> None:
        self.follow_redirects = config.follow_redirects
        try:
            self.proxies = ProxyChoice(config, os.environ)
        except ValueError as error:
            raise ScraperError(f"the proxy's URL cannot be used: {error}") from error
        self.tls = TLS(config.tls_config, directory)
        self.server_name = config.tls_config.server_name or None
        self._session = session
        self._unix_socket = unix_socket
        self._own_session: aiohttp.ClientSession | None = None
        self._token_client: HTTPClient | None = None
        self._tokens: TokenSource | None = None
        if oauth2 := config.oauth2:
            self._token_client = HTTPClient(_token_config(oauth2), directory, session=session)
            name = oauth2.client_secret_file
            files = FollowedFiles({"client_secret": SecretFile(directory, name)} if name else {})
            self._tokens = TokenSource(oauth2, files, self._token_client.post_form)
        self.own_headers = RequestHeaders(config, directory, self._tokens)

    async def request(
        self,
        method: str,
        url: str | URL,
        *,
        headers: Mapping[str, str] | None = None,
        params: Query | None = None,
        data: Data | None = None,
        timeout_s: float,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
    ) -> HTTPResponse:
        """One request, its answer read whole; any status is an answer.

        `params` are added to the URL's query; `data` is the body, a form where it is a mapping. Raises RequestError:
        no connection, no complete answer in time, unusable credentials; BodyTooLargeError where the body has more than
        `limit_bytes`.
        """
        sent = {"Accept-Encoding": "gzip", **(headers or {})}
        async with _deadline(method, url, timeout_s):
            stream = await self.send(method, parsed_url(url, params), sent, data)
            try:
                body = await stream.read(limit_bytes)
            except BrokenBodyError as error:
                raise request_error(method, url, str(error)) from error
            finally:
                stream.release()
        return HTTPResponse(stream.status, stream.reason, stream.headers, body)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str | URL,
        *,
        headers: Mapping[str, str] | None = None,
        params: Query | None = None,
        data: Data | None = None,
        connect_timeout_s: float,
    ) -> AsyncIterator[HTTPStream]:
        """An answer that is read as it arrives, for as long as that takes; its headers must be there in time.

        The connection is closed where the body was not read to its end. Raises RequestError.
        """
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        async with _deadline(method, url, connect_timeout_s):
            stream = await self.send(method, parsed_url(url, params), sent, data)
        try:
            yield stream
        finally:
            stream.release()

    async def post_form(self, url: str, headers: Mapping[str, str], form: str) -> HTTPResponse:
        """What a token server is asked with."""
        return await self.request("POST", url, headers=headers, data=form, timeout_s=_TOKEN_TIMEOUT_S)

    async def close(self) -> None:
        """Close what the client opened. Idempotent."""
        if self._tokens is not None:
            await self._tokens.close()
        session, self._own_session = self._own_session, None
        if session is not None:
            await session.close()
        if self._token_client is not None:
            await self._token_client.close()

    async def send(self, method: str, url: URL, headers: Mapping[str, str], data: Data | None = None) -> HTTPStream:
        """Send, and follow redirects as Go's net/http does. The caller releases the stream. Raises RequestError."""
        here = url
        headers = {"User-Agent": USER_AGENT, **headers}
        try:
            sent = merged_headers(headers, await self.own_headers.current())
        except RequestError as error:
            raise request_error(method, url, str(error)) from error
        location: str | None = None
        for _ in range(_MAX_REQUESTS):
            response = await self._send_once(method, here, sent, data)
            location = response.headers.get("Location")
            if not (self.follow_redirects and location and response.status in REDIRECTS):
                return HTTPStream(response)
            response.release()
            here = parsed_url(_joined(here, location))
            if response.status not in (307, 308) and method != "HEAD":
                method, data = "GET", None
            if not _may_see_credentials(url.host or "", here.host or ""):
                # For good: a way back to the first host would be the foreign one's choice.
                sent = merged_headers(headers, self.own_headers.public)
                sent.popall("Authorization", None)
        raise request_error(method, location or here, f"stopped after {_MAX_REQUESTS} redirects")

    async def _send_once(
        self, method: str, url: URL, headers: CIMultiDict[str], data: Data | None
    ) -> aiohttp.ClientResponse:
        session = self._session or self._open()
        proxy = self.proxies.proxy_for(url)
        if proxy is not None and proxy.scheme not in ("http", "https"):
            raise request_error(method, url, f"the proxy's scheme is {proxy.scheme!r}: expected http or https")
        # A proxy is reached with the same TLS settings.
        needs_tls = "https" in (url.scheme, proxy.scheme if proxy else "")
        try:
            tls = await self.tls.current() if needs_tls else True
            return await session.request(
                method,
                # Go prefers the header to what the URL says.
                url.with_user(None) if "Authorization" in headers else url,
                headers=headers,
                data=data,
                ssl=tls,
                server_hostname=self.server_name,
                allow_redirects=False,
                proxy=proxy,
                proxy_headers=CIMultiDict(self.proxies.connect_headers) if proxy else None,
            )
        except (RequestError, aiohttp.ClientError, OSError, ValueError) as error:
            # RequestError: of the TLS files. ValueError: aiohttp refuses a URL or a header.
            raise request_error(method, url, of_client(error)) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._own_session is None:
            self._own_session = open_session(self._unix_socket)
        return self._own_session


def merged_headers(headers: Mapping[str, str], own: Headers) -> CIMultiDict[str]:
    """A request's headers with those of its config; the request's own Authorization header goes first."""
    merged = CIMultiDict(headers)
    has_authorization = "Authorization" in merged
    for name, value in own:
        if name != "Authorization" or not has_authorization:
            merged.add(name, value)
    return merged


def request_error(method: str, url: str | URL, reason: str) -> RequestError:
    """The error of a request, worded like those of Go's net/http."""
    return RequestError(f'{method.capitalize()} "{url}": {reason}')


@asynccontextmanager
async def _deadline(method: str, url: str | URL, timeout_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        waited = format_duration(round(timeout_s * 1000))
        raise request_error(method, url, f"{TIMEOUT}: no complete answer within {waited}") from error


def parsed_url(url: str | URL, params: Query | None = None) -> URL:
    """A URL as it stands, with more in its query. Raises RequestError where it cannot be asked."""
    try:
        parsed = url if isinstance(url, URL) else URL(url, encoded=True)
        # yarl looks at the port when it is asked for it.
        usable = parsed.scheme in ("http", "https") and bool(parsed.host) and parsed.port is not None
    except ValueError:
        usable = False
    if not usable:
        raise _unusable(str(url))
    return parsed.extend_query(params) if params else parsed


def _unusable(url: str) -> RequestError:
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("http", "https"):
        return request_error("GET", url, f'unsupported protocol scheme "{scheme if rest else ""}"')
    port = _PORT.search(rest)
    if port is None:
        return request_error("GET", url, "http: no Host in request URL")
    if not port[1].isascii() or not port[1].isdigit():
        return RequestError(f'parse "{url}": invalid port ":{port[1]}" after host')
    return request_error("GET", url, f"dial tcp: address {port[1]}: invalid port")


def _joined(url: URL, location: str) -> str:
    try:
        return str(url.join(URL(location, encoded=True)))
    except ValueError as error:
        raise request_error("GET", url, f'failed to parse Location header "{location}"') from error


def _may_see_credentials(first: str, here: str) -> bool:
    """Whether a host is the first one or lies below it, as Go decides it."""
    return here == first or here.endswith(f".{first}")


def _token_config(oauth2: OAuth2) -> HTTPConfig:
    proxy = {key: getattr(oauth2, key) for key in ProxyConfig.__struct_fields__}
    return HTTPConfig(tls_config=oauth2.tls_config, **proxy)
