"""The table of series: a row for each group of them. New series come as new rows, as many as a transaction makes."""

import sqlite3
from collections.abc import Iterator

from tsdb.embedded.codec.series import SeriesGroup, pack_group, unpack_group
from tsdb.errors import StoreError


def insert(connection: sqlite3.Connection, group: SeriesGroup) -> None:
    """Add a group of at least one series, whose ids are not among those of another."""
    row = int(group.series_ids[0]), len(group.series_ids), pack_group(group)
    connection.execute("INSERT INTO series (first_id, series, labels) VALUES (?, ?, ?)", row)


def read(connection: sqlite3.Connection) -> Iterator[SeriesGroup]:
    """All groups by their ids. Raises StoreError for damaged ones."""
    next_id = 0
    for first_id, packed in connection.execute("SELECT first_id, labels FROM series ORDER BY first_id"):
        group = unpack_group(first_id, packed)
        if first_id < next_id:
            raise StoreError(f"the group of series from {first_id} on begins within the one before")
        next_id = int(group.series_ids[-1]) + 1
        yield group


def read_one(connection: sqlite3.Connection, first_id: int) -> SeriesGroup:
    """The group with this least id, which is there. Raises StoreError where it is damaged."""
    (packed,) = connection.execute("SELECT labels FROM series WHERE first_id = ?", (first_id,)).fetchone()
    return unpack_group(first_id, packed)
