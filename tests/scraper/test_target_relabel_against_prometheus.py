"""Generated relabelling of targets in a live Prometheus, be it an old one, and in Fleetwatch: the same labels."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

from common.labels import is_legacy_label_name
from common.yamlfile import loads
from scraper.config import ScrapeSettings, resolve
from scraper.config_checks import check
from scraper.discovery.static import StaticDiscovery
from scraper.relabel import compile_rules
from scraper.target import populate
from tests.scraper.test_against_prometheus import ask, prometheus

CASES = 300
NAMES = ("a", "b", "c", "dd", "__tmp", "env")
VALUES = ("", "foo", "bar", "foobar", "FooBar", "a-b-c", "x1y22", "ünï", "1", ";", "foo;bar")
REGEXES = (
    None,
    "foo",
    "foo.*",
    "(.*)bar",
    "([a-z]+)([0-9]*).*",
    "(?P<head>[^-]*)-(.*)",
    "",
    ".+",
    "[a-c]",
    "d+|__tmp",
    "(.)(.*)",
)
TEMPLATES = ("$1", "${1}", "x$1y", "${1}y", "$2-$1", "$head", "$$", "fixed", "", "$9", "${1}_new")


def generated(seed: int) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Labels of a target and rules for it, both valid."""
    generator = random.Random(seed)
    labels = {name: generator.choice(VALUES) for name in NAMES if generator.random() < 0.8}
    return labels, [rule(generator) for _ in range(generator.randint(1, 4))]


def rule(generator: random.Random) -> dict[str, Any]:
    action = generator.choice(
        ("replace", "replace", "replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap", "labeldrop",
         "labelkeep", "lowercase", "uppercase")
    )  # fmt: skip
    made: dict[str, Any] = {"action": action}
    if action not in ("labelmap", "labeldrop", "labelkeep"):
        made["source_labels"] = generator.sample(NAMES, generator.randint(0, 3))
        if action not in ("keepequal", "dropequal") and generator.random() < 0.3:
            made["separator"] = generator.choice(("-", "", "::"))
    if action == "labeldrop":
        made["regex"] = generator.choice(("foo", "[a-c]", "d+|__tmp", "e.*|a", "__tm.", "job"))
    if action == "labelmap":  # two labels mapped to one name would leave the value to chance
        made["regex"] = generator.choice(("(.*)", "([a-c])", "(d+|__tmp)", "(.+)", "foo"))
    if action in ("replace", "keep", "drop"):
        regex = generator.choice(REGEXES)
        made |= {} if regex is None else {"regex": regex}
    if action == "labelkeep":
        made["regex"] = generator.choice(("__.*|a|b", "__.*|[a-c]|job", "__.*|.+"))
    if action == "replace":
        made["target_label"] = generator.choice((*NAMES, "new", "${1}", "pre_$1"))
        made |= {"replacement": generator.choice(TEMPLATES)} if generator.random() < 0.7 else {}
    elif action in ("keepequal", "dropequal", "hashmod", "lowercase", "uppercase"):
        made["target_label"] = generator.choice((*NAMES, "new"))
    if action == "labelmap":
        made["replacement"] = generator.choice(("${1}_copy", "copy_$1"))
    if action == "hashmod":
        made["modulus"] = generator.choice((1, 7, 1000, 2**40))
    return made


async def test_relabelling_is_prometheus_s(tmp_path: Path) -> None:
    jobs = []
    for seed in range(CASES):
        labels, rules = generated(seed)
        # The target keeps its address whatever the rules do, and is not scraped while the test runs.
        group = {"targets": ["127.0.0.1:1"], "labels": {name: value for name, value in labels.items() if value}}
        jobs.append({"job_name": f"case{seed}", "static_configs": [group], "relabel_configs": rules})
    config = json.dumps({"global": {"scrape_interval": "1h"}, "scrape_configs": jobs})
    settings = loads(config, ScrapeSettings, check)
    async with prometheus(config, tmp_path) as session:
        found: dict[str, Any] = {}
        for _ in range(400):
            found = await ask(session, "targets")
            if len(found["activeTargets"]) + len(found["droppedTargets"]) == CASES:
                break
            await asyncio.sleep(0.05)
        version = (await ask(session, "status/buildinfo"))["version"]
    kept = {target["scrapePool"]: target["labels"] for target in found["activeTargets"]}
    for job in settings.scrape_configs:
        groups: list[Any] = []
        await StaticDiscovery(job.static_configs).run(groups.extend)
        populated = populate(groups, resolve(job, settings.global_), compile_rules(job.relabel_configs))
        assert populated.errors == []
        own = dict(populated.active[0].labels) if populated.active else None
        if version.startswith("2.") and not all(map(is_legacy_label_name, own or ())):
            continue  # Prometheus 2 knows no other names
        assert own == kept.get(job.job_name), (job.static_configs, job.relabel_configs)
    assert len(kept) > CASES / 3, "most rules should keep their target for the comparison to say something"
    assert {config.action for job in settings.scrape_configs for config in job.relabel_configs} == set(ACTIONS)


ACTIONS = (
    "replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase",
    "uppercase",
)  # fmt: skip
