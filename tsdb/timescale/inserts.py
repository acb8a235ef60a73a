"""Rows of logs, exemplars and servers: one statement for all of a write, in the order of the key that is unique."""

import operator
from collections.abc import Sequence

import orjson

from tsdb.logwords import words
from tsdb.model import IntArray, LogEntry, SeriesExemplar, Server
from tsdb.timescale.connections import Connection

WORD_LENGTH = 250
"""A longer word is indexed by its beginning: an entry of an index has room for 2.7 kB."""

# An interval read from text is exact; one multiplied goes through a float8.
_TIME = "timestamptz '1970-01-01 00:00:00Z' + (time_us || ' microseconds')::interval"

_LOGS = f"""
INSERT INTO fleetwatch_data.logs
    (time, time_ns, entry_id, server_id, log_type, source, message, fields, words)
SELECT {_TIME}, time_ns, entry_id, server_id, log_type, source, message, fields::jsonb, words::text[]
FROM unnest(%s::bigint[], %s::bigint[], %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[],
    %s::text[]) AS new(time_us, time_ns, entry_id, server_id, log_type, source, message, fields, words)
ON CONFLICT (entry_id, time) DO NOTHING
"""

_EXEMPLARS = f"""
INSERT INTO fleetwatch_data.exemplars (time, sid, value, labels, own_time)
SELECT {_TIME}, sid, value, labels::jsonb, own_time
FROM unnest(%s::bigint[], %s::bigint[], %s::float8[], %s::text[], %s::boolean[])
    AS new(time_us, sid, value, labels, own_time)
"""

_SERVER = """
INSERT INTO fleetwatch_data.servers (server_id, name, description, labels) VALUES (%s, %s, %s, %s::jsonb)
ON CONFLICT (server_id) DO UPDATE
SET name = excluded.name, description = excluded.description, labels = excluded.labels
"""

_MADE_SERVER = """
INSERT INTO fleetwatch_data.servers (server_id, name, description, labels)
SELECT server_id, name, description, labels::jsonb
FROM (VALUES (%s::uuid, %s, %s, %s)) AS new(server_id, name, description, labels)
WHERE NOT EXISTS (SELECT FROM fleetwatch_data.servers WHERE servers.name = new.name)
ON CONFLICT (server_id) DO NOTHING
"""


def insert_logs(connection: Connection, entries: Sequence[LogEntry]) -> None:
    """Add log entries; those that are there stay as they are."""
    columns = zip(*map(_log_row, sorted(entries, key=operator.attrgetter("entry_id"))), strict=True)
    connection.execute(_LOGS, list(map(list, columns)))


def insert_exemplars(connection: Connection, exemplars: Sequence[SeriesExemplar], sids: IntArray) -> None:
    """Add exemplars of series with these sids."""
    rows = [
        (one.time_ms * 1000, sid, one.value, _json(dict(one.labels)), one.own_time)
        for one, sid in zip(exemplars, sids.tolist(), strict=True)
    ]
    connection.execute(_EXEMPLARS, list(map(list, zip(*rows, strict=True))))


def insert_servers(connection: Connection, servers: Sequence[Server], made: Sequence[Server]) -> None:
    """Make or replace servers; `made` ones stay as they are where there is one with the id or the name."""
    statements = [(server, _SERVER) for server in servers] + [(server, _MADE_SERVER) for server in made]
    with connection.cursor() as cursor:
        for server, statement in sorted(statements, key=lambda one: one[0].server_id):
            row = server.server_id, server.name, server.description, _json(server.labels)
            cursor.execute(statement.encode(), row)


def _log_row(entry: LogEntry) -> tuple[object, ...]:
    # Letters and digits: nothing in them has to be escaped.
    indexed = ",".join([f'"{word}"' for word in sorted({word[:WORD_LENGTH] for word in words(entry.message)})])
    return (
        entry.time_ns // 1000,
        entry.time_ns,
        entry.entry_id,
        entry.server_id,
        entry.log_type,
        entry.source,
        entry.message,
        _json(entry.fields),
        f"{{{indexed}}}",
    )


def _json(texts: dict[str, str]) -> str:
    return orjson.dumps(texts).decode()
