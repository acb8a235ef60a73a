"""The config file as a whole: Prometheus's sections, our own, the default, and what of it may be shown."""

import re
from pathlib import Path

import msgspec
import pytest

from common.yamlfile import ConfigError, Duration
from fleetwatch.config import (
    Config,
    ExporterConfig,
    check_config,
    default_config,
    ignored_keys,
    load_config,
    summary,
)
from fleetwatch.storage_config import (
    DiskConfig,
    EmbeddedConfig,
    LimitsConfig,
    RetentionClass,
    RollupsConfig,
    StorageConfig,
)
from scraper.config import ByteSize, GlobalConfig, ScrapeConfig
from scraper.discovery.sources import SD_CONFIGS
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
    proxy_connect_header: {X-Token: [hunter2]}
    http_headers:
      X-One: {values: [shown], secrets: [hunter2, hunter2]}
    consul_sd_configs:
      - server: localhost:8500
        token: hunter2
    ec2_sd_configs:
      - {region: x, access_key: shown, secret_key: hunter2}
    http_sd_configs:
      - url: http://user:hunter2@sd/targets
        oauth2: {client_id: i, client_secret: hunter2, token_url: 'http://id/t'}
    tls_config:
      cert: public
      key: hunter2
    static_configs: [{targets: ['a:9100'], labels: {password_policy: strict, token: ring}}]
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
    assert found.config.storage.retention_ms == 15 * 24 * 3600 * 1000
    assert found.config.exporter is None
    assert {"rule_files", "alerting", "remote_write", "storage.tsdb"} <= set(ignored_keys(found.config))


def test_what_is_shown_has_no_secrets(tmp_path: Path) -> None:
    shown = load_config(loaded(tmp_path, PROMETHEUS_YML)).shown_yaml
    assert "hunter2" not in shown
    assert "password: <secret>" in shown
    assert "credentials: <secret>" in shown
    assert "proxy_url: http://user:<secret>@proxy:3128" in shown
    assert "password_policy: strict" in shown
    assert "token: ring" in shown
    assert "access_key: shown" in shown
    assert "- shown" in shown


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


def test_jobs_in_files_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "b.yml").write_text("""\
scrape_configs:
  - job_name: b
    bearer_token_file: token
    tls_config: {ca_file: /etc/ca.pem}
    http_headers: {X-A: {files: [header]}}
    file_sd_configs: [{files: [b/*.yml]}]
""")
    (tmp_path / "jobs" / "a.yml").write_text("scrape_configs: [{job_name: a}]")
    path = loaded(tmp_path, "scrape_config_files: [jobs/*.yml]\nscrape_configs: [{job_name: own}]")
    own, a, b = load_config(path).config.scrape_configs
    assert [own.job_name, a.job_name, b.job_name] == ["own", "a", "b"]
    # Files are relative to the file that names them.
    assert (b.bearer_token_file, b.tls_config.ca_file) == ("jobs/token", "/etc/ca.pem")
    assert b.http_headers["X-A"].files == ("jobs/header",)
    assert b.file_sd_configs[0].files == ("jobs/b/*.yml",)
    (tmp_path / "jobs" / "a.yml").unlink()
    assert [job.job_name for job in load_config(path).config.scrape_configs] == ["own", "b"]


def test_mistakes_of_all_files_are_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("scrape_configs:\n- job_name: own\n- job_name: a\n  sample_limit: -1\n")
    (tmp_path / "b.yml").write_text("scrape_configs:\n- job_name: a\n  typo: 1\n")
    path = loaded(tmp_path, "scrape_config_files: ['?.yml']\nscrape_configs:\n- job_name: own\n  scheme: []\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems] == [
        "prometheus.yml:4: scrape_configs[0].scheme: expected text, got a list",
        "a.yml:2: scrape_configs[0].job_name: there is another job of the name 'own' in the config file",
        "a.yml:4: scrape_configs[1].sample_limit: is negative: 0 means no limit",
        f"b.yml:2: scrape_configs[0].job_name: there is another job of the name 'a' in {tmp_path}/a.yml",
        "b.yml:3: scrape_configs[0].typo: unknown key",
    ]


def test_external_labels_take_variables_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETWATCH_SITE", "one")
    monkeypatch.delenv("FLEETWATCH_NONE", raising=False)
    path = loaded(
        tmp_path, "global: {external_labels: {a: $FLEETWATCH_SITE, b: '${FLEETWATCH_SITE}-$$', c: $FLEETWATCH_NONE}}"
    )
    assert load_config(path).config.global_.external_labels == {"a": "one", "b": "one-$", "c": ""}


def test_sections_without_effect_are_named_where_they_are_given(tmp_path: Path) -> None:
    assert ignored_keys(load_config(loaded(tmp_path, "rule_files: []\nscrape_configs: []\n")).config) == []
    found = load_config(loaded(tmp_path, "runtime: {gogc: 50}\notlp: {}\nremote_read: [{url: 'http://a'}]\n")).config
    assert ignored_keys(found) == ["remote_read", "otlp", "runtime"]


def test_a_summary_counts_what_a_person_wants_to_know(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "b.json").write_text("[]")
    path = loaded(
        tmp_path,
        "scrape_configs:\n- {job_name: a, static_configs: [{targets: [x, y]}, {targets: [z]}]}\n"
        "- {job_name: b, file_sd_configs: [{files: ['*.json', a.json]}]}\n",
    )
    assert summary(check_config(path)) == "2 jobs, 3 static targets, 2 target files"
    assert summary(load_config(loaded(tmp_path, "scrape_configs: [{job_name: a}]"))) == (
        "1 job, 0 static targets, 0 target files"
    )


def test_the_documentation_names_every_key() -> None:
    text = (Path(__file__).parents[2] / "docs" / "config.md").read_text()
    structs: tuple[type[msgspec.Struct], ...] = (
        *(Config, ExporterConfig, GlobalConfig, ScrapeConfig),
        *(StorageConfig, RetentionClass, RollupsConfig, LimitsConfig, EmbeddedConfig, DiskConfig),
    )
    keys = {key for struct in structs for key in struct.__struct_encode_fields__}
    missing = [key for key in keys if not re.search(rf"[`.]{key.removesuffix('_sd_configs')}`", text)]
    assert missing == []
    row = next(line for line in text.splitlines() if line.startswith("| `*_sd_configs`"))
    acted_on = row.split("|")[2]
    assert {f"{kind}_sd_configs" for kind in re.findall(r"`(\w+)`", acted_on)} == set(SD_CONFIGS)


STORAGE = """\
storage:
  retention:
    - {match: '{job="ci"}', keep: 2d}
    - {match: node_load1, keep: 90d}
    - {keep: 15d}
  retention_size: 1GiB
  embedded: {durability: full, cache: 1MiB, disk: {warn: 0, drop: 80.5}}
  exemplars: {max_exemplars: 5}
"""

MISTAKEN_STORAGE = """\
storage:
  retention:
    - {match: '{job="ci"', keep: 2d}
    - {keep: 0s}
    - {match: '{}', keep: 1d}
  retention_size: 5
  embedded:
    durability: half
    disk:
      warn: 101
      drop: 50
      refuse: 40
"""


def test_what_is_stored_how_long(tmp_path: Path) -> None:
    storage = load_config(loaded(tmp_path, STORAGE)).config.storage
    day_ms = 24 * 3600 * 1000
    assert storage.retention_ms == 15 * day_ms
    assert [(", ".join(map(str, matchers)), keep_ms) for matchers, keep_ms in storage.retention_classes] == [
        ('job="ci"', 2 * day_ms),
        ('__name__="node_load1"', 90 * day_ms),
    ]
    assert storage.retention_size == 2**30
    assert storage.embedded == EmbeddedConfig(
        durability="full", cache=ByteSize(2**20), disk=DiskConfig(warn=0, drop=80.5)
    )
    assert storage.exemplars.max_exemplars == 5


def test_mistakes_of_the_storage_section(tmp_path: Path) -> None:
    path = loaded(tmp_path, MISTAKEN_STORAGE)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [problem.removeprefix(f"{path}:") for problem in caught.value.problems] == [
        "3: storage.retention[0].match: 1:10: parse error: unexpected end of input inside braces",
        "4: storage.retention[1].keep: must be longer than 0",
        "4: storage.retention[1]: has no `match`, so that no later class counts: it must be the last",
        "5: storage.retention[2].match: match[] must contain at least one non-empty matcher",
        "5: storage.retention[2]: the last class is for all the rest: it must not have a `match`",
        '6: storage.retention_size: not a size: "5" (write it like 512KB, 10MB or 1GB)',
        "8: storage.embedded.durability: 'half' is none of full, normal",
        "10: storage.embedded.disk.warn: must be from 0 to 100 per cent; 0 switches it off",
        "12: storage.embedded.disk.refuse: must not be less than `drop`",
    ]


@pytest.mark.parametrize(
    ("retention", "problem"),
    [
        ("[]", "storage.retention: is empty: give a duration, or classes of which the last one has no `match`"),
        (
            "[{match: up, keep: 1d}]",
            "storage.retention[0]: the last class is for all the rest: it must not have a `match`",
        ),
        (
            "15d, rollups: {after: 20d}",
            "storage.rollups.after: must be shorter than the longest retention: samples would go before they are "
            "rolled up",
        ),
        ("5", 'storage.retention: not a valid duration string: "5" (write it like 30s, 5m or 1h30m)'),
    ],
)
def test_mistakes_of_a_retention(tmp_path: Path, retention: str, problem: str) -> None:
    path = loaded(tmp_path, f"storage: {{retention: {retention}}}")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.problems == [f"{path}:1: {problem}"]
