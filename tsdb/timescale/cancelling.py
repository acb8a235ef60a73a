"""Ends a statement that is running in the database when nobody waits for its result any more."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from tsdb.cancellation import current
from tsdb.errors import StoreError
from tsdb.timescale.connections import Connection

_TIMEOUT_S = 5.0


@contextmanager
def ended_when_cancelled(connection: Connection) -> Iterator[None]:
    """Within: the caller's cancellation ends the connection's statement, which raises psycopg.errors.QueryCanceled.

    The request takes a connection of its own, so it is made in a thread; it is over when the context is left, as the
    connection may serve somebody else then.
    """
    cancellation = current.get()
    if cancellation is None:
        yield
        return
    threads: list[threading.Thread] = []

    def request() -> None:
        # Where it does not arrive, the statement ends by its timeout.
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=_TIMEOUT_S)

    def cancel() -> None:
        thread = threading.Thread(target=request, daemon=True)
        threads.append(thread)
        thread.start()

    try:
        with cancellation.calling(cancel):
            yield
    finally:
        for thread in threads:
            thread.join()


def raise_if_cancelled() -> None:
    """Raises StoreError where the caller's wish to end is known."""
    cancellation = current.get()
    if cancellation is not None and cancellation.canceled:
        raise StoreError("the caller has gone: reading was given up")
