"""What types alone cannot say about a config, and which keys of it do nothing."""

import re
from collections.abc import Iterable, Iterator

from common.labels import is_legacy_label_name
from common.yamlfile import Problem
from scraper.config import LIMIT_KEYS, GlobalConfig, ScrapeConfig, ScrapeSettings, effective_interval, resolve
from scraper.discovery_config import discovery_problems, unread_discovery
from scraper.http_config import http_problems
from scraper.relabel import relabel_problems

PATTERN = re.compile(r"[^*]*(\*[^/]*)?")
"""What `rule_files` and `scrape_config_files` may hold: a `*` in the file name at most."""

_IGNORED_GLOBAL_KEYS = (
    "rule_query_offset",
    "scrape_failure_log_file",
    "scrape_native_histograms",
    "convert_classic_histograms_to_nhcb",
    "always_scrape_classic_histograms",
)
_IGNORED_JOB_KEYS = (
    *(key for key in _IGNORED_GLOBAL_KEYS if key != "rule_query_offset"),
    "native_histogram_bucket_limit",
    "native_histogram_min_bucket_factor",
)


def check(settings: ScrapeSettings) -> Iterator[Problem]:
    """Everything that is wrong with the settings, each with its key path."""
    yield from _global_problems(settings.global_)
    yield from pattern_problems(settings.scrape_config_files, "scrape_config_files")
    yield from check_jobs(settings.scrape_configs, settings.global_, {}, "this file")


def check_jobs(
    jobs: Iterable[ScrapeConfig], defaults: GlobalConfig, named: dict[str, str], name: str
) -> Iterator[Problem]:
    """Everything that is wrong with the `scrape_configs` of a file.

    `named` says for each job name which file has it; the jobs of this one are added under `name`.
    """
    for index, job in enumerate(jobs):
        path = f"scrape_configs[{index}]"
        if not job.job_name:
            yield Problem(f"{path}.job_name", "is empty: every job needs a name")
        elif job.job_name in named:
            where = "" if named[job.job_name] == name else f" in {named[job.job_name]}"
            yield Problem(f"{path}.job_name", f"there is another job of the name {job.job_name!r}{where}")
        named.setdefault(job.job_name, name)
        yield from _job_problems(job, defaults, path)


def pattern_problems(patterns: Iterable[str], key: str) -> Iterator[Problem]:
    """What is wrong with a list of file patterns."""
    for index, pattern in enumerate(patterns):
        if not PATTERN.fullmatch(pattern):
            yield Problem(f"{key}[{index}]", f"{pattern!r} may have a * in the file name only")


def ignored_keys(settings: ScrapeSettings) -> list[str]:
    """Key paths of what Prometheus knows, and the file gives, but Fleetwatch does not act on."""
    found = [f"global.{key}" for key in _IGNORED_GLOBAL_KEYS if getattr(settings.global_, key)]
    for index, job in enumerate(settings.scrape_configs):
        path = f"scrape_configs[{index}]"
        found += [f"{path}.{key}" for key in _IGNORED_JOB_KEYS if getattr(job, key)]
        found += [f"{path}.{key}" for key in unread_discovery(job)]
    return found


def _global_problems(defaults: GlobalConfig) -> Iterator[Problem]:
    if defaults.scrape_timeout > effective_interval(defaults):
        yield Problem("global.scrape_timeout", "is greater than scrape_interval")
    for name in defaults.external_labels:
        if not name or (defaults.metric_name_validation_scheme == "legacy" and not is_legacy_label_name(name)):
            yield Problem("global.external_labels", f"{name!r} is not a label name")
    yield from _protocol_problems(defaults, "global")
    yield from _limit_problems(defaults, "global")


def _job_problems(job: ScrapeConfig, defaults: GlobalConfig, path: str) -> Iterator[Problem]:
    resolved = resolve(job, defaults)
    legacy_names = resolved.metric_name_validation_scheme == "legacy"
    if resolved.scrape_timeout > resolved.scrape_interval:
        yield Problem(f"{path}.scrape_timeout", "is greater than the scrape_interval")
    if legacy_names and resolved.metric_name_escaping_scheme == "allow-utf-8":
        yield Problem(f"{path}.metric_name_escaping_scheme", "allow-utf-8 needs the utf8 validation scheme")
    yield from _protocol_problems(job, path)
    yield from _limit_problems(job, path)
    yield from http_problems(job, path)
    yield from relabel_problems(job.relabel_configs, f"{path}.relabel_configs", legacy_names)
    yield from relabel_problems(job.metric_relabel_configs, f"{path}.metric_relabel_configs", legacy_names)
    yield from discovery_problems(job, path, relabelled=bool(job.relabel_configs))
    if job.native_histogram_bucket_limit < 0:
        yield Problem(f"{path}.native_histogram_bucket_limit", "is negative: 0 means no limit")


def _protocol_problems(config: GlobalConfig | ScrapeConfig, path: str) -> Iterator[Problem]:
    protocols = config.scrape_protocols
    if protocols is not None and not protocols:
        yield Problem(f"{path}.scrape_protocols", "is empty: leave it out for the default")
    elif protocols and len(set(protocols)) < len(protocols):
        yield Problem(f"{path}.scrape_protocols", "names a protocol twice")


def _limit_problems(config: GlobalConfig | ScrapeConfig, path: str) -> Iterator[Problem]:
    for key in LIMIT_KEYS:
        if getattr(config, key) < 0:
            yield Problem(f"{path}.{key}", "is negative: 0 means no limit")
