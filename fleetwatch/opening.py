"""The store that a config names, opened: the embedded one in a directory, or a database.

Paths of the config are relative to its directory. A process that uses a database has a directory of its own as well,
for its spool; it is named after the port that the process serves, so that several of one host can share a config.
"""

from dataclasses import dataclass
from pathlib import Path

from fleetwatch.errors import StartError
from fleetwatch.listen import split_address
from fleetwatch.storage_config import StorageConfig
from tsdb import Store, open_store
from tsdb.dsn import is_dsn, with_password
from tsdb.embedded.disk_watch import DiskThresholds
from tsdb.limits import SeriesLimits
from tsdb.timescale.options import Options


@dataclass(frozen=True, slots=True)
class StorePlace:
    """Where the store is: `spec` as open_store takes it, and a directory that is this process's own."""

    spec: str
    directory: Path

    @property
    def is_database(self) -> bool:
        """Whether it is not the embedded store."""
        return is_dsn(self.spec)


def store_place(storage: StorageConfig, directory: Path, listen_address: str, path: str | None = None) -> StorePlace:
    """The place that a config in `directory` names; `path` overrides its. Raises StartError for a password file."""
    spec = path or storage.path
    if not is_dsn(spec):
        data = Path(path) if path else directory / storage.path
        return StorePlace(str(data), data)
    _, port = split_address(listen_address)
    return StorePlace(database_dsn(storage, directory, spec), directory / storage.timescaledb.spool.path / str(port))


def database_dsn(storage: StorageConfig, directory: Path, dsn: str) -> str:
    """A DSN with the password of `storage.timescaledb.password_file`. Raises StartError where that cannot be read."""
    file = storage.timescaledb.password_file
    if not file:
        return dsn
    try:
        return with_password(dsn, (directory / file).read_text("utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise StartError(f"cannot read {directory / file}: {reason}; set storage.timescaledb.password_file") from error


def open_configured(
    storage: StorageConfig, place: StorePlace, directory: Path, *, head: bool = False, scrapes: bool = False
) -> Store:
    """Open the store. Raises StoreOpenError, StartError.

    With `head` the newest samples of a database are kept in memory; one that `scrapes` does not wait for a database.
    """
    rollups, disk = storage.rollups, storage.embedded.disk
    return open_store(
        place.spec,
        retention_ms=storage.retention_ms,
        retention_bytes=storage.retention_size or None,
        retention_classes=storage.retention_classes,
        durability=storage.embedded.durability,
        limits=SeriesLimits(storage.limits.series, storage.limits.series_per_target),
        max_exemplars=storage.exemplars.max_exemplars,
        cache_bytes=storage.embedded.cache,
        disk=DiskThresholds(disk.warn, disk.drop, disk.refuse),
        rollup_after_ms=None if rollups is None else rollups.after,
        rollup_keep_ms=None if rollups is None else rollups.keep,
        timescale=_options(storage, place, directory, head, scrapes) if place.is_database else None,
    )


def _options(storage: StorageConfig, place: StorePlace, directory: Path, head: bool, scrapes: bool) -> Options:
    config = storage.timescaledb
    return Options(
        spool=place.directory,
        spool_bytes=config.spool.size,
        read_replicas=tuple(database_dsn(storage, directory, dsn) for dsn in config.read_replicas),
        head_ms=config.head if head else 0,
        narrow=config.narrow,
        pool_size=config.pool or None,
        statement_timeout_s=config.statement_timeout / 1000,
        commit_delay_s=config.commit_delay / 1000,
        start_without=scrapes,
    )
