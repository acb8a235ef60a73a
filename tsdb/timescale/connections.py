"""Connections to the database: pools of bounded size and age, and transactions that cannot last.

Works through PgBouncer in transaction mode: a connection keeps no state from one transaction to the next, so limits are
SET LOCAL and nothing is prepared. Hosts, failover and TLS are libpq's: a DSN may name several hosts and certificates.

A transaction has two limits. The server's own (statement_timeout) ends what is slow. Where the server does not answer,
as on a hung disk or behind a dead network, the socket is shut down from here a moment later.
"""

import contextlib
import itertools
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

Connection = psycopg.Connection[tuple[object, ...]]

CONNECT_TIMEOUT_S = 5
"""How long to wait for a server that does not answer, each host of a DSN."""

LOCK_TIMEOUT_S = 10.0
STATEMENT_TIMEOUT_S = 60.0

_LIFETIME_S = 30 * 60.0
_IDLE_S = 5 * 60.0
# After that long without a free connection it is asked whether the server is there at all.
_PROBE_AFTER_S = 0.5
_BUSY_TIMEOUT_S = 10.0
# What the server gets to report its own timeout, before the client's ends the connection.
_GRACE_S = 5.0
_DEADLINES_EVERY_S = 1.0

# https://www.postgresql.org/docs/current/errcodes-appendix.html
# Class 08: no connection, 53: no memory, disk or connection left, 58: I/O errors.
_AWAY_CLASSES = ("08", "53", "58")
# Shutting down, crashed, starting, dropped, idle too long; read-only, as a server that was demoted.
_AWAY_STATES = ("57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25006")
# Class 21: cardinality, 22: data exception, 23: integrity constraint, 54: program limit exceeded.
_DATA_CLASSES = ("21", "22", "23", "54")

# Every failure of the pool's own attempts is also raised to who asked for a connection.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


class Connections:
    """The pools of one store. Thread-safe.

    At most `size` connections (twice the cores, at least four) to the server that is written to; half of them are kept
    for reads, so that neither waits for the other. Below four all share them. Each of `reader_dsns` has as many.
    """

    def __init__(
        self,
        dsn: str,
        *,
        reader_dsns: Sequence[str] = (),
        size: int | None = None,
        statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    ) -> None:
        size = max(4, 2 * (os.cpu_count() or 1)) if size is None else size
        self._statement_timeout_s = statement_timeout_s
        self._writing = _Pool(dsn, size if size < 4 else size // 2, "read-write")
        self._reading = self._writing if size < 4 else _Pool(dsn, size - size // 2, "read-write")
        self._replicas = [_Pool(reader, size, "any") for reader in reader_dsns]
        self._turns = itertools.count()
        self._deadlines = _Deadlines()

    @contextlib.contextmanager
    def transaction(
        self, *, snapshot: bool = False, timeout_s: float | None = None, reader: bool = False
    ) -> Iterator[Connection]:
        """A transaction, committed at the end and rolled back where something is raised.

        With `snapshot` it only reads, and all of it the same state. `timeout_s` limits each statement, and a little
        longer the whole. With `reader` a read replica serves where there is one. Raises psycopg.Error.
        """
        timeout_s = self._statement_timeout_s if timeout_s is None else timeout_s
        with (
            self._checked_out(snapshot or reader, reader) as connection,
            self._deadlines.within(timeout_s + _GRACE_S, connection),
        ):
            connection.execute(_begin(snapshot, timeout_s))
            try:
                yield connection
            except BaseException:
                # What the server says to it matters less than what went wrong.
                with contextlib.suppress(psycopg.Error):
                    connection.rollback()
                raise
            connection.commit()

    def close(self) -> None:
        """Close all connections that are not in use, and the others when they are given back. Idempotent."""
        for pool in self._pools():
            pool.close()
        self._deadlines.close()

    def figures(self) -> dict[str, float]:
        """For the stats of a store."""
        return {"database_connections": float(sum([pool.size() for pool in self._pools()]))}

    def _pools(self) -> set["_Pool"]:
        return {self._writing, self._reading, *self._replicas}

    @contextlib.contextmanager
    def _checked_out(self, reads: bool, from_replica: bool) -> Iterator[Connection]:
        if from_replica and self._replicas:
            turn = next(self._turns)
            pools = [self._replicas[(turn + n) % len(self._replicas)] for n in range(len(self._replicas))]
            pools.append(self._reading)
        else:
            pools = [self._reading if reads else self._writing]
        pool, connection = _first_that_answers(pools)
        try:
            yield connection
        finally:
            pool.give_back(connection)


def is_away(error: psycopg.Error) -> bool:
    """Whether the database cannot take it now: it is gone, starting, stopping, read-only or full. Try again later."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_AWAY_CLASSES) or error.sqlstate in _AWAY_STATES


def blames_data(error: psycopg.Error) -> bool:
    """Whether the values of a statement are to blame: it fails as often as it is tried."""
    return (error.sqlstate or "").startswith(_DATA_CLASSES)


class _Pool:
    """A psycopg_pool that says why it has no connection."""

    def __init__(self, dsn: str, size: int, session: str) -> None:
        # What the DSN says itself counts. Together they find a dead network within some 15 s.
        defaults: dict[str, str | int | None] = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "keepalives_idle": 5,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
            "application_name": "fleetwatch",
            "target_session_attrs": session,
        }
        self._dsn = make_conninfo("", **{**defaults, **conninfo_to_dict(dsn)})
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            self._dsn,
            kwargs={"autocommit": True, "prepare_threshold": None},
            min_size=0,
            max_size=size,
            max_lifetime=_LIFETIME_S,
            max_idle=_IDLE_S,
            # A failed attempt is not repeated behind the scenes: the next caller makes the next one.
            reconnect_timeout=0,
            num_workers=1,
            open=True,
        )

    def take(self) -> Connection:
        """A connection to be given back. Raises psycopg.OperationalError with the reason where there is none."""
        try:
            return self._alive(_PROBE_AFTER_S)
        except PoolTimeout:
            # Either none can be made, and libpq says why; or all are in use.
            psycopg.connect(self._dsn).close()
            return self._alive(_BUSY_TIMEOUT_S)

    def give_back(self, connection: Connection) -> None:
        self._pool.putconn(connection)

    def _alive(self, timeout_s: float) -> Connection:
        """One whose server process is there: after a restart of the server none of the idle ones has one.

        The pool's own check would sleep after each, longer and longer.
        """
        deadline = time.monotonic() + timeout_s
        while not _is_alive(connection := self._pool.getconn(deadline - time.monotonic())):
            connection.close()
            self._pool.putconn(connection)
        return connection

    def size(self) -> int:
        return self._pool.get_stats().get("pool_size", 0)

    def close(self) -> None:
        self._pool.close()


def _first_that_answers(pools: Sequence[_Pool]) -> tuple[_Pool, Connection]:
    for pool in pools[:-1]:
        with contextlib.suppress(psycopg.OperationalError):
            return pool, pool.take()
    return pools[-1], pools[-1].take()


def _begin(snapshot: bool, timeout_s: float) -> LiteralString:
    """One message: a round trip less than BEGIN and SET one after the other."""
    timeout_ms = max(1, round(timeout_s * 1000))
    lock_ms = min(timeout_ms, round(LOCK_TIMEOUT_S * 1000))
    return (
        f"BEGIN{' ISOLATION LEVEL REPEATABLE READ READ ONLY' if snapshot else ''};"
        f"SET LOCAL statement_timeout = {timeout_ms}; SET LOCAL lock_timeout = {lock_ms};"
        f"SET LOCAL idle_in_transaction_session_timeout = {timeout_ms};"
        # Compiling a statement over many parts takes seconds, and running it milliseconds.
        "SET LOCAL jit = off"
    )


def _is_alive(connection: Connection) -> bool:
    """An idle connection has nothing to say: what can be read is its end. Costs no round trip."""
    return not connection.closed and not select.select([connection.fileno()], [], [], 0)[0]


class _Deadlines:
    """Ends connections whose time is over: whoever waits for the server then gets an OperationalError."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deadlines: dict[int, tuple[float, Connection]] = {}
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="database-deadlines", daemon=True).start()

    @contextlib.contextmanager
    def within(self, seconds: float, connection: Connection) -> Iterator[None]:
        """The time for a block of code that uses a connection, to a second."""
        number = next(self._numbers)
        with self._lock:
            self._deadlines[number] = time.monotonic() + seconds, connection
        try:
            yield
        finally:
            with self._lock:
                self._deadlines.pop(number, None)

    def close(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(_DEADLINES_EVERY_S):
            now = time.monotonic()
            with self._lock:
                for number, (deadline, connection) in list(self._deadlines.items()):
                    if deadline < now:
                        del self._deadlines[number]
                        _shut_down(connection)


def _shut_down(connection: Connection) -> None:
    with contextlib.suppress(OSError, psycopg.OperationalError):
        descriptor = os.dup(connection.fileno())
        with socket.socket(fileno=descriptor) as shared:
            shared.shutdown(socket.SHUT_RDWR)
