"""promtool and Fleetwatch agree on which config files are good ones: a corpus of small files in `configs/`.

A file for which promtool needs to be of some version says so in its first line (`# since 3.0`). Kinds of discovery
that a promtool was built without are left out.
"""

import re
import subprocess
from pathlib import Path

import pytest

from common.yamlfile import ConfigError
from fleetwatch.config import check_config, load_config
from scraper.discovery_config import DiscoveryConfig
from tests.components import require

CONFIGS = Path(__file__).parent / "configs"
ACCEPTED = sorted(CONFIGS.glob("accepted/*.yml"))
REJECTED = sorted(CONFIGS.glob("rejected/*.yml"))

# Wrong only in what they refer to: a server starts with them.
ONLY_REFERENCES = {
    "file_sd_broken_json",
    "file_sd_broken_yaml",
    "file_sd_target_without_address",
    "http_authorization_file_missing",
    "http_bearer_token_file_missing",
    "http_tls_file_missing",
    "rule_files_missing",
    "static_address_lost_by_relabelling",
    "static_bad_interval_label",
    "static_url_left_by_relabelling",
    "static_without_address",
}


def name(path: Path) -> str:
    return path.stem


def since(path: Path) -> tuple[int, int]:
    """The version of promtool that knows what is in the file."""
    found = re.match(r"# since (\d+)\.(\d+)\n", path.read_text())
    return (int(found[1]), int(found[2])) if found else (0, 0)


@pytest.fixture(scope="module")
def promtool_says() -> dict[Path, str]:
    """What promtool says about each file of which it knows enough."""
    promtool = require("promtool")
    version = subprocess.run([promtool, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)\.(\d+)", version)
    assert found is not None, version
    files = [path for path in ACCEPTED + REJECTED if since(path) <= (int(found[1]), int(found[2]))]
    run = subprocess.run(
        [promtool, "check", "config", *files], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    said = dict(
        re.findall(r"^Checking (\S+/(?:accepted|rejected)/\w+\.yml)\n(.*?)(?=^Checking |\Z)", run.stdout, re.M | re.S)
    )
    assert said.keys() == set(map(str, files)), run.stdout[-1000:]
    return {Path(path): text for path, text in said.items() if not lacks_a_kind_of_discovery(text)}


def lacks_a_kind_of_discovery(said: str) -> bool:
    found = re.search(r"field (\w+_sd_configs) not found", said)
    return found is not None and found[1] in DiscoveryConfig.__struct_fields__


def test_the_corpus_says_something(promtool_says: dict[Path, str]) -> None:
    assert len(promtool_says) >= 200
    assert all((CONFIGS / "rejected" / f"{stem}.yml") in REJECTED for stem in ONLY_REFERENCES)


@pytest.mark.parametrize("path", ACCEPTED, ids=name)
def test_accepted_by_promtool_and_by_us(path: Path, promtool_says: dict[Path, str]) -> None:
    assert "FAILED" not in promtool_says.get(path, "")
    check_config(path)


@pytest.mark.parametrize("path", REJECTED, ids=name)
def test_rejected_by_promtool_and_by_us(path: Path, promtool_says: dict[Path, str]) -> None:
    assert "FAILED" in promtool_says.get(path, "FAILED")
    with pytest.raises(ConfigError) as refused:
        check_config(path)
    place = re.compile(rf"{CONFIGS}/rejected/[\w/.]+:\d+: \S")
    assert all(place.match(problem) for problem in refused.value.problems), refused.value.problems


@pytest.mark.parametrize("path", REJECTED, ids=name)
def test_a_server_starts_where_only_what_a_file_refers_to_is_wrong(path: Path) -> None:
    if path.stem in ONLY_REFERENCES:
        load_config(path)
    else:
        with pytest.raises(ConfigError):
            load_config(path)
