"""`marathon_sd_configs`: the tasks of the applications of Marathon (prometheus discovery/marathon)."""

import random
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from common.yamlfile import Duration, Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery
from scraper.discovery.labels import host_port, prefixed
from scraper.discovery.model import Surroundings, TargetGroup
from scraper.http_files import FollowedFiles, SecretFile

PREFIX = "__meta_marathon_"

Labels = dict[str, str]


class MarathonSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The servers, of which each refresh asks one; `auth_token` is sent as DC/OS wants it."""

    servers: tuple[str, ...] = ()
    auth_token: str = ""
    auth_token_file: str = ""
    refresh_interval: Duration = Duration(30_000)

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        if not self.servers:
            yield Problem(f"{path}.servers", "at least one is needed")
        if self.auth_token and self.auth_token_file:
            yield Problem(f"{path}.auth_token_file", "only one of auth_token and auth_token_file can be given")
        for key in ("basic_auth", "authorization", "bearer_token", "bearer_token_file"):
            if (self.auth_token or self.auth_token_file) and getattr(self, key):
                yield Problem(f"{path}.{key}", f"only one of auth_token, auth_token_file and {key} can be given")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings) -> HTTPDiscovery:
        """See SDConfig."""
        name = self.auth_token_file
        file = FollowedFiles({"token": SecretFile(surroundings.directory, name)} if name else {})

        async def fetch(api: HTTPAPI) -> Sequence[TargetGroup]:
            token = (await file.current()).get("token", self.auth_token)
            headers = {"Authorization": f"token={token}"} if token else {}
            url = f"{random.choice(self.servers)}/v2/apps/?embed=apps.tasks"
            apps = (await api.json(url, _Apps, headers=headers)).apps
            return [TargetGroup(app.id, list(_targets(app)), _app_labels(app)) for app in apps]

        return HTTPDiscovery("marathon", self, surroundings, fetch)


def _app_labels(app: "_App") -> Labels:
    labels = {f"{PREFIX}app": app.id, f"{PREFIX}image": app.container.docker.image}
    return labels | prefixed(f"{PREFIX}app_label_", app.labels)


def _targets(app: "_App") -> Iterator[Labels]:
    in_container_network = bool(app.networks) and app.networks[0].mode == "container"
    ports, labels = _ports(app, in_container_network)
    for task in app.tasks:
        ports = ports or task.ports
        for index, port in enumerate(ports):
            if not port and len(task.ports) == len(ports):
                port = task.ports[index]  # Mesos chose it
            host = task.ip_addresses[0].ip_address if in_container_network and task.ip_addresses else task.host
            yield {
                "__address__": host_port(host, port),
                f"{PREFIX}task": task.id,
                f"{PREFIX}port_index": str(index),
                **(labels[index] if labels else {}),
            }


def _ports(app: "_App", in_container_network: bool) -> tuple[Sequence[int], Sequence[Mapping[str, str]]]:
    """The ports that the application names, 0 where the task knows, and the labels of each."""
    # Before Marathon 1.5 the mappings were those of docker.
    if mappings := app.container.port_mappings or app.container.docker.port_mappings:
        ports = [mapping.container_port if in_container_network else mapping.host_port for mapping in mappings]
        return ports, [prefixed(f"{PREFIX}port_mapping_label_", mapping.labels) for mapping in mappings]
    # Without requirePorts the ports are those of the service, not those that are listened on.
    ports = [definition.port if app.require_ports else 0 for definition in app.port_definitions]
    return ports, [prefixed(f"{PREFIX}port_definition_label_", each.labels) for each in app.port_definitions]


class _Camel(msgspec.Struct, rename="camel"):
    """Marathon's names."""


class _Address(_Camel):
    ip_address: str = ""


class _Task(_Camel):
    id: str = ""
    host: str = ""
    ports: list[int] = []
    ip_addresses: list[_Address] = []


class _Mapping(_Camel):
    labels: dict[str, str] = {}
    container_port: int = 0
    host_port: int = 0


class _Docker(_Camel):
    image: str = ""
    port_mappings: list[_Mapping] | None = None


class _Container(_Camel):
    docker: _Docker = msgspec.field(default_factory=_Docker)
    port_mappings: list[_Mapping] | None = None


class _Definition(_Camel):
    labels: dict[str, str] = {}
    port: int = 0


class _Network(_Camel):
    mode: str = ""


class _App(_Camel):
    id: str
    tasks: list[_Task] = []
    labels: dict[str, str] = {}
    container: _Container = msgspec.field(default_factory=_Container)
    port_definitions: list[_Definition] = []
    networks: list[_Network] = []
    require_ports: bool = False


class _Apps(_Camel):
    apps: list[_App]
