"""Wrong requests: Prometheus's status, error type and text; and what no client should ever send."""

import asyncio
import io
import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from promql import Engine, ExecutionError, QueryCanceledError, QueryTimeoutError, Result
from server.params import MAX_FIELDS
from tests.server.conftest import Serve, Server
from tsdb.errors import StoreError
from tsdb.store import Store


def wrong_requests() -> list[tuple[str, str]]:
    """(path, expected text) of wrong_requests.txt."""
    lines = (Path(__file__).parent / "wrong_requests.txt").read_text().splitlines()
    lines = [line.removeprefix("@3").strip() for line in lines if line and not line.startswith("#")]
    return list(zip(lines[0::2], lines[1::2], strict=True))


@pytest.mark.parametrize(("path", "text"), wrong_requests())
async def test_wrong_requests(server: Server, path: str, text: str) -> None:
    status, answer = await server.get(path)
    assert status == 400
    assert list(answer) == ["status", "errorType", "error"]
    assert (answer["status"], answer["errorType"]) == ("error", "bad_data")
    assert answer["error"] != "" if text == "*" else answer["error"] == text


async def test_a_query_that_fails_over_its_data(server: Server) -> None:
    status, answer = await server.get("query?query=up/on(job)up&time=1700000060")
    assert (status, answer["errorType"]) == (422, "execution")
    assert "many-to-many matching not allowed" in answer["error"]


class FailingEngine(Engine):
    """An engine whose queries fail in a given way."""

    def __init__(self, store: Store, error: Exception) -> None:
        super().__init__(store)
        self._error = error

    def instant(self, expr: str, at_ms: int, **options: Any) -> Result:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status", "kind", "text"),
    [
        (ExecutionError("no"), 422, "execution", "no"),
        (QueryTimeoutError(), 503, "timeout", "query timed out in expression evaluation"),
        (QueryCanceledError(), 499, "canceled", "query was canceled in expression evaluation"),
        (StoreError("block 7 cannot be read"), 500, "internal", "block 7 cannot be read"),
        (ZeroDivisionError("the secret is 42"), 500, "internal", "internal error; the server's log says more"),
        (RecursionError("the secret is 42"), 500, "internal", "internal error; the server's log says more"),
        (MemoryError("the secret is 42"), 500, "internal", "internal error; the server's log says more"),
    ],
)
async def test_failures_have_their_status_and_show_no_traceback(
    serve: Serve, store: Store, caplog: pytest.LogCaptureFixture, error: Exception, status: int, kind: str, text: str
) -> None:
    server = await serve(engine=FailingEngine(store, error))
    with caplog.at_level(logging.ERROR):
        answered, answer = await server.get("query", query="1")
    assert (answered, answer) == (status, {"status": "error", "errorType": kind, "error": text})
    logged = [record for record in caplog.records if record.name == "server.middleware"]
    assert len(logged) == (status == 500)


async def test_a_closed_store_is_unavailable(server: Server, store: Store) -> None:
    store.close()
    status, answer = await server.get("labels")
    assert (status, answer["errorType"]) == (503, "unavailable")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/v1/query", "GET, OPTIONS, POST"),
        ("DELETE", "/api/v1/query_range", "GET, OPTIONS, POST"),
        ("HEAD", "/api/v1/query", "GET, OPTIONS, POST"),
        ("POST", "/api/v1/label/job/values", "GET, OPTIONS"),
        ("POST", "/api/v1/targets", "GET, OPTIONS"),
        ("POST", "/-/healthy", "GET, HEAD, OPTIONS"),
        ("POST", "/", "GET, HEAD, OPTIONS"),
    ],
)
async def test_wrong_methods(server: Server, method: str, path: str, allowed: str) -> None:
    async with server.session.request(method, path) as response:
        assert (response.status, response.headers["Allow"]) == (405, allowed)
        assert response.content_type == "text/plain"
        assert await response.text() == ("" if method == "HEAD" else "Method Not Allowed\n")


@pytest.mark.parametrize(
    "path", ["/api/v1/nope", "/api/v1/", "/api", "/api/v2/query", "/nope", "/-/", "/metrics/", "/api/v1/query/"]
)
async def test_unknown_addresses(server: Server, path: str) -> None:
    async with server.session.get(path) as response:
        assert (response.status, await response.text()) == (404, "404 page not found\n")


HOSTILE = [
    "query?query=%00",
    "query?query=up%00",
    "query?query=%ff%fe",
    "query?query=%zz",
    "query?%",
    "query?query=1&timeout=" + "1h" * 5000,
    "query?query=1&limit=" + "9" * 5000,
    "query?query=" + "(" * 50_000,
    "query?query=" + "-" * 50_000 + "1",
    "query?query=" + "1%2b" * 40_000 + "1",
    "query?query=" + "sum(" * 20_000,
    "query?query=up{" + quote('a="b",') * 5000,
    "query?query=" + quote('{__name__=~"' + "(a*)*" * 1000 + 'b"'),
    "query?query=" + quote('up{job=~"' + "(" * 5000 + '"}'),
    "query_range?query=up&start=-9e99&end=9e99&step=1e-99",
    "query_range?query=up&start=-9e99&end=-9e99&step=1e-99",
    "query_range?query=up&start=NaN&end=NaN&step=NaN",
    "labels?match[]=" + "{" * 50_000,
    "labels?match[]=up%00",
    "label/" + "a" * 100_000 + "/values?limit=x",
    "label/%00/values?limit=-5",
    "label/U__" + "_" * 5000 + "f" * 50 + "/values?limit=x",
    "series?match[]=" + quote("up{a=~'((x{100}){100}){100}'}"),
    "metadata?limit=" + "9" * 5000,
    "query?" + "&".join("a" for _ in range(MAX_FIELDS + 1)),
]


@pytest.mark.parametrize("path", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_parameters(server: Server, path: str) -> None:
    async with server.session.get(URL(f"{server.url}/api/v1/{path}", encoded=True)) as response:
        answer = await response.json()
    assert (response.status, answer["errorType"]) in ((400, "bad_data"), (422, "execution"))
    assert "Traceback" not in answer["error"]
    assert (await server.get("labels"))[0] == 200


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"query=%ff", "application/x-www-form-urlencoded"),
        (b"query=\xff\xfe\x00", "application/x-www-form-urlencoded"),
        (b'{"query": "up"}', "application/json"),
        (b"\x00" * 1000, "application/octet-stream"),
        (b"query=" + b"a" * 11_000_000, "application/x-www-form-urlencoded"),
        (b"query=up", "multipart/form-data; boundary=x"),
        (b"query=up", ""),
    ],
)
async def test_hostile_bodies(server: Server, body: bytes, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    async with server.session.post("/api/v1/query", data=io.BytesIO(body), headers=headers) as response:
        answer = await response.json()
        assert (response.status, answer["errorType"]) == (400, "bad_data")
    assert (await server.get("labels"))[0] == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /api/v1/query?query=" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"BREW /api/v1/query?query=1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["long line", "long header", "smuggling", "negative length", "NUL", "bad header", "TLS", "nonsense", "method"],
)
async def test_broken_http_is_refused_and_the_server_lives(server: Server, request_bytes: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request_bytes)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert re.match(rb"HTTP/1\.[01] 4\d\d ", answer), answer[:200]
    assert b"Traceback" not in answer
    assert b".py" not in answer
    assert (await server.get("labels"))[0] == 200
