"""Keeps the groups of series few: small ones are joined with their neighbours, and dropped series are taken out.

The writer only adds groups; those that are there change here alone. So they are read and packed beside the writer,
which is left with replacing some rows.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from tsdb.embedded.codec.series import MOST_SERIES, SeriesGroup, join
from tsdb.embedded.database import Database
from tsdb.embedded.series_rows import insert, read_one
from tsdb.embedded.writer import Writer
from tsdb.model import IntArray


def regroup(database: Database, writer: Writer, dropped: IntArray) -> None:
    """Take dropped series out, and join small groups that are neighbours. Ids rise. Raises WriteRefusedError."""
    with database.reader() as connection:
        rows = connection.execute("SELECT first_id, series FROM series ORDER BY first_id").fetchall()
    for firsts, gone in _changes(rows, dropped):
        with database.reader() as connection:
            groups = [read_one(connection, first_id) for first_id in firsts]
        group = join(groups)
        writer.step(partial(_replace, firsts=firsts, gone=gone, group=group.only(~np.isin(group.series_ids, gone))))


def _changes(rows: Sequence[tuple[int, int]], dropped: IntArray) -> Iterator[tuple[list[int], IntArray]]:
    """The groups, by their least ids, that become one or none, and which series leave them."""
    if not rows:
        return
    edges = np.searchsorted(dropped, [*(first_id for first_id, _ in rows[1:]), np.iinfo(np.int64).max])
    firsts: list[int] = []
    total = begin = end = 0
    for (first_id, count), edge in zip(rows, edges.tolist(), strict=True):
        left = count - (edge - end)
        if firsts and total + left > MOST_SERIES:
            if len(firsts) > 1 or begin < end:
                yield firsts, dropped[begin:end]
            firsts, total, begin = [], 0, end
        firsts.append(first_id)
        total, end = total + left, edge
    if len(firsts) > 1 or begin < end:
        yield firsts, dropped[begin:end]


def _replace(connection: sqlite3.Connection, firsts: list[int], gone: IntArray, group: SeriesGroup) -> None:
    connection.executemany("DELETE FROM series WHERE first_id = ?", ((first_id,) for first_id in firsts))
    connection.executemany("DELETE FROM series_sharing WHERE series_id = ?", ((n,) for n in gone.tolist()))
    if len(group.series_ids):
        insert(connection, group)
