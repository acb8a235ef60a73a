"""Databases that many tests share: one server of each kind for a whole test run, started when a test first asks.

Tests make databases of their own in them and never stop them: a test that does starts one of its own with
`tests.postgres.running`.
"""

from collections.abc import Iterator

import pytest

from tests.pglite.server import PGliteServer, running_pglite
from tests.postgres import PostgresServer, running


@pytest.fixture(scope="session")
def timescale_server() -> Iterator[PostgresServer]:
    """PostgreSQL with TimescaleDB, Apache edition."""
    with running("timescale") as server:
        yield server


@pytest.fixture(scope="session")
def postgres15_server() -> Iterator[PostgresServer]:
    """PostgreSQL 15 without TimescaleDB."""
    with running("postgres") as server:
        yield server


@pytest.fixture(scope="session")
def pglite_server() -> Iterator[PGliteServer]:
    """TimescaleDB, community edition: one database, which `create_database` empties."""
    with running_pglite() as server:
        yield server
