"""Which proxy is chosen, and what goes through it."""

import re
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from scraper.errors import RequestError, ScraperError
from scraper.http_client import HTTPClient
from scraper.http_config import HTTPConfig, ProxyConfig, TLSConfig
from scraper.http_proxy import NoProxy, ProxyChoice
from tests.scraper.http_servers import Authority, Proxy, proxy_server, web_server

# Cases of Go's golang.org/x/net/http/httpproxy documentation: list, URL, whether it goes straight there.
EXEMPT = [
    ("", "http://localhost", True),
    ("", "http://127.0.0.1", True),
    ("", "http://127.7.7.7:80", True),
    ("", "http://[::1]:80", True),
    ("", "http://example.com", False),
    ("*", "http://example.com", True),
    ("a, *", "http://example.com", True),
    ("example.com", "http://example.com", True),
    ("example.com", "http://EXAMPLE.com", True),
    ("Example.com", "http://www.example.com", True),
    ("example.com", "http://notexample.com", False),
    (".example.com", "http://www.example.com", True),
    (".example.com", "http://example.com", False),
    ("*.example.com", "http://www.example.com", True),
    ("*.example.com", "http://example.com", False),
    ("example.com:8080", "http://example.com:8080", True),
    ("example.com:8080", "http://example.com", False),
    ("example.com:443", "https://example.com", True),
    ("other, example.com", "http://example.com", True),
    ("10.0.0.1", "http://10.0.0.1", True),
    ("10.0.0.1", "http://10.0.0.2", False),
    ("10.0.0.1:80", "http://10.0.0.1", True),
    ("10.0.0.1:80", "http://10.0.0.1:81", False),
    ("10.0.0.0/8", "http://10.200.1.1:9100", True),
    ("10.0.0.9/8", "http://10.200.1.1", True),
    ("10.0.0.0/8", "http://11.0.0.1", False),
    ("10.0.0.0/8", "http://host10", False),
    ("10.0.0.0/99", "http://10.0.0.1", False),
    ("fd00::/8", "http://[fd12::1]:9100", True),
    ("fd00::1", "http://[fd00::1]", True),
    ("[fd00::1]", "http://[fd00::1]", True),
    ("[fd00::1]:80", "http://[fd00::1]", True),
    ("[fd00::1]:80", "http://[fd00::1]:81", False),
    (":80, ,", "http://example.com", False),
]


@pytest.mark.parametrize(("entries", "url", "exempt"), EXEMPT)
def test_no_proxy(entries: str, url: str, exempt: bool) -> None:
    assert NoProxy(entries).exempts(URL(url)) is exempt


PROXY = URL("http://proxy:3128")


@pytest.mark.parametrize(
    ("config", "environment", "url", "proxy"),
    [
        (ProxyConfig(), {"HTTP_PROXY": "http://proxy:3128"}, "http://a", None),
        (ProxyConfig(proxy_url=str(PROXY)), {}, "http://a", PROXY),
        (ProxyConfig(proxy_url=str(PROXY)), {}, "https://a", PROXY),
        (ProxyConfig(proxy_url=str(PROXY)), {}, "http://localhost", PROXY),
        (ProxyConfig(proxy_url=str(PROXY), no_proxy="b"), {}, "http://localhost", None),
        (ProxyConfig(proxy_url=str(PROXY), no_proxy="b"), {}, "http://b", None),
        (ProxyConfig(proxy_url=str(PROXY), no_proxy="b"), {}, "http://a", PROXY),
        (ProxyConfig(proxy_from_environment=True), {}, "http://a", None),
        (ProxyConfig(proxy_from_environment=True), {"HTTP_PROXY": "proxy:3128"}, "http://a", PROXY),
        (ProxyConfig(proxy_from_environment=True), {"http_proxy": "http://proxy:3128"}, "http://a", PROXY),
        (ProxyConfig(proxy_from_environment=True), {"HTTP_PROXY": "http://proxy:3128"}, "https://a", None),
        (ProxyConfig(proxy_from_environment=True), {"HTTPS_PROXY": "http://proxy:3128"}, "https://a", PROXY),
        (
            ProxyConfig(proxy_from_environment=True),
            {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "10.0.0.0/8"},
            "http://10.1.1.1",
            None,
        ),
    ],
)
def test_the_choice(config: ProxyConfig, environment: dict[str, str], url: str, proxy: URL | None) -> None:
    assert ProxyChoice(config, environment).proxy_for(URL(url)) == proxy


async def hello(request: web.Request) -> web.StreamResponse:
    return web.Response(text=f"hello {request.path}")


async def test_https_goes_through_a_tunnel(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with (
        web_server(hello, authority.server_context()) as address,
        proxy_server(Proxy()) as proxy,
    ):
        config = HTTPConfig(
            proxy_url=f"http://me:secret@{proxy.address}",
            proxy_connect_header={"X-Tenant": ("a", "b")},
            tls_config=TLSConfig(ca_file="ca.pem"),
        )
        client = HTTPClient(config, tmp_path)
        response = await client.request("GET", f"https://{address}/x", timeout_s=5)
        await client.close()
    assert response.body == b"hello /x"
    (request,) = proxy.requests
    assert request.startswith(f"CONNECT {address} HTTP/1.1\r\n".encode())
    assert b"X-Tenant: a\r\nX-Tenant: b\r\n" in request
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" in request


async def test_http_is_asked_of_the_proxy() -> None:
    seen: list[web.Request] = []

    async def forward(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return web.Response(text="from the proxy")

    async with web_server(forward) as proxy:
        client = HTTPClient(HTTPConfig(proxy_url=f"http://me:secret@{proxy}"), Path())
        response = await client.request("GET", "http://nowhere.invalid:9100/metrics?a=b", timeout_s=5)
        await client.close()
    assert response.body == b"from the proxy"
    assert str(seen[0].url) == "http://nowhere.invalid:9100/metrics?a=b"
    assert seen[0].headers["Proxy-Authorization"] == "Basic bWU6c2VjcmV0"


async def test_a_proxy_that_refuses(tmp_path: Path) -> None:
    async with proxy_server(Proxy(refuses=407)) as proxy:
        client = HTTPClient(HTTPConfig(proxy_url=f"http://{proxy.address}"), tmp_path)
        with pytest.raises(RequestError, match=re.escape('Get "https://a.invalid/": No')):
            await client.request("GET", "https://a.invalid/", timeout_s=5)
        await client.close()


async def test_a_proxy_that_is_not_there(unused_tcp_port: int) -> None:
    client = HTTPClient(HTTPConfig(proxy_url=f"http://127.0.0.1:{unused_tcp_port}"), Path())
    with pytest.raises(RequestError, match=f"proxyconnect tcp: dial tcp 127.0.0.1:{unused_tcp_port}: connect"):
        await client.request("GET", "http://a.invalid/", timeout_s=5)
    await client.close()


async def test_a_proxy_of_another_protocol_is_an_error_of_the_request() -> None:
    client = HTTPClient(HTTPConfig(proxy_url="socks5://127.0.0.1:1080"), Path())
    with pytest.raises(RequestError, match="the proxy's scheme is 'socks5': expected http or https"):
        await client.request("GET", "http://a.invalid/", timeout_s=5)
    await client.close()


@pytest.mark.parametrize("proxy_url", ["http://", "http://x:99999"])
def test_a_proxy_without_an_address_is_an_error_from_the_start(proxy_url: str) -> None:
    with pytest.raises(ScraperError, match="proxy"):
        HTTPClient(HTTPConfig(proxy_url=proxy_url), Path())
