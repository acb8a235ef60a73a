"""Which entries of `kubernetes_sd_configs` are good ones: recorded from promtool 3.5, compared with a live one."""

import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.yamlfile import ConfigError
from tests.components import require
from tests.scraper.discovery.kubernetes_discovering import kubernetes_config

ENTRIES: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    (Path(__file__).parent / "kubernetes" / "entries.yml").read_text("utf-8")
)
LABEL_WORDS = (
    "a",
    "a",
    "app",
    "in",
    "notin",
    "x.y/z",
    "-b",
    "B",
    "1",
    "é",
    "!",
    "=",
    "==",
    "!=",
    ">",
    "(",
    ")",
    ",",
    " ",
)
FIELD_WORDS = ("a", "b.c", "=", "==", "!=", "!", ",", "\\", "\\,", "\\=", "\\\\", " ")


def problems(entry: dict[str, Any]) -> list[str]:
    try:
        kubernetes_config(entry)
    except ConfigError as error:
        return error.problems
    return []


def accepted_by_promtool(entries: list[dict[str, Any]], tmp_path: Path) -> list[bool]:
    """What promtool says of each entry; skips where it does not know this kind of discovery."""
    files = []
    for number, entry in enumerate([{"role": "pod"}, *entries]):
        file = tmp_path / f"{number}.yml"
        file.write_text(yaml.safe_dump({"scrape_configs": [{"job_name": "a", "kubernetes_sd_configs": [entry]}]}))
        files.append(str(file))
    run = subprocess.run(
        [require("promtool"), "check", "config", *files], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    said = run.stdout.decode().split("Checking ")[1:]
    assert len(said) == len(files)
    if "FAILED" in said[0]:
        pytest.skip("this promtool was built without kubernetes_sd_configs")
    return ["FAILED" not in text for text in said[1:]]


@pytest.mark.parametrize("entry", ENTRIES["accepted"], ids=str)
def test_accepted(entry: dict[str, Any]) -> None:
    assert problems(entry) == []


@pytest.mark.parametrize("entry", ENTRIES["rejected"], ids=str)
def test_rejected(entry: dict[str, Any]) -> None:
    assert problems(entry) != []


def test_the_entries_are_those_of_promtool(tmp_path: Path) -> None:
    expected = [(entry, True) for entry in ENTRIES["accepted"]] + [(entry, False) for entry in ENTRIES["rejected"]]
    says = accepted_by_promtool([entry for entry, _ in expected], tmp_path)
    assert [(entry, said) for (entry, _), said in zip(expected, says, strict=True)] == expected


@pytest.mark.parametrize(("key", "words"), [("label", LABEL_WORDS), ("field", FIELD_WORDS)])
def test_selectors_are_those_of_promtool(key: str, words: tuple[str, ...], tmp_path: Path) -> None:
    chance = random.Random(4)
    texts = {"".join(chance.choices(words, k=chance.randint(1, 7))) for _ in range(600)}
    entries = [{"role": "pod", "selectors": [{"role": "pod", key: text}]} for text in sorted(texts)]
    says = accepted_by_promtool(entries, tmp_path)
    assert 50 < sum(says) < len(entries) - 50
    differ = [entry for entry, said in zip(entries, says, strict=True) if bool(problems(entry)) == said]
    assert differ == []


def test_all_problems_are_told() -> None:
    entry = {
        "role": "pod",
        "api_server": "http://a",
        "kubeconfig_file": "k",
        "namespaces": {"own_namespace": True},
        "selectors": [{"role": "node", "label": "a in b"}, {"role": "pod", "field": "a"}, {"role": "pod"}],
    }
    assert [problem.partition(": ")[2] for problem in problems(entry)] == [
        ".kubeconfig_file: only one of api_server and kubeconfig_file can be given",
        ".namespaces.own_namespace: cannot be used with api_server",
        ".selectors[0].label: is not a label selector: cannot be understood from 'a in b' on",
        ".selectors[0].role: the role pod supports only selectors for pod",
        ".selectors[1].field: is not a field selector: 'a' has none of the operators =, == and !=",
        ".selectors[2].role: there is another selector for pod",
    ]
