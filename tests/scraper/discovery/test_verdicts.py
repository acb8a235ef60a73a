"""Which entries of a source are accepted and which refused, and where its error points to; the same to promtool.

The entries are in `verdicts.yml`: changes of a base that is fine. A key whose value is null is left out.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.yamlfile import ConfigError, loads
from scraper.discovery.sources import SD_CONFIGS
from tests.components import require
from tests.scraper.discovery.test_against_prometheus import is_debian_s, known

KINDS = yaml.safe_load((Path(__file__).parent / "verdicts.yml").read_text("utf-8"))

Entry = dict[str, Any]


def entry_of(kind: dict[str, Any], change: Entry) -> Entry:
    return {key: value for key, value in {**kind["base"], **change}.items() if value is not None}


def entries(*verdicts: str) -> list[Any]:
    return list(_entries(verdicts))


def _entries(verdicts: tuple[str, ...]) -> Iterator[Any]:
    for key, kind in KINDS.items():
        for verdict in verdicts:
            for number, change in enumerate(kind.get(verdict, ())):
                where, change = change if isinstance(change, list) else ("", change)
                yield pytest.param(key, entry_of(kind, change), where, id=f"{key}-{verdict}-{number}")


def error_of(key: str, entry: Entry) -> str:
    try:
        loads(yaml.safe_dump(entry), SD_CONFIGS[key], lambda config: config.problems("here"))
    except ConfigError as error:
        return str(error).removeprefix("<text>:")
    return ""


@pytest.mark.parametrize(("key", "entry", "where"), entries("fine"))
def test_accepted(key: str, entry: Entry, where: str) -> None:
    assert error_of(key, entry) == where


@pytest.mark.parametrize(("key", "entry", "where"), entries("refused", "only_here"))
def test_refused(key: str, entry: Entry, where: str) -> None:
    _, _, problem = error_of(key, entry).partition(": ")
    assert problem.removeprefix("here.").startswith(f"{where}: ")


@pytest.mark.parametrize("key", KINDS)
def test_promtool_judges_the_same(key: str, tmp_path: Path) -> None:
    promtool = require("promtool")
    if is_debian_s(promtool) or not known(key, tmp_path):
        pytest.skip(f"the Prometheus here is older than 3, or has no {key}")
    kind = KINDS[key]
    fine = [entry_of(kind, change) for change in kind["fine"]]
    refused = [entry_of(kind, change) for _, change in kind["refused"]]
    only_here = [entry_of(kind, change) for _, change in kind.get("only_here", ())]

    def accepted(*group: Entry) -> bool:
        config = tmp_path / "prometheus.yml"
        config.write_text(yaml.safe_dump({"scrape_configs": [{"job_name": "a", key: group}]}))
        run = subprocess.run([promtool, "check", "config", config], capture_output=True, check=False)
        return run.returncode == 0

    assert accepted(*fine, *only_here)
    assert [entry for entry in refused if accepted(entry)] == []
