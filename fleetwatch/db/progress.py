"""Progress bars of long work, on standard error and only where that is a terminal."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextlib.contextmanager
def bytes_bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar that is set to so many bytes done, of how many (None: nobody knows)."""
    with _bar(what, DownloadColumn()) as set_to:
        yield set_to


@contextlib.contextmanager
def count_bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar that is set to so many things done, of how many."""
    with _bar(what, MofNCompleteColumn()) as set_to:
        yield set_to


@contextlib.contextmanager
def _bar(what: str, counted: DownloadColumn | MofNCompleteColumn) -> Iterator[Callable[[int, int | None], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), counted, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
