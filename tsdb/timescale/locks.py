"""Advisory locks of a database: who waits for whom. They end with the transaction, so PgBouncer may stand between.

A transaction takes MAINTENANCE before SERIES, and either before it changes a row: nobody can wait for each other.
"""

import enum

from tsdb.timescale.connections import Connection

_NAMESPACE = 0x666C6577  # "flew"
_TARGETS = _NAMESPACE + 1


class Lock(enum.IntEnum):
    """What is locked."""

    SERIES = 1
    """Shared by whoever writes rows that name series; held alone while series are dropped."""

    MAINTENANCE = 2
    """Shared by whoever seals a target; held alone for every other kind of maintenance, and while a delete begins."""


def take(connection: Connection, lock: Lock) -> None:
    """Have a lock alone until the transaction ends. Raises psycopg.errors.LockNotAvailable after lock_timeout."""
    connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_NAMESPACE, int(lock)))


def share(connection: Connection, lock: Lock) -> None:
    """As `take`, together with others that share it."""
    connection.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", (_NAMESPACE, int(lock)))


def try_take(connection: Connection, lock: Lock) -> bool:
    """As `take`, without waiting; False where somebody has the lock."""
    return _answer(connection, "SELECT pg_try_advisory_xact_lock(%s, %s)", _NAMESPACE, int(lock))


def try_target(connection: Connection, target_id: int) -> bool:
    """Have a target of the database alone, for moving its samples; False where somebody has it."""
    return _answer(connection, "SELECT pg_try_advisory_xact_lock(%s, %s)", _TARGETS, target_id)


def _answer(connection: Connection, query: str, *keys: int) -> bool:
    row = connection.execute(query.encode(), keys).fetchone()
    return bool(row and row[0])
