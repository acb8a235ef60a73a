"""Log entries in the database, read. Words are those of tsdb.logwords, which whoever writes an entry cuts."""

import uuid

import orjson

from tsdb.logwords import words
from tsdb.model import LogEntry, LogQuery
from tsdb.timescale import binary
from tsdb.timescale.binary import at_least, at_most
from tsdb.timescale.canonical import clean
from tsdb.timescale.connections import Connection

# Of a word, what the index has.
_WORD_LENGTH = 250


def select(connection: Connection, query: LogQuery) -> list[LogEntry]:
    """Matching entries, newest first."""
    # The bounds of the column that divides the table take whole milliseconds.
    conditions = ["time >= %s::timestamptz", "time <= %s::timestamptz", "time_ns BETWEEN %s AND %s"]
    arguments: list[object] = [
        at_least(query.start_ns // 1_000_000),
        at_most(query.end_ns // 1_000_000 + 1),
        query.start_ns,
        query.end_ns,
    ]
    for column, value in (
        ("server_id", query.server_id),
        ("log_type", None if query.log_type is None else clean(query.log_type)),
        ("source", None if query.source is None else clean(query.source)),
    ):
        if value is not None:
            conditions.append(f"{column} = %s")
            arguments.append(value)
    searched = words(query.text or "")
    if searched:
        conditions.append("words @> %s::text[]")
        arguments.append([word[:_WORD_LENGTH] for word in searched])
    rows = binary.fetch(
        connection,
        "SELECT entry_id, time_ns, server_id, log_type, source, message, fields::text FROM fleetwatch_data.logs "
        f"WHERE {' AND '.join(conditions)} ORDER BY time DESC, time_ns DESC, entry_id DESC LIMIT %s",
        (*arguments, query.limit),
    )
    columns = zip(rows.whole(0), rows.int8(1).tolist(), *[rows.whole(column) for column in range(2, 7)], strict=True)
    return [
        LogEntry(
            uuid.UUID(bytes=entry_id),
            time_ns,
            uuid.UUID(bytes=server_id),
            log_type.decode(),
            source.decode(),
            message.decode(),
            orjson.loads(fields),
        )
        for entry_id, time_ns, server_id, log_type, source, message, fields in columns
    ]
