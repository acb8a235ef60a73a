"""The same config and the same targets in a live Prometheus: equal targets, series and values.

The bodies stand still, so that values can be compared; only what is measured (durations) and when is left out.
"""

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from common.labels import Labels, is_legacy_label_name
from common.yamlfile import loads
from scraper.config import ScrapeSettings, resolve
from scraper.config_checks import check
from scraper.discovery.static import StaticDiscovery
from scraper.manager import ScrapeManager
from scraper.relabel import compile_rules
from scraper.target import populate
from tests.components import require
from tests.fleetwatch_process import free_port
from tests.scraper.targets import TEXT, Exposed, eventually, read_series, serving
from tsdb import Store, open_store

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

BODIES = {
    "plain": """\
# HELP requests_total Requests.
# TYPE requests_total counter
requests_total{code="200",path="/a b"} 12
requests_total{code="500",path="C:\\\\dir\\n"} 0.5
# TYPE latency_seconds histogram
latency_seconds_bucket{le="0.5"} 3
latency_seconds_bucket{le="+Inf"} 7
latency_seconds_sum 2.25
latency_seconds_count 7
infinite +Inf
negative -1e-09
""",
    "conflicts": 'a{job="own",instance="there"} 1\nb{exported_job="x",job="y"} 2\nc{env="mine"} 3\nd{instance=""} 4\n',
    "twice": "a 1\na 2\nb 3\n",
    "many": "".join(f'm{{n="{number}"}} {number}\n' for number in range(20)),
    "broken": "a 1\nb two\n",
    "empty": "",
    "runtime": "go_threads 9\ngo_goroutines 8\nkept 1\n",
    "values": 'm{v="ünï ☃ 𝄞"} 1\nm{v="q\\"b"} 2\nm{v=""} 3\nnan NaN\nminus -Inf\nexp 1e300\nsmall 4.9e-324\n'
    'big 9007199254740993\nzero -0\ntab{ a = "1" , b="2",} 5\n',
    "stamped": "a 1 START+0s\nb 2\nc 3 START+1s\na 9 START+0s\n",
    "ahead": "a 1\nb 2 START+3600s\n",
    "openmetrics": """\
# TYPE req counter
# HELP req Requests.
req_total{code="200"} 5 # {trace_id="abc"} 1 1.5
req_created{code="200"} 1.5e9
# TYPE lat_seconds histogram
# UNIT lat_seconds seconds
lat_seconds_bucket{le="1.0"} 2 # {trace_id="x"} 0.5
lat_seconds_bucket{le="+Inf"} 3
lat_seconds_sum 4
lat_seconds_count 3
# TYPE build info
build_info{v="1"} 1
# EOF
""",
    "paths": 'p{path="/X",code="200",eq="200"} 1\np{path="/y",code="404",eq="1"} 2\nq{path="/Q"} 3\nr 4\n',
}

# What a target answers first, then, and from then on; None is an error.
CHANGING: dict[str, list[str | None]] = {
    "vanishing": ["a 1\nb 2\nc 3\n", "a 1\nb 2\nc 3\n", "a 1\nc 3\n"],
    "returning": ["a 1\nb 2\n", "a 1\n", "a 1\nb 2\n"],
    "failing": ["a 1\n", "a 1\n", None],
    "emptied": ["a 1\n", "a 1\n", ""],
    "untimed": ["a 1\nb 2 START+0s\n", "a 1\nb 2 START+0s\n", "a 1\n"],
}
SETTLED_AFTER = 3
"""From this scrape on the bodies stand still."""

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 900ms}}
scrape_configs:
  - job_name: plain
    metrics_path: /plain
    static_configs: [{{targets: ["{address}"], labels: {{env: prod}}}}]
  - job_name: conflicts
    metrics_path: /conflicts
    static_configs: [{{targets: ["{address}"], labels: {{env: prod}}}}]
  - job_name: honoured
    honor_labels: true
    metrics_path: /conflicts
    static_configs: [{{targets: ["{address}"], labels: {{env: prod}}}}]
  - {{job_name: twice, metrics_path: /twice, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: limited, sample_limit: 10, metrics_path: /many, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: labels, label_limit: 2, metrics_path: /many, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: broken, metrics_path: /broken, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: empty, metrics_path: /empty, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: missing, metrics_path: /nowhere, static_configs: [{{targets: ["{address}"]}}]}}
  - job_name: relabelled
    metrics_path: /runtime
    static_configs: [{{targets: ["{address}", "skipped:1"], labels: {{__meta_rack: r1, dc: eu}}}}]
    relabel_configs:
      - {{source_labels: [__address__], regex: "skipped:.*", action: drop}}
      - {{regex: __meta_(.+), action: labelmap}}
      - {{source_labels: [dc, rack], separator: /, target_label: place}}
      - {{source_labels: [rack], modulus: 7, target_label: shard, action: hashmod}}
    metric_relabel_configs:
      - {{source_labels: [__name__], regex: go_threads, action: drop}}
      - {{source_labels: [__name__], regex: (go_.*), target_label: __name__, replacement: runtime_$1}}
      - {{regex: dc, action: labeldrop}}
  - {{job_name: values, metrics_path: /values, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: stamped, metrics_path: /stamped, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: ahead, metrics_path: /ahead, static_configs: [{{targets: ["{address}"]}}]}}
  - job_name: restamped
    honor_timestamps: false
    metrics_path: /stamped
    static_configs: [{{targets: ["{address}"]}}]
  - {{job_name: openmetrics, metrics_path: /openmetrics, static_configs: [{{targets: ["{address}"]}}]}}
  - job_name: echo
    metrics_path: /echo
    params: {{a: ["1", "x y"], b: ["ü&="], c: [""]}}
    static_configs: [{{targets: ["{address}"]}}]
  - {{job_name: wrong_scheme, scheme: https, metrics_path: /plain, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: refused, static_configs: [{{targets: ["127.0.0.1:1"]}}]}}
  - {{job_name: vanishing, metrics_path: /vanishing, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: returning, metrics_path: /returning, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: failing, metrics_path: /failing, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: emptied, metrics_path: /emptied, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: untimed, metrics_path: /untimed, static_configs: [{{targets: ["{address}"]}}]}}
"""

# Metric relabelling: one job for each entry.
METRIC_RULES = [
    "{source_labels: [path, code], target_label: pc, regex: '/(.*);(.*)', replacement: $2-$1}",
    "{source_labels: [code], regex: '2..', action: keep}",
    "{source_labels: [__name__], regex: p, action: drop}",
    "{source_labels: [code], target_label: eq, action: keepequal}",
    "{source_labels: [code], target_label: eq, action: dropequal}",
    "{source_labels: [path], target_label: shard, modulus: 97, action: hashmod}",
    "{regex: (p|c)(.*), replacement: m_$1_$2, action: labelmap}",
    "{regex: path|code|eq, action: labeldrop}",  # makes duplicates
    "{regex: __name__|job|code, action: labelkeep}",
    "{source_labels: [path], target_label: path, action: lowercase}",
    "{source_labels: [path], target_label: path, action: uppercase}",
    "{target_label: __name__, replacement: same}",
    "{source_labels: [__name__], regex: none, action: keep}",
]


def config_text(address: str) -> str:
    """The whole config, for targets at this address."""
    jobs = [
        f"  - {{job_name: rule{number}, metrics_path: /paths, metric_relabel_configs: [{rule}], "
        f'static_configs: [{{targets: ["{address}"]}}]}}\n'
        for number, rule in enumerate(METRIC_RULES)
    ]
    return CONFIG.format(address=address) + "".join(jobs)


BROKEN_OFF = ("broken", "labels")
"""Jobs whose bodies fail in the middle: Prometheus counts the samples before the failure, Fleetwatch none."""


class Fleet:
    """All targets at one address, told apart by their paths; `asked` counts who asked for what how often.

    Times in bodies are after the start of the test: those near the epoch's are too old for a Prometheus.
    """

    def __init__(self) -> None:
        self.started_ms = int(time.time() * 1000) - 2000
        self.asked: Counter[tuple[str, str]] = Counter()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name = request.path.removeprefix("/")
        asker = request.headers["User-Agent"].partition("/")[0]
        self.asked[asker, name] += 1
        if name == "echo":
            body: str | None = f'p{{query="{request.query_string}"}} 1\n'
        elif name in CHANGING:
            body = CHANGING[name][min(self.asked[asker, name], SETTLED_AFTER) - 1]
        else:
            body = BODIES.get(name)
        if body is None:
            raise web.HTTPNotFound
        body = re.sub(r"START\+(\d+)s", lambda after: str(self.started_ms + 1000 * int(after[1])), body)
        return web.Response(
            body=body.encode(), headers={"Content-Type": OPENMETRICS if name == "openmetrics" else TEXT}
        )

    def settled(self) -> bool:
        """Whether both have asked so often that the last scrape of settled bodies was stored."""
        return all(
            self.asked[asker, name] > SETTLED_AFTER for asker in ("Prometheus", "Fleetwatch") for name in CHANGING
        )


@asynccontextmanager
async def prometheus(config: str, directory: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A Prometheus with this config, as a session for its API."""
    (directory / "prometheus.yml").write_text(config)
    address = f"127.0.0.1:{free_port()}"
    options = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    with (directory / "log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            require("prometheus"), *options, cwd=directory, stdout=log, stderr=log
        )
    try:
        async with aiohttp.ClientSession(f"http://{address}") as session:
            for _ in range(400):
                try:
                    if (await session.get("/-/ready")).status == 200:
                        break
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.05)
            yield session
    finally:
        process.terminate()
        await process.wait()


async def ask(session: aiohttp.ClientSession, path: str, **params: str) -> Any:
    async with session.get(f"/api/v1/{path}", params=params) as response:
        return json.loads(await response.text())["data"]


Series = dict[Labels, str]
"""Series by labels, with a value as text: so that NaN equals itself and -0 is not 0."""


def ours(store: Store) -> Series:
    """The newest sample of each series that has not ended."""
    newest = {labels: samples[-1][1] for labels, samples in read_series(store).items()}
    return {labels: repr(value) for labels, value in newest.items() if isinstance(value, float) and compared(labels)}


async def theirs(session: aiohttp.ClientSession) -> Series:
    found = await ask(session, "query", query='{__name__!=""}')
    labelled = [(Labels.of(entry["metric"]), entry["value"][1]) for entry in found["result"]]
    return {labels: repr(float(value)) for labels, value in labelled if compared(labels)}


async def compare_times(store: Store, session: aiohttp.ClientSession) -> None:
    """Samples with times of their own have them, once each."""
    found = await ask(session, "query", query='{job="stamped",__name__=~"a|c"}[1m]')
    other = {
        Labels.of(entry["metric"]): [(round(time_s * 1000), float(value)) for time_s, value in entry["values"]]
        for entry in found["result"]
    }
    assert len(other) == 2
    own = read_series(store)
    assert {labels: own[labels] for labels in other} == other


def compared(labels: Labels) -> bool:
    name = labels.metric_name
    measured = name in ("scrape_duration_seconds", "scrape_series_added")  # the latter depends on when one looks
    return not measured and not (name.startswith("scrape_samples") and labels.get("job") in BROKEN_OFF)


async def test_series_and_targets_are_prometheus_s(tmp_path: Path) -> None:
    fleet = Fleet()
    async with serving(Exposed(handler=fleet.answer)) as address:
        text = config_text(address)
        async with prometheus(text, tmp_path) as session:
            store = open_store("memory:")
            manager = ScrapeManager(store)
            settings = loads(text, ScrapeSettings, check)
            await manager.apply(settings)
            try:
                jobs = len(settings.scrape_configs)
                await eventually(lambda: len(manager.active_targets()) == jobs)
                await eventually(lambda: all(target.last_scrape_ms for target in manager.active_targets()))
                for _ in range(200):
                    if len((await ask(session, "query", query="up"))["result"]) == jobs:
                        break
                    await asyncio.sleep(0.05)
                await eventually(fleet.settled)
                assert ours(store) == await theirs(session)
                await compare_times(store, session)
                await compare_targets(manager, session)
                await compare_metadata(manager, session)
            finally:
                await manager.stop()
                store.close()


async def compare_targets(manager: ScrapeManager, session: aiohttp.ClientSession) -> None:
    found = await ask(session, "targets")
    by_pool = {target["scrapePool"]: target for target in found["activeTargets"]}
    for target in manager.active_targets():
        other = by_pool.pop(target.scrape_pool)
        assert dict(target.labels) == other["labels"]
        assert dict(target.discovered_labels) == other["discoveredLabels"]
        assert target.scrape_url == other["scrapeUrl"]
        assert target.health == other["health"]
        assert bool(target.last_error) == bool(other["lastError"]), (target.last_error, other["lastError"])
    assert by_pool == {}
    dropped = [target["discoveredLabels"] for target in found["droppedTargets"]]
    assert [dict(target.discovered_labels) for target in manager.dropped_targets()] == dropped


async def compare_metadata(manager: ScrapeManager, session: aiohttp.ClientSession) -> None:
    found = await ask(session, "metadata")
    own = {
        family: [{"type": entry.type, "help": entry.help, "unit": entry.unit} for entry in entries]
        for family, entries in manager.metadata().items()
    }
    assert own == found


# Relabelling, on generated cases

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
