"""`kuma_sd_configs`: the dataplanes of a Kuma mesh (prometheus discovery/xds).

The control plane is asked by Envoy's xDS protocol v3 as REST for monitoring assignments; see
https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol. No version is named in requests, so each is answered
at once with all that there is.
"""

import platform
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import msgspec
import orjson

from common.durations import format_duration
from common.yamlfile import Duration, Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery, url_problems
from scraper.discovery.labels import prefixed
from scraper.discovery.model import DiscoveryError, Surroundings, TargetGroup

PREFIX = "__meta_kuma_"

RESOURCE = "monitoringassignments"
RESOURCE_TYPE = "type.googleapis.com/kuma.observability.v1.MonitoringAssignment"


class KumaSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The control plane, and as whom it is asked; `fetch_timeout` is how long it may take to answer."""

    server: str = ""
    client_id: str = ""
    fetch_timeout: Duration = Duration(120_000)
    refresh_interval: Duration = Duration(15_000)

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        yield from url_problems(self.server, f"{path}.server")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings) -> HTTPDiscovery:
        """See SDConfig."""
        return HTTPDiscovery("kuma", self, surroundings, self._groups)

    async def _groups(self, api: HTTPAPI) -> Sequence[TargetGroup]:
        parts = urlsplit(self.server)
        url = parts._replace(path=f"{parts.path.rstrip('/')}/v3/discovery:{RESOURCE}", query="").geturl()
        node = {"id": self.client_id or platform.node() or "fleetwatch"}
        answer = await api.json(
            url,
            _Answer,
            method="POST",
            params=[("fetch-timeout", format_duration(self.fetch_timeout))],
            headers={"Content-Type": "application/json"},
            data=orjson.dumps({"node": node, "type_url": RESOURCE_TYPE}),
            timeout_s=self.fetch_timeout / 1000 + 15,  # Prometheus's margin
        )
        for type_ in (answer.type_url or answer.type_url_camel, *(resource.type for resource in answer.resources)):
            if type_ != RESOURCE_TYPE:
                raise DiscoveryError(f'"{url}" answered with the type {type_!r}: expected {RESOURCE_TYPE}')
        return [TargetGroup("kuma", [target for resource in answer.resources for target in _targets(resource)])]


def _targets(assignment: "_Assignment") -> Iterator[dict[str, str]]:
    common = prefixed(f"{PREFIX}label_", assignment.labels)
    for target in assignment.targets:
        own = {
            "__scheme__": target.scheme,
            "__metrics_path__": target.metrics_path or target.metrics_path_camel,
            "instance": target.name,
        }
        yield {
            **prefixed(f"{PREFIX}label_", target.labels),
            **common,
            f"{PREFIX}mesh": assignment.mesh,
            f"{PREFIX}service": assignment.service,
            f"{PREFIX}dataplane": target.name,
            "__address__": target.address,
            **{name: value for name, value in own.items() if value},
        }


# Protocol buffers as JSON have the names of the .proto file or the same in camel case.
class _Target(msgspec.Struct):
    name: str = ""
    scheme: str = ""
    address: str = ""
    metrics_path: str = ""
    metrics_path_camel: str = msgspec.field(default="", name="metricsPath")
    labels: dict[str, str] = {}


class _Assignment(msgspec.Struct):
    type: str = msgspec.field(default="", name="@type")
    mesh: str = ""
    service: str = ""
    targets: list[_Target] = []
    labels: dict[str, str] = {}


class _Answer(msgspec.Struct):
    resources: list[_Assignment] = []
    type_url: str = ""
    type_url_camel: str = msgspec.field(default="", name="typeUrl")
