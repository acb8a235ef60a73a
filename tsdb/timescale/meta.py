"""Times that maintenance keeps in the table `meta`, for all processes. They only rise."""

from tsdb.timescale.connections import Connection

EXPIRED_UNTIL = "expired_until_ms"
"""What is older is past the retention: some of it is removed, and none is taken in any more."""

ROLLED_UNTIL = "rolled_until_ms"
"""The days before it were put on the list of those to be rolled up."""

NEVER_MS = -(2**62)
"""Before all times."""

FOR_EVER_MS = 2**62
"""After all times."""

_READ = "SELECT value FROM fleetwatch_data.meta WHERE key = %s"

_RAISE = """
INSERT INTO fleetwatch_data.meta AS known VALUES (%s, %s) ON CONFLICT (key) DO UPDATE
SET value = greatest(known.value::bigint, excluded.value::bigint)::text
"""


def read_ms(connection: Connection, key: str) -> int:
    """A time, NEVER_MS where it was not set yet."""
    row = connection.execute(_READ, (key,)).fetchone()
    return NEVER_MS if row is None else int(str(row[0]))


def raise_ms(connection: Connection, key: str, time_ms: int) -> None:
    """Set a time, unless it is later already."""
    connection.execute(_RAISE, (key, str(time_ms)))
