"""The sections of a prometheus.yml that Fleetwatch reads and does not act on: types, and what Prometheus refuses.

A file that Prometheus would not load is not to be taken for a sound one, whichever section its mistake is in.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol

import msgspec

from common.yamlfile import Duration, Problem
from scraper.discovery_config import DiscoveryConfig, discovery_problems
from scraper.http_config import RESERVED_HEADERS, HTTPConfig, TLSConfig, http_problems
from scraper.http_url import url_problem
from scraper.relabel import RelabelConfig, relabel_problems

_REMOTE_WRITE_RESERVED_HEADERS = RESERVED_HEADERS - {"x-prometheus-scrape-timeout-seconds"}


class SigV4Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`sigv4`: requests signed for AWS."""

    region: str = ""
    access_key: str = ""
    secret_key: str = ""
    profile: str = ""
    role_arn: str = ""
    service: str = ""
    external_id: str = ""
    use_fips_sts_endpoint: bool = False


class AlertmanagerConfig(DiscoveryConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of `alerting.alertmanagers`."""

    sigv4: SigV4Config | None = None
    scheme: str = "http"
    path_prefix: str = ""
    timeout: Duration = Duration(10_000)
    api_version: Literal["v2"] = "v2"
    relabel_configs: tuple[RelabelConfig, ...] = ()
    alert_relabel_configs: tuple[RelabelConfig, ...] = ()

    def problems(self, path: str, legacy_names: bool) -> Iterator[Problem]:
        """What is wrong beyond the types of the fields."""
        yield from http_problems(self, path)
        yield from _authentication_problems(self, path, ("sigv4",))
        yield from _sigv4_problems(self.sigv4, path)
        yield from discovery_problems(self, path, relabelled=bool(self.relabel_configs))
        for key in ("relabel_configs", "alert_relabel_configs"):
            yield from relabel_problems(getattr(self, key), f"{path}.{key}", legacy_names)


class AlertingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`alerting`."""

    alert_relabel_configs: tuple[RelabelConfig, ...] = ()
    alertmanagers: tuple[AlertmanagerConfig, ...] = ()

    def problems(self, legacy_names: bool) -> Iterator[Problem]:
        """What is wrong beyond the types of the fields."""
        yield from relabel_problems(self.alert_relabel_configs, "alerting.alert_relabel_configs", legacy_names)
        for index, alertmanager in enumerate(self.alertmanagers):
            yield from alertmanager.problems(f"alerting.alertmanagers[{index}]", legacy_names)


class QueueConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`queue_config` of a `remote_write`."""

    capacity: int = 10_000
    max_shards: int = 50
    min_shards: int = 1
    max_samples_per_send: int = 2000
    batch_send_deadline: Duration = Duration(5000)
    min_backoff: Duration = Duration(30)
    max_backoff: Duration = Duration(5000)
    retry_on_http_429: bool = False
    sample_age_limit: Duration = Duration(0)


class MetadataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`metadata_config` of a `remote_write`."""

    send: bool = True
    send_interval: Duration = Duration(60_000)
    max_samples_per_send: int = 2000


class RemoteConfig(HTTPConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `remote_write` and `remote_read` have in common."""

    url: str
    name: str = ""
    headers: dict[str, str] = msgspec.field(default_factory=dict)

    def problems(self, path: str, legacy_names: bool) -> Iterator[Problem]:
        """What is wrong beyond the types of the fields."""
        yield from http_problems(self, path)
        yield from _header_problems(self.headers, path)
        if reason := url_problem(self.url):
            yield Problem(f"{path}.url", f"is not a URL: {reason}")


class RemoteWriteConfig(RemoteConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of `remote_write`."""

    remote_timeout: Duration = Duration(30_000)
    write_relabel_configs: tuple[RelabelConfig, ...] = ()
    send_exemplars: bool = False
    send_native_histograms: bool = False
    round_robin_dns: bool = False
    protobuf_message: Literal["prometheus.WriteRequest", "io.prometheus.write.v2.Request"] = "prometheus.WriteRequest"
    queue_config: QueueConfig = QueueConfig()
    metadata_config: MetadataConfig = MetadataConfig()
    sigv4: SigV4Config | None = None
    azuread: dict[str, Any] | None = None
    google_iam: dict[str, Any] | None = None

    def problems(self, path: str, legacy_names: bool) -> Iterator[Problem]:
        """What is wrong beyond the types of the fields."""
        yield from super().problems(path, legacy_names)
        yield from _authentication_problems(self, path, ("sigv4", "azuread", "google_iam"))
        yield from _sigv4_problems(self.sigv4, path)
        yield from relabel_problems(self.write_relabel_configs, f"{path}.write_relabel_configs", legacy_names)


class RemoteReadConfig(RemoteConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of `remote_read`."""

    remote_timeout: Duration = Duration(60_000)
    chunked_read_limit: int = 50_000_000
    read_recent: bool = False
    required_matchers: dict[str, str] = msgspec.field(default_factory=dict)
    filter_external_labels: bool = True


class OTLPConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`otlp`."""

    promote_all_resource_attributes: bool = False
    promote_resource_attributes: tuple[str, ...] = ()
    ignore_resource_attributes: tuple[str, ...] = ()
    translation_strategy: Literal[
        "",
        "UnderscoreEscapingWithSuffixes",
        "UnderscoreEscapingWithoutSuffixes",
        "NoUTF8EscapingWithSuffixes",
        "NoTranslation",
    ] = "UnderscoreEscapingWithSuffixes"
    keep_identifying_resource_attributes: bool = False
    convert_histograms_to_nhcb: bool = False
    promote_scope_metadata: bool = False
    label_name_underscore_sanitization: bool = True
    label_name_preserve_multiple_underscores: bool = True

    def problems(self, legacy_names: bool) -> Iterator[Problem]:
        """What is wrong beyond the types of the fields."""
        if self.promote_all_resource_attributes and self.promote_resource_attributes:
            yield Problem("otlp.promote_resource_attributes", "cannot be with promote_all_resource_attributes")
        if self.ignore_resource_attributes and not self.promote_all_resource_attributes:
            yield Problem("otlp.ignore_resource_attributes", "needs promote_all_resource_attributes: true")
        for key in ("promote_resource_attributes", "ignore_resource_attributes"):
            names = [name.strip() for name in getattr(self, key)]
            if "" in names:
                yield Problem(f"otlp.{key}", "an attribute has no name")
            if len(set(names)) < len(names):
                yield Problem(f"otlp.{key}", "names an attribute twice")
        if legacy_names and self.translation_strategy in ("NoUTF8EscapingWithSuffixes", "NoTranslation"):
            yield Problem("otlp.translation_strategy", "needs the utf8 validation scheme")


class TracingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`tracing`."""

    endpoint: str
    client_type: Literal["http", "grpc"] = "grpc"
    sampling_fraction: float = 0
    insecure: bool = False
    tls_config: TLSConfig = TLSConfig()
    headers: dict[str, str] = {}
    compression: Literal["", "gzip"] = ""
    timeout: Duration = Duration(0)

    def problems(self) -> Iterator[Problem]:
        """What is wrong beyond the types of the fields."""
        if not self.endpoint:
            yield Problem("tracing.endpoint", "is empty: say where traces go")
        yield from _header_problems(self.headers, "tracing")
        yield from http_problems(HTTPConfig(tls_config=self.tls_config), "tracing")


class RuntimeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`runtime`: of Go's runtime, which Fleetwatch does not have."""

    gogc: int = 75


class TSDBRetentionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`storage.tsdb.retention`."""

    time: Duration = Duration(0)
    size: str = ""


class TSDBConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`storage.tsdb`. Late samples are always accepted."""

    out_of_order_time_window: Duration = Duration(0)
    retention: TSDBRetentionConfig = TSDBRetentionConfig()


class ExemplarsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`storage.exemplars`."""

    max_exemplars: int = 100_000


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def name_problems(configs: Iterable[_Named], key: str) -> Iterator[Problem]:
    """Names that are given twice in a list; entries without a name do not count."""
    seen: set[str] = set()
    for index, config in enumerate(configs):
        if config.name and config.name in seen:
            yield Problem(f"{key}[{index}].name", f"there is another entry of the name {config.name!r}")
        seen.add(config.name)


def _header_problems(headers: dict[str, str], path: str) -> Iterator[Problem]:
    for name in headers:
        if name.lower() in _REMOTE_WRITE_RESERVED_HEADERS:
            yield Problem(f"{path}.headers.{name}", "this header is not free to be set")


def _authentication_problems(config: HTTPConfig, path: str, more: tuple[str, ...]) -> Iterator[Problem]:
    """`more` are methods beside those of http_config."""
    given = [key for key in ("basic_auth", "authorization", "oauth2", *more) if getattr(config, key) is not None]
    if len(given) > 1 and given[-1] in more:
        yield Problem(f"{path}.{given[-1]}", f"only one of {' and '.join(given)} can be used")


def _sigv4_problems(config: SigV4Config | None, path: str) -> Iterator[Problem]:
    if config is not None and bool(config.access_key) != bool(config.secret_key):
        yield Problem(f"{path}.sigv4", "access_key and secret_key belong together")
