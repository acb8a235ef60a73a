"""The table of sources: which discoverers a job has."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from scraper.config import ScrapeConfig
from scraper.discovery.dns import DNSSDConfig
from scraper.discovery.http import HTTPSDConfig
from scraper.discovery.sources import SD_CONFIGS, discoverer, source_configs
from scraper.discovery.static import StaticConfig
from scraper.discovery.watch import DirectoryWatcher


class Job(msgspec.Struct):
    static_configs: tuple[StaticConfig, ...] = ()
    dns_sd_configs: tuple[DNSSDConfig, ...] = ()
    http_sd_configs: tuple[HTTPSDConfig, ...] = ()
    ec2_sd_configs: Any = None  # what no Struct is read from
    nomad_sd_configs: Any = ({"server": "http://a"},)


def test_the_sources_of_a_job() -> None:
    static, dns, one, two = StaticConfig(targets=("a:1",)), DNSSDConfig(), HTTPSDConfig(url="1"), HTTPSDConfig(url="2")
    job = Job((static,), (dns,), (one, two))
    assert list(source_configs(job)) == [(static,), dns, one, two]
    assert list(source_configs(Job())) == [()]


@pytest.mark.parametrize("key", SD_CONFIGS)
def test_every_kind_is_a_key_of_a_job_and_makes_a_discoverer(key: str) -> None:
    assert key in ScrapeConfig.__struct_fields__
    config = SD_CONFIGS[key]()
    assert callable(discoverer(config, Path(), DirectoryWatcher()).run)
    assert config == SD_CONFIGS[key]()  # an unchanged one keeps running over a reload
