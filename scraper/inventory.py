"""The inventory: what should be scraped, so that a target that silently left discovery is not forgotten.

A host that a discovery source no longer names just ends: `up` is not 0, it is gone, and so is every alert on it. The
inventory knows each target that was ever discovered, by job and instance, until a person retires it. The plan:

- Every half minute one task compares what is known with what is scraped. Pools and loops know nothing of it, and a
  scrape costs nothing more.
- A target that is known and in no pool is absent: `fleetwatch_target_absent` is 1 on the process's /metrics, beside
  the time it was last seen. Targets that are there have no such series, so that a thousand healthy ones are no load.
- It is absent whatever the reason: discovery, relabelling, or a config without its job. Only a person can tell a
  mistake from a farewell, and says so by retiring it. An alert on the metric wants a `for` of some minutes, as a
  source may flap and a start takes until every source has spoken.
- What is known survives in one small JSON file that is replaced as a whole: when a target comes, goes or is retired,
  and hourly for the times, which may thus be an hour early after a crash.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from scraper.clock import Clock, SystemClock
from scraper.errors import ScraperError

log = logging.getLogger(__name__)

COMPARE_INTERVAL_MS = 30_000
SAVE_INTERVAL_MS = 3_600_000


class InventoryError(ScraperError):
    """The file of the inventory cannot be used, or a target cannot be retired."""


class Key(NamedTuple):
    """What tells targets apart: the labels of these names."""

    job: str
    instance: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A known target. `last_seen_ms` is when it was last among the scraped ones, now or nearly so if `present`."""

    key: Key
    last_seen_ms: int
    present: bool


class _Saved(msgspec.Struct, frozen=True):
    job: str
    instance: str
    last_seen_ms: int


class _File(msgspec.Struct, frozen=True):
    targets: list[_Saved]


class Inventory(Collector):
    """Known targets, in a file. All methods belong to one event loop, but for `collect`, which any thread may call.

    Raises InventoryError where the file is there but holds something else.
    """

    def __init__(self, path: Path, registry: CollectorRegistry, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._last_seen_ms = _load(path)
        self._present: frozenset[Key] | None = None  # until the first comparison
        self._saved_ms = self._clock.now_ms()
        self._dirty = False
        self._writing = threading.Lock()
        self._discovered: Callable[[], frozenset[Key]] = frozenset
        self._task: asyncio.Task[None] | None = None
        registry.register(self)

    def start(self, discovered: Callable[[], frozenset[Key]]) -> None:
        """Begin to compare with the targets that `discovered` gives; the first time after an interval."""
        self._discovered = discovered
        self._task = asyncio.create_task(self._run(), name="inventory of targets")
        self._task.add_done_callback(_report_crash)

    async def stop(self) -> None:
        """Compare once more and save, while the targets are still known. Idempotent."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        self._note(self._discovered())
        await self._save()

    def entries(self) -> list[Entry]:
        """All known targets by job and instance."""
        present = self._present or frozenset()
        return [Entry(key, seen_ms, key in present) for key, seen_ms in sorted(self._last_seen_ms.items())]

    async def retire(self, job: str, instance: str) -> None:
        """Forget a target that is gone for good, also over a restart.

        Raises InventoryError where it is not known, or still discovered: it would be known again at once.
        """
        key = Key(job, instance)
        if key in self._discovered():
            raise InventoryError(f'job "{job}", instance "{instance}" is still discovered: retire it when it is not')
        if self._last_seen_ms.pop(key, None) is None:
            raise InventoryError(f'no target of job "{job}" and instance "{instance}" is known')
        self._dirty = True
        log.info("target retired", extra={"job": job, "instance": instance})
        await self._save()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metrics of absent targets."""
        labels = ("scrape_job", "scrape_instance")
        absent = GaugeMetricFamily(
            "fleetwatch_target_absent",
            "A target that was discovered once, is no longer, and is not retired.",
            None,
            labels,
        )
        last_seen = GaugeMetricFamily(
            "fleetwatch_target_absent_last_seen_timestamp_seconds",
            "When an absent target was last there.",
            None,
            labels,
        )
        if self._present is not None:
            for entry in self.entries():
                if not entry.present:
                    absent.add_metric(entry.key, 1)
                    last_seen.add_metric(entry.key, entry.last_seen_ms / 1000)
        yield absent
        yield last_seen

    async def _run(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now_ms() + COMPARE_INTERVAL_MS)
            self._note(self._discovered())
            if self._dirty or self._clock.now_ms() >= self._saved_ms + SAVE_INTERVAL_MS:
                await self._save()

    def _note(self, present: frozenset[Key]) -> None:
        for key in sorted((self._present or frozenset()) - present):
            log.warning("target left discovery", extra={"job": key.job, "instance": key.instance})
        if present != self._present:
            self._dirty = True
        self._present = present
        self._last_seen_ms.update(dict.fromkeys(present, int(self._clock.now_ms())))

    async def _save(self) -> None:
        """Write the file. Where that fails or is cancelled it is done again at the next comparison."""
        targets = [_Saved(*key, seen_ms) for key, seen_ms in sorted(self._last_seen_ms.items())]
        dirty, self._dirty = True, False
        try:
            await asyncio.to_thread(self._write, msgspec.json.encode(_File(targets)))
            dirty = False
            self._saved_ms = self._clock.now_ms()
        except OSError as error:
            log.error("the inventory of targets was not saved", extra={"file": self._path, "error": str(error)})
        finally:
            self._dirty |= dirty

    def _write(self, content: bytes) -> None:
        # One after the other: a write whose caller was cancelled may still be under way.
        with self._writing:
            _replace(self._path, content)


def _load(path: Path) -> dict[Key, int]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InventoryError(f"the inventory of targets cannot be read: {error}") from error
    try:
        file = msgspec.json.decode(content, type=_File)
    except msgspec.MsgspecError as error:
        raise InventoryError(f"{path} is no inventory of targets: {error}; move it away to begin anew") from error
    return {Key(target.job, target.instance): target.last_seen_ms for target in file.targets}


def _replace(path: Path, content: bytes) -> None:
    """Put a whole file in the place of another: after a crash there is the old one or the new one."""
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _report_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (crash := task.exception()) is not None:
        log.error("the inventory of targets ended by a defect", exc_info=crash)
