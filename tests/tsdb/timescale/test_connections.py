"""Connections that end while nobody uses them are no trouble to who comes next."""

import contextlib
import time

from tests.fleetwatch_process import eventually
from tests.postgres import PostgresServer
from tsdb.timescale.connections import Connections

CONNECTIONS = 6
IDLE = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fleetwatch' AND datname = 'postgres'"


def test_all_idle_connections_are_dead(postgres15_server: PostgresServer) -> None:
    connections = Connections(postgres15_server.dsn(), size=2 * CONNECTIONS)
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(connections.transaction())
    postgres15_server.drop_connections()
    eventually(lambda: postgres15_server.sql(IDLE), lambda rows: rows == [(0,)], 10)
    began = time.monotonic()
    for _ in range(CONNECTIONS):
        with connections.transaction() as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]
    assert time.monotonic() - began < 2
    connections.close()
