"""`http_sd_configs`: target groups as JSON from an HTTP server (prometheus discovery/http)."""

import re
from collections.abc import Iterator, Sequence

import msgspec

from common.yamlfile import Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery, decode, url_problems
from scraper.discovery.model import DiscoveryError, Surroundings, TargetGroup

JSON_CONTENT_TYPE = re.compile(r'application/json(;\s*charset=("utf-8"|utf-8))?', re.IGNORECASE)


class HTTPSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The URL that answers with a list of groups."""

    url: str = ""

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        yield from url_problems(self.url, f"{path}.url")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings) -> HTTPDiscovery:
        """See SDConfig."""
        return HTTPDiscovery("http", self, surroundings, self._groups)

    async def _groups(self, api: HTTPAPI) -> Sequence[TargetGroup]:
        interval_s = str(self.refresh_interval / 1000).removesuffix(".0")
        response = await api.request(self.url, headers={"X-Prometheus-Refresh-Interval-Seconds": interval_s})
        check_json(response.headers.get("Content-Type", ""), self.url)
        return [
            TargetGroup(
                f"{self.url}:{index}",
                [{"__address__": address} for address in group.targets or ()],
                {**(group.labels or {}), "__meta_url": self.url},
            )
            for index, group in enumerate(decode(response.body, list[_Group], self.url))
        ]


class _Group(msgspec.Struct, forbid_unknown_fields=True):
    # Go writes nil lists and maps as null.
    targets: list[str] | None = None
    labels: dict[str, str] | None = None


def check_json(content_type: str, url: str) -> None:
    """Raise DiscoveryError where a Content-Type is not that of JSON in UTF-8."""
    if not JSON_CONTENT_TYPE.fullmatch(content_type.strip()):
        raise DiscoveryError(f'"{url}" answered with content type {content_type!r}: expected application/json')
