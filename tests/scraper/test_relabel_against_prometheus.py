"""Generated relabelling in a live Prometheus and in Fleetwatch: on targets, and on the series of a scrape.

The cases are drawn with fixed seeds from pieces that are easy to get wrong: RE2's syntax, what `$` starts, empty
values and groups, names and values beyond ASCII. Left out is what Prometheus leaves to chance: which of two labels
wins that labelmap gives the same name.
"""

import asyncio
import json
import random
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from common.labels import Labels
from common.yamlfile import loads
from scraper.config import ScrapeSettings, resolve
from scraper.config_checks import check
from scraper.manager import ScrapeManager
from scraper.relabel import compile_rules
from scraper.target import populate
from tests.components import require
from tests.scraper.targets import TEXT, Exposed, eventually, read_series, serving
from tests.scraper.test_against_prometheus import ask, prometheus
from tsdb import open_store

JOBS = 60
TARGETS = 8
SERIES = 12

ACTIONS = ("replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap", "labeldrop", "labelkeep",
           "lowercase", "uppercase")  # fmt: skip
NAMES = ("a", "b", "c", "dd", "env", "tmp_1")
VALUES = ("", "foo", "bar", "foobar", "FooBar", "a-b-c", "x1y22", "ünï", "1", ";", "foo;bar", "$1", "${a}", "a\nb",
          "straße", "ᾳŉ", "İǆſK", "ΑΣ", "☃𝄞", " ", "-", "foo-bar-1", "日本-語", "\\", '"')  # fmt: skip
REGEXES = ("", "foo", "foo.*", "(.*)bar", ".+", "(.)(.*)", "([a-z]+)([0-9]*).*", "(?P<head>[^-]*)-(?P<tail>.*)",
           "(?i)FOO(.*)", r"(\pL+)(\PL*)", r"([[:alpha:]]*)[[:^alpha:]]?.*", r"\Q$1\E|(\w+)\W*.*", "(a|)(.*)",
           "(x)?(.*)", r"(?s:.)*", r"(.*?)-(.*)-?(.*)", r"[^\x00-\x7F]+(.*)", r"(.{2,4})(.*)", r"(?U)(.*)(-?)(.*)",
           r"(\d+)|(\D+)", r"^f(oo)?.*$", r"(?:foo|bar)+;?(.*)", r"\bfoo\b.*", "(?m)(a)$(.*)", r"(\x{65E5}).*",
           "(.*);(.*)", "(((a)|b)*)(.*)")  # fmt: skip
TEMPLATES = ("$1", "${1}", "x$1y", "${1}y", "$2-$1", "$head", "${tail}_$head", "$$", "$$1", "fixed", "", "$9", "$0",
             "${1}_new", "$", "a$", "$-", "${", "${1", "${}", "$1$2$3", "$01", "${ 1}", "é$1é", "$1é")  # fmt: skip
TARGET_LABELS = (*NAMES, "new", "${1}", "pre_$1", "${1}${2}", "$head", "host.name", "ключ", "a b")
LEFT_BY_LABELKEEP = ("__.*|a|b", "__.*|[a-c]|job", "__.*|.+", "__address__|__scheme__|__scrape.*|job|dd", "a|b|job")
METRIC_LEFT_BY_LABELKEEP = ("__name__|job|instance|a|b", ".*e.*|[a-c]|job", ".+", "a|b|job")


class Generator:
    """Draws label sets and rules; all that it draws is valid."""

    def __init__(self, seed: str, left: tuple[str, ...]) -> None:
        self._random = random.Random(seed)
        self._left = left

    def labels(self) -> dict[str, str]:
        return {name: self._random.choice(VALUES) for name in NAMES if self._random.random() < 0.8}

    def rules(self, number: int) -> list[dict[str, Any]]:
        """Each number's turn has one of the regular expressions, templates and actions, and some by chance."""
        turn = {
            "source_labels": self._random.sample(NAMES, self._random.choice((1, 1, 2))),
            "regex": REGEXES[number % len(REGEXES)],
            "target_label": "new",
            "replacement": TEMPLATES[number % len(TEMPLATES)],
        }
        actions = [ACTIONS[number % len(ACTIONS)], *self._random.choices(ACTIONS, k=self._random.randint(0, 2))]
        return [turn, *map(self._rule, actions)]

    def _rule(self, action: str) -> dict[str, Any]:
        choice = self._random.choice
        match action:
            case "labeldrop":
                return {"action": action, "regex": choice(("foo", "[a-c]", "d+|tmp.*", "e.*|a", "(?i)A", "new|.*_.+"))}
            case "labelkeep":
                return {"action": action, "regex": choice(self._left)}
            case "labelmap":
                regex = choice(("(.*)", "([a-c])", "(?P<n>d+|tmp.*)", "(.+)", "foo"))
                return {"action": action, "regex": regex, "replacement": choice(("${1}_copy", "copy_$1"))}
        made: dict[str, Any] = {
            "action": choice((action, action.upper())),
            "source_labels": self._random.sample((*NAMES, "job", "none"), self._random.randint(0, 3)),
        }
        if action not in ("keepequal", "dropequal"):
            made |= {"separator": choice(("-", "", "::", "é"))} if self._random.random() < 0.4 else {}
        if action in ("replace", "keep", "drop") and self._random.random() < 0.8:
            made["regex"] = choice(REGEXES)
        if action == "replace":
            made["target_label"] = choice(TARGET_LABELS)
            made |= {"replacement": choice(TEMPLATES)} if self._random.random() < 0.7 else {}
        elif action not in ("keep", "drop"):
            made["target_label"] = choice([name for name in TARGET_LABELS if "$" not in name])
        if action == "hashmod":
            made["modulus"] = choice((1, 2, 7, 1000, 2**40, 2**64 - 1))
        return made


@pytest.fixture(autouse=True)
def prometheus_3() -> None:
    """In Prometheus 2 names are legacy ones, `.` matches no line feed, and discovered labels get lost."""
    run = subprocess.run([require("prometheus"), "--version"], capture_output=True, text=True, check=True)
    if "version 2." in run.stdout:
        pytest.skip("Prometheus 2 relabels differently")


def config_text(jobs: list[dict[str, Any]], interval: str) -> str:
    config = {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": jobs}
    return json.dumps(config, ensure_ascii=False)


DROPPED = "dropped"


async def test_targets_are_relabelled_as_by_prometheus(tmp_path: Path) -> None:
    jobs: list[dict[str, Any]] = []
    for number in range(JOBS):
        generator = Generator(f"targets {number}", LEFT_BY_LABELKEEP)
        groups = [{"targets": [f"127.0.0.1:{port}"], "labels": generator.labels()} for port in range(1, TARGETS + 1)]
        rules = generator.rules(number)
        jobs.append({"job_name": f"job{number}", "static_configs": groups, "relabel_configs": rules})
    text = config_text(jobs, "1h")
    own = own_targets(loads(text, ScrapeSettings, check))
    async with prometheus(text, tmp_path) as session:
        found: dict[str, Any] = {}
        for _ in range(200):
            found = await ask(session, "targets")
            if len(found["activeTargets"]) + len(found["droppedTargets"]) >= len(own):
                break
            await asyncio.sleep(0.05)
    other: dict[tuple[str, str], Any] = {
        (target["discoveredLabels"]["job"], target["discoveredLabels"]["__address__"]): DROPPED
        for target in found["droppedTargets"]
    }
    for target in found["activeTargets"]:
        other[target["scrapePool"], target["discoveredLabels"]["__address__"]] = target["labels"]
    for job in jobs:
        for port in range(1, TARGETS + 1):
            key = (job["job_name"], f"127.0.0.1:{port}")
            assert own.get(key) == other.get(key), (job["static_configs"][port - 1], job["relabel_configs"])
    kept = sum(labels != DROPPED for labels in own.values())
    assert kept > JOBS * TARGETS / 3, "most rules should keep their target for the comparison to say something"


def own_targets(settings: ScrapeSettings) -> dict[tuple[str, str], Any]:
    """The final labels of each target by job and address, DROPPED, or nothing where its labels make no target."""
    found: dict[tuple[str, str], Any] = {}
    for job in settings.scrape_configs:
        rules = compile_rules(job.relabel_configs)
        for config in job.static_configs:
            populated = populate([config.group("0")], resolve(job, settings.global_), rules)
            key = (job.job_name, config.targets[0])
            if populated.active:
                found[key] = dict(populated.active[0].labels)
            elif populated.dropped:
                found[key] = DROPPED
    return found


async def test_series_are_relabelled_as_by_prometheus(tmp_path: Path) -> None:
    jobs: list[dict[str, Any]] = []
    bodies = {}
    for number in range(JOBS):
        generator = Generator(f"series {number}", METRIC_LEFT_BY_LABELKEEP)
        name = f"job{number}"
        bodies[f"/{name}"] = "".join(
            f"m{number}_{line}{exposed(generator.labels())} {line}\n" for line in range(SERIES)
        )
        rules = generator.rules(number)
        jobs.append({"job_name": name, "metrics_path": f"/{name}", "metric_relabel_configs": rules})

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=bodies[request.path].encode(), headers={"Content-Type": TEXT})

    async with serving(Exposed(handler=answer)) as address:
        for job in jobs:
            job["static_configs"] = [{"targets": [address]}]
        text = config_text(jobs, "1s")
        async with prometheus(text, tmp_path) as session:
            own, own_health = await own_series(loads(text, ScrapeSettings, check))
            other, other_health = await other_series(session)
    for number, job in enumerate(jobs):
        path = job["metrics_path"]
        assert of_job(own, number) == of_job(other, number), (bodies[path], job["metric_relabel_configs"])
    assert own_health == other_health
    assert own_health.count("up") > JOBS / 2, "most rules should leave series for the comparison to say something"


def of_job(series: set[Labels], number: int) -> set[Labels]:
    """The series that come from a job's body, whatever became of their other labels."""
    return {labels for labels in series if labels.metric_name.startswith(f"m{number}_")}


def exposed(labels: dict[str, str]) -> str:
    """As the text format writes them."""
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
    return "{" + ",".join([f'{name}="{value.translate(escapes)}"' for name, value in labels.items()]) + "}"


async def own_series(settings: ScrapeSettings) -> tuple[set[Labels], list[str]]:
    """All series, and the health of the jobs in the order of their names."""
    store = open_store("memory:")
    manager = ScrapeManager(store)
    await manager.apply(settings)
    try:
        await eventually(lambda: sum(labels.metric_name == "up" for labels in read_series(store)) == JOBS)
        return set(read_series(store)), [target.health for target in manager.active_targets()]
    finally:
        await manager.stop()
        store.close()


async def other_series(session: aiohttp.ClientSession) -> tuple[set[Labels], list[str]]:
    targets: list[Any] = []
    for _ in range(200):
        targets = (await ask(session, "targets"))["activeTargets"]
        if len(targets) == JOBS and all(target["health"] != "unknown" for target in targets):
            break
        await asyncio.sleep(0.05)
    found = await ask(session, "series", **{"match[]": '{__name__!=""}'})
    health = {target["scrapePool"]: target["health"] for target in targets}
    return set(map(Labels.of, found)), [health[pool] for pool in sorted(health)]
