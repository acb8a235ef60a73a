"""What can go wrong in a store.

StoreError                     root; the store is otherwise sound and later calls may succeed
+-- StoreOpenError             the store cannot be opened: path, rights, schema version, wrong DSN
|   +-- StoreLockedError       another process writes to it; the message says which
+-- StoreClosedError           used after close()
+-- SeriesLimitError           new series would exceed storage.limits; none of them was made
+-- WriteRefusedError          this write was not stored and can be tried again (disk full, I/O error)
"""

from common.errors import FleetwatchError
from common.labels import Labels


class StoreError(FleetwatchError):
    """Root of the store's errors."""


class StoreOpenError(StoreError):
    """The store cannot be opened."""


class StoreLockedError(StoreOpenError):
    """Another process holds the store."""


class StoreClosedError(StoreError):
    """The store was closed before this call."""


class SeriesLimitError(StoreError):
    """A limit on series was hit: `limit` is what it allows, `target` whose series were refused."""

    def __init__(self, message: str, limit: int, target: Labels) -> None:
        super().__init__(message)
        self.limit = limit
        self.target = target


class WriteRefusedError(StoreError):
    """A write was not stored; nothing of it is kept, and it can be tried again."""
