"""The `http_config` part of a config: how a server is reached (prometheus/common config.HTTPClientConfig)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from common.yamlfile import Problem
from scraper.http_url import url_problem

TLSVersion = Literal["TLS10", "TLS11", "TLS12", "TLS13"]

RESERVED_HEADERS = frozenset(
    {
        "authorization",
        "host",
        "content-encoding",
        "content-length",
        "content-type",
        "user-agent",
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "www-authenticate",
        "accept-encoding",
        "x-prometheus-remote-write-version",
        "x-prometheus-remote-read-version",
        "x-prometheus-scrape-timeout-seconds",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-content-sha256",
    }
)
"""Headers that `http_headers` cannot set, in small letters (prometheus/common config.ReservedHeaders)."""


class BasicAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`basic_auth`: user name and password, each in place or in a file."""

    username: str = ""
    username_file: str = ""
    password: str = ""
    password_file: str = ""


class Authorization(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`authorization`: the `Authorization` header as `<type> <credentials>`."""

    type: str = "Bearer"
    credentials: str = ""
    credentials_file: str = ""


class TLSConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`tls_config`: whom to trust, and who to be; certificates and key as PEM, in place or in files."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    insecure_skip_verify: bool = False
    min_version: TLSVersion | None = None
    max_version: TLSVersion | None = None


class ProxyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys that say which proxy to go through; they stand inline in `http_config` and in `oauth2`."""

    proxy_url: str | None = None
    no_proxy: str = ""
    proxy_from_environment: bool = False
    proxy_connect_header: dict[str, tuple[str, ...]] = {}


class OAuth2(ProxyConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`oauth2`: a bearer token by the client credentials grant (RFC 6749, 4.4)."""

    client_id: str = ""
    client_secret: str = ""
    client_secret_file: str = ""
    scopes: tuple[str, ...] = ()
    token_url: str = ""
    endpoint_params: dict[str, str] = {}
    tls_config: TLSConfig = TLSConfig()


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of `http_headers`: each value, secret and file makes a header of its own."""

    values: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


class HTTPConfig(ProxyConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys of `http_config`, which stand inline in a scrape config. `enable_http2` is without effect."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    oauth2: OAuth2 | None = None
    bearer_token: str = ""
    bearer_token_file: str = ""
    tls_config: TLSConfig = TLSConfig()
    follow_redirects: bool = True
    enable_http2: bool = True
    http_headers: dict[str, Header] = {}


def http_problems(config: HTTPConfig, key_path: str) -> Iterator[Problem]:
    """What is wrong beyond the types of the fields, as far as can be said without looking at files."""
    methods = [
        key
        for key in ("basic_auth", "authorization", "oauth2", "bearer_token", "bearer_token_file")
        if getattr(config, key)
    ]
    if len(methods) > 1:
        yield Problem(f"{key_path}.{methods[1]}", f"only one of {' and '.join(methods)} can be used")
    if config.basic_auth is not None:
        yield from _not_both(config.basic_auth, f"{key_path}.basic_auth", "username", "username_file")
        yield from _not_both(config.basic_auth, f"{key_path}.basic_auth", "password", "password_file")
    if config.authorization is not None:
        path = f"{key_path}.authorization"
        yield from _not_both(config.authorization, path, "credentials", "credentials_file")
        if config.authorization.type.strip().lower() == "basic":
            yield Problem(f"{path}.type", "for basic authentication use basic_auth instead")
    if config.oauth2 is not None:
        yield from _oauth2_problems(config.oauth2, f"{key_path}.oauth2")
    yield from _tls_problems(config.tls_config, f"{key_path}.tls_config")
    yield from _proxy_problems(config, key_path)
    for name in config.http_headers:
        if name.lower() in RESERVED_HEADERS:
            yield Problem(f"{key_path}.http_headers.{name}", "this header is not free to be set")


def http_file_problems(config: HTTPConfig, directory: Path, key_path: str) -> Iterator[Problem]:
    """Files that are missing now, of those that Prometheus's check of a config looks for too."""
    named = []
    if config.authorization is not None:
        named.append(("authorization.credentials_file", config.authorization.credentials_file))
    named.append(("bearer_token_file", config.bearer_token_file))
    named += [(f"tls_config.{key}", getattr(config.tls_config, key)) for key in ("cert_file", "key_file")]
    for key, name in named:
        if name and not (directory / name).exists():
            yield Problem(f"{key_path}.{key}", f"there is no file {directory / name}")


def _oauth2_problems(config: OAuth2, key_path: str) -> Iterator[Problem]:
    for key in ("client_id", "token_url"):
        if not getattr(config, key):
            yield Problem(f"{key_path}.{key}", "is missing: oauth2 needs it")
    yield from _not_both(config, key_path, "client_secret", "client_secret_file")
    yield from _tls_problems(config.tls_config, f"{key_path}.tls_config")
    yield from _proxy_problems(config, key_path)


def _tls_problems(config: TLSConfig, key_path: str) -> Iterator[Problem]:
    for key in ("ca", "cert", "key"):
        yield from _not_both(config, key_path, key, f"{key}_file")
    if bool(config.cert or config.cert_file) != bool(config.key or config.key_file):
        yield Problem(key_path, "a client certificate needs both cert_file and key_file")


def _proxy_problems(config: ProxyConfig, key_path: str) -> Iterator[Problem]:
    if config.proxy_url and (reason := url_problem(config.proxy_url)):
        yield Problem(f"{key_path}.proxy_url", f"is not a URL: {reason}")
    if config.proxy_connect_header and not (config.proxy_url or config.proxy_from_environment):
        yield Problem(f"{key_path}.proxy_connect_header", "needs proxy_url or proxy_from_environment")
    if config.proxy_from_environment and config.proxy_url:
        yield Problem(f"{key_path}.proxy_url", "only one of proxy_url and proxy_from_environment can be given")
    if config.no_proxy and config.proxy_from_environment:
        yield Problem(f"{key_path}.no_proxy", "only one of no_proxy and proxy_from_environment can be given")
    elif config.no_proxy and config.proxy_url is None:
        yield Problem(f"{key_path}.no_proxy", "needs proxy_url")


def _not_both(struct: msgspec.Struct, key_path: str, first: str, second: str) -> Iterator[Problem]:
    if getattr(struct, first) and getattr(struct, second):
        yield Problem(f"{key_path}.{second}", f"only one of {first} and {second} can be given")
