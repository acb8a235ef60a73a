"""TLS settings against real TLS servers, with certificates made for the test."""

import os
import re
import ssl
import subprocess
from pathlib import Path

import pytest
from aiohttp import web

from scraper.errors import RequestError, ScraperError
from scraper.http_client import HTTPClient
from scraper.http_config import HTTPConfig, TLSConfig
from tests.scraper.http_servers import Authority, web_server


async def whom(request: web.Request) -> web.StreamResponse:
    """Names the client by its certificate, and the TLS version."""
    assert request.transport is not None
    tls = request.transport.get_extra_info("ssl_object")
    peer = request.transport.get_extra_info("peercert") or {}
    name = next((value for pairs in peer.get("subject", ()) for key, value in pairs if key == "commonName"), "nobody")
    return web.Response(text=f"{name} {tls.version()}")


async def ask(address: str, tls: TLSConfig, directory: Path) -> str:
    client = HTTPClient(HTTPConfig(tls_config=tls), directory)
    try:
        return (await client.request("GET", f"https://{address}/", timeout_s=5)).body.decode()
    finally:
        await client.close()


def client_checking(authority: Authority) -> ssl.SSLContext:
    context = authority.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca)
    return context


async def test_whom_to_trust(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    async with web_server(whom, authority.server_context()) as address:
        assert await ask(address, TLSConfig(ca_file="ca.pem"), tmp_path) == "nobody TLSv1.3"
        assert await ask(address, TLSConfig(ca=authority.ca.read_text()), tmp_path)
        assert await ask(address, TLSConfig(insecure_skip_verify=True), tmp_path)
        for wrong in (TLSConfig(), TLSConfig(ca=other.ca.read_text())):
            with pytest.raises(RequestError, match=r"tls: failed to verify certificate: x509: .* unknown authority"):
                await ask(address, wrong, tmp_path)


async def test_the_name_that_a_certificate_is_for(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with web_server(whom, authority.server_context(subject="DNS:node.example")) as address:
        with pytest.raises(RequestError, match=r"x509: certificate is not valid for 127\.0\.0\.1"):
            await ask(address, TLSConfig(ca_file="ca.pem"), tmp_path)
        assert await ask(address, TLSConfig(ca_file="ca.pem", server_name="node.example"), tmp_path)


async def test_who_to_be(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("client")
    async with web_server(whom, client_checking(authority)) as address:
        in_files = TLSConfig(ca_file="ca.pem", cert_file=cert.name, key_file=key.name)
        assert (await ask(address, in_files, tmp_path)).startswith("client ")
        in_place = TLSConfig(ca_file="ca.pem", cert=cert.read_text(), key=key.read_text())
        assert (await ask(address, in_place, tmp_path)).startswith("client ")
        with pytest.raises(RequestError, match="Get "):
            await ask(address, TLSConfig(ca_file="ca.pem"), tmp_path)


async def test_versions(tmp_path: Path) -> None:
    context = Authority(tmp_path).server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with web_server(whom, context) as address:
        assert await ask(address, TLSConfig(ca_file="ca.pem", max_version="TLS12"), tmp_path) == "nobody TLSv1.2"
        with pytest.raises(RequestError, match=f'{address}/": '):
            await ask(address, TLSConfig(ca_file="ca.pem", min_version="TLS13"), tmp_path)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
async def test_old_versions_are_spoken_where_they_are_allowed(tmp_path: Path) -> None:
    context = Authority(tmp_path).server_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    async with web_server(whom, context) as address:
        assert await ask(address, TLSConfig(ca_file="ca.pem", min_version="TLS10"), tmp_path) == "nobody TLSv1"
        with pytest.raises(RequestError, match=f'{address}/": '):
            await ask(address, TLSConfig(ca_file="ca.pem"), tmp_path)


async def test_changed_files_are_read_for_the_next_connection(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    old, new = authority.issue("old"), authority.issue("new")
    cert, key = tmp_path / "my.crt", tmp_path / "my.key"
    for file, source in zip((cert, key), old, strict=True):
        file.write_text(source.read_text())
    ports = []

    async def note(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        return await whom(request)

    async with web_server(note, client_checking(authority)) as address:
        config = TLSConfig(ca_file="ca.pem", cert_file="my.crt", key_file="my.key")
        client = HTTPClient(HTTPConfig(tls_config=config), tmp_path)

        async def name() -> str:
            return (await client.request("GET", f"https://{address}/", timeout_s=5)).body.decode().split()[0]

        assert [await name(), await name()] == ["old", "old"]
        assert len(set(ports)) == 1, "a connection is kept while nothing changes"
        for file, source in zip((cert, key), new, strict=True):
            file.write_text(source.read_text())
        assert await name() == "new"
        cert.write_text("nonsense")
        with pytest.raises(RequestError, match=re.escape("tls_config: my.crt with my.key cannot be used")):
            await name()
        cert.write_text(new[0].read_text())
        assert await name() == "new"
        await client.close()


async def test_a_file_that_keeps_its_text_keeps_the_connection(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with web_server(whom, authority.server_context()) as address:
        client = HTTPClient(HTTPConfig(tls_config=TLSConfig(ca_file="ca.pem")), tmp_path)
        await client.request("GET", f"https://{address}/", timeout_s=5)
        context = await client.tls.current()
        os.utime(authority.ca, (1, 1))
        assert await client.tls.current() is context
        await client.close()


@pytest.mark.parametrize(
    ("tls", "error"),
    [
        (TLSConfig(ca_file="gone"), "tls_config: unable to read file .*gone: no such file or directory"),
        (TLSConfig(ca="nonsense"), "tls_config: ca cannot be used"),
        (TLSConfig(cert="nonsense", key="nonsense"), "tls_config: cert with key cannot be used"),
        (TLSConfig(min_version="TLS13", max_version="TLS12"), "max_version TLS12 is below min_version TLS13"),
    ],
)
def test_what_is_unusable_from_the_start(tmp_path: Path, tls: TLSConfig, error: str) -> None:
    with pytest.raises(ScraperError, match=error):
        HTTPClient(HTTPConfig(tls_config=tls), tmp_path)


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    cert, key = Authority(tmp_path).issue("client")
    command = [
        "openssl",
        "ec",
        "-in",
        str(key),
        "-aes256",
        "-passout",
        "pass:secret",
        "-out",
        str(tmp_path / "encrypted"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ScraperError, match="cannot be used"):
        HTTPClient(HTTPConfig(tls_config=TLSConfig(cert_file=str(cert), key_file="encrypted")), tmp_path)
