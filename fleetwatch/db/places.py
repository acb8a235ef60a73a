"""Which store a `db` command works on: what `--storage.path` says, or the file of `--config.file`, or `./data`."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import FleetwatchError
from fleetwatch.config import load_config
from fleetwatch.opening import database_dsn
from fleetwatch.storage_config import StorageConfig
from tsdb.dsn import is_dsn, shown_dsn


class PlaceError(FleetwatchError):
    """The command does not work on such a store."""


@dataclass(frozen=True, slots=True)
class Place:
    """A store: `spec` is a directory, or a DSN with its password. `storage` is the config, `base` its directory."""

    spec: str
    storage: StorageConfig
    base: Path

    @property
    def is_database(self) -> bool:
        """Whether it is not the embedded store."""
        return is_dsn(self.spec)

    @property
    def shown(self) -> str:
        """For a person, without the password."""
        return shown_dsn(self.spec)

    @property
    def spools(self) -> Path:
        """Where the processes of this host that use the database have their spools, a directory each."""
        return self.base / self.storage.timescaledb.spool.path

    def directory(self, instead: str) -> Path:
        """The directory of the embedded store. Raises PlaceError with what to do `instead` for a database."""
        if self.is_database:
            raise PlaceError(f"{self.shown} is a database, and this command is for the embedded store: {instead}")
        return Path(self.spec)

    def dsn(self, instead: str) -> str:
        """The DSN. Raises PlaceError with what to do `instead` for a directory."""
        if not self.is_database:
            raise PlaceError(f"{self.spec} is a directory, and this command is for a database: {instead}")
        return self.spec


def find_place(storage_path: str | None, config_file: Path | None) -> Place:
    """The place that the flags name. Raises FleetwatchError for a file that cannot be used."""
    if config_file is None:
        return Place(storage_path or StorageConfig().path, StorageConfig(), Path())
    loaded = load_config(config_file)
    storage, base = loaded.config.storage, loaded.directory
    spec = storage_path or storage.path
    if is_dsn(spec):
        return Place(database_dsn(storage, base, spec), storage, base)
    return Place(storage_path or str(base / storage.path), storage, base)
