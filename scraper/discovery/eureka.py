"""`eureka_sd_configs`: the instances registered with a Eureka server (prometheus discovery/eureka)."""

from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from common.yamlfile import Duration, Problem
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery, url_problems
from scraper.discovery.labels import flag, host_port, prefixed
from scraper.discovery.model import DiscoveryError, Surroundings, TargetGroup

PREFIX = "__meta_eureka_app_instance_"

DEFAULT_PORT = 80

# Label after PREFIX -> element of an instance.
_TEXTS = {
    "hostname": "hostName",
    "homepage_url": "homePageUrl",
    "statuspage_url": "statusPageUrl",
    "healthcheck_url": "healthCheckUrl",
    "ip_addr": "ipAddr",
    "vip_address": "vipAddress",
    "secure_vip_address": "secureVipAddress",
    "status": "status",
    "id": "instanceId",
}


class EurekaSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The URL of the server, to which /apps is added."""

    server: str = ""
    refresh_interval: Duration = Duration(30_000)

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        yield from url_problems(self.server, f"{path}.server")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings) -> HTTPDiscovery:
        """See SDConfig."""
        return HTTPDiscovery("eureka", self, surroundings, self._groups)

    async def _groups(self, api: HTTPAPI) -> Sequence[TargetGroup]:
        url = f"{self.server}/apps"
        response = await api.request(url, headers={"Accept": "application/xml"})
        try:
            applications = ET.fromstring(response.body)
            targets = [
                _target(_text(application, "name"), instance)
                for application in applications.iterfind("application")
                for instance in application.iterfind("instance")
            ]
        except (ET.ParseError, ValueError) as error:
            raise DiscoveryError(f'"{url}" did not answer with the XML expected: {error}') from error
        return [TargetGroup("eureka", targets)]


def _target(app_name: str, instance: ET.Element) -> dict[str, str]:
    host = _text(instance, "hostName")
    port, secure_port = instance.find("port"), instance.find("securePort")
    data_center = instance.find("dataCenterInfo")
    return {
        "__address__": host_port(host, DEFAULT_PORT if port is None else _number(port)),
        "instance": _text(instance, "instanceId"),
        "__meta_eureka_app_name": app_name,
        **{f"{PREFIX}{name}": _text(instance, element) for name, element in _TEXTS.items()},
        f"{PREFIX}country_id": str(int(_text(instance, "countryId") or 0)),
        **_port_labels("port", port),
        **_port_labels("secure_port", secure_port),
        f"{PREFIX}datacenterinfo_name": "" if data_center is None else _text(data_center, "name"),
        **_metadata("datacenterinfo_metadata_", data_center),
        **_metadata("metadata_", instance),
    }


def _port_labels(name: str, port: ET.Element | None) -> dict[str, str]:
    if port is None:
        return {}
    return {f"{PREFIX}{name}": str(_number(port)), f"{PREFIX}{name}_enabled": flag(port.get("enabled") == "true")}


def _metadata(name: str, parent: ET.Element | None) -> dict[str, str]:
    metadata = None if parent is None else parent.find("metadata")
    entries = {} if metadata is None else {entry.tag: _inner(entry) for entry in metadata}
    return prefixed(f"{PREFIX}{name}", entries)


def _inner(element: ET.Element) -> str:
    """What stands in an element, as XML."""
    return escape(element.text or "") + "".join(ET.tostring(child, "unicode") for child in element)


def _text(parent: ET.Element, name: str) -> str:
    return parent.findtext(name) or ""


def _number(element: ET.Element) -> int:
    return int((element.text or "").strip() or 0)
