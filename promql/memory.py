"""Budgets of memory: for each query by the estimate of what it will take, and for all queries together."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from promql import limits
from promql.errors import ExecutionError

# How often a query that waits for memory looks whether it has to stop.
_LOOK_S = 0.05


class MemoryLimitError(ExecutionError):
    """The query would take more memory than one query may."""


class MemoryBudget:
    """Bytes that queries may take at once: each of them, and all together; 0 means no limit. Thread-safe."""

    def __init__(self, max_query_bytes: int = 0, max_total_bytes: int = 0) -> None:
        self.max_query_bytes = max_query_bytes
        self.max_total_bytes = max_total_bytes
        self._changed = threading.Condition()
        self._taken_bytes = 0

    @property
    def taken_bytes(self) -> int:
        """What running queries take together, by their estimates."""
        return self._taken_bytes

    @contextmanager
    def claim(self) -> Iterator["Claim"]:
        """What one query takes, given back in the end."""
        claim = Claim(self)
        try:
            yield claim
        finally:
            self._change(-claim.taken_bytes)

    def take(self, taken_bytes: int) -> None:
        """Wait until there is room. Raises MemoryLimitError, and as limits.check does."""
        allowed = min(filter(None, (self.max_query_bytes, self.max_total_bytes)), default=0)
        if allowed and taken_bytes > allowed:
            raise MemoryLimitError(
                f"the query would take about {shown_bytes(taken_bytes)} of memory, more than the"
                f" {shown_bytes(allowed)} that query.max_memory allows; ask for fewer series or steps"
            )
        with self._changed:
            # One that is alone runs, whatever the others' estimates were.
            while self.max_total_bytes and self._taken_bytes and self._taken_bytes + taken_bytes > self.max_total_bytes:
                self._changed.wait(_LOOK_S)
                limits.check()
            self._taken_bytes += taken_bytes

    def _change(self, by_bytes: int) -> None:
        with self._changed:
            self._taken_bytes += by_bytes
            self._changed.notify_all()


class Claim:
    """What one query takes of a budget."""

    def __init__(self, budget: MemoryBudget) -> None:
        self.taken_bytes = 0
        self._budget = budget

    def take(self, taken_bytes: int) -> None:
        """Take as much as this. Raises as MemoryBudget.take does."""
        self._budget.take(taken_bytes)
        self.taken_bytes += taken_bytes


def shown_bytes(number: int) -> str:
    """Bytes as a person reads them."""
    units = ["B", "KiB", "MiB", "GiB"]
    while number >= 10 * 1024 and len(units) > 1:
        number //= 1024
        del units[0]
    return f"{number} {units[0]}"
