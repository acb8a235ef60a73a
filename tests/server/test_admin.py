"""The admin API, against a live Prometheus too: the same status and the same answer to everything."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from common.labels import Labels
from promql import Engine
from tests.exposition.prometheus_process import prometheus
from tests.server.conftest import Serve
from tests.tsdb.reading import read
from tsdb.embedded import EmbeddedStore
from tsdb.store import Store

CONFIG = "global: {scrape_interval: 1h}\n"
SNAPSHOT_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}")
REQUESTS = [
    "POST delete_series?match[]=up",
    "PUT delete_series?match[]=up&start=1&end=2026-01-01T00:00:00Z",
    "GET delete_series?match[]=up",
    "POST delete_series",
    "POST delete_series?match[]={}",
    "POST delete_series?match[]=%7B%20%7D",
    "POST delete_series?match[]=up{",
    "POST delete_series?match[]=rate(up[5m])",
    "POST delete_series?match[]=up&start=foo",
    "POST delete_series?match[]=up&end=foo",
    "POST delete_series?match[]=up&start=20&end=10",
    "POST clean_tombstones",
    "PUT clean_tombstones",
    "GET clean_tombstones",
    "POST snapshot",
    "PUT snapshot?skip_head=true",
    "POST snapshot?skip_head=x",
    "GET snapshot",
]
# What the parser says of a wrong selector is worded otherwise.
PARSED = re.compile(r'(invalid parameter "match\[\]": ).*')


@pytest.fixture
def disk_store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    with contextlib.closing(EmbeddedStore(tmp_path / "store")) as store:
        store.append_samples(Labels.of(__name__="up", job="a"), [(1000, 1.0), (2000, 1.0), (3000, 0.0)])
        store.append_samples(Labels.of(__name__="up", job="b"), [(1000, 1.0)])
        yield store


async def ask(session: aiohttp.ClientSession, request: str, path: str = "admin/tsdb/") -> tuple[int, Any]:
    method, _, rest = request.partition(" ")
    async with session.request(method, f"/api/v1/{path}{rest}") as response:
        if response.content_type == "application/json":
            return response.status, await response.json()
        return response.status, await response.text()


def comparable(answer: Any) -> Any:
    if isinstance(answer, dict) and "error" in answer:
        return answer | {"error": PARSED.sub(r"\1*", answer["error"])}
    if isinstance(answer, dict) and "name" in answer["data"]:
        assert SNAPSHOT_NAME.fullmatch(answer["data"]["name"])
        return answer | {"data": {}}
    return answer


@pytest.mark.parametrize("options", [(), ("--web.enable-admin-api",)])
async def test_answers_are_prometheus_s(
    serve: Serve, disk_store: EmbeddedStore, tmp_path: Path, options: tuple[str, ...]
) -> None:
    server = await serve(store=disk_store, engine=Engine(disk_store), enable_admin_api=bool(options))
    async with prometheus(CONFIG, tmp_path, *options) as theirs:
        for request in REQUESTS:
            their_status, their_answer = await ask(theirs, request)
            our_status, our_answer = await ask(server.session, request)
            assert (request, our_status, comparable(our_answer)) == (request, their_status, comparable(their_answer))


async def test_deletes_are_counted_first_listed_and_undone(serve: Serve, disk_store: EmbeddedStore) -> None:
    server = await serve(store=disk_store, engine=Engine(disk_store), enable_admin_api=True)
    before = read(disk_store, [], 0, 9000)
    wish = "POST delete_series?match[]=up{job='a'}&match[]=up{job='nobody'}&end=2"
    status, answer = await ask(server.session, f"{wish}&dry_run=true")
    assert (status, answer["data"]) == (200, {"series": 1, "samples": 2})
    assert read(disk_store, [], 0, 9000) == before
    assert await ask(server.session, wish) == (204, "")
    assert read(disk_store, [], 0, 9000) != before
    (listed,) = await server.data("fleetwatch/deletions")
    assert (listed["series"], listed["samples"], listed["start"]) == (1, 2, None)
    assert listed["end"] == "1970-01-01T00:00:02Z"
    assert listed["matchers"] == ['{__name__="up",job="a"}', '{__name__="up",job="nobody"}']
    assert listed["undoableUntil"] > listed["created"]
    undo = f"POST fleetwatch/deletions/{listed['id']}/undo"
    assert await ask(server.session, undo, path="") == (204, "")
    assert read(disk_store, [], 0, 9000) == before
    assert await server.data("fleetwatch/deletions") == []
    status, answer = await ask(server.session, undo, path="")
    assert (status, answer["errorType"]) == (404, "not_found")
    status, answer = await ask(server.session, "POST fleetwatch/deletions/x/undo", path="")
    assert (status, answer["error"]) == (400, 'a delete has a number, not "x"')


async def test_a_snapshot_is_a_store(serve: Serve, disk_store: EmbeddedStore, tmp_path: Path) -> None:
    server = await serve(store=disk_store, engine=Engine(disk_store), enable_admin_api=True)
    _, answer = await ask(server.session, "POST snapshot")
    snapshot = tmp_path / "store" / "snapshots" / answer["data"]["name"]
    with contextlib.closing(EmbeddedStore(snapshot, read_only=True)) as copy:
        assert read(copy, [], 0, 9000) == read(disk_store, [], 0, 9000)


async def test_a_store_in_memory_has_no_snapshots(serve: Serve, store: Store) -> None:
    server = await serve(enable_admin_api=True)
    status, answer = await ask(server.session, "POST snapshot")
    assert (status, answer["error"]) == (500, "a store in memory has no directory for snapshots")
