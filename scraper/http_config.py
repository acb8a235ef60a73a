"""The `http_config` part of a job: how a target is reached (prometheus/common config.HTTPClientConfig)."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from common.yamlfile import Problem
from scraper.errors import ScraperError

TLSVersion = Literal["TLS10", "TLS11", "TLS12", "TLS13"]

_TLS_VERSIONS: dict[TLSVersion, ssl.TLSVersion] = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}


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
    """`tls_config`: whom to trust, and who to be."""

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


class HTTPConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys of `http_config`, which stand inline in a scrape config."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    bearer_token: str = ""
    bearer_token_file: str = ""
    tls_config: TLSConfig = TLSConfig()
    follow_redirects: bool = True
    enable_http2: bool = True
    proxy_url: str = ""
    # Known to Prometheus, not acted on.
    oauth2: Any = None
    no_proxy: Any = None
    proxy_from_environment: Any = None
    proxy_connect_header: Any = None
    http_headers: Any = None


IGNORED_HTTP_KEYS = ("oauth2", "no_proxy", "proxy_from_environment", "proxy_connect_header", "http_headers")


def http_problems(config: HTTPConfig, key_path: str) -> Iterator[Problem]:
    """What is wrong beyond the types of the fields."""
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
    tls, path = config.tls_config, f"{key_path}.tls_config"
    for in_place, in_file in (("ca", "ca_file"), ("cert", "cert_file"), ("key", "key_file")):
        yield from _not_both(tls, path, in_place, in_file)
    if bool(tls.cert or tls.cert_file) != bool(tls.key or tls.key_file):
        yield Problem(path, "a client certificate needs both cert_file and key_file")


def _not_both(struct: msgspec.Struct, key_path: str, first: str, second: str) -> Iterator[Problem]:
    if getattr(struct, first) and getattr(struct, second):
        yield Problem(f"{key_path}.{second}", f"only one of {first} and {second} can be given")


def ssl_context(config: TLSConfig, directory: Path) -> ssl.SSLContext:
    """The TLS settings of a job; files are relative to `directory`. Raises ScraperError where they are unusable."""
    try:
        context = ssl.create_default_context(
            cafile=directory / config.ca_file if config.ca_file else None, cadata=config.ca or None
        )
        if config.cert_file:
            context.load_cert_chain(directory / config.cert_file, directory / config.key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(filter(None, (config.ca_file, config.cert_file, config.key_file)))
        raise ScraperError(f"tls_config: {files or 'ca'} cannot be used: {error}") from error
    if config.min_version:
        context.minimum_version = _TLS_VERSIONS[config.min_version]
    if config.max_version:
        context.maximum_version = _TLS_VERSIONS[config.max_version]
    if config.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
