"""Targets that misbehave, and what every target is asked for."""

import asyncio
import gzip
import random
import re
import struct
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from common.yamlfile import Duration
from scraper.client import JobClient, TargetClient, accept_header, open_session
from scraper.config import DEFAULT_PROTOCOLS, ByteSize, EscapingScheme, ScrapeProtocol
from scraper.discovery.model import TargetGroup
from scraper.errors import BodyTooLargeError, RequestError, ScrapeError
from scraper.http_body import gunzip
from scraper.http_config import Authorization, BasicAuth
from scraper.target import populate
from tests.fleetwatch_process import free_port
from tests.scraper.loops import scraping
from tests.scraper.targets import TEXT, Handler, resolved_job

T1 = 1_700_000_000_000
SHORT: dict[str, Any] = {"scrape_interval": Duration(200), "scrape_timeout": Duration(200)}


def answer(body: bytes, **headers: str) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": TEXT, **headers})

    return handle


def zipped(body: bytes) -> Handler:
    return answer(gzip.compress(body), **{"Content-Encoding": "gzip"})


async def hanging(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": TEXT})
    await response.prepare(request)
    for _ in range(1000):
        await response.write(b"a 1\n")
        await asyncio.sleep(0.05)
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": TEXT})
    await response.prepare(request)
    while True:
        await response.write(b"#" * 65_536)


async def lying(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": TEXT, "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"a 1\n")
    assert request.transport is not None
    request.transport.close()
    return response


MISBEHAVING: list[tuple[Handler, str]] = [
    (hanging, '/metrics": context deadline exceeded'),
    (dripping, "context deadline exceeded"),
    (endless, "body size limit exceeded"),
    (lying, "unexpected EOF"),
    (zipped(b"#" * 1_000_000), "body size limit exceeded"),
    (answer(gzip.compress(b"a 1\n")[:-9], **{"Content-Encoding": "gzip"}), "unexpected EOF"),
    (answer(b"a 1\n" * 9, **{"Content-Encoding": "gzip"}), "gzip: invalid header"),
    (answer(b"<html>", **{"Content-Type": "text/html"}), 'Content-Type "text/html'),
]


@pytest.mark.parametrize(("handler", "error"), MISBEHAVING)
async def test_a_misbehaving_target_costs_its_own_scrape(handler: Handler, error: str) -> None:
    async with scraping(**SHORT, body_size_limit=ByteSize(10_240)) as target:
        target.exposed.handler = handler
        await target.scrape(T1)
        assert error in target.loop.state.last_error
        assert target.report("up") == [(T1, 0.0)]
        target.exposed.handler = None
        await target.scrape(T1 + 1000, "a 1\n")
        assert target.samples() == {"a": [(T1 + 1000, 1.0)]}


@pytest.mark.parametrize(
    ("status", "text"), [(404, "404 Not Found"), (500, "500 Internal Server Error"), (204, "204 No Content")]
)
async def test_a_status_other_than_200_is_named(status: int, text: str) -> None:
    async with scraping() as target:
        target.exposed.status = status
        await target.scrape(T1)
        assert target.loop.state.last_error == f"server returned HTTP status {text}"
        assert target.loop.state.health.value == "down"


@pytest.mark.parametrize(
    ("address", "error"),
    [
        (f"127.0.0.1:{free_port()}", ": dial tcp 127.0.0.1:"),
        ("host:port", "http://host:port/metrics"),
        ("127.0.0.1:99999", "http://127.0.0.1:99999/metrics"),
    ],
)
async def test_an_address_that_nobody_answers(address: str, error: str) -> None:
    job = resolved_job()
    (target,) = populate([TargetGroup("test", [{"__address__": address}])], job, ()).active
    async with open_session() as session:
        with pytest.raises(ScrapeError, match=re.escape(error)):
            await TargetClient(JobClient(session, job, Path()), target).fetch()


async def test_compressed_bodies_are_read_up_to_the_last_member() -> None:
    async with scraping() as target:
        target.exposed.handler = zipped(b"a 1\n")
        await target.scrape(T1)
        assert target.samples() == {"a": [(T1, 1.0)]}
    assert gunzip(gzip.compress(b"a 1\n") + gzip.compress(b"b 2\n"), 8) == b"a 1\nb 2\n"
    with pytest.raises(BodyTooLargeError):
        gunzip(gzip.compress(b"a 1\n") + gzip.compress(b"b 2\n"), 7)
    with pytest.raises(RequestError):
        gunzip(gzip.compress(b"a 1\n") + b"junk", 100)


async def test_large_compressed_bodies_are_read_whole() -> None:
    generator = random.Random(1)
    body = "".join(f"m{number} {generator.random()}\n" for number in range(40_000))
    compressed = gzip.compress(body.encode())
    assert len(compressed) > 256 * 1024, "small ones take another way"
    async with scraping() as target:
        target.exposed.handler = answer(compressed, **{"Content-Encoding": "gzip"})
        await target.scrape(T1)
        assert target.report("scrape_samples_scraped") == [(T1, 40_000.0)]
        target.exposed.handler = answer(compressed[:-1], **{"Content-Encoding": "gzip"})
        await target.scrape(T1 + 1000)
        assert target.loop.state.last_error == "unexpected EOF"


@pytest.mark.parametrize("handler", [answer(b"a 1\n"), zipped(b"a 1\n")])
async def test_the_body_size_limit_is_for_what_is_read_and_lies_above_it(handler: Handler) -> None:
    # Both forms are measured: a gzip of these four bytes has more than four.
    size = len(gzip.compress(b"a 1\n")) + 1
    async with scraping(body_size_limit=ByteSize(size)) as target:
        target.exposed.handler = handler
        await target.scrape(T1)
        assert target.loop.state.last_error == ""
    assert gunzip(gzip.compress(b"a 1\n"), 4) == b"a 1\n"
    with pytest.raises(BodyTooLargeError):
        gunzip(gzip.compress(b"a 1\n"), 3)


async def test_one_connection_serves_all_scrapes() -> None:
    client_ports = []

    async def note_port(request: web.Request) -> web.StreamResponse:
        client_ports.append(request.get_extra_info("peername")[1])
        return await answer(b"a 1\n")(request)

    async with scraping() as target:
        target.exposed.handler = note_port
        for number in range(4):
            await target.scrape(T1 + number * 1000)
    assert len(client_ports) == 4
    assert len(set(client_ports)) == 1


async def test_a_target_that_failed_is_reached_again() -> None:
    async with scraping() as target:
        target.exposed.handler = lying
        await target.scrape(T1)
        assert target.report("up") == [(T1, 0.0)]
        target.exposed.handler = None
        await target.scrape(T1 + 1000, "a 1\n")
        assert target.report("up") == [(T1, 0.0), (T1 + 1000, 1.0)]


async def test_without_compression_the_target_is_told_so() -> None:
    async with scraping(enable_compression=False) as target:
        await target.scrape(T1, "a 1\n")
        assert target.exposed.requests[0].headers["Accept-Encoding"] == "identity"


async def test_what_a_target_is_asked_for() -> None:
    async with scraping(params={"module": ("m",)}) as target:
        await target.scrape(T1, "a 1\n")
        (request,) = target.exposed.requests
        assert request.path_qs == "/metrics?module=m"
        assert request.headers["Accept"] == (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.5,"
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        )
        assert request.headers["Accept-Encoding"] == "gzip"
        assert request.headers["User-Agent"].startswith("Fleetwatch/")
        assert request.headers["X-Prometheus-Scrape-Timeout-Seconds"] == "10"


# Recorded from Prometheus 3.5.3.
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
ACCEPTS: list[tuple[tuple[ScrapeProtocol, ...], EscapingScheme, str]] = [
    (
        ("PrometheusProto", *DEFAULT_PROTOCOLS),
        "allow-utf-8",
        f"{PROTOBUF};q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
        "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
        "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
    ),
    (
        ("PrometheusText0.0.4", "PrometheusProto"),
        "underscores",
        f"text/plain;version=0.0.4;q=0.6,{PROTOBUF};q=0.5,*/*;q=0.4",
    ),
]


@pytest.mark.parametrize(("protocols", "escaping", "header"), ACCEPTS)
def test_accept(protocols: tuple[ScrapeProtocol, ...], escaping: EscapingScheme, header: str) -> None:
    assert accept_header(protocols, escaping) == header


async def test_protobuf_is_asked_for_and_read() -> None:
    gauge = b"\x12\x09\x09" + struct.pack("<d", 2.5)
    family = b"\x0a\x01a\x18\x01\x22" + bytes([len(gauge)]) + gauge
    protobuf = PROTOBUF.replace(";", "; ")
    async with scraping(scrape_protocols=("PrometheusProto", "PrometheusText0.0.4")) as target:
        target.exposed.handler = answer(bytes([len(family)]) + family, **{"Content-Type": protobuf})
        await target.scrape(T1)
        assert target.samples() == {"a": [(T1, 2.5)]}
        assert target.exposed.requests[0].headers["Accept"].startswith(f"{PROTOBUF};q=0.6,")
        target.exposed.handler = answer(bytes([len(family) + 1]) + family, **{"Content-Type": protobuf})
        await target.scrape(T1 + 1000)
        assert target.report("up") == [(T1, 1.0), (T1 + 1000, 0.0)]
        assert target.report("scrape_samples_scraped") == [(T1, 1.0), (T1 + 1000, 0.0)]


async def test_credentials(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("first\n")
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"basic_auth": BasicAuth(username="u", password_file=str(secret))},
            f"Basic {b64encode(b'u:first').decode()}",
        ),
        (
            {"basic_auth": BasicAuth(username_file=str(secret), password="päss:word")},
            f"Basic {b64encode('first:päss:word'.encode()).decode()}",
        ),
        ({"authorization": Authorization(credentials_file=str(secret))}, "Bearer first"),
        ({"authorization": Authorization(type="Token", credentials="x")}, "Token x"),
        ({"bearer_token": "y"}, "Bearer y"),
    ]
    for job, expected in cases:
        async with scraping(**job) as target:
            await target.scrape(T1, "a 1\n")
            assert target.exposed.requests[0].headers["Authorization"] == expected
    async with scraping(bearer_token_file=str(secret)) as target:
        await target.scrape(T1, "a 1\n")
        secret.write_text("second\n")
        await target.scrape(T1 + 1000)
        assert [request.headers["Authorization"] for request in target.exposed.requests] == [
            "Bearer first",
            "Bearer second",
        ]
        secret.unlink()
        await target.scrape(T1 + 2000)
        assert target.loop.state.last_error.endswith(f"{secret}: no such file or directory")


async def test_secret_files_are_relative_to_the_config(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    job = resolved_job(authorization=Authorization(credentials_file="secret"))
    async with open_session() as session:
        assert await JobClient(session, job, tmp_path).http.own_headers.current() == (("Authorization", "Bearer s"),)
        with pytest.raises(RequestError, match=r"authorization credentials: unable to read file .*secret: no such"):
            await JobClient(session, job, tmp_path / "elsewhere").http.own_headers.current()


async def test_redirects_in_a_circle_end() -> None:
    async def circle(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/metrics")

    async with scraping() as target:
        target.exposed.handler = circle
        await target.scrape(T1)
        assert "/metrics" in target.loop.state.last_error
        assert "stopped after 10 redirects" in target.loop.state.last_error
        target.exposed.requests.clear()
        await target.scrape(T1 + 1000)
        assert len(target.exposed.requests) == 10, "as many as Go's client makes"


@pytest.mark.parametrize("follow", [True, False])
async def test_redirects(follow: bool) -> None:
    async def redirect(request: web.Request) -> web.StreamResponse:
        if request.path == "/metrics":
            raise web.HTTPFound("/elsewhere")
        return await answer(b"a 1\n")(request)

    async with scraping(follow_redirects=follow) as target:
        target.exposed.handler = redirect
        await target.scrape(T1)
        if follow:
            assert target.samples() == {"a": [(T1, 1.0)]}
        else:
            assert target.loop.state.last_error == "server returned HTTP status 302 Found"


@pytest.mark.parametrize(("content_type", "body"), [(None, "a 1\n"), ("image/png", "# TYPE a gauge\na 1\n# EOF\n")])
async def test_fallback_protocol(content_type: str | None, body: str) -> None:
    fallback = "OpenMetricsText1.0.0" if "EOF" in body else "PrometheusText0.0.4"
    async with scraping(fallback_scrape_protocol=fallback) as target:
        target.exposed.content_type = content_type or "application/octet-stream"
        await target.scrape(T1, body)
        assert target.samples() == {"a": [(T1, 1.0)]}
