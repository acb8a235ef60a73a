"""The threads that queries run on: few, so that a heavy query leaves the event loop and its scrapes alone.

Work that waits longer than its timeout is given up, as is work whose waiter is cancelled (for example because its
client went away): taken out of the queue or, where it already runs, told so by its cancellation, which is the store's
as well.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from server.errors import CanceledError, TimedOutError
from tsdb import cancellation
from tsdb.cancellation import Cancellation

T = TypeVar("T")


class Workers:
    """A bounded pool of threads for blocking work."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="query")

    async def run(
        self, work: Callable[[Cancellation], T], timeout_s: float, cancelled_by: Cancellation | None = None
    ) -> T:
        """The result of the work, whose argument is cancelled when nobody waits any more.

        Raises what the work raises, TimedOutError after `timeout_s`, queueing included, and CanceledError as soon as
        somebody else cancels `cancelled_by`.
        """
        if timeout_s <= 0:
            raise TimedOutError("query timed out in query execution")
        given_up = cancelled_by or Cancellation()
        place = "query queue"

        def begin() -> T:
            nonlocal place
            place = "query execution"
            cancellation.current.set(given_up)
            return work(given_up)

        def wake() -> None:
            loop.call_soon_threadsafe(future.cancel)

        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, contextvars.copy_context().run, begin)
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                with given_up.calling(wake):
                    return await future
        except TimeoutError:
            if not deadline.expired():
                raise
            raise TimedOutError(f"query timed out in {place}") from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise CanceledError(f"query was canceled in {place}") from None
        finally:
            given_up.cancel()

    def close(self) -> None:
        """Drop what is queued; what runs ends on its own."""
        self._executor.shutdown(wait=False, cancel_futures=True)
