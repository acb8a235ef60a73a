import pytest

from common.labels import Labels
from tests.tsdb.contract import Settle, StoreContract, log
from tests.tsdb.reading import read
from tsdb import Store, open_store
from tsdb.model import LogQuery


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return open_store("memory:")

    @pytest.fixture
    def settle(self) -> Settle:
        return lambda store: store


def test_retention() -> None:
    store = open_store("memory:", retention_ms=5000)
    labels = Labels.of(__name__="x")
    store.append_samples(labels, [(ms, 1.0) for ms in (8000, 9000, 3000, 14000)])
    store.append_logs([log("old", 8_999_000_000), log("new", 9_000_000_000)]).result()
    store.maintain(14_000)
    assert [ms for ms, _ in read(store, [], 0, 99_000)[labels]] == [9000, 14000]
    assert [entry.message for entry in store.select_logs(LogQuery(0, 10**12))] == ["new"]
