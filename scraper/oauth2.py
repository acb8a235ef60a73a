"""Tokens by OAuth 2's client credentials grant (RFC 6749, 4.4), as golang.org/x/oauth2/clientcredentials gets them."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote_plus, urlencode

import msgspec

from scraper.errors import RequestError
from scraper.http_body import HTTPResponse
from scraper.http_config import OAuth2
from scraper.http_files import FollowedFiles

Post = Callable[[str, Mapping[str, str], str], Awaitable[HTTPResponse]]
"""Posts a form: URL, headers, body. Raises RequestError."""

# A token this close to its end is renewed (oauth2's defaultExpiryDelta).
_MARGIN_S = 10
_FORM = "application/x-www-form-urlencoded"
_TYPES = {"bearer": "Bearer", "mac": "MAC", "basic": "Basic"}
_SHOWN_BYTES = 200


class _Answer(msgspec.Struct):
    access_token: str = ""
    token_type: str = ""
    expires_in: float | str | None = None
    error: str = ""
    error_description: str = ""


@dataclass(frozen=True, slots=True)
class _Token:
    authorization: str
    expires_s: float | None
    """On the monotonic clock; None where it never expires."""


class TokenSource:
    """The token of one config, kept until shortly before it expires; one request at a time fetches it for all.

    `files` may have the `client_secret`.
    """

    def __init__(self, config: OAuth2, files: FollowedFiles, post: Post) -> None:
        self._config = config
        self._files = files
        self._secret = config.client_secret
        self._post = post
        self._token: _Token | None = None
        self._fetching: asyncio.Task[_Token] | None = None
        # Servers differ in where they want the credentials; the way that worked is kept.
        self._in_header: bool | None = None

    async def authorization(self) -> str:
        """The Authorization header. Raises RequestError where there is no token to be had."""
        texts = await self._files.current()
        if (secret := texts.get("client_secret", self._secret)) != self._secret:
            self._secret, self._token = secret, None
        if (token := self._valid()) is not None:
            return token.authorization
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(), name=f"oauth2 token of {self._config.token_url}")
            self._fetching.add_done_callback(self._fetched)
        # Shielded: the request is everybody's, also of those with more patience.
        return (await asyncio.shield(self._fetching)).authorization

    async def close(self) -> None:
        """End a request under way. Idempotent."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _fetched(self, task: asyncio.Task[_Token]) -> None:
        self._fetching = None
        # Asking for the exception marks it as seen: each who waits gets it.
        if not task.cancelled() and task.exception() is None:
            self._token = task.result()

    def _valid(self) -> _Token | None:
        token = self._token
        if token is None or (token.expires_s is not None and token.expires_s - _MARGIN_S < time.monotonic()):
            return None
        return token

    async def _fetch(self) -> _Token:
        if self._in_header is not None:
            return await self._ask(self._in_header)
        try:
            token = await self._ask(in_header=True)
            self._in_header = True
        except RequestError:
            token = await self._ask(in_header=False)
            self._in_header = False
        return token

    async def _ask(self, in_header: bool) -> _Token:
        config = self._config
        headers = {"Content-Type": _FORM}
        form = {"grant_type": "client_credentials"}
        if config.scopes:
            form["scope"] = " ".join(config.scopes)
        form |= config.endpoint_params
        if in_header:
            pair = f"{quote_plus(config.client_id)}:{quote_plus(self._secret)}"
            headers["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
        else:
            form["client_id"] = config.client_id
            if self._secret:
                form["client_secret"] = self._secret
        asked_s = time.monotonic()
        response = await self._post(config.token_url, headers, urlencode(form))
        return _read(response, asked_s)


def _read(response: HTTPResponse, asked_s: float) -> _Token:
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    try:
        if content_type in (_FORM, "text/plain"):
            answer = msgspec.convert(dict(parse_qsl(response.body.decode())), _Answer)
        else:
            answer = msgspec.json.decode(response.body, type=_Answer)
        life_s = float(answer.expires_in or 0)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        if 200 <= response.status < 300:
            raise RequestError(f"oauth2: cannot parse the token server's answer: {error}") from error
        answer, life_s = _Answer(), 0.0
    if not 200 <= response.status < 300 or answer.error:
        if answer.error:
            description = f' "{answer.error_description}"' if answer.error_description else ""
            raise RequestError(f'oauth2: "{answer.error}"{description}')
        shown = response.body[:_SHOWN_BYTES].decode("utf-8", "replace")
        raise RequestError(f"oauth2: cannot fetch token: {response.status} {response.reason}\nResponse: {shown}")
    if not answer.access_token:
        raise RequestError("oauth2: the token server's answer has no access_token")
    kind = _TYPES.get(answer.token_type.lower(), answer.token_type or "Bearer")
    return _Token(f"{kind} {answer.access_token}", asked_s + life_s if life_s > 0 else None)
