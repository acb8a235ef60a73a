"""What docker and dockerswarm discovery share: the Docker Engine API and its networks.

The API is asked in the newest version that the daemon has; what is read of it has been the same since 1.24.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from urllib.parse import urlsplit

import msgspec
import orjson

from common.yamlfile import Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery
from scraper.discovery.labels import flag, prefixed
from scraper.discovery.model import Surroundings, TargetGroup

Labels = dict[str, str]


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of the Engine's list filters."""

    name: str = ""
    values: tuple[str, ...] = ()


class EngineConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the Docker daemon is: `unix:///var/run/docker.sock`, `tcp://host:port`, `http://...` or `https://...`."""

    host: str = ""
    port: int = 80
    filters: tuple[Filter, ...] = ()

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        if not self.host:
            yield Problem(f"{path}.host", "is missing")
        elif urlsplit(self.host).scheme not in ("unix", "tcp", "http", "https"):
            yield Problem(f"{path}.host", f"{self.host!r} does not begin with unix://, tcp://, http:// or https://")
        yield from super().problems(path)

    def engine_discovery(
        self,
        mechanism: str,
        surroundings: Surroundings,
        fetch: Callable[["Engine"], Awaitable[Sequence[TargetGroup]]],
    ) -> HTTPDiscovery:
        """A discovery whose `fetch` asks the daemon."""
        parts = urlsplit(self.host)
        unix_socket = parts.path if parts.scheme == "unix" else ""
        url = "http://docker" if unix_socket else self.host.rstrip("/").replace("tcp://", "http://", 1)

        async def ask(api: HTTPAPI) -> Sequence[TargetGroup]:
            version = (await api.request(f"{url}/_ping")).headers.get("Api-Version")
            return await fetch(Engine(api, f"{url}/v{version}" if version else url))

        return HTTPDiscovery(mechanism, self, surroundings, ask, unix_socket)

    def filter_params(self) -> list[tuple[str, str]]:
        """The filters as the Engine wants them in a query: name -> value -> true."""
        wanted: dict[str, dict[str, bool]] = {}
        for each in self.filters:
            wanted.setdefault(each.name, {}).update(dict.fromkeys(each.values, True))
        return [("filters", orjson.dumps(wanted).decode())] if wanted else []


class Network(msgspec.Struct, rename="pascal"):
    """One of GET /networks."""

    id: str
    name: str = ""
    scope: str = ""
    internal: bool = False
    ingress: bool = False
    labels: dict[str, str] | None = None


class Engine:
    """Requests to a daemon. Methods raise FleetwatchError."""

    def __init__(self, api: HTTPAPI, url: str) -> None:
        self.api = api
        self.url = url

    async def network_labels(self, prefix: str) -> dict[str, Labels]:
        """Labels of networks by their id."""
        prefix += "network_"
        return {
            network.id: {
                f"{prefix}id": network.id,
                f"{prefix}name": network.name,
                f"{prefix}scope": network.scope,
                f"{prefix}internal": flag(network.internal),
                f"{prefix}ingress": flag(network.ingress),
                **prefixed(f"{prefix}label_", network.labels),
            }
            for network in await self.api.json(f"{self.url}/networks", list[Network])
        }
