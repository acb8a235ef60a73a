"""The two ways to a target, its own plain connection and the shared session, see the same in the same answers."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web
from yarl import URL

from common.yamlfile import Duration
from scraper.client import JobClient, TargetClient, open_session
from scraper.config import ByteSize
from scraper.discovery.model import TargetGroup
from scraper.errors import ScrapeError, ScrapeLimitError
from scraper.http_config import BasicAuth, Header, OAuth2, TLSConfig
from scraper.http_connection import PlainClient
from scraper.http_reasons import BROKEN
from scraper.target import populate
from tests.scraper.http_servers import Authority, RawServer, raw_server, web_server
from tests.scraper.targets import resolved_job

LIMIT = 10_000
OK = b"HTTP/1.1 200 OK\r\n"
GOOD = OK + b"Content-Type: text/plain\r\nContent-Length: 4\r\n\r\na 1\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ZIPPED = gzip.compress(b"a 1\n" * 100)

WHOLE: list[tuple[str, bytes, bool]] = [
    ("with its length", GOOD, False),
    ("without a body", OK + b"Content-Length: 0\r\n\r\n", False),
    ("up to the end of the connection", OK + b"\r\na 1\nb 2\n", True),
    ("nothing up to the end of the connection", OK + b"\r\n", True),
    ("closing after it", OK + b"Connection: close\r\nContent-Length: 4\r\n\r\na 1\n", True),
    ("HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\na 1\n", True),
    ("HTTP/1.0 without a length", b"HTTP/1.0 200 OK\r\n\r\na 1\n", True),
    ("in chunks", CHUNKED + b"2\r\na \r\n2\r\n1\n\r\n0\r\n\r\n", False),
    ("in chunks with extensions", CHUNKED + b'4;name="x"\r\na 1\n\r\n0;y\r\n\r\n', False),
    ("in chunks with a trailer", CHUNKED + b"4\r\na 1\n\r\n0\r\nX-Sum: 7\r\n\r\n", False),
    ("in very many chunks", CHUNKED + b"1\r\n#\r\n" * 5_000 + b"0\r\n\r\n", False),
    ("after it was announced", b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD, False),
    ("after hints", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + GOOD, False),
    ("compressed", OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(ZIPPED), ZIPPED), False),
    (
        "compressed and in a chunk",
        CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(ZIPPED), ZIPPED),
        False,
    ),
    ("as large as it may be", OK + b"Content-Length: %d\r\n\r\n" % (LIMIT - 1) + b"#" * (LIMIT - 1), False),
    ("without a reason", b"HTTP/1.1 200\r\nContent-Length: 4\r\n\r\na 1\n", False),
    ("of another encoding", OK + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\nxx", False),
]

FAILING: list[tuple[str, RawServer, str]] = [
    (
        "not found",
        RawServer([b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\ngone!"]),
        "HTTP status 404 Not Found",
    ),
    ("no content", RawServer([b"HTTP/1.1 204 No Content\r\n\r\n"]), "HTTP status 204 No Content"),
    ("no answer", RawServer([], closes=True), '/metrics": EOF'),
    ("half a head", RawServer([OK + b"Content-Le"], closes=True), "EOF"),
    ("not HTTP", RawServer([b"SSH-2.0-OpenSSH_9\r\n"], hangs=True), f'/metrics": {BROKEN}'),
    ("a long header", RawServer([OK + b"X: " + b"x" * 20_000 + b"\r\n\r\n"], hangs=True), f'/metrics": {BROKEN}'),
    ("many headers", RawServer([OK + b"X: x\r\n" * 300 + b"\r\n"], hangs=True), f'/metrics": {BROKEN}'),
    ("a bad length", RawServer([OK + b"Content-Length: -5\r\n\r\n"], hangs=True), f'/metrics": {BROKEN}'),
    ("a short body", RawServer([OK + b"Content-Length: 9\r\n\r\na 1\n"], closes=True), "unexpected EOF"),
    ("a broken chunk", RawServer([CHUNKED + b"zz\r\nxx\r\n"], hangs=True), " in chunk "),
    ("no last chunk", RawServer([CHUNKED + b"4\r\na 1\n\r\n"], closes=True), "unexpected EOF"),
    ("a reset", RawServer([OK + b"Content-Length: 9\r\n\r\na 1\n"], resets=True), "unexpected EOF"),
    ("silence", RawServer([], hangs=True), '/metrics": context deadline exceeded'),
    ("a hanging head", RawServer([OK + b"X"], hangs=True), "context deadline exceeded"),
    ("a hanging body", RawServer([OK + b"Content-Length: 9\r\n\r\na 1\n"], hangs=True), "context deadline exceeded"),
    ("a hanging chunk", RawServer([CHUNKED + b"4\r\na 1\n\r\n"], hangs=True), "context deadline exceeded"),
    ("only announcements", RawServer([b"HTTP/1.1 100 Continue\r\n\r\n"] * 9, hangs=True), "context deadline exceeded"),
    ("too large", RawServer([OK + b"Content-Length: 99999\r\n\r\n", b"#" * 99_999]), "body size limit exceeded"),
    ("announced", RawServer([OK + b"Content-Length: 99999\r\n\r\n"], hangs=True), "body size limit exceeded"),
    ("endless", RawServer([OK + b"\r\n", *[b"#" * 4_096] * 30], hangs=True), "body size limit exceeded"),
    ("endless chunks", RawServer([CHUNKED, *[b"1\r\n#\r\n" * 999] * 30], hangs=True), "body size limit exceeded"),
    (
        "a gzip bomb",
        RawServer([OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"#" * 999_999)], closes=True),
        "body size limit exceeded",
    ),
    (
        "damaged gzip",
        RawServer([OK + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n" + ZIPPED[:9]]),
        "unexpected EOF",
    ),
]


# Production runs on uvloop, whose transports are not asyncio's.
LOOPS = [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class SessionJobClient(JobClient):
    """One that takes the shared session for every target."""

    def plain_client(self, url: URL) -> PlainClient | None:
        """No target is plain."""
        return None


@asynccontextmanager
async def client_for(address: str, kind: type[JobClient] = JobClient, **job: Any) -> AsyncIterator[TargetClient]:
    short = {"scrape_interval": Duration(200), "scrape_timeout": Duration(200), "body_size_limit": ByteSize(LIMIT)}
    resolved = resolved_job(**{**short, **job})
    (target,) = populate([TargetGroup("test", [{"__address__": address}])], resolved, ()).active
    async with open_session() as session:
        client = TargetClient(kind(session, resolved, Path()), target)
        try:
            yield client
        finally:
            client.close()


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize(("answer", "closes"), [case[1:] for case in WHOLE], ids=[case[0] for case in WHOLE])
@pytest.mark.parametrize("loop", LOOPS)
def test_whole_answers(answer: bytes, closes: bool, bytewise: bool, loop: LoopFactory) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(check_whole(answer, closes, bytewise))


async def check_whole(answer: bytes, closes: bool, bytewise: bool) -> None:
    pieces = [answer[at : at + 1] for at in range(len(answer))] if bytewise and len(answer) < 1_000 else [answer]
    responses = []
    for kind in (JobClient, SessionJobClient):
        server = RawServer(pieces, closes)
        slow = {"scrape_interval": Duration(5_000), "scrape_timeout": Duration(5_000)}
        async with raw_server(server), client_for(server.address, kind, **slow) as client:
            responses += [await client.fetch(), await client.fetch()]
        assert server.connections == (2 if closes else 1)
    assert responses == [responses[0]] * 4
    assert len(responses[0].body) in (0, 2, 4, 8, 400, 5_000, LIMIT - 1)


@pytest.mark.parametrize("kind", [JobClient, SessionJobClient])
@pytest.mark.parametrize(("server", "error"), [case[1:] for case in FAILING], ids=[case[0] for case in FAILING])
@pytest.mark.parametrize("loop", LOOPS)
def test_failing_answers(kind: type[JobClient], server: RawServer, error: str, loop: LoopFactory) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(check_failing(kind, server, error))


async def check_failing(kind: type[JobClient], server: RawServer, error: str) -> None:
    server = RawServer(server.pieces, server.closes, server.resets, server.hangs)
    async with raw_server(server), client_for(server.address, kind) as client:
        for _ in range(2):
            with pytest.raises(ScrapeError) as raised:
                await client.fetch()
            assert error in str(raised.value)
            assert isinstance(raised.value, ScrapeLimitError) == error.startswith("body size")
        server.pieces, server.closes, server.resets, server.hangs = [GOOD], False, False, False
        assert (await client.fetch()).body == b"a 1\n", "nothing is left of the bad answers"
        before = server.connections
        assert (await client.fetch()).body == b"a 1\n"
        assert server.connections == before


async def test_both_ways_ask_the_same() -> None:
    requests = []
    for kind in (JobClient, SessionJobClient):
        server = RawServer([GOOD])
        async with (
            raw_server(server),
            client_for(
                server.address,
                kind,
                params={"m": ("a b", "ä")},
                basic_auth=BasicAuth(username="u", password="p"),
                http_headers={"X-A": Header(values=("a", "b"))},
            ) as client,
        ):
            await client.fetch()
        head, *headers = server.requests[0].decode().replace(server.address, "host").strip().split("\r\n")
        requests.append((head, sorted(headers)))
    assert requests[0] == requests[1]
    assert requests[0][0] == "GET /metrics?m=a+b&m=%C3%A4 HTTP/1.1"
    assert "Host: host" in requests[0][1]


async def test_a_connection_that_was_closed_while_idle_is_opened_anew() -> None:
    server = RawServer([GOOD])
    async with raw_server(server), client_for(server.address) as client:
        await client.fetch()
        server.pieces, server.closes = [], True  # closes upon the next request, without an answer
        with pytest.raises(ScrapeError, match="EOF"):
            await client.fetch()
        assert len(server.requests) == 3, "asked once more on a new connection, and no more"


@pytest.mark.parametrize("kind", [JobClient, SessionJobClient])
async def test_an_answer_too_many_is_not_taken_for_the_next_one(kind: type[JobClient]) -> None:
    surplus = OK + b"Content-Length: 4\r\n\r\nz 9\n"
    server = RawServer([GOOD + surplus])
    async with raw_server(server), client_for(server.address, kind) as client:
        for _ in range(3):
            assert (await client.fetch()).body == b"a 1\n"
        assert server.connections == 3


async def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    server = RawServer([GOOD])
    async with raw_server(server), client_for(server.address) as client:
        await client.fetch()
        server.unasked(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        await asyncio.wait_for(server.left.wait(), 5)
        assert (await client.fetch()).body == b"a 1\n"
        assert server.connections == 2


async def test_a_cancelled_scrape_leaves_no_connection_that_is_used_again() -> None:
    server = RawServer([OK + b"Content-Length: 9\r\n\r\n"], hangs=True)
    async with raw_server(server), client_for(server.address) as client:
        task = asyncio.create_task(client.fetch())
        await asyncio.wait_for(server.asked.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.pieces, server.hangs = [GOOD], False
        assert (await client.fetch()).body == b"a 1\n"
        assert server.connections == 2


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scraper.http_connection._IDLE_S", 0.05)
    server = RawServer([GOOD])
    async with raw_server(server), client_for(server.address) as client:
        await client.fetch()
        await asyncio.wait_for(server.left.wait(), 5)
        assert (await client.fetch()).body == b"a 1\n"
        assert server.connections == 2


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_over_tls_is_kept_until_its_certificates_change(tmp_path: Path, loop: LoopFactory) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(check_tls(tmp_path))


async def check_tls(directory: Path) -> None:
    authority, other = Authority(directory), Authority(directory, "other")
    ports, ca = [], directory / "trusted.pem"
    ca.write_text(authority.ca.read_text())

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        return web.Response(text="a 1\n")

    tls = TLSConfig(ca_file=str(ca), server_name="node.example")
    slow: dict[str, Any] = {"scrape_interval": Duration(5_000), "scrape_timeout": Duration(5_000)}
    async with (
        web_server(handle, authority.server_context(subject="DNS:node.example")) as address,
        client_for(address, scheme="https", tls_config=tls, **slow) as client,
    ):
        assert [(await client.fetch()).body for _ in range(3)] == [b"a 1\n"] * 3
        assert len(set(ports)) == 1
        ca.write_text(other.ca.read_text())
        with pytest.raises(ScrapeError, match="signed by unknown authority"):
            await client.fetch()
        ca.write_text(authority.ca.read_text() + other.ca.read_text())
        await client.fetch()
        assert len(set(ports)) == 2


async def test_closing() -> None:
    server = RawServer([GOOD])
    async with raw_server(server), client_for(server.address) as client:
        client.close()
        await client.fetch()
        client.close()
        client.close()
        assert (await client.fetch()).body == b"a 1\n"
        assert server.connections == 2


async def test_a_target_behind_a_redirect_is_asked_once_per_scrape_from_then_on() -> None:
    paths = []

    async def handle(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        if request.path == "/metrics":
            raise web.HTTPFound("/there")
        return web.Response(text="a 1\n")

    async with web_server(handle) as address, client_for(address) as client:
        for _ in range(2):
            assert (await client.fetch()).body == b"a 1\n"
    assert paths == ["/metrics", "/metrics", "/there", "/metrics", "/there"]


async def test_targets_with_tokens() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            return web.json_response({"access_token": "t"})
        return web.Response(text=f'a{{t="{request.headers["Authorization"]}"}} 1\n')

    async with web_server(handle) as address:
        oauth2 = OAuth2(client_id="i", token_url=f"http://{address}/token")
        async with client_for(address, oauth2=oauth2) as client:
            assert (await client.fetch()).body == b'a{t="Bearer t"} 1\n'
        oauth2 = OAuth2(client_id="i", token_url=f"http://{address}/nothing")
        async with client_for(address, oauth2=oauth2) as client:
            with pytest.raises(ScrapeError, match=f'Get "http://{address}/metrics": oauth2: '):
                await client.fetch()
