"""The config file: a prometheus.yml plus Fleetwatch's own sections.

    storage: {path, retention}       the store (`tsdb` and `exemplars` of Prometheus are accepted)
    exporter: {listen_address}       `fleetwatch run` serves this host's metrics there

Paths in a file are relative to it. Without a file, the default config of the package is used, with the address
of this process put in.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import yaml

from common.yamlfile import Duration, Problem, loads, read_text
from fleetwatch.errors import StartError
from fleetwatch.listen import shown_address, split_address
from scraper.config import ScrapeSettings
from scraper.config_checks import check as check_scraping
from scraper.config_checks import ignored_keys as ignored_scrape_keys

_SHIPPED_LISTEN_ADDRESS = "localhost:9090"
SECRET = "<secret>"
"""What stands in a shown config in place of a secret, as in Prometheus."""
_SECRET_KEYS = frozenset(("password", "credentials", "bearer_token", "client_secret", "secret_key", "secrets"))
_PRIVATE_KEY = "PRIVATE KEY-----"
_URL_PASSWORD = re.compile(r"(://[^/@\s:]+:)[^/@\s]+@")
_IGNORED_SECTIONS = ("rule_files", "alerting", "remote_write", "remote_read", "tracing", "otlp", "runtime")


class StorageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`storage`: where samples and logs are kept, and for how long."""

    path: str = "data"
    retention: Duration = Duration(15 * 24 * 3600 * 1000)
    # Known to Prometheus, not acted on.
    tsdb: Any = None
    exemplars: Any = None


class ExporterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`exporter`: this host's metrics, served by `fleetwatch run`."""

    listen_address: str


class Config(ScrapeSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    storage: StorageConfig = StorageConfig()
    exporter: ExporterConfig | None = None
    # Known to Prometheus, not acted on.
    rule_files: Any = None
    alerting: Any = None
    remote_write: Any = None
    remote_read: Any = None
    tracing: Any = None
    otlp: Any = None
    runtime: Any = None


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A config, the directory that its paths are relative to, and its YAML as it may be shown, secrets masked."""

    config: Config
    directory: Path
    shown_yaml: str


def load_config(path: Path) -> LoadedConfig:
    """Read a file. Raises ConfigError with everything that is wrong in it."""
    return _loaded(read_text(path), str(path), path.parent)


def default_config(listen_address: str) -> LoadedConfig:
    """The config that is used without a file; it scrapes this process at `listen_address`."""
    text = files("configs").joinpath("fleetwatch.yml").read_text("utf-8")
    return _loaded(text.replace(_SHIPPED_LISTEN_ADDRESS, shown_address(listen_address)), "the default config", Path())


def _loaded(text: str, name: str, directory: Path) -> LoadedConfig:
    config = loads(text, Config, _check, name=name)
    return LoadedConfig(config, directory, yaml.safe_dump(_masked(yaml.safe_load(text)), sort_keys=False))


def _masked(document: Any) -> Any:
    if isinstance(document, dict):
        return {
            key: SECRET if key in _SECRET_KEYS and value is not None else _masked(value)
            for key, value in document.items()
        }
    if isinstance(document, list):
        return [_masked(item) for item in document]
    if isinstance(document, str):
        return SECRET if _PRIVATE_KEY in document else _URL_PASSWORD.sub(rf"\1{SECRET}@", document)
    return document


def ignored_keys(config: Config) -> list[str]:
    """Key paths of what Prometheus knows, and the file gives, but Fleetwatch does not act on."""
    found = [section for section in _IGNORED_SECTIONS if getattr(config, section) is not None]
    found += [f"storage.{key}" for key in ("tsdb", "exemplars") if getattr(config.storage, key) is not None]
    return found + ignored_scrape_keys(config)


def _check(config: Config) -> Iterator[Problem]:
    yield from check_scraping(config)
    if config.storage.retention <= 0:
        yield Problem("storage.retention", "must be longer than 0")
    if config.exporter is not None:
        try:
            split_address(config.exporter.listen_address)
        except StartError as error:
            yield Problem("exporter.listen_address", str(error))
