"""The same config and the same targets in a live Prometheus: equal targets, series and values.

The bodies stand still, so that values can be compared; only what is measured (durations) and when is left out.
"""

import asyncio
import json
import re
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from common.labels import Labels
from common.yamlfile import loads
from promql import Engine
from scraper.config import ScrapeSettings
from scraper.config_checks import check
from scraper.manager import ScrapeManager
from server.app import create_app, make_runner
from server.deps import BuildInfo, Dependencies
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
    "conflicts": 'a{job="own",instance="there"} 1\nb{exported_job="x",job="y"} 2\nc{env="mine"} 3\nd{instance=""} 4\n'
    'e{env="mine",exported_env="before",exported_exported_env="long ago"} 5\n',
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
global: {{scrape_interval: 1s, scrape_timeout: 900ms{more}}}
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
  - {{job_name: at_the_limit, sample_limit: 20, metrics_path: /many, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: labels, label_limit: 4, metrics_path: /plain, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: names, label_name_length_limit: 7, metrics_path: /plain, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: text, label_value_length_limit: 20, metrics_path: /plain, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: fat, body_size_limit: 200B, metrics_path: /many, static_configs: [{{targets: ["{address}"]}}]}}
  - {{job_name: slim, body_size_limit: 300B, metrics_path: /many, static_configs: [{{targets: ["{address}"]}}]}}
  - job_name: crowded
    target_limit: 1
    metrics_path: /plain
    static_configs: [{{targets: ["{address}", "127.0.0.1:1"]}}]
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


def config_text(address: str, more_global: str = "") -> str:
    """The whole config, for targets at this address."""
    jobs = [
        f"  - {{job_name: rule{number}, metrics_path: /paths, metric_relabel_configs: [{rule}], "
        f'static_configs: [{{targets: ["{address}"]}}]}}\n'
        for number, rule in enumerate(METRIC_RULES)
    ]
    return CONFIG.format(address=address, more=more_global) + "".join(jobs)


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


async def run(*command: str, cwd: Path | None = None) -> bytes:
    """What a command that must succeed writes."""
    process = await asyncio.create_subprocess_exec(*command, cwd=cwd, stdout=PIPE, stderr=DEVNULL)
    written, _ = await process.communicate()
    assert process.returncode == 0, command
    return written


async def require_version_3() -> None:
    """Skip the test where Prometheus is older, and has other words."""
    if b"version 2." in await run(str(require("prometheus")), "--version"):
        pytest.skip("needs Prometheus 3")


@asynccontextmanager
async def prometheus(config: str, directory: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A Prometheus with this config, as a session for its API."""
    (directory / "prometheus.yml").write_text(config)
    address = f"127.0.0.1:{free_port()}"
    options = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    options += ["--enable-feature=extra-scrape-metrics", "--scrape.discovery-reload-interval=100ms"]
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


@asynccontextmanager
async def fleetwatch(manager: ScrapeManager, store: Store) -> AsyncIterator[aiohttp.ClientSession]:
    """The API of a scraper, as a session for it."""
    deps = Dependencies(
        store=store,
        engine=Engine(store),
        build=BuildInfo("test"),
        registry=CollectorRegistry(),
        ready=lambda: True,
        targets=manager,
    )
    runner = make_runner(create_app(deps))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
            yield session
    finally:
        await runner.cleanup()


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
    return name not in ("scrape_duration_seconds", "scrape_series_added")  # the latter depends on when one looks


async def test_series_and_targets_are_prometheus_s(tmp_path: Path) -> None:
    fleet = Fleet()
    async with (
        serving(Exposed(handler=fleet.answer)) as address,
        prometheus(config_text(address), tmp_path) as session,
    ):
        store = open_store("memory:")
        manager = ScrapeManager(store)
        settings = loads(config_text(address, ", extra_scrape_metrics: true"), ScrapeSettings, check)
        await manager.apply(settings)
        try:
            targets = len(settings.scrape_configs) + 1  # one job has two
            await eventually(lambda: len(manager.active_targets()) == targets)
            await eventually(lambda: all(target.last_scrape_ms for target in manager.active_targets()))
            for _ in range(200):
                if len((await ask(session, "query", query="up"))["result"]) == targets:
                    break
                await asyncio.sleep(0.05)
            await eventually(fleet.settled)
            assert ours(store) == await theirs(session)
            await compare_times(store, session)
            async with fleetwatch(manager, store) as own:
                await compare_targets(own, session)
                await compare_metadata(own, session)
        finally:
            await manager.stop()
            store.close()


SAME_ERRORS = re.compile(
    "|server returned HTTP status .*|(sample|body size) limit exceeded|[a-z_]+_limit exceeded .*|Get .* dial tcp .*"
)
"""Errors of Prometheus's that begin ours; of the others, where a parser has its say, both have one."""


async def compare_targets(own: aiohttp.ClientSession, other: aiohttp.ClientSession) -> None:
    assert await ask(own, "scrape_pools") == await ask(other, "scrape_pools")
    for params in ({}, {"state": "active"}, {"state": "dropped"}, {"scrapePool": "relabelled"}, {"scrapePool": "none"}):
        ours, theirs = await ask(own, "targets", **params), await ask(other, "targets", **params)
        assert by_target(ours["activeTargets"]).keys() == by_target(theirs["activeTargets"]).keys()
        for name, target in by_target(theirs["activeTargets"]).items():
            assert comparable(by_target(ours["activeTargets"])[name], target) == comparable(target, target)
        # Prometheus 2.42 neither names the pools of dropped targets nor counts them.
        found = [{key: dropped.get(key) for key in theirs["droppedTargets"][0]} for dropped in ours["droppedTargets"]]
        assert found == theirs["droppedTargets"]
        if "droppedTargetCounts" in theirs:
            assert ours["droppedTargetCounts"] == theirs["droppedTargetCounts"]


def by_target(targets: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(target["scrapePool"], target["labels"]["instance"]): target for target in targets}


def comparable(target: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """A target without what is measured, its error cut where it may read otherwise than the other's."""
    kept = {key: value for key, value in target.items() if key not in ("lastScrape", "lastScrapeDuration")}
    error, expected = target["lastError"], other["lastError"]
    same = SAME_ERRORS.fullmatch(expected) is not None
    return kept | {"lastError": error[: len(expected)] if same and expected else bool(error)}


async def compare_metadata(own: aiohttp.ClientSession, other: aiohttp.ClientSession) -> None:
    assert await ask(own, "metadata") == await ask(other, "metadata")
    for params in (
        {"match_target": '{job!~"labels|names|text"}'},  # of these Prometheus reads no more than the limit allows
        {"match_target": '{job=~"plain|openmetrics"}'},
        {"match_target": '{instance!=""}', "metric": "requests_total"},
        {"limit": "0"},
    ):
        ours, theirs = await ask(own, "targets/metadata", **params), await ask(other, "targets/metadata", **params)
        assert sorted(ours, key=str) == sorted(theirs, key=str)
