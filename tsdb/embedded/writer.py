"""The writer thread's transactions: each also stores what is new in the catalog, and new exemplars."""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from typing import TypeVar

from tsdb.embedded.catalog_rows import CatalogRows
from tsdb.embedded.database import Database
from tsdb.embedded.exemplar_rows import ExemplarRows
from tsdb.errors import StoreClosedError
from tsdb.model import Layout

T = TypeVar("T")

STEP_S = 0.002
"""What a step of maintenance takes of the writer's time before it lets appends pass."""


class Writer:
    """Runs calls in the writer thread, one after the other."""

    def __init__(self, database: Database, catalog_rows: CatalogRows, exemplar_rows: ExemplarRows) -> None:
        self._database = database
        self._catalog_rows = catalog_rows
        self._exemplar_rows = exemplar_rows
        self.stopping = False
        """Whether maintenance is to end before its next step."""

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run a call after those given before. Raises StoreClosedError where the store was closed meanwhile."""
        try:
            return self._database.in_writer(call)
        except RuntimeError as error:  # as the executor says it
            raise StoreClosedError("the store is closed") from error

    @contextlib.contextmanager
    def transaction(self, layouts: Collection[Layout] = ()) -> Iterator[sqlite3.Connection]:
        """A transaction, in the writer thread, that uses some layouts. Raises WriteRefusedError."""
        with self._database.transaction() as connection:
            self._catalog_rows.write(connection, layouts)
            self._exemplar_rows.write(connection)
            yield connection
        self._catalog_rows.committed()
        self._exemplar_rows.committed()

    def step(self, write: Callable[[sqlite3.Connection], T], then: Callable[[T], None] | None = None) -> T:
        """A transaction of its own for a step of maintenance, waited for; `then` runs in the writer thread after it.

        Raises WriteRefusedError, and StoreClosedError where the store is about to be closed.
        """

        def run() -> T:
            with self.transaction() as connection:
                result = write(connection)
            if then is not None:
                then(result)
            return result

        if self.stopping:
            raise StoreClosedError("the store is closed")
        return self.submit(run).result()

    def steps(self, write: Callable[[sqlite3.Connection, float], bool]) -> None:
        """Repeat a step until it says that nothing is left; it is given the `time.perf_counter` to end at."""
        while self.step(lambda connection: write(connection, time.perf_counter() + STEP_S)):
            pass
