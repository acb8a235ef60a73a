"""The contract of stores, on three kinds of server: samples in the journal, in blocks, in heads, and after restarts."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pglite.server import PGliteServer
from tests.postgres import PostgresServer
from tests.tsdb.contract import Settle, StoreContract
from tests.tsdb.timescale.databases import EVERYTHING_MS, Stores, emptied
from tsdb import Store

pytest_plugins = ["tests.databases"]

# Later than the windows of all samples of the contract.
FAR_FUTURE_MS = 10**12


class TimescaleContract(StoreContract):
    """`dsn` names an empty database; `steps` say what becomes of samples before they are read."""

    @pytest.fixture
    def dsn(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def stores(self, dsn: str, tmp_path: Path) -> Iterator[Stores]:
        stores = Stores(dsn, tmp_path)
        yield stores
        stores.close()

    @pytest.fixture
    def store(self, stores: Stores, steps: str) -> Store:
        return stores.open(EVERYTHING_MS if "with a head" in steps else 0)

    @pytest.fixture
    def settle(self, stores: Stores, steps: str) -> Settle:
        later = itertools.count(FAR_FUTURE_MS, 10**8)
        beside = [stores.open(EVERYTHING_MS if "with a head" in steps else 0)] if "read by another" in steps else []

        def settle(store: Store) -> Store:
            # Whatever came before is in the database then.
            store.append_logs([]).result()
            if "sealed" in steps:
                stores.seal(next(later))
                assert stores.number("SELECT count(*) FROM fleetwatch_data.journal") == 0
            if "reopened" in steps:
                store.close()
                return stores.open()
            for other in beside:
                other.catch_up()
                return other
            return store

        return settle


class TestTimescaleDB(TimescaleContract):
    @pytest.fixture(params=["sealed", "read by another, with a head"])
    def steps(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def dsn(self, timescale_server: PostgresServer) -> str:
        return emptied(timescale_server)


class TestPostgreSQL15(TimescaleContract):
    @pytest.fixture(params=["read by another"])
    def steps(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def dsn(self, postgres15_server: PostgresServer) -> str:
        return emptied(postgres15_server)


class TestCommunityEdition(TimescaleContract):
    @pytest.fixture(params=["sealed, reopened"])
    def steps(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def dsn(self, pglite_server: PGliteServer) -> str:
        return emptied(pglite_server)
