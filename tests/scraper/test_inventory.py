"""Targets that leave discovery, over restarts, until they are retired."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from scraper.inventory import COMPARE_INTERVAL_MS, SAVE_INTERVAL_MS, Inventory, InventoryError, Key
from tests.scraper.targets import ManualClock, eventually

T1 = 1_700_000_000_000
A, B, C = Key("node", "a:9100"), Key("node", "b:9100"), Key("other", "a:9100")


class Watched:
    """An inventory, and the discovery it watches, which a test sets by hand."""

    def __init__(self, path: Path, now_ms: float = T1) -> None:
        self.clock = ManualClock(now_ms)
        self.registry = CollectorRegistry()
        self.inventory = Inventory(path, self.registry, self.clock)
        self.discovered: frozenset[Key] = frozenset()

    async def compare(self, *discovered: Key) -> None:
        """Let a comparison with these happen."""
        self.discovered = frozenset(discovered)
        due_ms = self.clock.next_ms()
        self.clock.advance_to(due_ms)
        await eventually(lambda: due_ms < self.clock.next_ms() < math.inf)

    def absent(self) -> dict[str, float]:
        """When the absent ones were last seen, in seconds since the start."""
        families = {family.name: family.samples for family in self.registry.collect()}
        seen = families["fleetwatch_target_absent_last_seen_timestamp_seconds"]
        assert [(sample.labels, 1.0) for sample in seen] == [
            (sample.labels, sample.value) for sample in families["fleetwatch_target_absent"]
        ]
        return {
            f"{sample.labels['scrape_job']} {sample.labels['scrape_instance']}": sample.value - T1 / 1000
            for sample in seen
        }


def saved(path: Path) -> dict[Key, float]:
    """What another start would know, with seconds since the start."""
    return {entry.key: (entry.last_seen_ms - T1) / 1000 for entry in Watched(path).inventory.entries()}


@asynccontextmanager
async def watching(path: Path, now_ms: float = T1) -> AsyncIterator[Watched]:
    watched = Watched(path, now_ms)
    watched.inventory.start(lambda: watched.discovered)
    await eventually(lambda: watched.clock.next_ms() < math.inf)
    yield watched
    await watched.inventory.stop()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inventory.json"


async def test_a_target_that_left_is_absent_until_it_is_back(path: Path) -> None:
    async with watching(path) as watched:
        await watched.compare(A, B, C)
        assert watched.absent() == {}
        await watched.compare(A)
        assert watched.absent() == {"node b:9100": 30.0, "other a:9100": 30.0}
        await watched.compare(A, B)
        assert watched.absent() == {"other a:9100": 30.0}
        assert [(entry.key, entry.present) for entry in watched.inventory.entries()] == [
            (A, True),
            (B, True),
            (C, False),
        ]


async def test_a_restart_forgets_nothing_and_waits_for_discovery(path: Path) -> None:
    async with watching(path) as watched:
        await watched.compare(A, B)
    async with watching(path, T1 + 100_000) as watched:
        assert watched.absent() == {}
        await watched.compare(B)
        assert watched.absent() == {"node a:9100": 30.0}


async def test_what_is_retired_is_forgotten(path: Path) -> None:
    async with watching(path) as watched:
        await watched.compare(A, B)
        await watched.compare(A)
        await watched.inventory.retire(*B)
        assert watched.absent() == {}
        with pytest.raises(InventoryError, match='no target of job "node" and instance "b:9100" is known'):
            await watched.inventory.retire(*B)
        with pytest.raises(InventoryError, match="still discovered"):
            await watched.inventory.retire(*A)
        assert saved(path) == {A: 60.0}  # already before the end


async def test_a_change_is_saved_at_once_and_times_hourly(path: Path) -> None:
    async with watching(path) as watched:
        await watched.compare(A)
        assert saved(path) == {A: 30.0}
        await watched.compare(A)
        assert saved(path) == {A: 30.0}
        for _ in range(SAVE_INTERVAL_MS // COMPARE_INTERVAL_MS - 1):
            await watched.compare(A)
        assert saved(path) == {A: 3630.0}
        await watched.compare(A, B)
        assert saved(path) == {A: 3660.0, B: 3660.0}


async def test_what_a_short_life_saw_is_saved_at_its_end(path: Path) -> None:
    async with watching(path) as watched:
        watched.discovered = frozenset([A])
    assert saved(path) == {A: 0.0}


async def test_a_disk_that_refuses_is_asked_again(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.with_name("inventory.json.new").mkdir()
    async with watching(path) as watched:
        await watched.compare(A)
        assert "was not saved" in caplog.text
        assert saved(path) == {}
        path.with_name("inventory.json.new").rmdir()
        await watched.compare(A)
        assert saved(path) == {A: 60.0}


@pytest.mark.parametrize("content", ["", "[]", '{"targets": [{"job": "node"}]}'])
def test_a_file_that_is_something_else_is_refused(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(InventoryError, match="is no inventory of targets"):
        Watched(path)


async def test_a_stop_before_the_start_does_nothing(path: Path) -> None:
    await Watched(path).inventory.stop()
    assert saved(path) == {}
