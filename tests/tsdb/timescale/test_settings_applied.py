"""What of the config the server is told: policies on the community edition, nothing elsewhere."""

import time
from collections.abc import Iterator

import numpy as np
import psycopg
import pytest

from tests.tsdb.timescale.engines import empty_database
from tests.tsdb.timescale.written import Written
from tsdb.timescale.editions import Server
from tsdb.timescale.migrate import migrate
from tsdb.timescale.partitions import Partitions
from tsdb.timescale.settings_applied import Settings, apply_settings

pytest_plugins = ["tests.databases"]

HOUR_MS, DAY_MS = 3600_000, 86400_000
NOW_MS = time.time_ns() // DAY_MS // 1_000_000 * DAY_MS

JOBS = """
SELECT hypertable_name, replace(proc_name, 'policy_', ''),
       coalesce(config ->> 'drop_after', config ->> 'compress_after', config ->> 'start_offset')::interval::text
FROM timescaledb_information.jobs WHERE hypertable_schema = 'fleetwatch_data' ORDER BY 1, 2
"""
JOB = "SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name = %s AND proc_name = %s"

Database = tuple[psycopg.Connection, Server]


@pytest.fixture
def community(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database on TimescaleDB's community edition, which runs no jobs by itself here."""
    dsn = empty_database(request, "pglite_server")
    server = migrate(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection, server


def jobs(connection: psycopg.Connection) -> dict[tuple[str, str], str]:
    """How long each policy waits."""
    return {(relation, policy): after for relation, policy, after in connection.execute(JOBS.encode())}


def test_a_changed_config_is_applied(community: Database) -> None:
    connection, server = community
    settings = Settings(15 * DAY_MS, 7 * DAY_MS, 365 * DAY_MS)
    for _ in range(2):
        apply_settings(connection, server, settings)
        assert jobs(connection) == {
            ("block", "retention"): "362:00:00",
            ("exemplars", "retention"): "360:00:00",
            ("logs", "compression"): "24:00:00",
            ("logs", "retention"): "168:00:00",
            ("rollup", "retention"): "8760:00:00",
        }
    apply_settings(connection, server, Settings(30 * DAY_MS, None, None))
    assert jobs(connection) == {
        ("block", "retention"): "722:00:00",
        ("exemplars", "retention"): "720:00:00",
        ("logs", "compression"): "24:00:00",
    }


def test_the_server_drops_and_compresses(community: Database) -> None:
    connection, server = community
    apply_settings(connection, server, Settings(15 * DAY_MS, 15 * DAY_MS, None))
    for day in range(0, 40, 4):
        connection.execute(
            "INSERT INTO fleetwatch_data.logs"
            " SELECT t, 0, gen_random_uuid(), %s::uuid, 'info', 'syslog', 'message', '{}', '{message}'"
            " FROM generate_series(1, 200) n, LATERAL (SELECT to_timestamp(%s) + n * interval '1 s' t) x",
            ["00000000-0000-0000-0000-000000000001", NOW_MS / 1000 - day * 86400],
        )

    for policy in ("policy_retention", "policy_compression"):
        (job,) = connection.execute(JOB, ["logs", policy]).fetchall()[0]
        connection.execute("CALL run_job(%s)", [job])

    assert len([part for part in Partitions().parts(connection) if part.relation == "logs"]) == 4
    compressed = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'logs' AND is_compressed"
    assert connection.execute(compressed).fetchone() == (3,)
    found = connection.execute("SELECT count(*) FROM fleetwatch.logs WHERE words @> '{message}'")
    assert found.fetchone() == (800,)
    # Late ones enter, and what is there already is found.
    again = "INSERT INTO fleetwatch_data.logs SELECT * FROM fleetwatch_data.logs ON CONFLICT DO NOTHING"
    assert connection.execute(again).rowcount == 0
    assert Partitions().drop_before(connection, "logs", NOW_MS) == 3


def test_rows_for_each_sample(community: Database) -> None:
    connection, server = community
    apply_settings(connection, server, Settings(15 * DAY_MS, None, 90 * DAY_MS, narrow=True))
    apply_settings(connection, server, Settings(15 * DAY_MS, None, 90 * DAY_MS, narrow=True))
    written = Written(connection)
    sid = written.series(written.target("host"), {"__name__": "node_load1"})
    connection.execute(
        "INSERT INTO fleetwatch_data.sample SELECT to_timestamp(%s) + n * interval '15 s', %s, n"
        " FROM generate_series(0, 479) n",
        [NOW_MS / 1000 - 86400, sid],
    )
    for step in ("5m", "1h"):
        connection.execute(f"CALL refresh_continuous_aggregate('fleetwatch_data.sample_{step}', NULL, NULL)".encode())

    rows = connection.execute("SELECT metric, value FROM fleetwatch.samples_narrow ORDER BY time").fetchall()
    assert rows == [("node_load1", float(n)) for n in range(480)]
    hours = connection.execute(
        "SELECT count, sum, min, max, first, last FROM fleetwatch.samples_1h WHERE labels ->> '__name__' = 'node_load1'"
        " ORDER BY time"
    )
    values = np.arange(480.0).reshape(2, 240)
    assert hours.fetchall() == [(240, float(hour.sum()), hour[0], hour[-1], hour[0], hour[-1]) for hour in values]
    told = jobs(connection)
    assert told["sample", "retention"] == "360:00:00"
    assert told["sample_1h", "retention"] == told["sample_5m", "retention"] == "2160:00:00"
    assert told["sample", "compression"] == "1 day"

    # Fed no more, it goes with time.
    apply_settings(connection, server, Settings(DAY_MS, None, None))
    assert jobs(connection)["sample", "retention"] == "24:00:00"
    assert ("sample_1h", "retention") not in jobs(connection)


@pytest.mark.parametrize("engine", ["timescale_server", "postgres15_server"])
def test_elsewhere_nothing_is_told(request: pytest.FixtureRequest, engine: str) -> None:
    dsn = empty_database(request, engine)
    server = migrate(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        apply_settings(connection, server, Settings(DAY_MS, DAY_MS, DAY_MS, narrow=True))
        answers = connection.execute(
            "SELECT fleetwatch_data.set_retention('logs', '1 day'), fleetwatch_data.set_columnstore('logs', '1 day'),"
            " fleetwatch_data.make_narrow(), to_regclass('fleetwatch_data.sample')"
        )
        assert answers.fetchone() == (False, False, False, None)
