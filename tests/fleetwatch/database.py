"""Databases for `fleetwatch db` to work on, and a store in them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.labels import Labels
from tests.fleetwatch.db_command import LONG_AGO_MS, SERIES
from tests.postgres import PostgresServer
from tsdb import open_store
from tsdb.model import Batch
from tsdb.store import Store
from tsdb.timescale.options import Options

USER, PASSWORD = "db_user", "a b:c@d/e%f"


def create_database(server: PostgresServer) -> str:
    """The superuser's DSN of a database that TimescaleDB is in, where the server has it."""
    dsn = server.create_database()
    if server.kind == "timescale":
        server.sql("CREATE EXTENSION timescaledb", dsn=dsn)
    return dsn


def as_user(server: PostgresServer, dsn: str, role: str) -> str:
    """The DSN for a user who has a role and no other rights."""
    server.sql(f"DROP ROLE IF EXISTS {USER}")
    server.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}' IN ROLE {role}")
    return server.dsn(dsn.rsplit("/", 1)[1], USER, "a%20b%3Ac%40d%2Fe%25f")


@contextlib.contextmanager
def opened(dsn: str, directory: Path) -> Iterator[Store]:
    """The store in a database."""
    with contextlib.closing(open_store(dsn, timescale=Options(spool=directory / "spool"))) as store:
        yield store


def fill(dsn: str, directory: Path, rows: int = 500) -> None:
    """A target of 20 series, half of which change, long ago."""
    noise = np.random.default_rng(1)
    with opened(dsn, directory) as store:
        target = store.register_target(Labels.of(job="node"))
        layout = store.layout(store.series_ids([Labels.of(__name__="x", n=str(n)) for n in range(SERIES)]))
        written = []
        for row in range(rows):
            values = np.where(np.arange(SERIES) % 2, 1.0, noise.random(SERIES))
            written.append(store.append(Batch(target, layout, LONG_AGO_MS + 15_000 * row, values)))
        for future in written:
            future.result()
