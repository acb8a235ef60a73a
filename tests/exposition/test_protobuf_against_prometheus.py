"""The bodies of test_protobuf as a live Prometheus reads them: the same series and values, the same ones refused."""

import asyncio
import math
from collections import Counter
from pathlib import Path

from aiohttp import web

from common.labels import Labels
from exposition.errors import WireError
from exposition.protobuf import parse_protobuf
from exposition.text import parse_text
from tests.exposition.prometheus_process import ask, prometheus
from tests.exposition.protobuf_bodies import COUNTER, GAUGE, exemplar, family, metric, simple
from tests.exposition.test_protobuf import ACCEPT, READ, WRONG
from tests.scraper.targets import Exposed, serving

BODIES: dict[str, bytes] = {
    **{name: read[0] for name, read in READ.items()},
    **{name: wrong[0] for name, wrong in WRONG.items()},
    "times": family("x", GAUGE, [metric(GAUGE, simple(math.inf), time_ms=0)])
    + family("y", COUNTER, [metric(COUNTER, simple(-math.inf, exemplar({"a": "b"}, 1.0)))]),
}
# What it takes otherwise: groups, which are long deprecated.
del BODIES["a group"]
PATHS = {f"/{number}": name for number, name in enumerate(BODIES)}
DEADLINE_S = 30


def config_text(address: str) -> str:
    jobs = [
        f"  - {{job_name: {name}, scrape_protocols: [PrometheusProto], metrics_path: {path}, "
        f'static_configs: [{{targets: ["{address}"]}}]}}'
        for path, name in PATHS.items()
    ]
    return "\n".join(["global: {scrape_interval: 1s, scrape_timeout: 900ms}", "scrape_configs:", *jobs, ""])


async def test_series_and_refusals_are_prometheus_s(tmp_path: Path) -> None:
    asked: Counter[str] = Counter()
    all_stored = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        asked[request.path] += 1
        if all(asked[path] > 1 for path in PATHS):
            all_stored.set()
        return web.Response(body=BODIES[PATHS[request.path]], headers={"Content-Type": ACCEPT})

    async with serving(Exposed(handler=answer)) as address, prometheus(config_text(address), tmp_path) as session:
        async with asyncio.timeout(DEADLINE_S):
            await all_stored.wait()
        targets = (await ask(session, "targets"))["activeTargets"]
        refused = {target["labels"]["job"] for target in targets if target["lastError"]}
        found = await ask(session, "query", query='{__name__!~"up|scrape_.*",job=~".+"}')
        metadata = await ask(session, "targets/metadata")

    expected: set[tuple[str, Labels, str]] = set()
    expected_metadata: set[tuple[str, ...]] = set()
    expected_refused = set()
    for name, body in BODIES.items():
        try:
            read = parse_protobuf(body)
        except WireError:
            expected_refused.add(name)
            continue
        expected |= {(name, sample.labels, repr(sample.value)) for sample in read.samples}
        expected_metadata |= {(name, family, one.type, one.help, one.unit) for family, one in read.metadata.items()}
    assert refused == expected_refused
    assert {
        (
            entry["metric"]["job"],
            Labels.of(entry["metric"]).without("job", "instance"),
            repr(float(entry["value"][1])),
        )
        for entry in found["result"]
    } == expected
    assert {
        (entry["target"]["job"], entry["metric"], entry["type"], entry["help"], entry["unit"])
        for entry in metadata
        if entry["target"]["job"] not in expected_refused
    } == expected_metadata


async def test_its_own_metrics_are_the_same_in_both_formats(tmp_path: Path) -> None:
    """What changes between two requests are values; a label that the second request adds is left out."""
    async with prometheus("scrape_configs: []\n", tmp_path) as session:
        for _ in range(2):
            async with session.get("/metrics", headers={"Accept": "text/plain"}) as response:
                text = await response.read()
        async with session.get("/metrics", headers={"Accept": ACCEPT}) as response:
            assert response.content_type == "application/vnd.google.protobuf"
            body = await response.read()
    strict, read = parse_text(text), parse_protobuf(body)

    assert len(read.samples) > 400
    assert {sample.labels for sample in read.samples} == {sample.labels for sample in strict.samples}
    assert read.metadata == strict.metadata
