"""Time as an argument: what scrape loops read and wait by, so that tests drive it by hand."""

import asyncio
import math
import time
from typing import Protocol


class Clock(Protocol):
    """The wall clock, and a way to wait for it."""

    def now_ms(self) -> float:
        """Milliseconds since the epoch, UTC."""

    async def sleep_until(self, wall_ms: float) -> None:
        """Return when `now_ms()` has come to `wall_ms`, at once where it has already."""


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    def now_ms(self) -> float:
        """See Clock."""
        return time.time_ns() / 1e6

    async def sleep_until(self, wall_ms: float) -> None:
        """See Clock. Checks again after waking, as the wall clock may have been set.

        Whole milliseconds, because uvloop's timers know no less and would fire early.
        """
        wait_ms = wall_ms - self.now_ms()
        if wait_ms > 0:
            await asyncio.sleep(math.ceil(wait_ms) / 1000)
            await self.sleep_until(wall_ms)
