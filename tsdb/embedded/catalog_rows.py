"""The catalog on disk: rows of series, layouts, targets and servers.

What is new in memory is written by whatever transaction comes next, so that it is never later on disk than the
first batch that needs it.
"""

import sqlite3
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from common.labels import Labels
from tsdb.catalog import Catalog, Holding
from tsdb.embedded import series_rows
from tsdb.embedded.codec.series import MOST_SERIES, NO_TARGET, SeriesGroup
from tsdb.embedded.codec.vectors import pack_ints
from tsdb.errors import StoreOpenError
from tsdb.label_sets import LabelTable
from tsdb.model import IntArray, Layout, Server

# Series written beside those that a batch needs: a transaction takes milliseconds, and appends wait for it.
_MORE_SERIES = 200

_NEXT_SERIES = "next_series_id"
"""The row of `meta` that keeps the ids of dropped series from being given out again after a restart."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """What a transaction writes: it counts once that is committed."""

    next_series_id: int = 0
    next_target_id: int = 0
    layout_ids: frozenset[int] = frozenset()
    holdings: Sequence[Holding] = ()
    servers: Sequence[Server] = ()


class CatalogRows:
    """Keeps the tables in step with a Catalog. For the writer thread."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._next_series_id = 0
        self._next_target_id = 0
        self._layout_ids: set[int] = set()
        self._pending = _Pending()
        self.superseded: IntArray = np.empty(0, dtype=np.int64)
        """Series that were dropped and made again before a crash, and are still in their groups."""
        self._forgotten_layout_ids: set[int] = set()

    def load(self, connection: sqlite3.Connection) -> None:
        """Fill an empty catalog. Raises StoreOpenError where numbers of targets are missing."""
        catalog = self._catalog
        servers = [
            _server(row) for row in connection.execute("SELECT server_id, name, description, labels FROM servers")
        ]
        for server in servers:
            catalog.put_server(server)
        catalog.servers_stored(servers)
        for (text,) in connection.execute("SELECT labels FROM targets ORDER BY target_id"):
            catalog.target(_labels(text))
        self._next_target_id = len(catalog.targets_from(0))
        (next_id,) = connection.execute("SELECT coalesce(max(target_id) + 1, 0) FROM targets").fetchone()
        if next_id != self._next_target_id:
            raise StoreOpenError(
                f"the store is damaged: {self._next_target_id} rows in targets, numbered up to {next_id - 1}"
            )
        self._load_series(connection)
        self._layout_ids = {layout_id for (layout_id,) in connection.execute("SELECT layout_id FROM layouts")}
        catalog.number_layouts_from(max(self._layout_ids, default=-1) + 1)

    def _load_series(self, connection: sqlite3.Connection) -> None:
        index = self._catalog.index
        ids, homes = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int32)]

        def groups() -> Iterator[tuple[IntArray, LabelTable]]:
            for group in series_rows.read(connection):
                held = group.target_ids != NO_TARGET
                ids.append(group.series_ids[held])
                homes.append(group.target_ids[held])
                yield group.series_ids, group.labels

        self.superseded = index.load(groups())
        dropped = connection.execute("SELECT value FROM meta WHERE key = ?", (_NEXT_SERIES,)).fetchone()
        index.number_from(int(dropped[0]) if dropped else 0)
        self._next_series_id = index.next_id
        sharing = connection.execute("SELECT series_id, target_id FROM series_sharing").fetchall()
        self._catalog.load_holding(Holding(np.concatenate(ids), np.concatenate(homes), sharing))

    def write(self, connection: sqlite3.Connection, layouts: Collection[Layout]) -> None:
        """Write what is new: of layouts those that the batches of this transaction use, and of series those up to the
        last one that `Catalog.hold` was told of, with a few more for those that no batch will ever use.

        `committed` is to be called once the transaction is.
        """
        catalog = self._catalog
        # What `hold` learned comes before the series: those it names are then among them.
        holdings = catalog.new_holdings()
        targets = catalog.targets_from(self._next_target_id)
        held_until = max([int(held.ids.max(initial=-1)) + 1 for held in holdings], default=0)
        end = min(max(held_until, self._next_series_id + _MORE_SERIES), catalog.index.next_id)
        new_layouts = {layout.layout_id: layout for layout in layouts if layout.layout_id not in self._layout_ids}
        servers = catalog.changed_servers()
        self._write_series(connection, end, holdings)
        connection.executemany(
            "INSERT INTO layouts (layout_id, series_ids) VALUES (?, ?)",
            ((layout_id, pack_ints(layout.series_ids)) for layout_id, layout in new_layouts.items()),
        )
        connection.executemany(
            "INSERT INTO targets (target_id, labels) VALUES (?, ?)",
            ((number, _json(dict(labels))) for number, labels in enumerate(targets, self._next_target_id)),
        )
        connection.executemany(
            "INSERT OR REPLACE INTO servers (server_id, name, description, labels) VALUES (?, ?, ?, ?)",
            ((server.server_id.bytes, server.name, server.description, _json(server.labels)) for server in servers),
        )
        self._forgotten_layout_ids = set()
        self._pending = _Pending(
            end,
            self._next_target_id + len(targets),
            frozenset(new_layouts),
            holdings,
            servers,
        )

    def forget_layouts(self, connection: sqlite3.Connection, layout_ids: Iterable[int]) -> None:
        """Remove layouts that no row of the journal names any more, after `write` in the same transaction."""
        self._forgotten_layout_ids = set(layout_ids)
        connection.executemany("DELETE FROM layouts WHERE layout_id = ?", ((n,) for n in self._forgotten_layout_ids))

    def remember_next_id(self, connection: sqlite3.Connection) -> None:
        """Keep the ids of series that are about to be removed from being given out again."""
        connection.execute(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", (_NEXT_SERIES, str(self._catalog.index.next_id))
        )

    def committed(self) -> None:
        """What `write` wrote last is on disk."""
        pending, self._pending = self._pending, _Pending(self._next_series_id, self._next_target_id)
        self._next_series_id = pending.next_series_id
        self._next_target_id = pending.next_target_id
        self._layout_ids |= pending.layout_ids
        self._layout_ids -= self._forgotten_layout_ids
        self._forgotten_layout_ids = set()
        self._catalog.servers_stored(pending.servers)
        self._catalog.holdings_stored(pending.holdings)

    def _write_series(self, connection: sqlite3.Connection, end: int, holdings: Sequence[Holding]) -> None:
        """Write the series up to `end` with their targets; to those written before, targets are added."""
        first = self._next_series_id
        homes = np.full(end - first, NO_TARGET, dtype=np.int32)
        sharing = [pair for held in holdings for pair in held.sharing]
        for held in holdings:
            new = held.ids >= first
            homes[held.ids[new] - first] = held.homes[new]
            sharing += zip(held.ids[~new].tolist(), held.homes[~new].tolist(), strict=True)
        for start in range(first, end, MOST_SERIES):
            ids, labels = self._catalog.index.table(start, min(start + MOST_SERIES, end))
            if len(ids):
                series_rows.insert(connection, SeriesGroup(ids, homes[ids - first], labels))
        connection.executemany("INSERT OR IGNORE INTO series_sharing (series_id, target_id) VALUES (?, ?)", sharing)


def _json(labels: dict[str, str]) -> str:
    return orjson.dumps(labels).decode()


def _labels(text: str) -> Labels:
    return Labels(orjson.loads(text).items())


def _server(row: tuple[bytes, str, str, str]) -> Server:
    server_id, name, description, labels = row
    return Server(uuid.UUID(bytes=server_id), name, description, orjson.loads(labels))
