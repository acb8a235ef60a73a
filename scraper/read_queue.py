"""Where bodies are read that are too much work for the event loop: those of many lines that were not there before.

One thread for all targets, as reading holds the interpreter's lock: more threads would only take it from the event
loop. A target that is known goes before those that are scraped for the first time: a thousand may come at once.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Read = TypeVar("_Read")


class ReadQueue:
    """Runs one piece of work after another. Belongs to one event loop; the owner closes it."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._busy = False
        self._number = itertools.count()
        self._turns: list[tuple[bool, int, asyncio.Future[None]]] = []

    async def run(self, work: Callable[[], _Read], *, is_first: bool) -> _Read:
        """The outcome of `work`, in a thread; `is_first` says that its target was never scraped.

        Work that has begun goes on where the caller is cancelled.
        """
        loop = asyncio.get_running_loop()
        if self._busy:
            turn = loop.create_future()
            heapq.heappush(self._turns, (is_first, next(self._number), turn))
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():
                    self._pass_on()  # it had come to be this one's turn
                raise
        self._busy = True
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="read bodies")
        working = loop.run_in_executor(self._thread, work)
        working.add_done_callback(self._done)
        return await asyncio.shield(working)

    async def close(self) -> None:
        """Wait for the work that has begun. Nobody may wait for a turn any more. Idempotent; further work is taken."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.shutdown)

    def _done(self, working: "asyncio.Future[_Read]") -> None:
        if not working.cancelled():
            working.exception()  # marks it as seen, where nobody waits for it any more
        self._pass_on()

    def _pass_on(self) -> None:
        self._busy = False
        while self._turns:
            _, _, turn = heapq.heappop(self._turns)
            if not turn.done():
                self._busy = True
                turn.set_result(None)
                return
