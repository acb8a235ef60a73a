"""The web page: its files and nothing else, under headers that keep strangers out."""

import asyncio
import socket
from pathlib import Path

import pytest

from tests.server.conftest import Serve


@pytest.fixture
def built(tmp_path: Path) -> Path:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html><title>page</title>")
    (static / "favicon.svg").write_text("<svg/>")
    (static / "assets" / "index-C0ffee.js").write_text("export {}")
    (static / ".secret.txt").write_text("secret")
    (tmp_path / "outside.txt").write_text("secret")
    return static


async def test_page_and_assets(serve: Serve, built: Path) -> None:
    server = await serve(static_directory=built)
    for path, content_types, caching in (
        ("/", ["text/html"], "no-cache"),
        ("/favicon.svg", ["image/svg+xml"], "no-cache"),
        (
            "/assets/index-C0ffee.js",
            ["text/javascript", "application/javascript"],
            "public, max-age=31536000, immutable",
        ),
    ):
        async with server.session.get(path) as response:
            assert response.status == 200
            assert response.content_type in content_types
            assert response.headers["Cache-Control"] == caching
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            etag = response.headers["ETag"]
        async with server.session.get(path, headers={"If-None-Match": etag}) as response:
            assert response.status == 304


async def test_pages_of_prometheus_lead_to_the_page(serve: Serve, built: Path) -> None:
    server = await serve(static_directory=built)
    async with server.session.get("/graph?g0.expr=up") as response:
        assert response.status == 200
        assert "<title>page</title>" in await response.text()


async def test_a_page_that_is_not_built_says_how_to_build_it(serve: Serve, tmp_path: Path) -> None:
    server = await serve(static_directory=tmp_path / "static")
    async with server.session.get("/") as response:
        assert (response.status, response.content_type) == (503, "text/html")
        assert "make ui" in await response.text()


@pytest.mark.parametrize(
    "path",
    [
        "/../outside.txt",
        "/assets/../../outside.txt",
        "/assets/..%2f..%2foutside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/assets/....//outside.txt",
        "/.secret.txt",
        "/%2esecret.txt",
        "//etc/passwd",
        "/assets/%2fetc%2fpasswd",
        "/assets/..%5c..%5coutside.txt",
        "/assets/",
        "/assets",
        "/static/index.html",
        "/outside.txt",
        "/index.html%00.svg",
    ],
)
async def test_nothing_outside_is_served(serve: Serve, built: Path, path: str) -> None:
    server = await serve(static_directory=built)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(connection, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while received := await loop.sock_recv(connection, 65536):
            answer += received
    assert answer.split()[1] in (b"404", b"400"), answer
    assert b"secret" not in answer.split(b"\r\n\r\n", 1)[1]
