"""The catalog in memory, and its rows: what is loaded again is what was committed."""

import sqlite3
import uuid
from collections.abc import Iterator

import numpy as np
import pytest

from common.labels import Labels
from tsdb.catalog import Catalog, Holders
from tsdb.embedded import series_rows
from tsdb.embedded.catalog_rows import CatalogRows
from tsdb.embedded.codec.series import SeriesGroup
from tsdb.errors import StoreError, StoreOpenError
from tsdb.label_sets import LabelTable
from tsdb.model import IntArray, Layout, Server
from tsdb.schema import sqlite_statements


def ints(*numbers: int) -> IntArray:
    return np.array(numbers, dtype=np.int64)


def series(*names: str) -> list[Labels]:
    return [Labels.of(__name__=name) for name in names]


def numbered(catalog: Catalog) -> list[tuple[int, Labels]]:
    """Every series that was not dropped."""
    ids = catalog.index.resolve([])
    return list(zip(ids.tolist(), catalog.index.labels(ids), strict=True))


def where(held: Holders) -> tuple[dict[int, int], list[int], list[int]]:
    return dict(zip(held.own.tolist(), held.homes.tolist(), strict=True)), held.shared.tolist(), held.sharing


class TestLayouts:
    def test_interned_as_long_as_they_live(self) -> None:
        catalog = Catalog()
        ids = catalog.index.ids(series("a", "b"))
        layout = catalog.layout(ids)
        assert catalog.layout(ids.astype(np.int32)) is layout
        other = catalog.layout(ids[::-1])
        assert {part.layout_id for part in catalog.live_layouts()} == {layout.layout_id, other.layout_id}
        gone = layout.layout_id
        del layout
        assert catalog.live_layouts() == [other]
        again = catalog.layout(ids)
        assert again.layout_id not in (gone, other.layout_id)

    def test_refused(self) -> None:
        catalog = Catalog()
        ids = catalog.index.ids(series("a", "b"))
        for wrong in (ints(2), ints(-1), ints(0, 5)):
            with pytest.raises(ValueError, match="never made"):
                catalog.layout(wrong)
        with pytest.raises(ValueError, match="twice"):
            catalog.layout(ints(1, 1))
        catalog.drop_series(ids)
        assert catalog.drop_series(ids[:1]).tolist() == [0]
        with pytest.raises(ValueError, match="dropped since"):
            catalog.layout(ids)

    def test_loaded_by_number(self) -> None:
        catalog = Catalog()
        ids = catalog.index.ids(series("a", "b"))
        loaded = catalog.load_layout(7, ids)
        assert loaded.layout_id == 7
        assert catalog.layout(ids) is loaded
        # Made again after nobody held it any more, while the journal still named the old one.
        again = catalog.load_layout(9, ids)
        assert (again.layout_id, again.series_ids.tolist()) == (9, ids.tolist())
        assert catalog.load_layout(7, ids) is loaded
        assert catalog.layout(ids[:1]).layout_id == 10


class TestDropping:
    def test_what_may_be_written_soon_is_spared(self) -> None:
        catalog = Catalog()
        ids = catalog.index.ids(series("a", "b", "c", "d"))
        assert catalog.drop_series(ids).tolist() == []
        layout = catalog.layout(ids[:1])
        catalog.index.ids(series("c"))
        assert catalog.drop_series(ids).tolist() == [1, 3]
        assert catalog.drop_series(ids).tolist() == [2]
        assert catalog.index.ids(series("b", "a")).tolist() == [4, 0]
        assert len(layout) == 1
        assert catalog.figures()["series"] == 2

    def test_a_dropped_series_has_no_holders(self) -> None:
        catalog = Catalog()
        ids = catalog.index.ids(series("a", "b"))
        for target in (0, 1):
            catalog.hold(target, catalog.layout(ids[:1]))
            catalog.hold(target, catalog.layout(ids[target:]))
        assert where(catalog.holders(ids)) == ({}, [0, 1], [0, 1])
        catalog.drop_series(ids)
        assert catalog.drop_series(ids).tolist() == [0, 1]
        assert where(catalog.holders(ids)) == ({}, [], [])


class Stored:
    """A catalog with its rows."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.catalog = Catalog()
        self.rows = CatalogRows(self.catalog)
        self.rows.load(connection)

    def write(self, *layouts: Layout) -> None:
        self.connection.execute("BEGIN")
        self.rows.write(self.connection, layouts)
        self.connection.execute("COMMIT")
        self.rows.committed()

    def fail(self, *layouts: Layout) -> None:
        self.connection.execute("BEGIN")
        self.rows.write(self.connection, layouts)
        self.connection.execute("ROLLBACK")

    def layout_rows(self) -> set[int]:
        return {number for (number,) in self.connection.execute("SELECT layout_id FROM layouts")}


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(":memory:", isolation_level=None)
    for _, statement in sqlite_statements():
        opened.execute(statement)
    yield opened
    opened.close()


def test_everything_is_loaded_again(connection: sqlite3.Connection) -> None:
    stored = Stored(connection)
    catalog = stored.catalog
    server = Server(uuid.uuid4(), "web", "a host", {"rack": "7"})
    catalog.put_server(server)
    targets = [catalog.target(Labels.of(instance=name)) for name in ("one:9100", "two:9100", "three")]
    ids = catalog.index.ids([*series("a", "b", "c", "d"), Labels.of(a='quo"te', é="ü")])
    catalog.hold(1, first := catalog.layout(ids[:3]))
    stored.write(first)
    catalog.hold(2, second := catalog.layout(ids[1:4]))
    catalog.hold(0, catalog.layout(ids[:1]))
    stored.write(second)

    loaded = Stored(connection).catalog
    assert numbered(loaded) == numbered(catalog)
    assert [loaded.target(labels) for labels in catalog.targets_from(0)] == targets
    assert {host.name for host in loaded.servers()} == {"web", "one", "two", "three"}
    assert server in loaded.servers()
    assert loaded.changed_servers() == []
    assert loaded.new_holdings() == []
    for held in (catalog, loaded):
        assert where(held.holders(ids)) == ({3: 2}, [0, 1, 2], [0, 1, 2])
    assert loaded.layout(ids[::-1]).layout_id > second.layout_id


def test_what_a_failed_transaction_had_is_written_by_the_next(connection: sqlite3.Connection) -> None:
    stored = Stored(connection)
    catalog = stored.catalog
    target = catalog.target(Labels.of(instance="one"))
    layout = catalog.layout(catalog.index.ids(series("a", "b")))
    catalog.hold(target, layout)
    stored.fail(layout)
    stored.write(layout)
    # And is written once.
    stored.write(layout)
    loaded = Stored(connection).catalog
    assert where(loaded.holders(layout.series_ids)) == ({0: 0, 1: 0}, [], [])
    assert stored.layout_rows() == {layout.layout_id}


def test_the_home_of_a_series_that_was_stored_without_one(connection: sqlite3.Connection) -> None:
    stored = Stored(connection)
    ids = stored.catalog.index.ids(series("a"))
    stored.write()
    assert where(Stored(connection).catalog.holders(ids)) == ({}, [], [])
    stored.catalog.hold(stored.catalog.target(Labels.of(instance="one")), stored.catalog.layout(ids))
    stored.write()
    assert where(Stored(connection).catalog.holders(ids)) == ({0: 0}, [], [])


def test_many_series_are_not_written_at_once(connection: sqlite3.Connection) -> None:
    """Or one batch would wait for what a thousand targets have just made."""
    stored = Stored(connection)
    ids = stored.catalog.index.ids(series(*[str(n) for n in range(5000)]))
    layout = stored.catalog.layout(ids[1000:1010])
    stored.catalog.hold(stored.catalog.target(Labels.of(instance="one")), layout)
    stored.fail(layout)
    stored.write()
    groups = list(series_rows.read(connection))
    assert [number for group in groups for number in group.series_ids.tolist()] == list(range(1010))
    for _ in range(50):
        stored.write()
    loaded = Stored(connection).catalog
    assert numbered(loaded) == numbered(stored.catalog)
    assert where(loaded.holders(ids)) == (dict.fromkeys(range(1000, 1010), 0), [], [])


def test_a_layout_is_stored_for_the_batches_that_use_it(connection: sqlite3.Connection) -> None:
    stored = Stored(connection)
    ids = stored.catalog.index.ids(series("a", "b"))
    used, unused = stored.catalog.layout(ids), stored.catalog.layout(ids[:1])
    stored.write(used, used)
    assert stored.layout_rows() == {used.layout_id}
    for outcome in ("ROLLBACK", "COMMIT"):
        connection.execute("BEGIN")
        stored.rows.write(connection, [unused])
        stored.rows.forget_layouts(connection, [used.layout_id])
        connection.execute(outcome)
        if outcome == "COMMIT":
            stored.rows.committed()
        else:
            stored.write(used)
    assert stored.layout_rows() == {unused.layout_id}
    stored.write(used)
    assert stored.layout_rows() == {used.layout_id, unused.layout_id}


def test_dropped_series_leave_holes(connection: sqlite3.Connection) -> None:
    stored = Stored(connection)
    catalog = stored.catalog
    ids = catalog.index.ids(series("a", "b", "c"))
    catalog.target(Labels.of(instance="one"))
    catalog.hold(0, catalog.layout(ids))
    # Dropped before they were written: they never are.
    catalog.drop_series(ids)
    catalog.drop_series(ids[[0, 2]])
    connection.execute("BEGIN")
    stored.rows.remember_next_id(connection)
    stored.rows.write(connection, [])
    connection.execute("COMMIT")
    stored.rows.committed()

    loaded = Stored(connection).catalog
    assert numbered(loaded) == [(1, *series("b"))]
    assert where(loaded.holders(ids)) == ({1: 0}, [], [])
    # A number is not given out twice, be it the last one.
    assert loaded.index.ids(series("c", "b")).tolist() == [3, 1]


def test_a_series_that_was_made_again_supersedes_the_dropped_one(connection: sqlite3.Connection) -> None:
    """A crash came before the dropped one was taken out."""
    stored = Stored(connection)
    stored.catalog.index.ids(series("a", "b"))
    stored.write()
    again = SeriesGroup(ints(7), np.zeros(1, dtype=np.int32), LabelTable.of(series("a")))
    series_rows.insert(connection, again)
    loaded = Stored(connection)
    assert numbered(loaded.catalog) == [(1, *series("b")), (7, *series("a"))]
    assert loaded.rows.superseded.tolist() == [0]


def test_damaged_series(connection: sqlite3.Connection) -> None:
    stored = Stored(connection)
    stored.catalog.index.ids(series("a", "b"))
    stored.write()
    connection.execute("UPDATE series SET labels = substr(labels, 1, 20)")
    with pytest.raises(StoreError, match="checksum"):
        Stored(connection)


def test_missing_targets(connection: sqlite3.Connection) -> None:
    stored = Stored(connection)
    for name in "abc":
        stored.catalog.target(Labels.of(instance=name))
    stored.write()
    connection.execute("DELETE FROM targets WHERE target_id = 1")
    with pytest.raises(StoreOpenError, match="2 rows in targets, numbered up to 2"):
        Stored(connection)
