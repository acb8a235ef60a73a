"""What the sources that ask an HTTP API have in common: the keys of their configs, the loop, requests and decoding."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from common.yamlfile import Duration, Problem
from scraper.discovery.model import DiscoveryError, Publish, Surroundings, TargetGroup
from scraper.discovery.refresh import refresh
from scraper.http_body import HTTPResponse
from scraper.http_client import HTTPClient
from scraper.http_config import HTTPConfig, http_problems
from scraper.http_url import url_problem

T = TypeVar("T")
Params = Sequence[tuple[str, str]]

LIMIT_BYTES = 64 * 1024 * 1024
"""The most an answer may have."""

MIN_TIMEOUT_S = 10.0
"""A request may take as long as the refresh interval, and this long where that is shorter."""


class APIConfig(HTTPConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How an API is reached and how often it is asked; base of the configs of such sources."""

    refresh_interval: Duration = Duration(60_000)

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        yield from http_problems(self, path)
        if self.refresh_interval <= 0:
            yield Problem(f"{path}.refresh_interval", "must be longer than 0")


class HTTPAPI:
    """Requests to an API with answers that are checked; over a Unix socket where one is named."""

    def __init__(self, config: HTTPConfig, directory: Path, timeout_s: float, unix_socket: str = "") -> None:
        self._config = config
        self._directory = directory
        self._timeout_s = timeout_s
        self._unix_socket = unix_socket
        self._client: HTTPClient | None = None

    async def request(
        self,
        url: str,
        method: str = "GET",
        *,
        params: Params = (),
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        timeout_s: float | None = None,
    ) -> HTTPResponse:
        """An answer of a 2xx status. Raises FleetwatchError."""
        if self._client is None:  # with unusable TLS files this fails, but may succeed with the next request
            self._client = HTTPClient(self._config, self._directory, unix_socket=self._unix_socket)
        response = await self._client.request(
            method,
            url,
            headers={"Accept": "application/json", **(headers or {})},
            params=params or None,
            data=data,
            timeout_s=timeout_s or self._timeout_s,
            limit_bytes=LIMIT_BYTES,
        )
        if response.status // 100 != 2:
            status = f"{response.status} {response.reason or ''}".rstrip()
            raise DiscoveryError(f'{method} "{url}": server returned HTTP status {status}')
        return response

    async def json(self, url: str, type_: type[T], **request: Any) -> T:
        """The JSON of an answer; `request` as of the method of that name. Raises FleetwatchError."""
        return decode((await self.request(url, **request)).body, type_, url)

    async def close(self) -> None:
        """Give connections back."""
        if self._client is not None:
            await self._client.close()


def decode(body: bytes, type_: type[T], url: str) -> T:
    """JSON as a type. Raises DiscoveryError."""
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.MsgspecError as error:
        raise DiscoveryError(f'"{url}" did not answer with the JSON expected: {error}') from error


def url_problems(url: str, path: str) -> Iterator[Problem]:
    """What is wrong with the URL of an API."""
    if not url:
        yield Problem(path, "is missing")
    elif reason := url_problem(url):
        yield Problem(path, f"{url!r} is not a URL: {reason}")
    elif urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        yield Problem(path, f"{url!r} is not a URL of the form http://host or https://host")


class HTTPDiscovery:
    """Publishes what `fetch` makes of the API's answers, every refresh interval."""

    def __init__(
        self,
        mechanism: str,
        config: APIConfig,
        surroundings: Surroundings,
        fetch: Callable[[HTTPAPI], Awaitable[Sequence[TargetGroup]]],
        unix_socket: str = "",
    ) -> None:
        self._mechanism = mechanism
        self._interval_ms: int = config.refresh_interval
        self._metrics = surroundings.metrics
        self._fetch = fetch
        timeout_s = max(self._interval_ms / 1000, MIN_TIMEOUT_S)
        self._api = HTTPAPI(config, surroundings.directory, timeout_s, unix_socket)

    async def run(self, publish: Publish) -> None:
        """See Discoverer."""
        try:
            await refresh(self._mechanism, self._interval_ms, lambda: self._fetch(self._api), publish, self._metrics)
        finally:
            await self._api.close()
