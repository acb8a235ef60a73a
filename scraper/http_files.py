"""Files of secrets and certificates, followed while the process runs, and never looked at in the event loop.

A file may lie on a server that does not answer, and then a look at it hangs for good: so looks have threads of their
own, which can be left behind and do not hold up the end of the process. All who ask at the same moment, as the targets
of a job do, share one look; one that hangs is not doubled.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path

from scraper.errors import RequestError
from scraper.http_reasons import of_system

# A file that was written just before it was read may be written again without a new modification time.
_UNSETTLED_NS = 1_000_000_000

Texts = Mapping[str, str]


class SecretFile:
    """A small file that is read again when it changes; `name` is relative to `directory`.

    `words` begin the message of an error; the file's path follows them.
    """

    def __init__(self, directory: Path, name: str, words: str = "unable to read file") -> None:
        self._text = ""
        self._path = directory / name
        self._words = words
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> str:
        """The text, stripped. Blocks; raises RequestError."""
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen == self._seen:
                return self._text
            self._text = self._path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            self._seen = None
            reason = of_system(error) if isinstance(error, OSError) else str(error)
            raise RequestError(f"{self._words} {self._path}: open {self._path}: {reason}") from error
        self._seen = seen if time.time_ns() - status.st_mtime_ns > _UNSETTLED_NS else None
        return self._text


class FollowedFiles:
    """The texts of files by any key. Belongs to one event loop, but `read` may be called before there is one."""

    def __init__(self, files: Mapping[str, SecretFile]) -> None:
        self._files = files
        self._look: asyncio.Future[Texts] | None = None

    def __bool__(self) -> bool:
        """Whether there is any file to look at."""
        return bool(self._files)

    def read(self) -> Texts:
        """Look now. Blocks; raises RequestError."""
        return {key: file.read() for key, file in self._files.items()}

    async def current(self) -> Texts:
        """The texts as they are now. Raises RequestError; waits as long as the files' server does not answer."""
        if not self._files:
            return {}
        if self._look is None:
            self._look = asyncio.wrap_future(_in_thread_of_its_own(self.read))
            self._look.add_done_callback(self._looked)
        # Shielded: the look is everybody's, also of those with more patience.
        return await asyncio.shield(self._look)

    def _looked(self, look: asyncio.Future[Texts]) -> None:
        self._look = None
        if not look.cancelled():
            look.exception()  # marks it as seen: each who waits gets it


def _in_thread_of_its_own(read: Callable[[], Texts]) -> Future[Texts]:
    future: Future[Texts] = Future()

    def run() -> None:
        try:
            future.set_result(read())
        except RequestError as error:
            future.set_exception(error)

    threading.Thread(target=run, name="look at secret files", daemon=True).start()
    return future
