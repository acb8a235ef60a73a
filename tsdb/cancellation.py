"""A wish that work end, which whoever works can see: a query's caller has gone, its time is up, somebody killed it.

The engine sets `current` around a query. A store looks at it between the pieces of a long read, or has itself called
where it waits for something that can be stopped from outside, such as a database.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Cancellation:
    """Can be cancelled once, from any thread."""

    def __init__(self) -> None:
        # Held while callbacks run: no callback runs after its context was left.
        self._lock = threading.RLock()
        self._canceled = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def canceled(self) -> bool:
        """Whether work should end."""
        return self._canceled

    def cancel(self) -> None:
        """Ask for the end; callbacks run in this thread, so that they must be short. A second call does nothing."""
        with self._lock:
            self._canceled = True
            callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Within: the callback runs once when cancelled, at once if that has happened before."""
        with self._lock:
            if self._canceled:
                callback()
            else:
                self._callbacks.append(callback)
        try:
            yield
        finally:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)


current: ContextVar[Cancellation | None] = ContextVar("current", default=None)
"""What may cancel the work of this thread or task; None where nothing can."""
