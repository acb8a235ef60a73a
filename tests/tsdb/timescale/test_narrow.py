"""The narrow hypertable: sealed samples as rows, compressed on the way, where the server can do that."""

from dataclasses import replace

import numpy as np
import pytest

from tests.pglite.server import PGliteServer
from tests.tsdb.timescale.scratch import scratch
from tsdb.errors import StoreOpenError
from tsdb.model import STALE_NAN
from tsdb.timescale.block_rows import WINDOW_MS
from tsdb.timescale.editions import Edition, Server, detect
from tsdb.timescale.maintenance import Maintenance, Plan
from tsdb.timescale.narrow import check_narrow
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.settings_applied import Settings, apply_settings
from tsdb.timescale.windows import last_start_ms

pytest_plugins = ["tests.databases"]

ANY = Server(17, "db", "community", None, has_lz4=True, extension_schema="public", jit=False, unused=None)
START_MS = 1_790_000_000_000
SAMPLES = """
SELECT sid, (extract(epoch FROM ts) * 1000)::bigint, ('x' || encode(float8send(v), 'hex'))::bit(64)::bigint
FROM fleetwatch_data.sample
"""


def test_sealed_samples_are_rows(pglite_server: PGliteServer) -> None:
    with scratch(pglite_server) as database:
        with database.connections.transaction() as connection:
            server = detect(connection)
            check_narrow(server)
            apply_settings(connection, server, Settings(None, None, None, narrow=True))
        # With them only from 2.24 on: what is below is of the version before.
        for name in ("1h", "5m"):
            database.sql(f"DROP MATERIALIZED VIEW fleetwatch_data.sample_{name} CASCADE")
        target = database.target("a")
        sids = database.series(target, 30)
        start_ms = last_start_ms(target, START_MS)
        values = np.random.default_rng(3).random((480, 30))
        values[7, 3] = STALE_NAN
        database.write_rows([(target, sids, start_ms + row * 15_000, one, None) for row, one in enumerate(values)])
        expected = database.samples()
        maintenance = Maintenance(database.connections, Partitions(), Plan(sealing_delay_ms=0, settle_s=0), narrow=True)
        maintenance.seal(start_ms + WINDOW_MS)
        assert narrow_samples(database.sql(SAMPLES)) == expected
        compressed = database.sql(
            "SELECT bool_and(is_compressed) FROM timescaledb_information.chunks WHERE hypertable_name = 'sample'"
        )
        assert compressed == [(True,)]
        # A late one is a plain row.
        database.write(target, sids[:1], start_ms + 1, [2.0])
        expected = database.samples()
        maintenance.seal(start_ms + 2 * WINDOW_MS)
        assert maintenance.figures()["maintenance_failures_total"] == 0
        assert narrow_samples(database.sql(SAMPLES)) == expected


def narrow_samples(rows: list[tuple[object, ...]]) -> dict[tuple[object, object], object]:
    samples = {(sid, time_ms): bits for sid, time_ms, bits in rows}
    assert len(samples) == len(rows)
    return samples


@pytest.mark.parametrize(
    ("edition", "version", "said"),
    [
        ("postgresql", None, "PostgreSQL 17 without TimescaleDB"),
        ("apache", "2.29.2", "apache edition"),
        ("community", "2.20.3", "version 2.21 or later"),
    ],
)
def test_other_servers_are_refused(edition: Edition, version: str | None, said: str) -> None:
    server = replace(ANY, edition=edition, timescaledb=version)
    with pytest.raises(StoreOpenError, match=r"storage\.timescaledb\.narrow") as caught:
        check_narrow(server)
    assert said in str(caught.value)
