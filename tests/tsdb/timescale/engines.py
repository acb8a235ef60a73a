"""A database on each of the engines, empty but for TimescaleDB's extension where the engine has it."""

from typing import Protocol

import psycopg
import pytest

from tests.pglite.server import PGliteServer

ENGINES = ("timescale_server", "postgres15_server", "pglite_server")
"""Fixtures of tests/databases.py: Apache edition, PostgreSQL 15 without TimescaleDB, community edition."""


class DatabaseServer(Protocol):
    """A server of tests.postgres or tests.pglite."""

    def create_database(self) -> str:
        """The DSN of a new database."""


def empty_database(request: pytest.FixtureRequest, engine: str) -> str:
    """The DSN of the superuser. The engine of the community edition has one database, which is emptied."""
    server: DatabaseServer = request.getfixturevalue(engine)
    dsn = server.create_database()
    if isinstance(server, PGliteServer):
        # It loads the library with the extension, and not at its start, so migrations cannot know that it could.
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    return dsn
