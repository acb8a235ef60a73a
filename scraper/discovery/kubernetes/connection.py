"""How the API server is reached: by its URL, as a kubeconfig file says, or from inside the cluster."""

import os
from dataclasses import dataclass
from pathlib import Path

from scraper.discovery.kubernetes.kubeconfig import read_kubeconfig
from scraper.discovery.labels import host_port
from scraper.discovery.model import DiscoveryError
from scraper.http_client import HTTPClient
from scraper.http_config import Authorization, HTTPConfig, TLSConfig

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a container has the files of its pod's service account."""


@dataclass(frozen=True, slots=True)
class Connection:
    """The API server's URL without a slash at its end, and what asks it."""

    url: str
    client: HTTPClient


@dataclass(frozen=True, slots=True)
class Connector:
    """What is known of the API server; files are relative to `directory`."""

    api_server: str | None
    kubeconfig_file: str
    http: HTTPConfig
    directory: Path
    service_account: Path

    def connect(self) -> Connection:
        """Raises FleetwatchError where files or the environment do not say enough."""
        if self.kubeconfig_file:
            path = self.directory / self.kubeconfig_file
            url, http = read_kubeconfig(path)
            return Connection(_base(url), HTTPClient(http, path.parent))
        if self.api_server is not None:
            return Connection(_base(self.api_server), HTTPClient(self.http, self.directory))
        return self._connect_in_cluster()

    def own_namespace(self) -> str:
        """The namespace of the pod this runs in. Raises DiscoveryError."""
        path = self.service_account / "namespace"
        try:
            namespace = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DiscoveryError(f"{path}, which tells the pod's namespace, cannot be read: {error}") from error
        if not namespace:
            raise DiscoveryError(f"{path}, which tells the pod's namespace, is empty")
        return namespace

    def _connect_in_cluster(self) -> Connection:
        """See https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/. Token and CA are reread."""
        host, port = (os.environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
        if not host or not port:
            raise DiscoveryError(
                "not inside a Kubernetes cluster, which sets KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT: "
                "give api_server or kubeconfig_file"
            )
        http = HTTPConfig(authorization=Authorization(credentials_file="token"), tls_config=TLSConfig(ca_file="ca.crt"))
        return Connection(f"https://{host_port(host, port)}", HTTPClient(http, self.service_account))


def _base(url: str) -> str:
    return (url if "://" in url else f"http://{url or 'localhost'}").rstrip("/")
