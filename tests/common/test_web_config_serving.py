"""A web config in force: handshakes, passwords and headers over real connections, and files that change meanwhile."""

import asyncio
import contextlib
import itertools
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest
from aiohttp import web

from common.webconfig import WebConfig
from common.webconfig.config import LOOK_INTERVAL_S
from tests.common.certificates import Authority, Pair, make_authority

PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"), "ca")


def server_pair(authority: Authority, directory: Path, name: str = "server") -> Pair:
    return authority.issue(directory, name, "DNS:localhost,IP:127.0.0.1")


@contextlib.asynccontextmanager
async def serving(config: WebConfig) -> AsyncIterator[str]:
    """The URL of an application that the config guards."""

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    config.install(app)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        context = config.ssl_context()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield f"http{'s' if context else ''}://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def client_context(authority: Authority, pair: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.cert)
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return context


async def get(url: str, **options: Any) -> tuple[int, str, dict[str, str]]:
    """Status, body and headers of a GET over a connection of its own."""
    async with aiohttp.ClientSession() as session, session.get(url, **options) as response:
        return response.status, await response.text(), dict(response.headers)


def credentials(user: str, password: str) -> dict[str, str]:
    return {"Authorization": aiohttp.encode_basic_auth(user, password)}


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


async def test_tls(authority: Authority, tmp_path: Path) -> None:
    server_pair(authority, tmp_path)
    path = write(tmp_path / "web.yml", "tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    async with serving(WebConfig.load(path)) as url:
        assert (await get(url, ssl=client_context(authority)))[:2] == (200, "hello")
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await get(url)
        with pytest.raises(aiohttp.ClientError):
            await get(url.replace("https", "http"))
        assert (await get(url, ssl=client_context(authority)))[0] == 200


@pytest.mark.parametrize(
    ("policy", "anonymous", "trusted", "stranger"),
    [
        ("NoClientCert", True, True, True),
        ("VerifyClientCertIfGiven", True, True, False),
        ("RequireAndVerifyClientCert", False, True, False),
    ],
)
async def test_client_certificates(
    policy: str, anonymous: bool, trusted: bool, stranger: bool, authority: Authority, tmp_path: Path
) -> None:
    server_pair(authority, tmp_path)
    known = authority.issue(tmp_path, "known", "DNS:prometheus.example")
    unknown = make_authority(tmp_path, "other").issue(tmp_path, "unknown", "DNS:prometheus.example")
    trust = "" if policy == "NoClientCert" else f", client_ca_file: {authority.cert}"
    path = write(
        tmp_path / "web.yml",
        f"tls_server_config: {{cert_file: server.pem, key_file: server.key, client_auth_type: {policy}{trust}}}\n",
    )
    async with serving(WebConfig.load(path)) as url:
        for pair, is_admitted in ((None, anonymous), (known, trusted), (unknown, stranger)):
            try:
                status, _, _ = await get(url, ssl=client_context(authority, pair))
            except (aiohttp.ClientError, ConnectionError):
                status = 0
            assert status == (200 if is_admitted else 0), (policy, pair)


async def test_only_allowed_names_of_client_certificates(authority: Authority, tmp_path: Path) -> None:
    server_pair(authority, tmp_path)
    allowed = authority.issue(tmp_path, "allowed", "DNS:prometheus.example")
    other = authority.issue(tmp_path, "another", "DNS:grafana.example")
    path = write(
        tmp_path / "web.yml",
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: "
        f"{authority.cert}, client_auth_type: RequireAndVerifyClientCert, "
        "client_allowed_sans: [prometheus.example]}\n",
    )
    async with serving(WebConfig.load(path)) as url:
        assert (await get(url, ssl=client_context(authority, allowed)))[0] == 200
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await get(url, ssl=client_context(authority, other))


async def test_a_certificate_is_rotated_while_a_connection_lasts(authority: Authority, tmp_path: Path) -> None:
    server_pair(authority, tmp_path)
    path = write(tmp_path / "web.yml", "tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    clock = itertools.count(0.0, LOOK_INTERVAL_S + 0.01)
    async with serving(WebConfig(path, clock=lambda: next(clock))) as url, aiohttp.ClientSession() as session:
        trusting = client_context(authority)
        async with session.get(url, ssl=trusting) as response:
            assert await response.text() == "hello"
        renewed = make_authority(tmp_path, "renewed")
        new = server_pair(renewed, tmp_path, "new")
        os.replace(new.cert, tmp_path / "server.pem")  # noqa: PTH105 (as a renewal does it)
        os.replace(new.key, tmp_path / "server.key")  # noqa: PTH105

        async with session.get(url, ssl=trusting) as response:
            assert await response.text() == "hello", "the connection from before goes on"
        assert (await get(url, ssl=client_context(renewed)))[0] == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await get(url, ssl=client_context(authority))


async def test_a_broken_file_leaves_the_old_one_in_force(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server_pair(authority, tmp_path)
    whole = "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"
    path = write(tmp_path / "web.yml", whole)
    clock = itertools.count(0.0, LOOK_INTERVAL_S + 0.01)
    config = WebConfig(path, clock=lambda: next(clock))
    async with serving(config) as url:
        key = (tmp_path / "server.key").read_text()
        write(tmp_path / "server.key", key[:100])
        for _ in range(3):
            assert (await get(url, ssl=client_context(authority)))[0] == 200
        assert "tls_server_config.key_file" in config.error
        errors = [record for record in caplog.records if record.levelname == "ERROR"]
        assert len(errors) == 1

        write(tmp_path / "server.key", key)
        assert (await get(url, ssl=client_context(authority)))[0] == 200
        assert config.error == ""


async def test_basic_auth(tmp_path: Path) -> None:
    path = write(tmp_path / "web.yml", f"basic_auth_users:\n  prom: {HASH}\n")
    config = WebConfig.load(path)
    async with serving(config) as url:
        status, _, headers = await get(url)
        assert (status, headers["WWW-Authenticate"]) == (401, "Basic")
        assert (await get(url, headers=credentials("prom", "wrong")))[0] == 401
        assert (await get(url, headers=credentials("nobody", PASSWORD)))[0] == 401
        assert (await get(url, headers={"Authorization": "Basic %%%"}))[0] == 401
        assert (await get(url, headers={"Authorization": "Bearer x"}))[0] == 401
        assert (await get(url, headers=credentials("prom", PASSWORD)))[0] == 200


async def test_a_password_is_checked_once(tmp_path: Path) -> None:
    path = write(tmp_path / "web.yml", f"basic_auth_users:\n  prom: {HASH}\n")
    config = WebConfig.load(path)
    auth = config.auth
    assert auth is not None
    async with serving(config) as url:
        answers = await asyncio.gather(*(get(url, headers=credentials("prom", PASSWORD)) for _ in range(20)))
        assert {status for status, _, _ in answers} == {200}
        assert auth.checks == 1
        for password in ("a", "a", "b"):
            assert (await get(url, headers=credentials("prom", password)))[0] == 401
        assert auth.checks == 4, "a wrong password is never remembered"
        assert (await get(url, headers=credentials("prom", PASSWORD)))[0] == 200
        assert auth.checks == 4


async def test_a_changed_password_is_the_only_one(tmp_path: Path) -> None:
    path = write(tmp_path / "web.yml", f"basic_auth_users:\n  prom: {HASH}\n")
    clock = itertools.count(0.0, LOOK_INTERVAL_S + 0.01)
    async with serving(WebConfig(path, clock=lambda: next(clock))) as url:
        assert (await get(url, headers=credentials("prom", PASSWORD)))[0] == 200
        write(path, f"basic_auth_users:\n  prom: {bcrypt.hashpw(b'new', bcrypt.gensalt(4)).decode()}\n")
        assert (await get(url, headers=credentials("prom", PASSWORD)))[0] == 401
        assert (await get(url, headers=credentials("prom", "new")))[0] == 200


async def test_headers_stand_on_every_response(tmp_path: Path) -> None:
    path = write(
        tmp_path / "web.yml",
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n",
    )
    async with serving(WebConfig.load(path)) as url:
        for where in (url, f"{url}nothing"):
            _, _, headers = await get(where)
            assert (headers["X-Frame-Options"], headers["X-Content-Type-Options"]) == ("deny", "nosniff")


async def test_too_many_requests_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "web.yml", "rate_limit: {interval: 1h, burst: 2}\n")
    async with serving(WebConfig.load(path)) as url:
        assert [(await get(url))[0] for _ in range(4)] == [200, 200, 429, 429]
