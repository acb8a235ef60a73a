"""The stores of `db` commands, opened for one command and closed after it.

A command on a database is one more process that uses it, for a moment: its spool is a directory of its own, which has
to be empty when it ends.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import FleetwatchError
from fleetwatch.db.places import Place
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.tools.inspection import refuse_without_store
from tsdb.errors import StoreLockedError
from tsdb.local import LocalStore
from tsdb.timescale.options import Options

if TYPE_CHECKING:
    from tsdb.timescale.store import TimescaleStore


class InUseError(FleetwatchError):
    """A running process has the store."""


@contextlib.contextmanager
def store_to_read(place: Place) -> Iterator[LocalStore]:
    """The store, beside processes that use it. Raises StoreOpenError."""
    if place.is_database:
        with opened_database(place) as database:
            yield database
        return
    directory = Path(place.spec)
    refuse_without_store(directory)
    with contextlib.closing(EmbeddedStore(directory, read_only=True)) as store:
        yield store


@contextlib.contextmanager
def store_to_change(place: Place, path: str) -> Iterator[LocalStore]:
    """The store, which no other process may have unless it is a database; `path` of the API does it as well.

    Raises StoreOpenError, InUseError.
    """
    if place.is_database:
        with opened_database(place) as database:
            yield database
        return
    directory = Path(place.spec)
    refuse_without_store(directory)
    try:
        store = EmbeddedStore(directory)
    except StoreLockedError as error:
        raise InUseError(f"{error}; or ask it: POST {path} (started with --web.enable-admin-api)") from error
    with contextlib.closing(store):
        yield store


@contextlib.contextmanager
def opened_database(place: Place) -> Iterator["TimescaleStore"]:
    """The store in a database. Raises StoreOpenError."""
    from tsdb.timescale.store import TimescaleStore  # not for commands on a directory

    with (
        tempfile.TemporaryDirectory(prefix="fleetwatch-db-") as directory,
        contextlib.closing(TimescaleStore(place.spec, Options(spool=Path(directory), head_ms=0))) as store,
    ):
        yield store
