"""The config file: a prometheus.yml plus Fleetwatch's own sections.

    storage: {path, retention}       the store (`tsdb` and `exemplars` of Prometheus are accepted)
    exporter: {listen_address}       `fleetwatch run` serves this host's metrics there

Paths in a file are relative to it. Without a file, the default config of the package is used, with the address
of this process put in.
"""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from common.yamlfile import Duration, Problem, load, loads
from fleetwatch.errors import StartError
from fleetwatch.listen import shown_address, split_address
from scraper.config import ScrapeSettings
from scraper.config_checks import check as check_scraping
from scraper.config_checks import ignored_keys as ignored_scrape_keys

_SHIPPED_LISTEN_ADDRESS = "localhost:9090"
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


def load_config(path: Path) -> Config:
    """Read a file and make its paths absolute or relative to the working directory. Raises ConfigError."""
    config = load(path, Config, _check)
    storage = msgspec.structs.replace(config.storage, path=str(path.parent / config.storage.path))
    return msgspec.structs.replace(config, storage=storage)


def default_config_text(listen_address: str) -> str:
    """The YAML of the config that is used without a file; it scrapes this process at `listen_address`."""
    text = files("configs").joinpath("fleetwatch.yml").read_text("utf-8")
    return text.replace(_SHIPPED_LISTEN_ADDRESS, shown_address(listen_address))


def default_config(listen_address: str) -> Config:
    """The config that is used without a file."""
    return loads(default_config_text(listen_address), Config, _check, name="the default config")


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
