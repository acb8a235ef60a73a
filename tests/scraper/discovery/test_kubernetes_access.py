"""How the API server is reached: by URL, as a kubeconfig file says, from inside the cluster."""

import base64
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from scraper.discovery.kubernetes.kubeconfig import read_kubeconfig
from scraper.discovery.model import DiscoveryError
from scraper.http_config import Authorization, BasicAuth, HTTPConfig, TLSConfig
from tests.scraper.discovery.discovering import failures, surroundings
from tests.scraper.discovery.kubernetes_api import pod, serving_kubernetes
from tests.scraper.discovery.kubernetes_discovering import discovering, watched
from tests.scraper.http_servers import Authority
from tests.scraper.targets import eventually


async def test_credentials_of_the_entry(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    around = surroundings(tmp_path)
    token = tmp_path / "token"
    token.write_text("old\n")
    async with serving_kubernetes(pod("a", "10.0.0.1")) as api:
        api.authorization = "Bearer new"
        credentials = {"credentials_file": "token"}
        async with discovering(around, role="pod", api_server=api.url, authorization=credentials) as published:
            await eventually(lambda: failures(around, "kubernetes") > 0)
            assert published.times == 0
            assert caplog.records[0].__dict__["error"].endswith("server returned status 401: Unauthorized")
            token.write_text("newer")
            token.write_text("new")
            await eventually(lambda: published.addresses == ["10.0.0.1:80"])


@pytest.fixture
def in_cluster(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """The directory of a pod's service account, and TLS for the API server that its CA stands for."""
    authority = Authority(tmp_path)
    account = tmp_path / "serviceaccount"
    account.mkdir()
    (account / "ca.crt").write_bytes(authority.ca.read_bytes())
    (account / "token").write_text("one")
    (account / "namespace").write_text("mine")
    return account, authority.server_context()


async def test_in_the_cluster(in_cluster: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> None:
    account, tls = in_cluster
    around = surroundings()
    async with serving_kubernetes(pod("a", "10.0.0.1", "mine"), pod("b", "10.0.0.2", "other"), tls=tls) as api:
        api.authorization = "Bearer one"
        host, port = api.url.removeprefix("https://").split(":")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
        async with discovering(around, account, role="pod") as published:
            await eventually(lambda: published.addresses == ["10.0.0.1:80", "10.0.0.2:80"])
            await watched(api, "pods")
            (account / "token").write_text("two")
            api.authorization = "Bearer two"
            await api.disconnect()
            await api.put(pod("c", "10.0.0.3", "mine"))
            await eventually(lambda: len(published.targets) == 3)
        async with discovering(around, account, role="pod", namespaces={"own_namespace": True}) as published:
            await eventually(lambda: published.addresses == ["10.0.0.1:80", "10.0.0.3:80"])
        own_and_other = {"own_namespace": True, "names": ["other"]}
        async with discovering(around, account, role="pod", namespaces=own_and_other) as published:
            await eventually(lambda: len(published.targets) == 3)


async def test_outside_of_a_cluster(
    in_cluster: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    account, _ = in_cluster
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    around = surroundings()
    async with discovering(around, account, role="pod"):
        await eventually(lambda: failures(around, "kubernetes") > 1)
    assert caplog.records[0].__dict__["error"].startswith("not inside a Kubernetes cluster")


@pytest.mark.parametrize(("text", "said"), [(None, "cannot be read"), ("\n", "is empty")])
async def test_own_namespace_unknown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "namespace").write_text(text)
    around = surroundings()
    async with discovering(around, tmp_path, role="pod", namespaces={"own_namespace": True}):
        await eventually(lambda: failures(around, "kubernetes") > 0)
    assert said in caplog.records[0].__dict__["error"]


def kubeconfig(cluster: dict[str, Any], user: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "unused"}}],
        "clusters": [{"name": "other", "cluster": {"server": "https://other"}}, {"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user or {}}],
        **keys,
    }


async def test_a_kubeconfig_file_is_used(tmp_path: Path) -> None:
    (tmp_path / "kube").mkdir()
    authority = Authority(tmp_path / "kube")
    tls = authority.server_context()
    tls.load_verify_locations(authority.ca)
    tls.verify_mode = ssl.CERT_REQUIRED
    cert, key = authority.issue("client")
    user = {
        "client-certificate": cert.name,
        "client-key-data": base64.b64encode(key.read_bytes()).decode(),
        "token": "t",
    }
    async with serving_kubernetes(pod("a", "10.0.0.1"), tls=tls) as api:
        api.authorization = "Bearer t"
        config = kubeconfig({"server": api.url, "certificate-authority": "ca.pem"}, user)
        (tmp_path / "kube" / "config").write_text(json.dumps(config))
        async with discovering(surroundings(tmp_path), role="pod", kubeconfig_file="kube/config") as published:
            await eventually(lambda: published.addresses == ["10.0.0.1:80"])


def both(key: str) -> dict[str, str]:
    """A key with a file and with data, which are used then."""
    return {key: "file", f"{key}-data": "cGVt"}


PLAIN = {"server": "http://a:1"}


@pytest.mark.parametrize(
    ("config", "url", "http"),
    [
        (kubeconfig(PLAIN), "http://a:1", HTTPConfig(proxy_from_environment=True)),
        (kubeconfig({"server": "a:1"}), "http://a:1", HTTPConfig(proxy_from_environment=True)),
        (
            kubeconfig({"server": "a:1", "insecure-skip-tls-verify": True, "tls-server-name": "b"}),
            "https://a:1",
            HTTPConfig(proxy_from_environment=True, tls_config=TLSConfig(insecure_skip_verify=True, server_name="b")),
        ),
        (
            kubeconfig({**PLAIN, "proxy-url": "http://p:2"}, {"username": "me", "password": "secret"}),
            "http://a:1",
            HTTPConfig(proxy_url="http://p:2", basic_auth=BasicAuth(username="me", password="secret")),
        ),
        (
            kubeconfig(PLAIN, {"token": "t", "tokenFile": "f"}),
            "http://a:1",
            HTTPConfig(proxy_from_environment=True, authorization=Authorization(credentials_file="f")),
        ),
        (
            kubeconfig({**PLAIN, **both("certificate-authority")}, both("client-certificate") | both("client-key")),
            "http://a:1",
            HTTPConfig(proxy_from_environment=True, tls_config=TLSConfig(ca="pem", cert="pem", key="pem")),
        ),
        (
            kubeconfig(PLAIN, contexts=[{"name": "here", "context": {"cluster": "c"}}], users=None),
            "http://a:1",
            HTTPConfig(proxy_from_environment=True),
        ),
    ],
)
def test_what_a_kubeconfig_file_says(tmp_path: Path, config: dict[str, Any], url: str, http: HTTPConfig) -> None:
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    assert read_kubeconfig(path) == (url, http)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file"),
        ("", "it has no current-context"),
        ("- a", "Expected `object`, got `array`"),
        ("{", "while parsing"),
        (json.dumps({**kubeconfig(PLAIN), "current-context": "there"}), "there is no context 'there'"),
        (json.dumps(kubeconfig(PLAIN, clusters=None)), "there is no cluster 'c'"),
        (json.dumps(kubeconfig(PLAIN, users=[])), "there is no user 'u'"),
        (json.dumps(kubeconfig({})), "the cluster 'c' has no server"),
        (json.dumps(kubeconfig(PLAIN, {"client-key-data": "x"})), "not base64 of PEM text"),
        (json.dumps(kubeconfig(PLAIN, {"exec": {"command": "aws"}})), "identified by a command or plugin"),
    ],
)
def test_kubeconfig_files_that_cannot_be_used(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DiscoveryError, match=f"kubeconfig file {path} cannot be used") as refused:
        read_kubeconfig(path)
    assert said in str(refused.value)
