"""The scraper's part of the config file: `global`, `scrape_configs`, with Prometheus's keys and defaults.

A duration or limit of 0 means "not given" and is inherited from `global`, as in Prometheus; `resolve` fills such
values in. Keys that Prometheus knows and Fleetwatch does not act on are read with their types and then left alone.
What types alone cannot say, and which keys do nothing, is found by scraper.config_checks.
"""

import re
from typing import Literal, Self

import msgspec

from common.yamlfile import Duration
from scraper.discovery_config import DiscoveryConfig
from scraper.relabel import RelabelConfig

ScrapeProtocol = Literal[
    "PrometheusProto", "PrometheusText0.0.4", "PrometheusText1.0.0", "OpenMetricsText0.0.1", "OpenMetricsText1.0.0"
]
NameScheme = Literal["", "legacy", "utf8"]
EscapingScheme = Literal["", "allow-utf-8", "underscores", "dots", "values"]
SampleLimitAction = Literal["fail", "keep_known"]

DEFAULT_PROTOCOLS: tuple[ScrapeProtocol, ...] = (
    "OpenMetricsText1.0.0",
    "OpenMetricsText0.0.1",
    "PrometheusText1.0.0",
    "PrometheusText0.0.4",
)
DEFAULT_SCRAPE_TIMEOUT = Duration(10_000)

_SIZE_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([KMGTPE]i?B|B)")
_SIZE_UNITS = {unit: 1024**power for power, unit in enumerate("BKMGTPE")}


class ByteSize(int):
    """Bytes, written like `10MB` or `1.5GiB`: both count by 1024 (alecthomas/units Base2Bytes)."""

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Raises ValueError."""
        parts = _SIZE_PART.findall(text)
        if text != "0" and "".join(number + unit for number, unit in parts) != text:
            raise ValueError(f'not a size: "{text}" (write it like 512KB, 10MB or 1GB)')
        return cls(sum(float(number) * _SIZE_UNITS[unit[0]] for number, unit in parts))


LIMIT_KEYS = (
    "body_size_limit",
    "sample_limit",
    "target_limit",
    "label_limit",
    "label_name_length_limit",
    "label_value_length_limit",
    "keep_dropped_targets",
)
"""Limits that `global` and each job can set."""


class GlobalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`global`: what jobs inherit, and how often rules are evaluated."""

    scrape_interval: Duration = Duration(60_000)
    scrape_timeout: Duration = Duration(0)
    scrape_protocols: tuple[ScrapeProtocol, ...] | None = None
    evaluation_interval: Duration = Duration(60_000)
    rule_query_offset: Duration = Duration(0)
    external_labels: dict[str, str] = {}
    body_size_limit: ByteSize = ByteSize(0)
    sample_limit: int = 0
    target_limit: int = 0
    label_limit: int = 0
    label_name_length_limit: int = 0
    label_value_length_limit: int = 0
    keep_dropped_targets: int = 0
    metric_name_validation_scheme: NameScheme = ""
    metric_name_escaping_scheme: EscapingScheme = ""
    extra_scrape_metrics: bool = False
    # Known to Prometheus, not acted on.
    query_log_file: str = ""
    scrape_failure_log_file: str = ""
    scrape_native_histograms: bool | None = None
    convert_classic_histograms_to_nhcb: bool = False
    always_scrape_classic_histograms: bool = False


class ScrapeConfig(DiscoveryConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One job of `scrape_configs`.

    `sample_limit_action` is Fleetwatch's own: over the sample_limit, `fail` the scrape as Prometheus does, or
    `keep_known` series and refuse new ones.
    """

    job_name: str
    honor_labels: bool = False
    honor_timestamps: bool = True
    track_timestamps_staleness: bool = False
    params: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    scrape_interval: Duration = Duration(0)
    scrape_timeout: Duration = Duration(0)
    scrape_protocols: tuple[ScrapeProtocol, ...] | None = None
    fallback_scrape_protocol: ScrapeProtocol | None = None
    metrics_path: str = "/metrics"
    scheme: str = "http"
    enable_compression: bool = True
    body_size_limit: ByteSize = ByteSize(0)
    sample_limit: int = 0
    sample_limit_action: SampleLimitAction = "fail"
    target_limit: int = 0
    label_limit: int = 0
    label_name_length_limit: int = 0
    label_value_length_limit: int = 0
    keep_dropped_targets: int = 0
    metric_name_validation_scheme: NameScheme = ""
    metric_name_escaping_scheme: EscapingScheme = ""
    extra_scrape_metrics: bool | None = None
    relabel_configs: tuple[RelabelConfig, ...] = ()
    metric_relabel_configs: tuple[RelabelConfig, ...] = ()
    # Known to Prometheus, not acted on.
    scrape_failure_log_file: str = ""
    scrape_native_histograms: bool | None = None
    convert_classic_histograms_to_nhcb: bool | None = None
    always_scrape_classic_histograms: bool | None = None
    native_histogram_bucket_limit: int = 0
    native_histogram_min_bucket_factor: float = 0


class ScrapeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The top-level keys that the scraper owns: a base for the Struct of the whole config file."""

    global_: GlobalConfig = msgspec.field(name="global", default_factory=GlobalConfig)
    scrape_configs: tuple[ScrapeConfig, ...] = ()
    scrape_config_files: tuple[str, ...] = ()


def resolve(job: ScrapeConfig, defaults: GlobalConfig) -> ScrapeConfig:
    """The job with everything filled in that it inherits from `global`."""
    interval = job.scrape_interval or effective_interval(defaults)
    scheme = job.metric_name_validation_scheme or defaults.metric_name_validation_scheme or "utf8"
    inherited_escaping = "" if job.metric_name_validation_scheme else defaults.metric_name_escaping_scheme
    by_scheme: EscapingScheme = "underscores" if scheme == "legacy" else "allow-utf-8"
    return msgspec.structs.replace(
        job,
        scrape_interval=interval,
        scrape_timeout=job.scrape_timeout or min(effective_timeout(defaults), interval),
        scrape_protocols=job.scrape_protocols or defaults.scrape_protocols or DEFAULT_PROTOCOLS,
        metric_name_validation_scheme=scheme,
        metric_name_escaping_scheme=job.metric_name_escaping_scheme or inherited_escaping or by_scheme,
        extra_scrape_metrics=(
            defaults.extra_scrape_metrics if job.extra_scrape_metrics is None else job.extra_scrape_metrics
        ),
        **{key: getattr(job, key) or getattr(defaults, key) for key in LIMIT_KEYS},
    )


def effective_interval(defaults: GlobalConfig) -> Duration:
    """The interval of jobs that give none."""
    return defaults.scrape_interval or GlobalConfig().scrape_interval


def effective_timeout(defaults: GlobalConfig) -> Duration:
    """The timeout of jobs that give none: never longer than the interval."""
    return defaults.scrape_timeout or min(DEFAULT_SCRAPE_TIMEOUT, effective_interval(defaults))
