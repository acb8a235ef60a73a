"""One file watcher for all discoverers: tells them that something in a directory changed.

A watch occupies a thread while it waits, so one that covers every directory is shared instead of one for each job.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from watchfiles import awatch

log = logging.getLogger(__name__)

DEBOUNCE_MS = 200
"""How long changes are gathered: writers often take several steps."""

STEP_MS = 20
"""How long quiet must last for the gathered changes to be told."""


class DirectoryWatcher:
    """Sets events when files in directories change. Belongs to one event loop; `close` ends it."""

    def __init__(self) -> None:
        self._subscriptions: list[tuple[frozenset[Path], asyncio.Event]] = []
        self._watched: frozenset[Path] = frozenset()
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def watching(self, directories: Iterable[Path], changed: asyncio.Event) -> AsyncIterator[None]:
        """Set `changed` at every change in the directories, while inside. Those that do not exist are left out."""
        subscription = (frozenset(path.absolute() for path in directories), changed)
        self._subscriptions.append(subscription)
        self.update()
        await asyncio.sleep(0)  # the watch is in place after its task's first step
        try:
            yield
        finally:
            self._subscriptions.remove(subscription)
            self.update()

    def update(self) -> None:
        """Watch the directories that exist now; does nothing where they are the same as before."""
        wanted = frozenset(path for paths, _ in self._subscriptions for path in paths if path.is_dir())
        if wanted == self._watched:
            return
        self._watched = wanted
        self._stop.set()
        self._stop = asyncio.Event()
        if wanted:
            task = asyncio.create_task(self._watch(wanted, self._stop), name="file watcher")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop watching and wait for the threads."""
        self._stop.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _watch(self, directories: frozenset[Path], stop: asyncio.Event) -> None:
        try:
            async for changes in awatch(
                *directories,
                watch_filter=None,
                recursive=False,
                debounce=DEBOUNCE_MS,
                step=STEP_MS,
                stop_event=stop,
            ):
                touched = {Path(path).parent for _, path in changes}
                for paths, changed in self._subscriptions:
                    if not touched.isdisjoint(paths):
                        changed.set()
        except OSError as error:
            log.warning(
                "directories cannot be watched, their files are reread at every refresh_interval",
                extra={"directories": sorted(map(str, directories)), "error": str(error)},
            )
