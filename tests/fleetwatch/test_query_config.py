"""`query` of the config file, and Prometheus's flags over it."""

from pathlib import Path

import pytest

from common.yamlfile import ConfigError
from fleetwatch.config import load_config
from fleetwatch.errors import StartError
from fleetwatch.query_config import QueryConfig, QueryFlags


def loaded(tmp_path: Path, text: str) -> QueryConfig:
    path = tmp_path / "prometheus.yml"
    path.write_text(text)
    return load_config(path).config.query


def test_the_section(tmp_path: Path) -> None:
    query = loaded(tmp_path, "query: {timeout: 30s, max_memory: 512MiB, cache: 0, max_concurrency: 2}")
    assert (query.timeout, query.max_memory, query.cache, query.max_concurrency) == (30_000, 512 << 20, 0, 2)
    assert loaded(tmp_path, "") == QueryConfig()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{timeout: 0s}", "query.timeout: must be more than 0"),
        ("{max_concurrency: 0}", "query.max_concurrency: must be more than 0"),
        ("{max_samples: -1}", "query.max_samples: must be more than 0"),
        ("{max_memory: 2GiB, max_total_memory: 1GiB}", "query.max_total_memory: must not be less than `max_memory`"),
        ("{max_ram: 1}", "query.max_ram: unknown key"),
    ],
)
def test_mistakes(tmp_path: Path, section: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        loaded(tmp_path, f"query: {section}")
    assert message in str(raised.value)


def test_flags_override_the_file() -> None:
    flags = QueryFlags(timeout="5s", max_concurrency=7, max_samples=10, lookback_delta="1m")
    changed = flags.applied_to(QueryConfig())
    assert (changed.timeout, changed.max_concurrency, changed.max_samples, changed.lookback_delta) == (
        5000,
        7,
        10,
        60_000,
    )
    assert QueryFlags().applied_to(changed) == changed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (QueryFlags(timeout="soon"), "--query.timeout: "),
        (QueryFlags(max_concurrency=0), "--query.max-concurrency must be more than 0"),
        (QueryFlags(lookback_delta="0s"), "--query.lookback-delta must be more than 0"),
    ],
)
def test_flags_that_make_no_sense(flags: QueryFlags, message: str) -> None:
    with pytest.raises(StartError) as raised:
        flags.applied_to(QueryConfig())
    assert message in str(raised.value)
