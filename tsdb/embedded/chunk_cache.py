"""What was decoded lately: a cache with a budget of bytes, where what was not used for longest goes first."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

V = TypeVar("V")

# What an entry takes beside its value: key, entry, array object.
_OVERHEAD_BYTES = 300


class ByteCache(Generic[V]):
    """Values by number, of at most `budget_bytes` together. Thread-safe; the values must not be changed."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[int, tuple[V, int]] = OrderedDict()
        self._bytes = 0
        self._hits = 0
        self._misses = 0

    def get(self, keys: Sequence[int]) -> list[V | None]:
        """The values of the keys, None where one is not here."""
        found: list[V | None] = []
        with self._lock:
            entries = self._entries
            for key in keys:
                entry = entries.get(key)
                if entry is None:
                    found.append(None)
                    continue
                entries.move_to_end(key)
                found.append(entry[0])
            misses = sum(value is None for value in found)
            self._misses += misses
            self._hits += len(found) - misses
        return found

    def put(self, values: Iterable[tuple[int, V, int]]) -> None:
        """Keep values: (key, value, its bytes)."""
        with self._lock:
            for key, value, size_bytes in values:
                self._remove(key)
                self._entries[key] = value, size_bytes + _OVERHEAD_BYTES
                self._bytes += size_bytes + _OVERHEAD_BYTES
            while self._bytes > self._budget_bytes:
                _, (_, size_bytes) = self._entries.popitem(last=False)
                self._bytes -= size_bytes

    def figures(self, name: str) -> dict[str, float]:
        """Counts for `Store.stats`."""
        with self._lock:
            return {
                f"{name}_bytes": float(self._bytes),
                f"{name}_hits_total": float(self._hits),
                f"{name}_misses_total": float(self._misses),
            }

    def _remove(self, key: int) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry[1]
