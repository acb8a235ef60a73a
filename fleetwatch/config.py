"""The config file: a prometheus.yml plus Fleetwatch's own sections.

    storage: {path, retention, ...}  the store, see fleetwatch.storage_config
    query: {max_memory, cache, ...}  limits of queries, see fleetwatch.query_config
    exporter: {listen_address}       `fleetwatch run` serves this host's metrics there

Paths in a file are relative to it. Without a file, the default config of the package is used, with the address
of this process put in.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec

from common.yamlfile import ConfigError, Problem, loads, read_text
from fleetwatch.config_sections import (
    AlertingConfig,
    OTLPConfig,
    RemoteReadConfig,
    RemoteWriteConfig,
    RuntimeConfig,
    TracingConfig,
    name_problems,
)
from fleetwatch.config_shown import shown
from fleetwatch.errors import StartError
from fleetwatch.listen import shown_address, split_address
from fleetwatch.query_config import QueryConfig
from fleetwatch.storage_config import StorageConfig
from scraper.config import ScrapeConfig, ScrapeSettings
from scraper.config_checks import check as check_scraping
from scraper.config_checks import ignored_keys as ignored_scrape_keys
from scraper.config_checks import pattern_problems
from scraper.config_files import matching_files, read_job_files
from scraper.config_references import reference_problems
from scraper.external_labels import expand

_SHIPPED_LISTEN_ADDRESS = "localhost:9090"
_IGNORED_SECTIONS = ("rule_files", "alerting", "remote_write", "remote_read", "tracing", "otlp", "runtime")


class ExporterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`exporter`: this host's metrics, served by `fleetwatch run`."""

    listen_address: str


class Config(ScrapeSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    storage: StorageConfig = StorageConfig()
    query: QueryConfig = QueryConfig()
    exporter: ExporterConfig | None = None
    inventory: bool = False
    """Remember every target that was ever found, and say which are found no more (scraper.inventory)."""
    # Known to Prometheus, not acted on.
    rule_files: tuple[str, ...] = ()
    alerting: AlertingConfig | None = None
    remote_write: tuple[RemoteWriteConfig, ...] = ()
    remote_read: tuple[RemoteReadConfig, ...] = ()
    tracing: TracingConfig | None = None
    otlp: OTLPConfig | None = None
    runtime: RuntimeConfig | None = None


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A config, the directory that its paths are relative to, and its YAML as it may be shown, secrets masked.

    `config.scrape_configs` has the jobs of `scrape_config_files` too, and the external labels are expanded.
    """

    config: Config
    directory: Path
    shown_yaml: str


def load_config(path: Path) -> LoadedConfig:
    """Read a file and those of its `scrape_config_files`. Raises ConfigError with everything that is wrong in them."""
    return _loaded(read_text(path), str(path), path.parent)


def check_config(path: Path) -> LoadedConfig:
    """Like `load_config`, but the other files that it names have to be there and be sound as well."""
    return _loaded(read_text(path), str(path), path.parent, references=True)


def default_config(listen_address: str) -> LoadedConfig:
    """The config that is used without a file; it scrapes this process at `listen_address`."""
    text = files("configs").joinpath("fleetwatch.yml").read_text("utf-8")
    return _loaded(text.replace(_SHIPPED_LISTEN_ADDRESS, shown_address(listen_address)), "the default config", Path())


def _loaded(text: str, name: str, directory: Path, references: bool = False) -> LoadedConfig:
    more_jobs: list[ScrapeConfig] = []
    more_problems: list[str] = []

    def check(config: Config) -> Iterator[Problem]:
        def check_references(jobs: Iterable[ScrapeConfig], directory: Path) -> Iterator[Problem]:
            return reference_problems(jobs, config.global_, directory) if references else iter(())

        own = list(_problems(config))
        yield from own
        found = read_job_files(config, directory, check_references)
        more_jobs.extend(found.jobs)
        more_problems.extend(found.problems)
        if references and not own:
            yield from check_references(config.scrape_configs, directory)
            yield from _rule_file_problems(config, directory)
            yield from _password_file_problems(config, directory)

    try:
        config = loads(text, Config, check, name=name)
    except ConfigError as error:
        raise ConfigError(error.problems + more_problems) from error
    if more_problems:
        raise ConfigError(more_problems)
    labels = expand(config.global_.external_labels, os.environ)
    config = msgspec.structs.replace(
        config,
        global_=msgspec.structs.replace(config.global_, external_labels=labels),
        scrape_configs=(*config.scrape_configs, *more_jobs),
    )
    return LoadedConfig(config, directory, shown(text))


def ignored_keys(config: Config) -> list[str]:
    """Key paths of what Prometheus knows, and the file gives, but Fleetwatch does not act on."""
    found = [section for section in _IGNORED_SECTIONS if getattr(config, section)]
    found += ["storage.tsdb"] if config.storage.tsdb is not None else []
    return found + ignored_scrape_keys(config)


def _problems(config: Config) -> Iterator[Problem]:
    yield from check_scraping(config)
    yield from _problems_of_ignored_sections(config)
    yield from config.storage.problems()
    yield from config.query.problems()
    if config.exporter is not None:
        try:
            split_address(config.exporter.listen_address)
        except StartError as error:
            yield Problem("exporter.listen_address", str(error))


def _problems_of_ignored_sections(config: Config) -> Iterator[Problem]:
    legacy_names = config.global_.metric_name_validation_scheme == "legacy"
    yield from pattern_problems(config.rule_files, "rule_files")
    if config.alerting is not None:
        yield from config.alerting.problems(legacy_names)
    for key, remotes in (("remote_write", config.remote_write), ("remote_read", config.remote_read)):
        yield from name_problems(remotes, key)
        for index, remote in enumerate(remotes):
            yield from remote.problems(f"{key}[{index}]", legacy_names)
    if config.tracing is not None:
        yield from config.tracing.problems()
    if config.otlp is not None:
        yield from config.otlp.problems(legacy_names)


def _rule_file_problems(config: Config, directory: Path) -> Iterator[Problem]:
    for index, pattern in enumerate(config.rule_files):
        if "*" not in pattern and not matching_files(pattern, directory):
            yield Problem(f"rule_files[{index}]", f"there is no file {directory / pattern}")


def _password_file_problems(config: Config, directory: Path) -> Iterator[Problem]:
    file = config.storage.timescaledb.password_file
    if file and not (directory / file).is_file():
        yield Problem("storage.timescaledb.password_file", f"there is no file {directory / file}")


def summary(loaded: LoadedConfig) -> str:
    """What is in a config, in one line for a person."""
    jobs = loaded.config.scrape_configs
    targets = sum(len(group.targets) for job in jobs for group in job.static_configs)
    patterns = {pattern for job in jobs for file_sd in job.file_sd_configs for pattern in file_sd.files}
    target_files = {path for pattern in patterns for path in matching_files(pattern, loaded.directory)}
    counts = ((len(jobs), "job"), (targets, "static target"), (len(target_files), "target file"))
    return ", ".join([f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts])
