"""Tombstones in the file: a row hides its samples from the moment it is committed, and until it is gone.

The row keeps the selectors, and the series are looked up anew at each start: one that was made later has no sample
with a sequence number so low.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator

from common.matchers import Matcher, MatcherError, MatchType
from tsdb.errors import StoreError
from tsdb.model import IntArray
from tsdb.tombstones import Deleted, Deletion, Selectors, Tombstone


def load(connection: sqlite3.Connection, resolve: Callable[[Selectors], IntArray]) -> Iterator[Tombstone]:
    """All tombstones, in the order in which they were made; `resolve` gives the rising ids of a delete's series."""
    rows = connection.execute(
        "SELECT tombstone_id, matchers, start_ms, end_ms, upto_seq, created_ms, expires_ms, series, samples "
        "FROM tombstones ORDER BY tombstone_id"
    )
    for tombstone_id, matchers, start_ms, end_ms, upto_seq, created_ms, expires_ms, series, samples in rows:
        selectors = decode_selectors(matchers)
        deleted = Deleted(series, samples)
        deletion = Deletion(tombstone_id, selectors, start_ms, end_ms, created_ms, expires_ms, deleted)
        yield Tombstone(deletion, upto_seq, resolve(selectors))


def decode_selectors(text: str) -> Selectors:
    """What a row's `matchers` say. Raises StoreError where they say nothing."""
    try:
        return [[Matcher(name, MatchType(kind), value) for name, kind, value in one] for one in json.loads(text)]
    except (ValueError, TypeError, MatcherError) as error:
        raise StoreError(f"the matchers of a delete cannot be decoded: {error}") from error


def insert(connection: sqlite3.Connection, tombstone: Tombstone) -> int:
    """Add a row; its number, which is given here and never again."""
    deletion = tombstone.deletion
    matchers = [[(one.name, one.type.value, one.value) for one in matchers] for matchers in deletion.selectors]
    cursor = connection.execute(
        "INSERT INTO tombstones (matchers, start_ms, end_ms, upto_seq, created_ms, expires_ms, series, samples) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            json.dumps(matchers),
            deletion.start_ms,
            deletion.end_ms,
            tombstone.upto_seq,
            deletion.created_ms,
            deletion.expires_ms,
            deletion.deleted.series,
            deletion.deleted.samples,
        ),
    )
    assigned = cursor.lastrowid
    if assigned is None:
        raise sqlite3.DatabaseError("no row was added to tombstones")
    return assigned


def doom(connection: sqlite3.Connection, tombstone_id: int) -> bool:
    """Say that the samples are to be removed: the delete cannot be undone from now on. False where it was undone."""
    done = connection.execute("UPDATE tombstones SET expires_ms = 0 WHERE tombstone_id = ?", (tombstone_id,))
    return done.rowcount > 0


def undo(connection: sqlite3.Connection, tombstone_id: int) -> bool:
    """Remove a row, unless its samples are being removed; whether there was one."""
    done = connection.execute("DELETE FROM tombstones WHERE tombstone_id = ? AND expires_ms > 0", (tombstone_id,))
    return done.rowcount > 0


def delete(connection: sqlite3.Connection, tombstone_id: int) -> None:
    """Remove a row."""
    connection.execute("DELETE FROM tombstones WHERE tombstone_id = ?", (tombstone_id,))
