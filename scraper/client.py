"""Fetching a target's body over HTTP, as Prometheus asks for it.

One `ClientSession` serves all targets, a `JobClient` has what is particular to a job: headers, TLS, limits.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from scraper.config import EscapingScheme, ScrapeConfig, ScrapeProtocol
from scraper.errors import BodyTooLargeError, RequestError, ScrapeError, ScrapeLimitError
from scraper.http_client import USER_AGENT, HTTPClient, open_session, parsed_url, request_error, timeout_text
from scraper.target import Target

__all__ = ["JobClient", "Response", "TargetClient", "accept_header", "open_session"]

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
        if protocol in _MEDIA_TYPES:
            suffix = f";escaping={escaping}" if protocol in _WITH_ESCAPING else ""
            accepted.append(f"{_MEDIA_TYPES[protocol]}{suffix};q=0.{weight}")
        weight -= 1
    return ",".join([*accepted, f"*/*;q=0.{weight}"])


class JobClient:
    """What the requests of a job have in common. Raises ScraperError where its TLS files are unusable."""

    def __init__(self, session: aiohttp.ClientSession, job: ScrapeConfig, directory: Path) -> None:
        self.http = HTTPClient(job, directory, session=session)
        self.limit_bytes: int = job.body_size_limit or MAX_BODY_BYTES
        self.headers = {
            "User-Agent": USER_AGENT,
            "Accept": accept_header(job.scrape_protocols or (), job.metric_name_escaping_scheme),
            "Accept-Encoding": "gzip" if job.enable_compression else "identity",
        }


class TargetClient:
    """Fetches one target; URL and headers are made once."""

    def __init__(self, client: JobClient, target: Target) -> None:
        self._client = client
        self._target = target
        timeout_s = str(target.timeout_ms / 1000).removesuffix(".0")
        self._headers = {**client.headers, "X-Prometheus-Scrape-Timeout-Seconds": timeout_s}
        self._timeout_s = target.timeout_ms / 1000
        self._url: URL | None = None

    async def fetch(self) -> Response:
        """One GET within the target's timeout. Raises ScrapeError."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._get()
        except TimeoutError as error:
            raise ScrapeError(str(request_error("GET", self._target.url, timeout_text(self._timeout_s)))) from error
        except BodyTooLargeError as error:
            raise ScrapeLimitError(str(error)) from error
        except RequestError as error:
            raise ScrapeError(str(error)) from error

    async def _get(self) -> Response:
        if self._url is None:
            self._url = parsed_url(self._target.url)
        stream = await self._client.http.send("GET", self._url, self._headers)
        try:
            if stream.status != 200:
                raise ScrapeError(f"server returned HTTP status {stream.status} {stream.reason}".rstrip())
            return Response(await stream.read(self._client.limit_bytes), stream.content_type)
        finally:
            stream.release()
