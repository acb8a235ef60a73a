"""The threads that queries run on: few, so that a heavy query leaves the event loop and its scrapes alone.

Work that waits longer than its timeout is given up, as is work whose waiter is cancelled (for example because its
client went away): taken out of the queue or, where it already runs, told so through its `is_given_up`.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from server.errors import TimedOutError

T = TypeVar("T")

IsGivenUp = Callable[[], bool]


class Workers:
    """A bounded pool of threads for blocking work."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="query")

    async def run(self, work: Callable[[IsGivenUp], T], timeout_s: float) -> T:
        """The result of the work, which should look at its argument now and then: true when nobody waits any more.

        Raises what the work raises, and TimedOutError after `timeout_s`, queueing included.
        """
        if timeout_s <= 0:
            raise TimedOutError("query timed out in query execution")
        given_up = threading.Event()
        context = contextvars.copy_context()
        future = asyncio.get_running_loop().run_in_executor(self._executor, context.run, work, given_up.is_set)
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                return await future
        except TimeoutError:
            if not deadline.expired():
                raise
            raise TimedOutError("query timed out in query execution") from None
        finally:
            given_up.set()

    def close(self) -> None:
        """Drop what is queued; what runs ends on its own."""
        self._executor.shutdown(wait=False, cancel_futures=True)
