"""A look at a database from outside, beside the processes that use it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg

from tsdb.dsn import shown_dsn
from tsdb.errors import StoreError, StoreOpenError
from tsdb.timescale.migrate import connect


@contextlib.contextmanager
def inspected(dsn: str) -> Iterator[psycopg.Connection]:
    """A connection in a transaction that only reads: what it sees does not change until it is given back.

    Raises StoreOpenError where the database cannot be reached, StoreError where it cannot be read.
    """
    with connected(dsn) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection


@contextlib.contextmanager
def connected(dsn: str) -> Iterator[psycopg.Connection]:
    """A connection whose transaction is committed at the end. Raises StoreOpenError, StoreError."""
    try:
        connection = connect(dsn)
    except psycopg.Error as error:
        raise StoreOpenError(f"cannot connect to {shown_dsn(dsn)}: {one_line(error)}") from error
    try:
        with connection:
            yield connection
    except psycopg.Error as error:
        raise StoreError(f"cannot use {shown_dsn(dsn)}: {one_line(error)}") from error


def row_of(connection: psycopg.Connection, query: str, *parameters: Any) -> tuple[Any, ...]:
    """The first row of an answer that has one. Raises StoreError where it has none."""
    row = connection.execute(query.encode(), parameters or None).fetchone()
    if row is None:
        raise StoreError(f"the database answered nothing to: {query.strip()}")
    return row


def one_line(error: psycopg.Error) -> str:
    """What libpq says of each address that it tried, in one line."""
    return "; ".join(filter(None, map(str.strip, str(error).splitlines())))
