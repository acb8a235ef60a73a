"""Keeps a process in step with the database: opens what could not be opened before, follows, refreshes.

One thread, of which there is one in every process; a process without a head needs it only until the database was there
for the first time, and looks for news itself before it reads.
"""

import logging
import threading
import time
from collections.abc import Callable

import psycopg

from tsdb.catalog import Catalog
from tsdb.errors import StoreError, StoreOpenError
from tsdb.timescale.connections import Connection, Connections, is_away
from tsdb.timescale.following import Follower
from tsdb.timescale.ids import Ids
from tsdb.timescale.loading import CatalogLoader
from tsdb.timescale.reads import first_line
from tsdb.timescale.recent import Recent
from tsdb.timescale.tombstone_rows import SharedTombstones

log = logging.getLogger(__name__)

POLL_S = 0.25

_REFRESH_S = 1.0
_RETRY_S = 1.0
_REST_S = 5.0
# Of one poll, which after an outage reads much.
_POLL_TIMEOUT_S = 600.0


class Keeper:
    """`open_database` makes the schema and loads the catalog; it is told whether nothing else works here yet."""

    def __init__(
        self,
        connections: Connections,
        catalog: Catalog,
        ids: Ids,
        loader: CatalogLoader,
        tombstones: SharedTombstones,
        open_database: Callable[[bool], None],
        own_writer: Callable[[], int | None],
        following: tuple[Follower, Recent] | None,
    ) -> None:
        self._connections = connections
        self._catalog = catalog
        self._ids = ids
        self._loader = loader
        self._tombstones = tombstones
        self._open_database = open_database
        self._started = False
        self._generation = ids.generation
        self._own_writer = own_writer
        self._following = following
        self._lock = threading.Lock()
        self._opened = False
        self._loaded = False
        self._stopping = threading.Event()
        self._refreshed = self._rest_at = time.monotonic() - _REST_S
        self._in_step_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="timescale-follower", daemon=True)

    def open(self) -> None:
        """Open the database now. Raises psycopg.Error, StoreOpenError."""
        with self._lock:
            self._open()

    def start(self) -> None:
        """Begin to keep in step."""
        self._started = True
        self._thread.start()

    def refresh(self) -> None:
        """Look for what others made, unless that was done a moment ago. Raises psycopg.Error, StoreError."""
        if self._following is not None or time.monotonic() < self._refreshed + _REFRESH_S:
            return
        with self._lock:
            if not self._opened:
                self._open()
            elif time.monotonic() >= self._refreshed + _REFRESH_S:
                self._renumber()
                with self._connections.transaction() as connection:
                    self._refresh(connection)

    def catch_up(self) -> None:
        """Have everything that any process has committed until now. Raises psycopg.Error, StoreError."""
        with self._lock:
            self._refreshed -= _REFRESH_S
            self._rest_at -= _REST_S
            if self._following is not None:
                self._step()
                return
        self.refresh()

    def refresh_tombstones(self) -> None:
        """Take in the deletes as they are now. Raises psycopg.Error."""
        with self._connections.transaction() as connection:
            self._refresh_tombstones(connection)

    def figures(self) -> dict[str, float]:
        """For the stats of a store."""
        if self._following is None:
            return {}
        follower, _ = self._following
        lag_s = float("inf") if self._in_step_at is None else time.monotonic() - self._in_step_at
        return {
            "follower_lag_seconds": lag_s,
            "follower_batches_total": float(follower.batches),
            "head_loaded": float(self._loaded),
        }

    def close(self) -> None:
        """Stop."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        wait_s = 0.0
        away = False
        while not self._stopping.wait(wait_s):
            wait_s = POLL_S
            if self._following is not None:
                # While the database is away too: what waits in the spool is in the head.
                self._following[1].trim(time.time_ns() // 1_000_000)
            try:
                with self._lock:
                    self._step()
                if away:
                    log.info("the database is there again")
                away = False
                if self._following is None:
                    return
            except StoreOpenError as error:
                log.error("the database cannot be used: %s", error)
                wait_s = 30 * _RETRY_S
            except (psycopg.Error, StoreError) as error:
                wait_s = _RETRY_S
                if not away:
                    log.warning("cannot follow what others write: %s", first_line(error))
                away = isinstance(error, psycopg.Error) and is_away(error)
            except Exception:
                # Without this thread nobody would follow, and the head would grow for ever.
                log.exception("following failed in a way that was not foreseen, it is tried again")
                wait_s = 30 * _RETRY_S

    def _step(self) -> None:
        if not self._opened:
            self._open()
        if self._following is None:
            return
        follower, _ = self._following
        began = time.monotonic()
        self._renumber()
        with self._connections.transaction(snapshot=True, timeout_s=_POLL_TIMEOUT_S) as connection:
            if self._loaded:
                follower.poll(connection, self._own_writer())
            else:
                follower.load(connection)
                self._loaded = True
                # Nobody was told of what is loaded.
                self._tombstones.renew()
            if began >= self._refreshed + _REFRESH_S:
                self._refresh(connection)
        self._in_step_at = began

    def _open(self) -> None:
        self._open_database(not self._started)
        self._opened = True

    def _renumber(self) -> None:
        """Learn all numbers anew where the database has lost commits that it had acknowledged."""
        if self._generation != self._ids.generation:
            generation = self._ids.generation
            self._open_database(False)
            self._generation = generation

    def _refresh(self, connection: Connection) -> None:
        self._loader.refresh(connection)
        self._refresh_tombstones(connection)
        now = time.monotonic()
        if now >= self._rest_at + _REST_S:
            self._loader.refresh_rest(connection)
            self._rest_at = now
        # Who has which series the writer tells the database itself.
        self._catalog.holdings_stored(self._catalog.new_holdings())
        self._refreshed = now

    def _refresh_tombstones(self, connection: Connection) -> None:
        floor_ms = None if self._following is None else self._following[1].floor_ms
        self._tombstones.refresh(connection, time.time_ns() // 1_000_000, floor_ms)
