"""A target that misbehaves costs its own scrape and nothing else: 50 such among 200 good ones."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from common.labels import Labels
from common.matchers import Matcher
from scraper.config import ByteSize, ScrapeConfig, ScrapeSettings
from scraper.discovery.file import FileSDConfig
from scraper.discovery.static import StaticConfig
from scraper.manager import ScrapeManager
from tests.scraper.misbehaving import (
    BODY_SIZE_LIMIT_BYTES,
    KINDS,
    LABEL_VALUE_LENGTH_LIMIT,
    SAMPLE_LIMIT,
    Kind,
    misbehaving_targets,
)
from tests.scraper.targets import eventually, read_series
from tests.scraper.test_simulate import simulation
from tsdb import open_store

log = logging.getLogger(__name__)

GOOD, BAD = 200, 50
SERIES = 60
INTERVAL_MS, TIMEOUT_MS = 3_000, 2_000
ROUNDS = 3
LONGEST_STALL_S = 0.2
"""CPU that the event loop may use in one go; ten times what was measured, as CI machines are slow."""


@dataclass
class Stalls:
    """How long the event loop was at work without a pause, in CPU time: other processes do not count."""

    longest_s: float = 0.0
    longest_wall_s: float = 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            cpu_s, wall_s = time.thread_time(), time.monotonic()
            await asyncio.sleep(0.005)
            self.longest_s = max(self.longest_s, time.thread_time() - cpu_s)
            self.longest_wall_s = max(self.longest_wall_s, time.monotonic() - wall_s)


@asynccontextmanager
async def watched_loop() -> AsyncIterator[Stalls]:
    stalls = Stalls()
    task = asyncio.create_task(stalls.watch())
    try:
        yield stalls
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture(autouse=True)
def heap_of_its_own() -> Iterator[None]:
    """Spares the garbage collector what thousands of other tests have left: a walk through that is a long stall."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def settings(targets_file: Path, bad: dict[str, Kind]) -> ScrapeSettings:
    job = {"scrape_interval": INTERVAL_MS, "scrape_timeout": TIMEOUT_MS}
    return ScrapeSettings(
        scrape_configs=(
            ScrapeConfig(job_name="good", file_sd_configs=(FileSDConfig(files=(str(targets_file),)),), **job),  # type: ignore[arg-type]
            ScrapeConfig(
                job_name="bad",
                static_configs=(StaticConfig(targets=tuple(bad)),),
                sample_limit=SAMPLE_LIMIT,
                label_value_length_limit=LABEL_VALUE_LENGTH_LIMIT,
                body_size_limit=ByteSize(BODY_SIZE_LIMIT_BYTES),
                **job,  # type: ignore[arg-type]
            ),
        )
    )


async def test_the_good_ones_miss_no_scrape(tmp_path: Path) -> None:
    registry = CollectorRegistry()

    def count(name: str) -> float:
        return registry.get_sample_value(f"fleetwatch_target_{name}") or 0.0

    store = open_store(str(tmp_path / "data"))
    manager = ScrapeManager(store, registry)
    with simulation(tmp_path, "--servers", str(GOOD), "--series", str(SERIES)) as good, misbehaving_targets(BAD) as bad:
        assert set(bad.values()) == set(KINDS)
        try:
            async with watched_loop() as stalls:
                await manager.apply(settings(good.targets, bad))
                await eventually(lambda: count("scrapes_total") >= (GOOD + BAD) * ROUNDS, timeout_s=60)
            errors = {target.labels.get("instance"): target.last_error for target in manager.active_targets()}
        finally:
            await manager.stop()
        series = await asyncio.to_thread(read_series, store)
        store.close()

    log.info("longest stalls: %.3f s of CPU, %.3f s in all", stalls.longest_s, stalls.longest_wall_s)
    up = {labels: samples for labels, samples in series.items() if labels.metric_name == "up"}
    check_good_ones(up)
    check_bad_ones(up, bad, errors)
    assert stalls.longest_s < LONGEST_STALL_S


KNOWN, NEW, MANY_SERIES = 20, 60, 2_000
BURST_INTERVAL_MS = 2_000


async def test_a_burst_of_new_targets_does_not_hold_up_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "known").mkdir()
    (tmp_path / "new").mkdir()

    def job(name: str, targets: Path) -> ScrapeConfig:
        interval = {"scrape_interval": BURST_INTERVAL_MS, "scrape_timeout": BURST_INTERVAL_MS}
        return ScrapeConfig(job_name=name, file_sd_configs=(FileSDConfig(files=(str(targets),)),), **interval)  # type: ignore[arg-type]

    store = open_store("memory:")
    manager = ScrapeManager(store)

    def scraped(job: str, count: int) -> bool:
        targets = [target for target in manager.active_targets() if target.scrape_pool == job]
        return len(targets) == count and all(target.last_scrape_ms for target in targets)

    with (
        simulation(tmp_path / "known", "--servers", str(KNOWN), "--series", "50") as known,
        simulation(tmp_path / "new", "--servers", str(NEW), "--series", str(MANY_SERIES)) as new,
    ):
        try:
            jobs = (job("known", known.targets),)
            await manager.apply(ScrapeSettings(scrape_configs=jobs))
            await eventually(lambda: scraped("known", KNOWN))
            async with watched_loop() as stalls:
                await manager.apply(ScrapeSettings(scrape_configs=(*jobs, job("new", new.targets))))
                await eventually(lambda: scraped("new", NEW), timeout_s=30)
            up = [Matcher.equal("__name__", "up"), Matcher.equal("job", "known")]
            frames = list(store.select(up, 0, 2**53))
        finally:
            await manager.stop()
            store.close()
    log.info("longest stalls: %.3f s of CPU, %.3f s in all", stalls.longest_s, stalls.longest_wall_s)
    assert len(frames) == KNOWN
    for frame in frames:
        assert np.diff(frame.times_ms).max(initial=0) < 1.5 * BURST_INTERVAL_MS
    assert stalls.longest_s < LONGEST_STALL_S


def check_good_ones(up: dict[Labels, list[tuple[int, float | str]]]) -> None:
    good = {labels.get("instance"): samples for labels, samples in up.items() if labels.get("job") == "good"}
    assert len(good) == GOOD
    for instance, samples in good.items():
        assert len(samples) >= ROUNDS - 1, instance
        assert {value for _, value in samples} == {1.0}, instance
        for (earlier_ms, _), (later_ms, _) in pairwise(samples):
            assert later_ms - earlier_ms < 1.5 * INTERVAL_MS, instance


def check_bad_ones(
    up: dict[Labels, list[tuple[int, float | str]]], bad: dict[str, Kind], errors: dict[str, str]
) -> None:
    found = {labels.get("instance"): samples for labels, samples in up.items() if labels.get("job") == "bad"}
    assert set(found) == set(bad)
    for address, kind in bad.items():
        assert {value for _, value in found[address]} == {0.0 if kind.error else 1.0}, kind.name
        assert kind.error in errors[address], kind.name
        assert bool(errors[address]) == bool(kind.error), kind.name
        # A message is for a person: it must not carry the 10 MB it is about.
        assert len(errors[address]) < 1_000, kind.name
