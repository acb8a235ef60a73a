"""The time series store: its data model, its protocol and the stores that keep it.

from tsdb import open_store
store = open_store("memory:")           # nothing on disk, for tests
store = open_store("./data")            # the embedded store in a directory
"""

from tsdb.errors import StoreOpenError
from tsdb.store import Store

_COMMIT_DELAY_S = 0.02
# How long an embedded store gathers batches for one transaction: at 200 scrapes a second it halves what writing costs.

__all__ = ["Store", "open_store"]


def open_store(spec: str, *, retention_ms: int | None = None) -> Store:
    """The store that `spec` names: `memory:`, the path of a directory, or a DSN. Raises StoreOpenError.

    A directory is made where it is missing; one process at a time can hold it. Samples and logs older than the
    retention are removed by `Store.maintain`; None keeps all.
    """
    if spec == "memory:":
        from tsdb.memory import MemoryStore

        return MemoryStore(retention_ms)
    if spec.startswith(("postgresql://", "postgres://")):
        raise StoreOpenError(
            "this version has no TimescaleDB store yet: give the path of a directory for the embedded store"
        )
    from tsdb.embedded import EmbeddedStore

    return EmbeddedStore(spec, retention_ms=retention_ms, commit_delay_s=_COMMIT_DELAY_S)
