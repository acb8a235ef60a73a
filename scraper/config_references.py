"""What a config refers to: whether its files are there and say something sound, and its static targets can be scraped.

Prometheus starts without these files and so does Fleetwatch; `check config` of both wants them.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from common.yamlfile import ConfigError, Problem
from scraper.config import GlobalConfig, ScrapeConfig, resolve
from scraper.config_files import matching_files
from scraper.discovery.file import read_groups
from scraper.discovery.static import StaticConfig
from scraper.http_config import HTTPConfig, http_file_problems
from scraper.relabel import compile_rules
from scraper.target import populate


def reference_problems(jobs: Iterable[ScrapeConfig], defaults: GlobalConfig, directory: Path) -> Iterator[Problem]:
    """What is wrong with what the jobs of a file refer to; they are sound in themselves, `directory` is the file's."""
    for index, job in enumerate(jobs):
        path = f"scrape_configs[{index}]"
        yield from http_file_problems(job, directory, path)
        for number, kubernetes in enumerate(job.kubernetes_sd_configs):
            tls = HTTPConfig(tls_config=kubernetes.tls_config)
            yield from http_file_problems(tls, directory, f"{path}.kubernetes_sd_configs[{number}]")
        resolved = resolve(job, defaults)
        for reason in _target_problems(job.static_configs, resolved):
            yield Problem(f"{path}.static_configs", reason)
        for number, file_sd in enumerate(job.file_sd_configs):
            for pattern in file_sd.files:
                where = f"{path}.file_sd_configs[{number}].files"
                for file in matching_files(pattern, directory):
                    yield from _target_file_problems(file, resolved, where)


def _target_file_problems(path: Path, job: ScrapeConfig, where: str) -> Iterator[Problem]:
    try:
        groups = read_groups(path)
    except ConfigError as error:
        yield from (Problem(where, reason) for reason in error.problems)
    else:
        yield from (Problem(where, f"{path}: {reason}") for reason in _target_problems(groups, job))


def _target_problems(configs: Iterable[StaticConfig], job: ScrapeConfig) -> list[str]:
    groups = [config.group(str(number)) for number, config in enumerate(configs)]
    return populate(groups, job, compile_rules(job.relabel_configs)).errors
