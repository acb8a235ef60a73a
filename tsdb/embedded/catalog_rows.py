"""The catalog on disk: rows of series, layouts, targets and servers.

What is new in memory is written by whatever transaction comes next, so that it is never later on disk than the
first batch that needs it.
"""

import sqlite3
import uuid
from dataclasses import dataclass

import orjson

from common.labels import Labels
from tsdb.catalog import Catalog
from tsdb.embedded.codec import pack_ints, unpack_ints
from tsdb.errors import StoreOpenError
from tsdb.model import Server


@dataclass(frozen=True, slots=True)
class _Stored:
    """How much of the catalog is on disk."""

    series: int = 0
    layouts: int = 0
    targets: int = 0


class CatalogRows:
    """Keeps the tables in step with a Catalog. For the writer thread."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._stored = _Stored()
        self._written = _Stored()
        self._written_servers: list[Server] = []

    def load(self, connection: sqlite3.Connection) -> None:
        """Fill an empty catalog. Raises StoreOpenError where numbers are missing."""
        catalog = self._catalog
        servers = [_server(row) for row in connection.execute("SELECT * FROM servers")]
        for server in servers:
            catalog.put_server(server)
        catalog.servers_stored(servers)
        series = connection.execute("SELECT labels FROM series ORDER BY series_id")
        catalog.index.ids(_labels(text) for (text,) in series)
        for (packed,) in connection.execute("SELECT series_ids FROM layouts ORDER BY layout_id"):
            catalog.layout(unpack_ints(packed))
        for (text,) in connection.execute("SELECT labels FROM targets ORDER BY target_id"):
            catalog.target(_labels(text))
        self._stored = _Stored(len(catalog.index), len(catalog.layouts_from(0)), len(catalog.targets_from(0)))
        for table, column, count in (
            ("series", "series_id", self._stored.series),
            ("layouts", "layout_id", self._stored.layouts),
            ("targets", "target_id", self._stored.targets),
        ):
            (next_id,) = connection.execute(f"SELECT coalesce(max({column}) + 1, 0) FROM {table}").fetchone()
            if next_id != count:
                raise StoreOpenError(f"the store is damaged: {count} rows in {table}, numbered up to {next_id - 1}")

    def write(self, connection: sqlite3.Connection) -> None:
        """Write what is new; `committed` is to be called once the transaction is."""
        catalog, stored = self._catalog, self._stored
        # Series last: a layout is only ever made of series that exist.
        targets = catalog.targets_from(stored.targets)
        layouts = catalog.layouts_from(stored.layouts)
        series = catalog.index.labels_from(stored.series)
        self._written_servers = catalog.changed_servers()
        connection.executemany(
            "INSERT INTO series VALUES (?, ?)",
            ((number, _json(dict(labels))) for number, labels in enumerate(series, stored.series)),
        )
        connection.executemany(
            "INSERT INTO layouts VALUES (?, ?)",
            ((layout.layout_id, pack_ints(layout.series_ids)) for layout in layouts),
        )
        connection.executemany(
            "INSERT INTO targets VALUES (?, ?)",
            ((number, _json(dict(labels))) for number, labels in enumerate(targets, stored.targets)),
        )
        connection.executemany(
            "INSERT OR REPLACE INTO servers VALUES (?, ?, ?, ?)",
            (
                (server.server_id.bytes, server.name, server.description, _json(server.labels))
                for server in self._written_servers
            ),
        )
        self._written = _Stored(
            stored.series + len(series), stored.layouts + len(layouts), stored.targets + len(targets)
        )

    def committed(self) -> None:
        """What `write` wrote last is on disk."""
        self._stored = self._written
        self._catalog.servers_stored(self._written_servers)


def _json(labels: dict[str, str]) -> str:
    return orjson.dumps(labels).decode()


def _labels(text: str) -> Labels:
    return Labels(orjson.loads(text).items())


def _server(row: tuple[bytes, str, str, str]) -> Server:
    server_id, name, description, labels = row
    return Server(uuid.UUID(bytes=server_id), name, description, orjson.loads(labels))
