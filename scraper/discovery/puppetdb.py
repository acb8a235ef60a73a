"""`puppetdb_sd_configs`: the resources that a PuppetDB query finds (prometheus discovery/puppetdb)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from urllib.parse import urlsplit

import msgspec
import orjson

from common.yamlfile import Problem
from scraper.discovery.http import check_json
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery, decode, url_problems
from scraper.discovery.labels import flag, host_port, label_name, listed
from scraper.discovery.model import Surroundings, TargetGroup

PREFIX = "__meta_puppetdb_"

# Where Go writes a float with an exponent (strconv.FormatFloat with 'g' and the shortest form).
_MIN_PLAIN_EXPONENT, _MAX_PLAIN_EXPONENT = -4, 5


class PuppetDBSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A PQL query. `include_parameters` may bring secrets into labels, so it is off by default."""

    url: str = ""
    query: str = ""
    include_parameters: bool = False
    port: int = 80

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        yield from url_problems(self.url, f"{path}.url")
        if not self.query:
            yield Problem(f"{path}.query", "is missing")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings) -> HTTPDiscovery:
        """See SDConfig."""
        return HTTPDiscovery("puppetdb", self, surroundings, self._groups)

    async def _groups(self, api: HTTPAPI) -> Sequence[TargetGroup]:
        parts = urlsplit(self.url)
        url = parts._replace(path=f"{parts.path.rstrip('/')}/pdb/query/v4").geturl()
        response = await api.request(
            url, "POST", headers={"Content-Type": "application/json"}, data=orjson.dumps({"query": self.query})
        )
        check_json(response.headers.get("Content-Type", ""), url)
        resources = decode(response.body, list[_Resource], url)
        return [TargetGroup(f"{url}?query={self.query}", [self._target(resource) for resource in resources])]

    def _target(self, resource: "_Resource") -> dict[str, str]:
        labels = {
            "__address__": host_port(resource.certname, self.port),
            f"{PREFIX}query": self.query,
            f"{PREFIX}certname": resource.certname,
            f"{PREFIX}resource": resource.resource,
            f"{PREFIX}type": resource.type,
            f"{PREFIX}title": resource.title,
            f"{PREFIX}exported": flag(resource.exported),
            f"{PREFIX}file": resource.file or "",
            f"{PREFIX}environment": resource.environment,
            f"{PREFIX}tags": listed(resource.tags) if resource.tags else "",
        }
        if self.include_parameters:
            labels |= parameter_labels(f"{PREFIX}parameter_", resource.parameters or {})
        return labels


def parameter_labels(prefix: str, parameters: Mapping[str, object]) -> dict[str, str]:
    """Parameters as labels: lists joined, mappings flattened, null and empty left out."""
    labels: dict[str, str] = {}
    for key, value in parameters.items():
        name = prefix + label_name(key)
        if isinstance(value, dict):
            labels |= parameter_labels(f"{name}_", value)
        elif text := ",".join(map(_text, value)) if isinstance(value, list) else _text(value):
            labels[name] = text
    return labels


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return flag(value)
        case int() | float():
            return _number(float(value))
        case _:
            return ""


def _number(value: float) -> str:
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    if not isinstance(exponent, int) or not math.isfinite(value):
        return repr(value)
    power = exponent + len(digits) - 1
    if _MIN_PLAIN_EXPONENT <= power <= _MAX_PLAIN_EXPONENT:
        return repr(value).removesuffix(".0")
    fraction = "".join(map(str, digits[1:]))
    mantissa = f"{'-' if sign else ''}{digits[0]}{'.' if fraction else ''}{fraction}"
    return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02}"


class _Resource(msgspec.Struct):
    certname: str = ""
    resource: str = ""
    type: str = ""
    title: str = ""
    exported: bool = False
    tags: list[str] | None = None
    file: str | None = None
    environment: str = ""
    parameters: dict[str, object] | None = None
