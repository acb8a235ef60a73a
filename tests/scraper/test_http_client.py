"""The HTTP client against real servers on loopback."""

import asyncio
import gzip
import json
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from scraper.errors import BodyTooLargeError, RequestError
from scraper.http_client import HTTPClient
from scraper.http_config import Authorization, BasicAuth, Header, HTTPConfig
from scraper.http_files import SecretFile
from tests.scraper.http_servers import RawServer, raw_server, web_server

PLAIN = HTTPConfig()


async def echo(request: web.Request) -> web.StreamResponse:
    """Everything that came, as JSON."""
    return web.json_response(
        {
            "method": request.method,
            "path": request.path_qs,
            "headers": [[name, value] for name, value in request.headers.items()],
            "body": await request.text(),
        }
    )


async def ask(config: HTTPConfig, directory: Path = Path(), path: str = "/", **request: Any) -> dict[str, Any]:
    """What the server saw of a request."""
    async with web_server(echo) as address:
        client = HTTPClient(config, directory)
        try:
            response = await client.request("GET", f"http://{address}{path}", timeout_s=5, **request)
        finally:
            await client.close()
    found: dict[str, Any] = json.loads(response.body)
    return found


def values(seen: dict[str, Any], name: str) -> list[str]:
    return [value for key, value in seen["headers"] if key.lower() == name.lower()]


async def test_what_is_sent() -> None:
    seen = await ask(PLAIN, path="/a?x=1", params={"y": ["2", "3 4"]}, headers={"X-Mine": "m"})
    assert seen["path"] == "/a?x=1&y=2&y=3+4"
    assert values(seen, "X-Mine") == ["m"]
    assert values(seen, "Accept-Encoding") == ["gzip"]
    assert values(seen, "User-Agent")[0].startswith("Fleetwatch/")
    assert values(seen, "Authorization") == []


@pytest.mark.parametrize(("data", "body"), [(b"raw", "raw"), ("text", "text"), ({"a": "b c"}, "a=b+c")])
async def test_bodies(data: bytes | str | dict[str, str], body: str) -> None:
    assert (await ask(PLAIN, data=data))["body"] == body


async def test_http_headers_are_added_and_files_are_followed(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" one\n")
    header = Header(values=("a", "b"), secrets=("s",), files=("token",))
    config = HTTPConfig(http_headers={"X-A": header, "Accept": Header(values=("x/y",))})
    seen = await ask(config, tmp_path, headers={"Accept": "application/json"})
    assert values(seen, "X-A") == ["a", "b", "s", "one"]
    assert values(seen, "Accept") == ["application/json", "x/y"]
    async with web_server(echo) as address:
        client = HTTPClient(config, tmp_path)
        for text in ("two", "six", "two"):  # of one length, and fast after each other
            (tmp_path / "token").write_text(text)
            assert text.encode() in (await client.request("GET", f"http://{address}", timeout_s=5)).body
        await client.close()


def test_a_secret_that_changes_twice_within_a_tick_of_the_file_system_is_not_missed(tmp_path: Path) -> None:
    path, secret = tmp_path / "secret", SecretFile(tmp_path, "secret")
    written_ns = time.time_ns()
    for text in ("one", "two"):
        path.write_text(text)
        os.utime(path, ns=(written_ns, written_ns))
        assert secret.read() == text


async def test_a_request_may_bring_its_own_authorization() -> None:
    config = HTTPConfig(basic_auth=BasicAuth(username="u", password="p"))
    assert values(await ask(config), "Authorization") == ["Basic dTpw"]
    assert values(await ask(config, headers={"Authorization": "Own"}), "Authorization") == ["Own"]


@pytest.mark.parametrize(("config", "sent"), [(PLAIN, "Basic YTpi"), (HTTPConfig(bearer_token="t"), "Bearer t")])
async def test_credentials_in_the_url_are_for_want_of_others(config: HTTPConfig, sent: str) -> None:
    async with web_server(echo) as address:
        client = HTTPClient(config, Path())
        response = await client.request("GET", f"http://a:b@{address}/", timeout_s=5)
        await client.close()
    assert values(json.loads(response.body), "Authorization") == [sent]


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (HTTPConfig(http_headers={"a b": Header(values=("x",))}), "the header 'a b' cannot be sent"),
        (HTTPConfig(http_headers={"X-A": Header(values=("x\r\nX-B: y",))}), "the header X-A cannot be sent"),
        (HTTPConfig(authorization=Authorization(credentials="a\nb")), "the header Authorization cannot be sent"),
        (
            HTTPConfig(authorization=Authorization(credentials_file="gone")),
            "unable to read authorization credentials: unable to read file /.*/gone: open /.*/gone: no such file",
        ),
    ],
)
async def test_headers_that_cannot_be_sent(config: HTTPConfig, error: str, tmp_path: Path) -> None:
    client = HTTPClient(config, tmp_path)
    for _ in range(2):
        with pytest.raises(RequestError, match=f'Get "http://127.0.0.1:1/": {error}'):
            await client.request("GET", "http://127.0.0.1:1/", timeout_s=5)
    await client.close()


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", ("GET", "")),
        (302, "POST", ("GET", "")),
        (303, "PUT", ("GET", "")),
        (307, "POST", ("POST", "body")),
        (308, "PUT", ("PUT", "body")),
    ],
)
async def test_redirects(status: int, method: str, then: tuple[str, str]) -> None:
    seen = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, await request.text()))
        if request.path == "/":
            return web.Response(status=status, headers={"Location": "/there?x=y"})
        return web.Response(text=request.path_qs)

    async with web_server(handle) as address:
        client = HTTPClient(PLAIN, Path())
        response = await client.request(method, f"http://{address}/", data="body", timeout_s=5)
        assert (response.status, response.body) == (200, b"/there?x=y")
        stubborn = HTTPClient(HTTPConfig(follow_redirects=False), Path())
        assert (await stubborn.request(method, f"http://{address}/", data="body", timeout_s=5)).status == status
        await client.close()
        await stubborn.close()
    assert seen == [(method, "body"), then, (method, "body")]


async def test_credentials_do_not_follow_a_redirect_to_a_foreign_host() -> None:
    """Prometheus 3.5.3 does the same with Authorization. It sends secrets of http_headers to the foreign host too."""
    seen: dict[str, tuple[str | None, list[str]]] = {}

    async def handle(request: web.Request) -> web.StreamResponse:
        seen[request.path] = (request.headers.get("Authorization"), request.headers.getall("X-A", []))
        port = request.url.port
        where = {"/away": f"http://localhost:{port}/back", "/back": f"http://127.0.0.1:{port}/end", "/same": "/end2"}
        if request.path in where:
            return web.Response(status=302, headers={"Location": where[request.path]})
        return web.Response()

    config = HTTPConfig(
        basic_auth=BasicAuth(username="u", password="p"),
        http_headers={"X-A": Header(values=("open",), secrets=("secret",))},
    )
    async with web_server(handle) as address:
        client = HTTPClient(config, Path())
        for path in ("/away", "/same"):
            await client.request("GET", f"http://{address}{path}", timeout_s=5)
        await client.close()
    with_all, without = ("Basic dTpw", ["open", "secret"]), (None, ["open"])
    assert seen == {"/away": with_all, "/back": without, "/end": without, "/same": with_all, "/end2": with_all}


@pytest.mark.parametrize("location", ["ftp://a", "http://a:port", "http://a:99999", "http://[::1"])
async def test_redirects_to_nowhere(location: str) -> None:
    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": location})

    async with web_server(handle) as address:
        client = HTTPClient(PLAIN, Path())
        with pytest.raises(RequestError, match=r"failed to parse Location header|unsupported protocol scheme \"ftp\""):
            await client.request("GET", f"http://{address}/", timeout_s=5)
        await client.close()


UNUSABLE_URLS = [
    ("", 'Get "": unsupported protocol scheme ""'),
    ("nothing", 'Get "nothing": unsupported protocol scheme ""'),
    ("ftp://a", 'Get "ftp://a": unsupported protocol scheme "ftp"'),
    ("http://", 'Get "http://": http: no Host in request URL'),
    ("http://a:99999", 'Get "http://a:99999": dial tcp: address 99999: invalid port'),
    ("http://a:b/c", 'parse "http://a:b/c": invalid port ":b" after host'),
    ("unix:///x", 'Get "unix:///x": unsupported protocol scheme "unix"'),
]


@pytest.mark.parametrize(("url", "error"), UNUSABLE_URLS)
async def test_urls_that_cannot_be_asked(url: str, error: str) -> None:
    client = HTTPClient(PLAIN, Path())
    with pytest.raises(RequestError, match=re.escape(error)):
        await client.request("GET", url, timeout_s=5)
    await client.close()


async def test_a_body_is_limited_as_it_comes_out_of_its_compression() -> None:
    async def zipped(_: web.Request) -> web.StreamResponse:
        return web.Response(body=gzip.compress(b"x" * 100_000), headers={"Content-Encoding": "gzip"})

    async with web_server(zipped) as address:
        client = HTTPClient(PLAIN, Path())
        whole = await client.request("GET", f"http://{address}/", timeout_s=5, limit_bytes=100_000)
        assert whole.body == b"x" * 100_000
        with pytest.raises(BodyTooLargeError, match="more than 99999 bytes"):
            await client.request("GET", f"http://{address}/", timeout_s=5, limit_bytes=99_999)
        await client.close()


async def test_an_answer_that_does_not_come() -> None:
    async with raw_server(RawServer(hangs=True)) as server:
        client = HTTPClient(PLAIN, Path())
        error = f'Get "http://{server.address}/": context deadline exceeded: no complete answer within 50ms'
        with pytest.raises(RequestError, match=re.escape(error)):
            await client.request("GET", f"http://{server.address}/", timeout_s=0.05)
        with pytest.raises(RequestError, match="context deadline exceeded"):
            async with client.stream("GET", f"http://{server.address}/", connect_timeout_s=0.05):
                pass
        await client.close()


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with web_server(echo, unix_socket=path):
        client = HTTPClient(PLAIN, tmp_path, unix_socket=path)
        response = await client.request("GET", "http://docker/containers/json", timeout_s=5)
        assert b"/containers/json" in response.body
        await client.close()
    with pytest.raises(RequestError, match=f"dial unix {path}: connect: "):
        await client.request("GET", "http://docker/", timeout_s=5)
    await client.close()


async def stream_of(send: Callable[[web.StreamResponse], Awaitable[None]], limit_bytes: int = 100) -> list[bytes]:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await send(response)
        return response

    async with web_server(handle) as address:
        client = HTTPClient(PLAIN, Path())
        try:
            async with client.stream("GET", f"http://{address}/", connect_timeout_s=5) as stream:
                return [line async for line in stream.lines(limit_bytes)]
        finally:
            await client.close()


async def test_lines_of_a_stream() -> None:
    async def send(response: web.StreamResponse) -> None:
        for piece in (b"one\ntw", b"o\n", b"", b"\nthr", b"ee", b"\nfour"):
            if piece:
                await response.write(piece)
                await asyncio.sleep(0)

    assert await stream_of(send) == [b"one", b"two", b"", b"three", b"four"]


async def test_a_line_without_end_is_cut() -> None:
    async def send(response: web.StreamResponse) -> None:
        while True:
            await response.write(b"x" * 50)

    with pytest.raises(BodyTooLargeError, match="a line of the answer has more than 100 bytes"):
        await stream_of(send)


async def test_a_stream_is_read_while_it_goes_on_and_then_left() -> None:
    released = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first\n")
        try:
            while True:
                await asyncio.sleep(0.005)
                await response.write(b"more\n")
        finally:
            released.set()

    async with web_server(handle) as address:
        client = HTTPClient(PLAIN, Path())
        async with client.stream("GET", f"http://{address}/", connect_timeout_s=5) as stream:
            lines = stream.lines()
            assert await anext(lines) == b"first"
            assert await anext(lines) == b"more"
            await lines.aclose()
        await asyncio.wait_for(released.wait(), 5)
        await client.close()


async def test_a_stream_that_breaks_off() -> None:
    pieces = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\nabc\n\r\n"]
    async with raw_server(RawServer(pieces, closes=True)) as server:
        client = HTTPClient(PLAIN, Path())
        with pytest.raises(RequestError, match="unexpected EOF"):
            async with client.stream("GET", f"http://{server.address}/", connect_timeout_s=5) as stream:
                assert [line async for line in stream.lines()] == [b"abc"]
        await client.close()
