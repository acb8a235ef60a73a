"""When a query has to stop: its time is up, nobody waits for it any more, or it holds too much.

`current` is set around a query. Whoever works for long asks `check` between pieces that take a few milliseconds.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

from promql.errors import QueryCanceledError, QueryTimeoutError, TooManySamplesError
from tsdb import cancellation
from tsdb.cancellation import Cancellation

Item = TypeVar("Item")

# Of label sets, that are worked on one by one, between two looks.
_ITEMS = 1000


class Memory(Protocol):
    """What a query takes its memory of (promql.memory)."""

    def take(self, taken_bytes: int) -> None:
        """Wait until there are so many bytes. Raises PromQLError."""


class Limits:
    """Of one query; `timeout_s` counts from now on."""

    def __init__(
        self, timeout_s: float, max_samples: int, cancelled_by: Cancellation, memory: Memory | None = None
    ) -> None:
        self.cancellation = cancelled_by
        self.peak_samples = 0
        """The greatest number of samples that was held at once, as far as it was told."""
        self._deadline_s = time.monotonic() + timeout_s
        self._max_samples = max_samples
        self._memory = memory

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Within: they are the limits of what this thread does, and its cancellation is the store's as well."""
        mine, stores = current.set(self), cancellation.current.set(self.cancellation)
        try:
            yield
        finally:
            current.reset(mine)
            cancellation.current.reset(stores)

    def check(self) -> None:
        """Raises QueryTimeoutError or QueryCanceledError."""
        if self.cancellation.canceled:
            raise QueryCanceledError
        if time.monotonic() > self._deadline_s:
            raise QueryTimeoutError

    def check_samples(self, samples: int) -> None:
        """Before this many samples are held, or after. Raises TooManySamplesError."""
        self.peak_samples = max(self.peak_samples, samples)
        if samples > self._max_samples:
            raise TooManySamplesError

    def take(self, estimated: Callable[[], int]) -> None:
        """Take the bytes that a query will hold, where they are counted. Raises as Memory.take does."""
        if self._memory is not None:
            self._memory.take(estimated())


current: ContextVar[Limits | None] = ContextVar("current", default=None)
"""The limits of the query that this thread works for."""


def check() -> None:
    """Raises QueryTimeoutError or QueryCanceledError where the query of this thread has to stop."""
    limits = current.get()
    if limits is not None:
        limits.check()


def checked(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, with a look now and then whether the query of this thread has to stop. Raises as `check`."""
    for number, item in enumerate(items):
        if number % _ITEMS == 0:
            check()
        yield item


def check_samples(samples: int) -> None:
    """Before this many samples are held. Raises TooManySamplesError where the query of this thread may not."""
    limits = current.get()
    if limits is not None:
        limits.check_samples(samples)
