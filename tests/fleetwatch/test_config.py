"""The config file as a whole: Prometheus's sections, our own, the default, and what of it may be shown."""

from pathlib import Path

import pytest

from common.yamlfile import ConfigError, Duration
from fleetwatch.config import default_config, ignored_keys, load_config
from scraper.discovery.static import StaticConfig

PROMETHEUS_YML = """\
global:
  scrape_interval: 15s
  evaluation_interval: 30s
  external_labels: {site: one}
rule_files: [rules/*.yml]
alerting:
  alertmanagers:
    - static_configs: [{targets: ['am:9093']}]
scrape_configs:
  - job_name: node
    proxy_url: http://user:hunter2@proxy:3128
    basic_auth: {username: u, password: hunter2}
    tls_config:
      cert: public
      key: |
        -----BEGIN PRIVATE KEY-----
        hunter2
        -----END PRIVATE KEY-----
    static_configs: [{targets: ['a:9100'], labels: {password_policy: strict}}]
remote_write:
  - url: http://push/api/v1/write
    authorization: {credentials: hunter2}
storage:
  tsdb: {out_of_order_time_window: 30m}
  path: /var/lib/fleetwatch
"""


def loaded(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prometheus.yml"
    path.write_text(text)
    return path


def test_a_prometheus_yml_is_taken_as_it_is(tmp_path: Path) -> None:
    found = load_config(loaded(tmp_path, PROMETHEUS_YML))
    assert found.directory == tmp_path
    assert found.config.global_.evaluation_interval == Duration(30_000)
    assert found.config.storage.path == "/var/lib/fleetwatch"
    assert found.config.storage.retention == Duration(15 * 24 * 3600 * 1000)
    assert found.config.exporter is None
    assert {"rule_files", "alerting", "remote_write", "storage.tsdb"} <= set(ignored_keys(found.config))


def test_what_is_shown_has_no_secrets(tmp_path: Path) -> None:
    shown = load_config(loaded(tmp_path, PROMETHEUS_YML)).shown_yaml
    assert "hunter2" not in shown
    assert "password: <secret>" in shown
    assert "credentials: <secret>" in shown
    assert "proxy_url: http://user:<secret>@proxy:3128" in shown
    assert "password_policy: strict" in shown


@pytest.mark.parametrize(
    ("address", "scraped"),
    [
        ("localhost:9090", "localhost:9090"),
        (":9191", "localhost:9191"),
        ("0.0.0.0:80", "localhost:80"),
        ("[::1]:1", "[::1]:1"),
    ],
)
def test_the_default_config_scrapes_this_process_where_it_listens(address: str, scraped: str) -> None:
    jobs = {job.job_name: job for job in default_config(address).config.scrape_configs}
    assert jobs["fleetwatch"].static_configs == (StaticConfig(targets=(scraped,)),)
    assert jobs["node"].static_configs == (StaticConfig(targets=("localhost:9100",)),)


def test_mistakes_of_all_sections_are_found_at_once(tmp_path: Path) -> None:
    path = loaded(tmp_path, "storage: {retention: 0s}\nexporter: {}\nscrape_configs:\n- job_name: ''\nrules: x\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [problem.removeprefix(f"{path}:") for problem in caught.value.problems] == [
        "1: storage.retention: must be longer than 0",
        "2: exporter: the key `listen_address` is missing",
        "4: scrape_configs[0].job_name: is empty: every job needs a name",
        "5: rules: unknown key",
    ]
