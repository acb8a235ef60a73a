"""What clients meet at a TLS listener: versions, ciphers, curves, names, resumption, and files that change."""

import asyncio
import contextlib
import itertools
import logging
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop
from aiohttp import web

from common.webconfig import WebConfig
from common.webconfig.config import LOOK_INTERVAL_S
from tests.common.certificates import Authority, Pair, make_authority

TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
VERIFY = TLS + "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"


@dataclass(frozen=True)
class Answered:
    """How a request was answered over a connection of its own."""

    version: str | None
    cipher: str
    session: ssl.SSLSession | None
    is_resumed: bool | None


class Site:
    """A directory with a web config, a CA and a server certificate, and the listener made of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = make_authority(directory, "ca")
        self.renew(self.authority)
        self._port = 0

    def renew(self, authority: Authority) -> None:
        authority.issue(self.directory, "server", "DNS:localhost")

    def write(self, text: str) -> None:
        (self.directory / "web.yml").write_text(text)

    @contextlib.asynccontextmanager
    async def serving(self, text: str) -> AsyncIterator[WebConfig]:
        """Serve by a web config whose files are looked at on every connection: its clock is ahead at each reading."""
        self.write(text)
        clock = itertools.count(0.0, LOOK_INTERVAL_S)
        config = WebConfig(self.directory / "web.yml", clock=lambda: next(clock))
        app = web.Application()
        app.router.add_get("/", _hello)
        config.install(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=config.ssl_context()).start()
            self._port = runner.addresses[0][1]
            yield config
        finally:
            await runner.cleanup()

    def client(self, pair: Pair | None = None, authority: Authority | None = None) -> ssl.SSLContext:
        """A client that trusts an authority, this site's by default."""
        context = ssl.create_default_context(cafile=(authority or self.authority).cert)
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        return context

    async def ask(self, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Answered:
        """Raises OSError where no connection is made or no answer given."""
        return await asyncio.to_thread(self._ask, client, session)

    async def refuses(self, client: ssl.SSLContext) -> bool:
        try:
            await self.ask(client)
        except OSError:
            return True
        return False

    async def say(self, data: bytes) -> bytes:
        """What is answered to bytes that are no TLS."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(data)
        answer = await reader.read()
        writer.close()
        return answer

    def _ask(self, client: ssl.SSLContext, session: ssl.SSLSession | None) -> Answered:
        with (
            socket.create_connection(("127.0.0.1", self._port), timeout=10) as plain,
            client.wrap_socket(plain, server_hostname="localhost", session=session) as connection,
        ):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
            if not answer.startswith(b"HTTP/1.1 200 OK"):
                raise ConnectionError(f"no answer: {answer!r}")
            cipher = connection.cipher()
            name = cipher[0] if cipher else ""
            return Answered(connection.version(), name, connection.session, connection.session_reused)


async def _hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_inline_certificates_serve_as_files_do(site: Site) -> None:
    def inline(name: str) -> str:
        return (site.directory / name).read_text().replace("\n", "\n    ").rstrip(" ")

    text = (
        f"tls_server_config:\n  cert: |\n    {inline('server.pem')}  key: |\n    {inline('server.key')}"
        f"  client_ca: |\n    {inline('ca.pem')}  client_auth_type: RequireAndVerifyClientCert\n"
    )
    async with site.serving(text):
        assert await site.refuses(site.client())
        await site.ask(site.client(site.authority.issue(site.directory, "prom", "DNS:prom")))


@pytest.mark.parametrize(
    ("options", "offered", "version"),
    [
        ("", ("TLSv1_2", "TLSv1_3"), "TLSv1.3"),
        ("  min_version: TLS10\n", ("TLSv1_2", "TLSv1_2"), "TLSv1.2"),
        ("  min_version: TLS13\n", ("TLSv1_2", "TLSv1_2"), None),
        ("  max_version: TLS12\n", ("TLSv1_2", "TLSv1_3"), "TLSv1.2"),
        ("  max_version: TLS12\n", ("TLSv1_3", "TLSv1_3"), None),
        ("  cipher_suites: [TLS_AES_128_GCM_SHA256]\n", ("TLSv1_2", "TLSv1_2"), None),
    ],
)
async def test_versions(options: str, offered: tuple[str, str], version: str | None, site: Site) -> None:
    client = site.client()
    client.minimum_version, client.maximum_version = (ssl.TLSVersion[name] for name in offered)
    async with site.serving(TLS + options):
        if version is None:
            assert await site.refuses(client)
        else:
            assert (await site.ask(client)).version == version


AES128, AES256 = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"


@pytest.mark.parametrize(
    ("prefer_server", "offered", "cipher"),
    [
        ("true", f"{AES256}:{AES128}", AES128),
        ("false", f"{AES256}:{AES128}", AES256),
        ("true", "ECDHE-ECDSA-CHACHA20-POLY1305", None),
    ],
)
async def test_ciphers_up_to_tls_1_2(prefer_server: str, offered: str, cipher: str | None, site: Site) -> None:
    client = site.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(offered)
    names = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    options = f"  cipher_suites: [{names}]\n  prefer_server_cipher_suites: {prefer_server}\n"
    async with site.serving(TLS + options):
        if cipher is None:
            assert await site.refuses(client)
        else:
            assert (await site.ask(client)).cipher == cipher


async def test_the_first_curve_is_the_only_one(site: Site) -> None:
    p384, p256 = site.client(), site.client()
    p384.set_ecdh_curve("secp384r1")
    p256.set_ecdh_curve("prime256v1")
    async with site.serving(TLS + "  curve_preferences: [CurveP384, X25519]\n"):
        await site.ask(p384)
        assert await site.refuses(p256)


@pytest.mark.parametrize(
    ("policy", "admitted"),
    [("RequestClientCert", {"nobody", "known", "stranger"}), ("RequireAnyClientCert", {"known"})],
)
async def test_a_certificate_that_is_required_is_verified(policy: str, admitted: set[str], site: Site) -> None:
    other = make_authority(site.directory, "other")
    clients = {
        "nobody": site.client(),
        "known": site.client(site.authority.issue(site.directory, "known", "DNS:a")),
        "stranger": site.client(other.issue(site.directory, "stranger", "DNS:a")),
    }
    async with site.serving(VERIFY.replace("RequireAndVerifyClientCert", policy)):
        assert {name for name, client in clients.items() if not await site.refuses(client)} == admitted


@pytest.mark.parametrize(
    ("names", "allowed", "is_admitted"),
    [
        ("DNS:a.example,DNS:b.example", "b.example", True),
        ("DNS:a.example", "example", False),
        ("DNS:*.example", "a.example", False),
        ("IP:192.0.2.7", "192.0.2.7", True),
        ("IP:2001:db8::7", '"2001:db8::7"', True),
        ("email:prom@a.example", "prom@a.example", True),
        ("URI:spiffe://a.example/prom", '"spiffe://a.example/prom"', True),
        ("DNS:a.example", "", False),
    ],
)
async def test_allowed_alternative_names(names: str, allowed: str, is_admitted: bool, site: Site) -> None:
    client = site.client(site.authority.issue(site.directory, "prom", names))
    async with site.serving(f"{VERIFY}  client_allowed_sans: [{allowed}]\n"):
        assert await site.refuses(client) is not is_admitted


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_a_session_is_resumed_until_the_certificates_change(version: str, site: Site) -> None:
    client = site.client(site.authority.issue(site.directory, "prom", "DNS:prom"))
    client.minimum_version = client.maximum_version = ssl.TLSVersion[version]
    async with site.serving(VERIFY + "  client_allowed_sans: [prom]\n"):
        first = await site.ask(client)
        second = await site.ask(client, first.session)
        site.renew(site.authority)
        third = await site.ask(client, second.session)

    assert (first.is_resumed, second.is_resumed, third.is_resumed) == (False, True, False)


async def test_a_client_ca_that_was_taken_away_is_no_longer_trusted(site: Site) -> None:
    client = site.client(site.authority.issue(site.directory, "prom", "DNS:prom"))
    other = make_authority(site.directory, "other")
    async with site.serving(VERIFY) as config:
        session = (await site.ask(client)).session
        site.write(VERIFY.replace("ca.pem", "other.pem"))
        assert await site.refuses(client)
        with pytest.raises(OSError, match=r"."):
            await site.ask(client, session)
        await site.ask(site.client(other.issue(site.directory, "prom2", "DNS:prom")))
        assert config.error == ""


async def test_what_a_broken_config_names_may_come_later(site: Site) -> None:
    new = make_authority(site.directory, "new")
    async with site.serving(TLS) as config:
        site.write(TLS.replace("server.", "next."))
        await site.ask(site.client())
        assert config.error.endswith("next.key cannot be read (No such file or directory): name a PEM file that can")
        new.issue(site.directory, "next", "DNS:localhost")
        await site.ask(site.client(authority=new))
        assert config.error == ""


async def test_files_that_were_away_for_a_while_are_no_error_afterwards(site: Site) -> None:
    certificates, away = site.directory / "certificates", site.directory / "away"
    certificates.mkdir()
    site.authority.issue(certificates, "server", "DNS:localhost")
    async with site.serving(TLS.replace("server.", "certificates/server.")) as config:
        certificates.rename(away)  # as an unmounted file system: the files come back as they were
        await site.ask(site.client())
        assert "certificates/server.pem cannot be read" in config.error
        away.rename(certificates)
        await site.ask(site.client())
        assert config.error == ""


async def test_switching_tls_off_needs_a_restart(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with site.serving(TLS) as config:
        site.write("basic_auth_users: {}\n")
        for _ in range(2):
            await site.ask(site.client())
        assert config.error == f"{site.directory / 'web.yml'}: tls_server_config: switching TLS off needs a restart"
        assert [record.levelname for record in caplog.records].count("ERROR") == 1


async def _plain_text_then_rotation(site: Site) -> None:
    async with site.serving(VERIFY):
        assert b"HTTP" not in await site.say(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await site.refuses(site.client())
        pair = site.authority.issue(site.directory, "prom", "DNS:prom")
        await site.ask(site.client(pair))
        renewed = make_authority(site.directory, "renewed")
        site.renew(renewed)
        await site.ask(site.client(pair, renewed))
        assert await site.refuses(site.client(pair))


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_bad_clients_are_no_noise_on_either_event_loop(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_plain_text_then_rotation(site))

    assert [record.getMessage() for record in caplog.records] == ["web config reread"]


def test_what_is_not_used_is_not_loaded() -> None:
    program = "import sys, common.webconfig; print({'yaml', 'bcrypt'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert loaded == "set()\n"
