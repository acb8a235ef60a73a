"""The loop of every source that is asked again and again: fetch, publish, wait.

A fetch that fails publishes nothing, so the last targets stay. It is tried again after a second, then after twice as
long each time, never longer than the refresh interval. Waits are cut by a random part, so that many sources that
started together do not ask together for ever.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from common.errors import FleetwatchError
from scraper.discovery.metrics import DiscoveryMetrics
from scraper.discovery.model import Publish, TargetGroup

log = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
JITTER = 0.1
"""The part of a wait that chance may cut off."""

Fetch = Callable[[], Awaitable[Sequence[TargetGroup]]]


class Failures:
    """Counts the failures of a source, and logs an error when its text is not that of the last one."""

    def __init__(self, mechanism: str, metrics: DiscoveryMetrics) -> None:
        self.in_a_row = 0
        self._mechanism = mechanism
        self._total = metrics.failures.labels(mechanism)
        self._last_text = ""

    def failed(self, error: Exception) -> None:
        """Note a failure."""
        self.in_a_row += 1
        self._total.inc()
        text = str(error)
        if text != self._last_text:
            self._last_text = text
            message = "discovery failed, the last targets are kept"
            log.warning(message, extra={"mechanism": self._mechanism, "error": text})

    def succeeded(self) -> None:
        """Note that all is well; the next error is logged whatever its text."""
        if self.in_a_row:
            log.info("discovery works again", extra={"mechanism": self._mechanism})
        self.in_a_row = 0
        self._last_text = ""

    def wait_s(self, interval_s: float) -> float:
        """How long to wait until the next try, for a source with this refresh interval."""
        wait_s = interval_s
        if self.in_a_row:
            wait_s = min(interval_s, FIRST_RETRY_S * 2.0 ** min(self.in_a_row - 1, 30))
        return wait_s * (1 - JITTER * random.random())


async def refresh(mechanism: str, interval_ms: int, fetch: Fetch, publish: Publish, metrics: DiscoveryMetrics) -> None:
    """Publish what `fetch` brings, now and every interval, until cancelled.

    `fetch` raises FleetwatchError where it has no usable answer.
    """
    failures = Failures(mechanism, metrics)
    while True:
        start_s = time.monotonic()
        try:
            groups = await fetch()
        except FleetwatchError as error:
            failures.failed(error)
        else:
            failures.succeeded()
            publish(groups)
        metrics.duration_s.labels(mechanism).observe(time.monotonic() - start_s)
        await asyncio.sleep(failures.wait_s(interval_ms / 1000))
