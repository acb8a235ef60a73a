"""kubeconfig files: which API server, and who to be there.

See https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/. Users that a command or a cloud's login plugin
identifies are refused.
"""

import binascii
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from scraper.discovery.model import DiscoveryError
from scraper.http_config import Authorization, BasicAuth, HTTPConfig, TLSConfig


class _Cluster(msgspec.Struct, rename="kebab"):
    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str | None = None


class _User(msgspec.Struct, rename="kebab"):
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    username: str = ""
    password: str = ""
    exec: Any = None
    auth_provider: Any = None


class _Context(msgspec.Struct):
    cluster: str = ""
    user: str = ""


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: _Cluster


class _NamedUser(msgspec.Struct):
    name: str
    user: _User


class _NamedContext(msgspec.Struct):
    name: str
    context: _Context


class _Kubeconfig(msgspec.Struct, rename="kebab"):
    current_context: str = ""
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None


Named = TypeVar("Named", _NamedCluster, _NamedUser, _NamedContext)


def read_kubeconfig(path: Path) -> tuple[str, HTTPConfig]:
    """The API server's URL of the current context, and how it is asked. Raises DiscoveryError.

    Files that the config names are relative to the directory of `path`.
    """
    try:
        document = yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)
        config = msgspec.convert(document or {}, _Kubeconfig, strict=False)
        return _chosen(config)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError, DiscoveryError) as error:
        raise DiscoveryError(f"the kubeconfig file {path} cannot be used: {error}") from error


def _chosen(config: _Kubeconfig) -> tuple[str, HTTPConfig]:
    if not config.current_context:
        raise DiscoveryError("it has no current-context")
    context = _named(config.contexts, config.current_context, "context").context
    cluster = _named(config.clusters, context.cluster, "cluster").cluster
    user = _named(config.users, context.user, "user").user if context.user else _User()
    if not cluster.server:
        raise DiscoveryError(f"the cluster {context.cluster!r} has no server")
    tls = TLSConfig(
        ca=_decoded(cluster.certificate_authority_data),
        ca_file="" if cluster.certificate_authority_data else cluster.certificate_authority,
        cert=_decoded(user.client_certificate_data),
        cert_file="" if user.client_certificate_data else user.client_certificate,
        key=_decoded(user.client_key_data),
        key_file="" if user.client_key_data else user.client_key,
        server_name=cluster.tls_server_name,
        insecure_skip_verify=cluster.insecure_skip_tls_verify,
    )
    url = cluster.server
    if "://" not in url:
        url = f"{'http' if tls == TLSConfig() else 'https'}://{url}"
    return url, HTTPConfig(
        tls_config=tls,
        proxy_url=cluster.proxy_url or None,
        proxy_from_environment=not cluster.proxy_url,
        **_identity(user, context.user),
    )


def _identity(user: _User, name: str) -> dict[str, Any]:
    if user.exec is not None or user.auth_provider is not None:
        raise DiscoveryError(
            f"the user {name!r} is identified by a command or plugin, which is not supported: "
            "use a token, tokenFile or a client certificate"
        )
    if user.token_file:
        return {"authorization": Authorization(credentials_file=user.token_file)}
    if user.token:
        return {"authorization": Authorization(credentials=user.token)}
    if user.username:
        return {"basic_auth": BasicAuth(username=user.username, password=user.password)}
    return {}


def _named(entries: Sequence[Named] | None, name: str, kind: str) -> Named:
    entry = next((entry for entry in entries or () if entry.name == name), None)
    if entry is None:
        raise DiscoveryError(f"there is no {kind} {name!r}")
    return entry


def _decoded(text: str) -> str:
    try:
        return b64decode(text, validate=False).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise DiscoveryError(f"a certificate or key is not base64 of PEM text: {error}") from error
