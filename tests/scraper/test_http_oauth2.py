"""OAuth 2 tokens from a real server; the requests are those that Prometheus 3.5.3 sends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from scraper.errors import RequestError
from scraper.http_client import HTTPClient
from scraper.http_config import HTTPConfig, OAuth2, TLSConfig
from tests.scraper.http_servers import Authority, web_server


class TokenServer:
    """Answers with `answer` as JSON; anything with credentials elsewhere than in `accepts` is refused."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] | web.Response = {"access_token": "t1", "token_type": "bearer", "expires_in": 3600}
        self.status = 200
        self.refuses_header = False
        self.requests: list[tuple[str | None, str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path != "/token":
            return web.Response(text=request.headers.get("Authorization", ""))
        authorization = request.headers.get("Authorization")
        self.requests.append((authorization, await request.text()))
        self.asked.set()
        await self.open.wait()
        if self.refuses_header and authorization:
            return web.json_response({"error": "invalid_client", "error_description": "who"}, status=401)
        if isinstance(self.answer, web.Response):
            return self.answer
        return web.json_response(self.answer, status=self.status)


@asynccontextmanager
async def client_of(
    server: TokenServer, directory: Path = Path(), **oauth2: Any
) -> AsyncIterator[tuple[HTTPClient, str]]:
    async with web_server(server.handle) as address:
        config = OAuth2(**{"client_id": "i d", "token_url": f"http://{address}/token", **oauth2})
        client = HTTPClient(HTTPConfig(oauth2=config), directory)
        try:
            yield client, f"http://{address}/"
        finally:
            await client.close()


async def authorization(client: HTTPClient, url: str) -> str:
    return (await client.request("GET", url, timeout_s=5)).body.decode()


async def test_a_token_is_fetched_once_for_all() -> None:
    server = TokenServer()
    server.open.clear()
    async with client_of(server, client_secret="s:x", scopes=("a", "b"), endpoint_params={"audience": "x"}) as (
        client,
        url,
    ):
        asking = [asyncio.create_task(authorization(client, url)) for _ in range(5)]
        await asyncio.wait_for(server.asked.wait(), 5)
        server.open.set()
        assert await asyncio.gather(*asking) == ["Bearer t1"] * 5
        assert await authorization(client, url) == "Bearer t1"
    assert server.requests == [("Basic aStkOnMlM0F4", "grant_type=client_credentials&scope=a+b&audience=x")]


async def test_one_without_patience_does_not_end_the_request_of_the_others() -> None:
    server = TokenServer()
    server.open.clear()
    async with client_of(server) as (client, url):
        with pytest.raises(RequestError, match="context deadline exceeded"):
            await client.request("GET", url, timeout_s=0.05)
        server.open.set()
        assert await authorization(client, url) == "Bearer t1"
    assert len(server.requests) == 1


async def test_a_server_that_wants_the_credentials_in_the_form() -> None:
    server = TokenServer()
    server.refuses_header = True
    server.answer = {"access_token": "t1", "expires_in": 1}
    async with client_of(server, client_secret="s") as (client, url):
        assert await authorization(client, url) == "Bearer t1"
        assert len(server.requests) == 2
        assert await authorization(client, url) == "Bearer t1"
    form = "grant_type=client_credentials&client_id=i+d&client_secret=s"
    assert server.requests[1:] == [(None, form), (None, form)], "the way that worked is kept"


@pytest.mark.parametrize(("expires_in", "requests"), [(3600, 1), ("3600", 1), (None, 1), (0, 1), (9, 2)])
async def test_a_token_is_kept_until_shortly_before_its_end(expires_in: Any, requests: int) -> None:
    server = TokenServer()
    server.answer = {"access_token": "t1", "expires_in": expires_in}
    async with client_of(server) as (client, url):
        for _ in range(2):
            assert await authorization(client, url) == "Bearer t1"
    assert len(server.requests) == requests


async def test_a_changed_secret_gets_a_new_token(tmp_path: Path) -> None:
    server = TokenServer()
    secret = tmp_path / "secret"
    secret.write_text("one\n")
    async with client_of(server, tmp_path, client_secret_file="secret") as (client, url):
        await authorization(client, url)
        secret.write_text("two")
        server.answer = {"access_token": "t2"}
        assert await authorization(client, url) == "Bearer t2"
        secret.unlink()
        with pytest.raises(RequestError, match=r"unable to read file .*secret: no such file"):
            await authorization(client, url)


@pytest.mark.parametrize(
    ("text", "expected"), [("access_token=ff&token_type=mac", "MAC ff"), ("access_token=a&expires_in=5", "Bearer a")]
)
async def test_an_answer_in_form_encoding(text: str, expected: str) -> None:
    server = TokenServer()
    server.answer = web.Response(text=text)
    async with client_of(server) as (client, url):
        assert await authorization(client, url) == expected


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (401, {"error": "invalid_client", "error_description": "who"}, 'oauth2: "invalid_client" "who"'),
        (400, {"error": "invalid_scope"}, 'oauth2: "invalid_scope"'),
        (503, {"message": "later"}, "oauth2: cannot fetch token: 503 Service Unavailable\nResponse: {.*later"),
        (200, {}, "oauth2: the token server's answer has no access_token"),
        (200, {"access_token": 7}, "oauth2: cannot parse the token server's answer"),
        (200, {"access_token": "a", "expires_in": "soon"}, "oauth2: cannot parse the token server's answer"),
    ],
)
async def test_no_token_to_be_had(status: int, answer: dict[str, Any], error: str) -> None:
    server = TokenServer()
    server.status, server.answer = status, answer
    async with client_of(server) as (client, url):
        with pytest.raises(RequestError, match=f'Get "{url}": {error}'):
            await authorization(client, url)
        server.status, server.answer = 200, {"access_token": "t1"}
        assert await authorization(client, url) == "Bearer t1", "the next request tries again"


async def test_a_token_server_that_is_not_there(unused_tcp_port: int) -> None:
    async with client_of(TokenServer(), token_url=f"http://127.0.0.1:{unused_tcp_port}/token") as (client, url):
        with pytest.raises(RequestError, match=f"dial tcp 127.0.0.1:{unused_tcp_port}: connect: connection refused"):
            await authorization(client, url)


async def test_the_token_server_has_tls_settings_of_its_own(tmp_path: Path) -> None:
    server = TokenServer()
    async with (
        web_server(server.handle, Authority(tmp_path).server_context()) as tokens,
        client_of(server, tmp_path, token_url=f"https://{tokens}/token", tls_config=TLSConfig(ca_file="ca.pem")) as (
            client,
            url,
        ),
    ):
        assert await authorization(client, url) == "Bearer t1"
