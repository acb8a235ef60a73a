"""Jobs that may hang, run so that one that does costs nothing but itself.

A read of /sys or a statvfs of a dead network mount can block for hours, and no thread can be stopped from outside.
So jobs run one after another in a worker thread. The caller waits; a job over its limit is left behind together
with the thread, a new thread goes on with the next job, and the one left behind is not started again until it has
returned. There is never more than one thread for each job that hangs, and with none that hangs just one.
"""

import queue
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

_SHORTEST_LIMIT_S = 0.02


@dataclass(slots=True)
class _Batch(Generic[T]):
    """Jobs for one worker. `started` is when the current job began; `left_behind` tells the worker to end after it."""

    jobs: list[tuple[str, Callable[[], T]]]
    results: dict[str, T] = field(default_factory=dict)
    position: int = 0
    started: float = 0.0
    left_behind: bool = False
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class _Worker(Generic[T]):
    """What a thread shares with those who give it work; `stuck` are the jobs that were left behind."""

    lock: threading.Lock
    stuck: set[str]
    batches: "queue.SimpleQueue[_Batch[T] | None]" = field(default_factory=queue.SimpleQueue)

    def run(self) -> None:
        while (batch := self.batches.get()) is not None:
            for name, job in batch.jobs:
                result = job()
                with self.lock:
                    if batch.left_behind:
                        self.stuck.discard(name)
                        return
                    batch.results[name] = result
                    batch.position += 1
                    batch.started = time.monotonic()
            batch.done.set()


class Deadlines(Generic[T]):
    """Runs jobs by name, each within `limit_s` seconds. `run` is not thread-safe; jobs must not raise.

    With `halving`, each job that is left behind halves the limit of the others in the same run, down to 20 ms: many may
    hang together, as the mounts of one server do, and still the run takes less than three times the limit.

    The idle thread ends with `close`, or when nobody holds this object any more; those left behind end when their job
    returns.
    """

    def __init__(self, limit_s: float, thread_name: str, *, halving: bool = False) -> None:
        self._limit_s = limit_s
        self._halving = halving
        self._thread_name = thread_name
        self._lock = threading.Lock()
        self._stuck: set[str] = set()
        self._worker: _Worker[T] | None = None
        self.close: Callable[[], object] = lambda: None

    @property
    def stuck(self) -> frozenset[str]:
        """The names of the jobs that were left behind and have not returned yet."""
        with self._lock:
            return frozenset(self._stuck)

    def run(self, jobs: Mapping[str, Callable[[], T]]) -> dict[str, T]:
        """Run the jobs in order. A job over its limit, or still held up from an earlier run, has no result."""
        stuck = self.stuck
        waiting = [(name, job) for name, job in jobs.items() if name not in stuck]
        results: dict[str, T] = {}
        limit_s = self._limit_s
        while waiting:
            batch = _Batch(waiting, started=time.monotonic())
            self._hand_over(batch)
            waiting = waiting[self._wait(batch, limit_s) + 1 :]
            results |= batch.results
            if self._halving:
                limit_s = max(limit_s / 2, _SHORTEST_LIMIT_S)
        return results

    def _hand_over(self, batch: _Batch[T]) -> None:
        if self._worker is None:
            worker = self._worker = _Worker[T](self._lock, self._stuck)
            # A daemon: a job that hangs must not keep the process from ending.
            threading.Thread(target=worker.run, name=self._thread_name, daemon=True).start()
            self.close = weakref.finalize(self, worker.batches.put, None)
        self._worker.batches.put(batch)

    def _wait(self, batch: _Batch[T], limit_s: float) -> int:
        """Wait for the batch; the index of the job that was left behind, or of the last one."""
        remaining = limit_s
        while not batch.done.wait(remaining):
            with self._lock:
                remaining = batch.started + limit_s - time.monotonic()
                if remaining <= 0 and batch.position < len(batch.jobs):
                    batch.left_behind = True
                    self._stuck.add(batch.jobs[batch.position][0])
                    self._worker = None
                    return batch.position
                remaining = max(remaining, 0)
        return len(batch.jobs) - 1
