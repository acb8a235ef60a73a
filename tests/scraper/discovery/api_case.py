"""Cases of sources that ask an HTTP API, one file each in `cases/`.

key, config     the entry of a scrape config; API_URL stands for the API's URL, API_HOST for its host and port
answers         what the API answers by path: JSON, or a text; a query may follow the path
asked           requests that must have been made
targets         what must be found, without labels that are empty
without         answers with which there are no targets
url             whether the API's URL is not part of the config, and given to the discoverer instead
unknown_to_debian   keys and labels that came after the Prometheus that Debian 12 has, 2.42
needs_prometheus_3  whether that one does otherwise
"""

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import yaml
from aiohttp import web

from common.yamlfile import loads
from scraper.discovery.model import Discoverer, SDConfig, Surroundings
from scraper.discovery.sources import SD_CONFIGS
from tests.scraper.discovery.discovering import FakeAPI, Labels

DIRECTORY = Path(__file__).parent / "cases"
NAMES = sorted(path.stem for path in DIRECTORY.glob("*.yml"))


class Case(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    config: dict[str, Any]
    answers: dict[str, Any]
    targets: list[Labels]
    without: dict[str, Any]
    asked: list[str] = []
    url: bool = False
    unknown_to_debian: list[str] = []
    needs_prometheus_3: bool = False


def read_case(name: str) -> Case:
    return msgspec.convert(yaml.safe_load((DIRECTORY / f"{name}.yml").read_text("utf-8")), Case)


def filled(value: Any, api: FakeAPI) -> Any:
    """With the API's URL in all texts."""
    match value:
        case str():
            return value.replace("API_URL", api.url).replace("API_HOST", api.url.removeprefix("http://"))
        case dict():
            return {filled(key, api): filled(item, api) for key, item in value.items()}
        case list():
            return [filled(item, api) for item in value]
        case _:
            return value


def config_of(case: Case, api: FakeAPI, **more: Any) -> SDConfig:
    """The entry as it would be read from a file."""
    text = yaml.safe_dump(filled({**case.config, **more}, api))
    return loads(text, SD_CONFIGS[case.key], lambda config: config.problems(""))


def discoverer_of(case: Case, config: SDConfig, around: Surroundings, api: FakeAPI) -> Discoverer:
    if not case.url:
        return config.discoverer(around)
    discoverer: Discoverer = config.discoverer(around, url=api.url)  # type: ignore[call-arg]  # those with a fixed URL
    return discoverer


def asked_of(request: web.Request) -> str:
    """A request as a case names it."""
    version = request.path.partition("/v1.")[2]
    path = "/" + version.partition("/")[2] if version else request.path
    query = unquote(request.query_string.replace("+", " "))
    return f"{request.method} {path}{'?' if query else ''}{query}"
