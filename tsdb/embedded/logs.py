"""Log entries in SQLite, with full-text search over the messages."""

import sqlite3
import uuid
from collections.abc import Sequence

import orjson

from tsdb.logwords import words
from tsdb.model import LogEntry, LogQuery


def insert(connection: sqlite3.Connection, entries: Sequence[LogEntry]) -> None:
    """Add entries; those whose id is there stay as they are."""
    connection.executemany(
        "INSERT OR IGNORE INTO logs (entry_id, time_ns, server_id, log_type, source, message, fields) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (
                entry.entry_id.bytes,
                entry.time_ns,
                entry.server_id.bytes,
                entry.log_type,
                entry.source,
                entry.message,
                orjson.dumps(entry.fields).decode(),
            )
            for entry in entries
        ),
    )


def delete_before(connection: sqlite3.Connection, before_ns: int, limit: int) -> int:
    """Remove at most `limit` entries from before a time; how many they were."""
    return connection.execute(
        "DELETE FROM logs WHERE log_id IN (SELECT log_id FROM logs WHERE time_ns < ? LIMIT ?)", (before_ns, limit)
    ).rowcount


def select(connection: sqlite3.Connection, query: LogQuery) -> list[LogEntry]:
    """Matching entries, newest first."""
    conditions = ["time_ns BETWEEN ? AND ?"]
    arguments: list[int | str | bytes] = [query.start_ns, query.end_ns]
    for column, value in (
        ("server_id", None if query.server_id is None else query.server_id.bytes),
        ("log_type", query.log_type),
        ("source", query.source),
    ):
        if value is not None:
            conditions.append(f"{column} = ?")
            arguments.append(value)
    searched = words(query.text or "")
    if searched:
        conditions.append("log_id IN (SELECT rowid FROM logs_text WHERE logs_text MATCH ?)")
        # Quoted, or a word like OR would be an operator.
        arguments.append(" ".join(f'"{word}"' for word in searched))
    rows = connection.execute(
        "SELECT entry_id, time_ns, server_id, log_type, source, message, fields FROM logs "
        f"WHERE {' AND '.join(conditions)} ORDER BY time_ns DESC, entry_id DESC LIMIT ?",
        (*arguments, query.limit),
    )
    return [
        LogEntry(
            uuid.UUID(bytes=entry_id),
            time_ns,
            uuid.UUID(bytes=server_id),
            log_type,
            source,
            message,
            orjson.loads(fields),
        )
        for entry_id, time_ns, server_id, log_type, source, message, fields in rows
    ]
