"""The time series store: its data model, its protocol and the stores that keep it.

from tsdb import open_store
store = open_store("memory:")           # nothing on disk, for tests
store = open_store("./data")            # the embedded store in a directory
store = open_store("postgresql://fleetwatch@db/fleetwatch", timescale=Options(spool=Path("spool")))
"""

from typing import TYPE_CHECKING, Literal

from tsdb.dsn import is_dsn, shown_dsn
from tsdb.errors import StoreOpenError
from tsdb.exemplars import CAPACITY
from tsdb.limits import NO_LIMITS, SeriesLimits
from tsdb.store import Store

if TYPE_CHECKING:
    from tsdb.embedded.disk_watch import DiskThresholds
    from tsdb.embedded.retention_classes import Classes
    from tsdb.timescale.options import Options

_COMMIT_DELAY_S = 0.02
# How long an embedded store gathers batches for one transaction: at 200 scrapes a second it halves what writing costs.

__all__ = ["Store", "open_store"]


def open_store(
    spec: str,
    *,
    retention_ms: int | None = None,
    retention_bytes: int | None = None,
    retention_classes: "Classes" = (),
    durability: Literal["normal", "full"] = "normal",
    limits: SeriesLimits = NO_LIMITS,
    max_exemplars: int = CAPACITY,
    cache_bytes: int | None = None,
    disk: "DiskThresholds | None" = None,
    rollup_after_ms: int | None = None,
    rollup_keep_ms: int | None = None,
    timescale: "Options | None" = None,
) -> Store:
    """The store that `spec` names: `memory:`, the path of a directory, or a DSN. Raises StoreOpenError.

    A directory is made where it is missing; one process at a time can hold it. A database is used as `timescale` says,
    by any number of processes; its schema is made or upgraded where that is needed. Samples and logs older than
    `retention_ms`, and the oldest samples beyond `retention_bytes` on disk, are removed by `Store.maintain`; None
    keeps all. What was acknowledged outlives the process with durability `normal`, and a power cut with `full`.
    Series of `retention_classes` are kept as long as those say. `limits` are on the series of targets. `max_exemplars`
    are kept. `cache_bytes` are for decoded blocks. With `disk` it acts before its file system is full. Samples older
    than `rollup_after_ms` are rolled up too, which is kept for `rollup_keep_ms`; None for no roll-ups, and for ever.
    """
    if spec == "memory:":
        from tsdb.memory import MemoryStore

        return MemoryStore(retention_ms, limits, max_exemplars)
    if is_dsn(spec):
        if timescale is None:
            raise StoreOpenError(f"{shown_dsn(spec)} is a database: say how it is used (tsdb.timescale.options)")
        from tsdb.timescale.store import TimescaleStore

        return TimescaleStore(
            spec,
            timescale,
            retention_ms=retention_ms,
            retention_bytes=retention_bytes,
            retention_classes=retention_classes,
            limits=limits,
            max_exemplars=max_exemplars,
            rollup_after_ms=rollup_after_ms,
            rollup_keep_ms=rollup_keep_ms,
        )
    from tsdb.embedded import EmbeddedStore
    from tsdb.embedded.disk_watch import NO_WATCH
    from tsdb.embedded.store import CACHE_BYTES

    return EmbeddedStore(
        spec,
        retention_ms=retention_ms,
        retention_bytes=retention_bytes,
        retention_classes=retention_classes,
        durability=durability,
        limits=limits,
        max_exemplars=max_exemplars,
        cache_bytes=CACHE_BYTES if cache_bytes is None else cache_bytes,
        disk=NO_WATCH if disk is None else disk,
        rollup_after_ms=rollup_after_ms,
        rollup_keep_ms=rollup_keep_ms,
        commit_delay_s=_COMMIT_DELAY_S,
    )
