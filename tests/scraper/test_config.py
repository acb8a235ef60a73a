"""The config file: defaults, inheritance, and what is refused, with file, line and key path."""

import pytest

from common.yamlfile import ConfigError, Duration, loads
from scraper.config import DEFAULT_PROTOCOLS, ScrapeConfig, ScrapeSettings, resolve
from scraper.config_checks import check, ignored_keys


def read(text: str) -> ScrapeSettings:
    return loads(text, ScrapeSettings, check, name="prometheus.yml")


def jobs(text: str) -> list[ScrapeConfig]:
    settings = read(text)
    return [resolve(job, settings.global_) for job in settings.scrape_configs]


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read(text)
    return refused.value.problems


def test_nothing_given() -> None:
    settings = read("")
    assert settings.global_.scrape_interval == 60_000
    assert settings.global_.evaluation_interval == 60_000
    assert settings.scrape_configs == ()


def test_defaults_of_a_job() -> None:
    (job,) = jobs("scrape_configs: [{job_name: a}]")
    assert (job.scrape_interval, job.scrape_timeout) == (60_000, 10_000)
    assert (job.metrics_path, job.scheme, job.honor_timestamps, job.honor_labels) == ("/metrics", "http", True, False)
    assert job.scrape_protocols == DEFAULT_PROTOCOLS
    assert (job.metric_name_validation_scheme, job.metric_name_escaping_scheme) == ("utf8", "allow-utf-8")


def test_jobs_inherit_from_global() -> None:
    first, second = jobs("""
        global: {scrape_interval: 15s, scrape_timeout: 5s, sample_limit: 100, body_size_limit: 10MB,
                 scrape_protocols: [PrometheusText0.0.4]}
        scrape_configs:
          - job_name: a
          - {job_name: b, scrape_interval: 2s, sample_limit: 7}
    """)
    assert (first.scrape_interval, first.scrape_timeout, first.sample_limit) == (15_000, 5000, 100)
    assert first.body_size_limit == 10 * 1024 * 1024
    assert first.scrape_protocols == ("PrometheusText0.0.4",)
    # A timeout that is not given is never longer than the interval.
    assert (second.scrape_interval, second.scrape_timeout, second.sample_limit) == (2000, 2000, 7)


def test_names_of_the_legacy_scheme_are_asked_for_with_underscores() -> None:
    (job,) = jobs("scrape_configs: [{job_name: a, metric_name_validation_scheme: legacy}]")
    assert job.metric_name_escaping_scheme == "underscores"


def test_a_real_file() -> None:
    (job,) = jobs("""
        global:
          scrape_interval: 15s
          external_labels: {site: one}
        scrape_configs:
          - job_name: blackbox
            metrics_path: /probe
            params: {module: [http_2xx]}
            basic_auth: {username: u, password_file: secret}
            tls_config: {insecure_skip_verify: true, min_version: TLS12}
            static_configs:
              - targets: ["https://example.org", 'https://example.com']
                labels: {team: web}
            file_sd_configs:
              - files: [targets/*.yml, more.json]
                refresh_interval: 1m
            relabel_configs:
              - {source_labels: [__address__], target_label: __param_target}
              - {target_label: __address__, replacement: 127.0.0.1:9115}
            metric_relabel_configs:
              - {source_labels: [__name__], regex: go_.*, action: drop}
    """)
    assert job.params == {"module": ("http_2xx",)}
    assert job.static_configs[0].targets == ("https://example.org", "https://example.com")
    assert job.file_sd_configs[0].refresh_interval == Duration(60_000)
    assert job.basic_auth is not None
    assert job.basic_auth.password_file == "secret"
    assert job.metric_relabel_configs[0].action == "drop"


REFUSED = [
    ("scrape_configs: [{job_name: a, intervall: 1s}]", "1: scrape_configs[0].intervall: unknown key"),
    ("scrape_configs: [{metrics_path: /m}]", "1: scrape_configs[0]: the key `job_name` is missing"),
    (
        "scrape_configs:\n- job_name: a\n- job_name: a\n",
        "3: scrape_configs[1].job_name: there is another job of the name 'a'",
    ),
    ("scrape_configs: [{job_name: ''}]", "1: scrape_configs[0].job_name: is empty: every job needs a name"),
    (
        "scrape_configs:\n- job_name: a\n  scrape_interval: 5s\n  scrape_timeout: 6s",
        "4: scrape_configs[0].scrape_timeout: is greater than the scrape_interval",
    ),
    ("global: {scrape_interval: 5s, scrape_timeout: 6s}", "1: global.scrape_timeout: is greater than scrape_interval"),
    (
        "global: {scrape_interval: 5}",
        '1: global.scrape_interval: not a valid duration string: "5" (write it like 30s, 5m or 1h30m)',
    ),
    (
        "global: {body_size_limit: 5kB}",
        '1: global.body_size_limit: not a size: "5kB" (write it like 512KB, 10MB or 1GB)',
    ),
    (
        "scrape_configs: [{job_name: a, scrape_protocols: []}]",
        "1: scrape_configs[0].scrape_protocols: is empty: leave it out for the default",
    ),
    (
        "scrape_configs: [{job_name: a, sample_limit: -1}]",
        "1: scrape_configs[0].sample_limit: is negative: 0 means no limit",
    ),
    (
        "scrape_configs: [{job_name: a, static_configs: [{targets: ['http://x/m']}]}]",
        "1: scrape_configs[0].static_configs[0].targets: "
        "'http://x/m' is not a host and port: leave out scheme and path",
    ),
    (
        "scrape_configs: [{job_name: a, file_sd_configs: [{files: [a.txt]}]}]",
        "1: scrape_configs[0].file_sd_configs[0].files: "
        "'a.txt' must end in .json, .yml or .yaml, with a * in the file name at most",
    ),
    (
        "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - target_label: b\n    regex: '('\n",
        '5: scrape_configs[0].relabel_configs[0].regex: invalid regular expression "(": '
        "error parsing regexp: missing closing ): `(`",
    ),
    (
        "scrape_configs: [{job_name: a, bearer_token: x, basic_auth: {username: u}}]",
        "1: scrape_configs[0].bearer_token: only one of basic_auth and bearer_token can be used",
    ),
    (
        "scrape_configs: [{job_name: a, tls_config: {cert_file: c}}]",
        "1: scrape_configs[0].tls_config: a client certificate needs both cert_file and key_file",
    ),
    (
        "scrape_configs: [{job_name: a, authorization: {type: Basic, credentials: x}}]",
        "1: scrape_configs[0].authorization.type: for basic authentication use basic_auth instead",
    ),
]


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_what_is_refused(text: str, problem: str) -> None:
    assert problems(text) == [f"prometheus.yml:{problem}"]


def test_all_problems_are_told() -> None:
    assert len(problems("scrape_configs: [{job_name: '', typo: 1, sample_limit: -1, scrape_interval: x}]")) == 4


def test_known_keys_without_effect_are_listed() -> None:
    settings = read("""
        global: {query_log_file: q.log, rule_query_offset: 10s}
        scrape_configs:
          - job_name: a
            nerve_sd_configs: [{servers: [a], paths: [/b]}]
            scrape_protocols: [PrometheusProto, PrometheusText0.0.4]
          - job_name: b
            file_sd_configs: [{files: [x.json]}]
    """)
    assert ignored_keys(settings) == [
        "global.rule_query_offset",
        "scrape_configs[0].nerve_sd_configs",
    ]


def test_keys_without_effect_have_types() -> None:
    assert problems("""
        global: {scrape_native_histograms: perhaps, query_log_file: [a]}
        scrape_configs:
          - job_name: a
            native_histogram_min_bucket_factor: x
            kubernetes_sd_configs: {role: node}
            sample_limit_action: keep
    """) == [
        "prometheus.yml:2: global.scrape_native_histograms: expected true or false, got text",
        "prometheus.yml:2: global.query_log_file: expected text, got a list",
        "prometheus.yml:5: scrape_configs[0].native_histogram_min_bucket_factor: expected a number, got text",
        "prometheus.yml:6: scrape_configs[0].kubernetes_sd_configs: expected a list, got a mapping",
        "prometheus.yml:7: scrape_configs[0].sample_limit_action: 'keep' is none of fail, keep_known",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("global: {metric_name_validation_scheme: ascii}", "'ascii' is none of legacy, utf8"),
        (
            "scrape_configs: [{job_name: a, scrape_protocols: [Text]}]",
            "'Text' is none of OpenMetricsText0.0.1, OpenMetricsText1.0.0, PrometheusProto, PrometheusText0.0.4, "
            "PrometheusText1.0.0",
        ),
        (
            "scrape_configs: [{job_name: a, oauth2: {tls_config: {min_version: '1.2'}}}]",
            "'1.2' is none of TLS10, TLS11, TLS12, TLS13",
        ),
    ],
)
def test_a_word_that_is_not_known_is_refused_with_those_that_are(text: str, problem: str) -> None:
    assert problems(text)[0].endswith(f": {problem}")


def test_numbers_and_words_of_yaml_1_1() -> None:
    (job,) = jobs("""
        scrape_configs:
          - {job_name: on, honor_labels: yes, honor_timestamps: Off, sample_limit: 0x10, target_limit: 1_000,
             label_limit: 010}
    """)
    assert job.job_name == "on"
    assert (job.honor_labels, job.honor_timestamps) == (True, False)
    assert (job.sample_limit, job.target_limit, job.label_limit) == (16, 1000, 8)


def test_extra_scrape_metrics_can_be_turned_off_for_a_job() -> None:
    first, second = jobs("""
        global: {extra_scrape_metrics: true}
        scrape_configs: [{job_name: a}, {job_name: b, extra_scrape_metrics: false, sample_limit_action: keep_known}]
    """)
    assert (first.extra_scrape_metrics, second.extra_scrape_metrics) == (True, False)
    assert (first.sample_limit_action, second.sample_limit_action) == ("fail", "keep_known")
