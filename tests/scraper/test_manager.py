"""The manager: from a config to scrapes, over reloads, with time driven by hand."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from scraper.config import ScrapeConfig, ScrapeSettings
from scraper.discovery.file import FileSDConfig
from scraper.discovery.static import StaticConfig
from scraper.errors import ScraperError
from scraper.http_config import TLSConfig
from scraper.inventory import Inventory, Key
from scraper.manager import ScrapeManager
from scraper.relabel import RelabelConfig
from tests.scraper.targets import STALE, TEXT, Exposed, ManualClock, eventually, read_series, serving, settings_for
from tsdb import Store, open_store

MINUTE_MS = 60_000


@dataclass
class Managed:
    manager: ScrapeManager
    clock: ManualClock
    store: Store

    async def asleep(self) -> None:
        """See a loop that took over from another wait for its scrape, and not just the other's departure."""
        await eventually(lambda: self.clock.next_ms() == self.clock.now_ms() + MINUTE_MS)

    async def tick(self) -> None:
        """Let the time come for which the first sleeper waits, and see the scrape through."""
        await eventually(lambda: self.clock.next_ms() < math.inf)
        before = len(self.times())
        self.clock.advance_to(self.clock.next_ms())
        await eventually(lambda: len(self.times()) > before)

    def times(self) -> list[tuple[str, int, float | str]]:
        """All `up` samples: instance, time, value."""
        return sorted(
            (labels.get("instance"), time_ms, value)
            for labels, samples in read_series(self.store).items()
            if labels.metric_name == "up"
            for time_ms, value in samples
        )


@asynccontextmanager
async def managing() -> AsyncIterator[Managed]:
    store, clock = open_store("memory:"), ManualClock()
    manager = ScrapeManager(store, clock=clock)
    try:
        yield Managed(manager, clock, store)
    finally:
        await manager.stop()
        store.close()


async def test_targets_are_scraped_on_a_grid_at_offsets_of_their_own() -> None:
    async with managing() as managed, serving(Exposed("a 1\n")) as one, serving(Exposed("a 2\n")) as two:
        await managed.manager.apply(settings_for(one, two))
        for _ in range(6):
            await managed.tick()
        times: dict[str, list[int]] = {}
        for instance, time_ms, value in managed.times():
            assert value == 1.0
            times.setdefault(instance, []).append(time_ms)
        assert set(times) == {one, two}
        for scraped in times.values():
            assert [later - time_ms for time_ms, later in pairwise(scraped)] == [MINUTE_MS] * 2
        assert times[one][0] % MINUTE_MS != times[two][0] % MINUTE_MS


async def test_a_reload_leaves_unchanged_targets_alone_and_ends_those_that_are_gone() -> None:
    async with managing() as managed, serving(Exposed("a 1\n")) as stays, serving(Exposed("a 2\n")) as goes:
        await managed.manager.apply(settings_for(stays, goes))
        await managed.tick()
        await managed.tick()
        scraped_ms = {
            target.labels.get("instance"): target.last_scrape_ms for target in managed.manager.active_targets()
        }
        await managed.manager.apply(settings_for(stays))
        await eventually(lambda: len(managed.manager.active_targets()) == 1)
        (left,) = managed.manager.active_targets()
        assert left.last_scrape_ms == scraped_ms[stays]  # a new loop would know of no scrape
        gone_ms = scraped_ms[goes]
        assert gone_ms is not None
        managed.clock.advance_to(gone_ms + 3 * MINUTE_MS)
        await eventually(lambda: (goes, gone_ms + MINUTE_MS, STALE) in managed.times())
        assert [value for instance, _, value in managed.times() if instance == stays] == [1.0, 1.0]


async def test_a_target_that_comes_back_at_once_is_not_ended() -> None:
    async with managing() as managed, serving(Exposed("a 1\n")) as address:
        await managed.manager.apply(settings_for(address))
        await managed.tick()
        await managed.manager.apply(settings_for())
        await eventually(lambda: not managed.manager.active_targets())
        await managed.manager.apply(settings_for(address))
        await eventually(lambda: len(managed.manager.active_targets()) == 1)
        await managed.asleep()
        for _ in range(4):
            await managed.tick()
        assert {value for _, _, value in managed.times()} == {1.0}


async def test_dropped_targets_are_known() -> None:
    async with managing() as managed:
        drop = RelabelConfig(source_labels=("__address__",), regex="b.*", action="drop")
        await managed.manager.apply(settings_for("a:1", "b:1", "b:2", relabel_configs=(drop,)))
        await eventually(lambda: bool(managed.manager.active_targets()))
        manager = managed.manager
        assert [active.labels.get("instance") for active in manager.active_targets()] == ["a:1"]
        dropped = [target.discovered_labels.get("__address__") for target in manager.dropped_targets()]
        assert dropped == ["b:1", "b:2"]
        assert manager.dropped_counts() == {"job": 2}


async def test_over_the_target_limit_every_scrape_of_the_job_fails() -> None:
    async with managing() as managed, serving(Exposed("a 1\n")) as one, serving(Exposed("a 1\n")) as two:
        await managed.manager.apply(settings_for(one, two, target_limit=1))
        await managed.tick()
        await managed.tick()
        assert [value for _, _, value in managed.times()] == [0.0, 0.0]
        await managed.manager.apply(settings_for(one, target_limit=1))
        await eventually(lambda: len(managed.manager.active_targets()) == 1)
        managed.clock.advance_to(managed.clock.now_ms() + MINUTE_MS)
        await eventually(lambda: any(value == 1.0 for _, _, value in managed.times()))


async def test_targets_of_a_file_come_and_go_with_it(tmp_path: Path) -> None:
    async with managing() as managed:
        job = ScrapeConfig(job_name="job", file_sd_configs=(FileSDConfig(files=("*.json",)),))
        await managed.manager.apply(ScrapeSettings(scrape_configs=(job,)), tmp_path)
        (tmp_path / "a.json").write_text(json.dumps([{"targets": ["one:1", "two:1"]}]))
        await eventually(lambda: len(managed.manager.active_targets()) == 2)
        (tmp_path / "a.json").write_text(json.dumps([{"targets": ["two:1"]}]))
        await eventually(lambda: len(managed.manager.active_targets()) == 1)


async def test_unusable_tls_files_leave_everything_as_it_was(tmp_path: Path) -> None:
    async with managing() as managed:
        await managed.manager.apply(settings_for("a:1"))
        await eventually(lambda: len(managed.manager.active_targets()) == 1)
        tls = TLSConfig(ca_file="none.pem")
        bad = ScrapeConfig(
            job_name="job", scheme="https", tls_config=tls, static_configs=(StaticConfig(targets=("b:1",)),)
        )
        with pytest.raises(ScraperError, match=r"none\.pem"):
            await managed.manager.apply(ScrapeSettings(scrape_configs=(bad,)), tmp_path)
        (left,) = managed.manager.active_targets()
        assert left.labels.get("instance") == "a:1"


async def test_metadata_of_all_targets() -> None:
    bodies = ("# TYPE a counter\n# HELP a One.\na 1\n", "# TYPE a counter\n# HELP a Two.\na 1\n")
    async with managing() as managed, serving(Exposed(bodies[0])) as one, serving(Exposed(bodies[1])) as two:
        await managed.manager.apply(settings_for(one, two))
        await managed.tick()
        await managed.tick()
        assert {entry.help for entry in managed.manager.metadata()["a"]} == {"One.", "Two."}


async def test_a_target_that_moves_to_a_file_misses_nothing(tmp_path: Path) -> None:
    async with managing() as managed, serving(Exposed("a 1\n")) as address:
        await managed.manager.apply(settings_for(address))
        await managed.tick()
        (tmp_path / "a.json").write_text(json.dumps([{"targets": [address]}]))
        job = ScrapeConfig(job_name="job", file_sd_configs=(FileSDConfig(files=("*.json",)),))
        await managed.manager.apply(ScrapeSettings(scrape_configs=(job,)), tmp_path)

        def in_file() -> bool:
            (target,) = managed.manager.active_targets()
            return target.discovered_labels.get("__meta_filepath") == str(tmp_path / "a.json")

        await eventually(in_file)
        (left,) = managed.manager.active_targets()
        assert left.last_scrape_ms is not None  # a new loop would know of no scrape


async def test_what_new_rules_drop_ends_at_the_next_scrape() -> None:
    drop = RelabelConfig(source_labels=("__name__",), regex="b", action="drop")
    async with managing() as managed, serving(Exposed("a 1\nb 2\n")) as address:
        await managed.manager.apply(settings_for(address))
        await managed.tick()
        await managed.manager.apply(settings_for(address, metric_relabel_configs=(drop,)))
        await eventually(lambda: [target.last_scrape_ms for target in managed.manager.active_targets()] == [None])
        await managed.asleep()
        await managed.tick()
        values = {
            labels.metric_name: [value for _, value in samples]
            for labels, samples in read_series(managed.store).items()
        }
        assert (values["a"], values["b"], values["up"]) == ([1.0, 1.0], [2.0, STALE], [1.0, 1.0])


async def test_an_inventory_knows_the_targets_over_a_restart(tmp_path: Path) -> None:
    def inventory() -> Inventory:
        return Inventory(tmp_path / "inventory.json", CollectorRegistry())

    store = open_store("memory:")
    manager = ScrapeManager(store, clock=ManualClock(), inventory=inventory())
    await manager.apply(settings_for("a:1", "b:1"))
    await eventually(lambda: len(manager.active_targets()) == 2)
    await manager.stop()
    store.close()
    assert [entry.key for entry in inventory().entries()] == [Key("job", "a:1"), Key("job", "b:1")]


async def test_a_reload_lets_a_scrape_under_way_finish() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        asked.set()
        await go_on.wait()
        return web.Response(text="a 1\n", headers={"Content-Type": TEXT})

    async with managing() as managed, serving(Exposed(handler=slow)) as address:
        await managed.manager.apply(settings_for(address))
        await eventually(lambda: managed.clock.next_ms() < math.inf)
        managed.clock.advance_to(managed.clock.next_ms())
        await asked.wait()
        await managed.manager.apply(settings_for())
        await asyncio.sleep(0)
        assert managed.times() == []
        go_on.set()
        await eventually(lambda: [value for _, _, value in managed.times()] == [1.0])


async def test_a_stop_does_not_wait_for_a_target() -> None:
    asked = asyncio.Event()

    async def hanging(_: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        return web.Response()

    async with managing() as managed, serving(Exposed(handler=hanging)) as address:
        await managed.manager.apply(settings_for(address))
        await eventually(lambda: managed.clock.next_ms() < math.inf)
        managed.clock.advance_to(managed.clock.next_ms())
        await asked.wait()
        async with asyncio.timeout(5):
            await managed.manager.stop()
        assert managed.times() == []
