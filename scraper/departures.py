"""Targets that were removed and may come back.

Their series get staleness markers only after two more intervals, in case discovery was just flapping or a reload
remakes the target; the markers then carry the time of the first scrape that was left out
(prometheus scrape/scrape.go endOfRunStaleness). At shutdown none are written: the next start goes on where this ended.
"""

import asyncio
from dataclasses import dataclass

from common.labels import Labels
from scraper.clock import Clock
from scraper.loop import ScrapeLoop


@dataclass(slots=True, eq=False)
class _Departure:
    loop: ScrapeLoop
    task: asyncio.Task[None]


class Departures:
    """Waits for removed targets of all pools, by their labels."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[Labels, list[_Departure]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, loop: ScrapeLoop) -> None:
        """A stopped loop's target is gone, unless it comes back in time. One never scraped has nothing to mark."""
        if loop.state.last_scrape_ms is None:
            return
        gone_ms = loop.state.last_scrape_ms + loop.target.interval_ms
        task = asyncio.create_task(self._depart(loop, gone_ms), name=f"departure of {loop.target.url}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._waiting.setdefault(loop.target.labels, []).append(_Departure(loop, task))

    def come_back(self, labels: Labels) -> ScrapeLoop | None:
        """The stopped loop of a removed target of these labels whose series are not marked yet, nor will be."""
        waiting = self._waiting.get(labels)
        if not waiting:
            return None
        departure = waiting.pop()
        if not waiting:
            del self._waiting[labels]
        departure.task.cancel()
        return departure.loop

    async def close(self) -> None:
        """Forget all of them, without markers."""
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _depart(self, loop: ScrapeLoop, gone_ms: int) -> None:
        await self._clock.sleep_until(gone_ms + loop.target.interval_ms * 1.1)
        waiting = self._waiting.get(loop.target.labels, [])
        self._waiting[loop.target.labels] = [departure for departure in waiting if departure.loop is not loop]
        if not self._waiting[loop.target.labels]:
            del self._waiting[loop.target.labels]
        await loop.farewell(gone_ms)
