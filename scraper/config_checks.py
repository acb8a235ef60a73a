"""What types alone cannot say about a config, and which keys of it do nothing."""

from collections.abc import Iterator

from common.labels import is_legacy_label_name
from common.yamlfile import Problem
from scraper.config import LIMIT_KEYS, GlobalConfig, ScrapeConfig, ScrapeSettings, effective_interval, resolve
from scraper.discovery.file import FILE_PATTERN
from scraper.http_config import IGNORED_HTTP_KEYS, http_problems
from scraper.relabel import relabel_problems

_IGNORED_GLOBAL_KEYS = (
    "query_log_file",
    "scrape_failure_log_file",
    "scrape_native_histograms",
    "convert_classic_histograms_to_nhcb",
    "always_scrape_classic_histograms",
    "extra_scrape_metrics",
)
_IGNORED_JOB_KEYS = (
    *(key for key in _IGNORED_GLOBAL_KEYS if key != "query_log_file"),
    "native_histogram_bucket_limit",
    "native_histogram_min_bucket_factor",
    *IGNORED_HTTP_KEYS,
    *(key for key in ScrapeConfig.__struct_fields__ if key.endswith("_sd_configs") and key not in ("file_sd_configs",)),
)


def check(settings: ScrapeSettings) -> Iterator[Problem]:
    """Everything that is wrong with the settings, each with its key path."""
    defaults = settings.global_
    yield from _global_problems(defaults)
    seen: set[str] = set()
    for index, job in enumerate(settings.scrape_configs):
        path = f"scrape_configs[{index}]"
        if not job.job_name:
            yield Problem(f"{path}.job_name", "is empty: every job needs a name")
        elif job.job_name in seen:
            yield Problem(f"{path}.job_name", f"there is another job of the name {job.job_name!r}")
        seen.add(job.job_name)
        yield from _job_problems(job, defaults, path)


def ignored_keys(settings: ScrapeSettings) -> list[str]:
    """Key paths of what Prometheus knows, and the file gives, but Fleetwatch does not act on."""
    found = [f"global.{key}" for key in _IGNORED_GLOBAL_KEYS if getattr(settings.global_, key) is not None]
    if settings.scrape_config_files is not None:
        found.append("scrape_config_files")
    for index, job in enumerate(settings.scrape_configs):
        path = f"scrape_configs[{index}]"
        found += [f"{path}.{key}" for key in _IGNORED_JOB_KEYS if getattr(job, key) is not None]
        found += [f"{path}.tls_config.{key}" for key in ("cert", "key") if getattr(job.tls_config, key)]
        if "PrometheusProto" in (job.scrape_protocols or ()):
            found.append(f"{path}.scrape_protocols: PrometheusProto")
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
    if not job.relabel_configs:  # with relabelling, an address may be a whole URL that is taken apart
        for number, static in enumerate(job.static_configs):
            for address in static.targets:
                if "/" in address:
                    where = f"{path}.static_configs[{number}].targets"
                    yield Problem(where, f"{address!r} is not a host and port: leave out scheme and path")
    for number, file_sd in enumerate(job.file_sd_configs):
        where = f"{path}.file_sd_configs[{number}].files"
        if not file_sd.files:
            yield Problem(where, "names no files")
        for pattern in file_sd.files:
            if not FILE_PATTERN.fullmatch(pattern):
                yield Problem(where, f"{pattern!r} must end in .json, .yml or .yaml, with a * in the file name at most")


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
