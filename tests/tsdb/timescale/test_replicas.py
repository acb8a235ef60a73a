"""Reading from a replica: it serves where it has everything that is known to be written, and never what is older."""

from pathlib import Path

import psycopg

from tests.fleetwatch_process import eventually
from tests.postgres import running
from tests.tsdb.contract import metric
from tests.tsdb.reading import bits, read
from tests.tsdb.timescale.databases import Stores

_SERVED = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fleetwatch' AND query ~ 'COMMIT|block'"


def test_a_replica_serves_what_it_has(tmp_path: Path) -> None:
    with running("timescale") as server, server.standby() as standby:
        dsn = server.create_database()
        stores = Stores(dsn, tmp_path)
        replica = standby.dsn(str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]))
        # Its head has nothing of these times: all is read from a database.
        store = stores.open(1000, read_replicas=(replica,))
        store.append_samples(metric("x"), [(1000, 1.0)])
        eventually(lambda: len(read(store, [], 0, 9000)), lambda series: series == 1, 10)
        with psycopg.connect(replica, autocommit=True) as connection:

            def serving() -> bool:
                read(store, [], 0, 9000)
                return connection.execute(_SERVED).fetchone() != (0,)

            eventually(serving, bool, 10)
            connection.execute("SELECT pg_wal_replay_pause()")
            store.append_samples(metric("x"), [(2000, 2.0)])
            assert read(store, [], 0, 9000) == {metric("x"): [(1000, bits(1)), (2000, bits(2))]}
            connection.execute("SELECT pg_wal_replay_resume()")
        stores.close()
