"""The database servers that tests use keep what they were told, whatever is done to them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psutil
import psycopg
import pytest

from tests.disks import fill
from tests.fleetwatch_process import eventually
from tests.postgres import Kind, PostgresServer, StopMode, alive, executables, running

pytest_plugins = ["tests.databases"]

KINDS: list[Kind] = ["timescale", "postgres"]
RECOVERY = "automatic recovery in progress"
ROOT = Path(__file__).parents[1]
OWNER = """
from signal import pause
from tests.postgres import running
with running("postgres") as server:
    print(server.processes()[0].pid, server.directory, flush=True)
    pause()
"""


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    with running(request.param) as server:
        yield server


def test_timescale_is_the_apache_edition(timescale_server: PostgresServer) -> None:
    dsn = timescale_server.create_database()
    timescale_server.sql("CREATE EXTENSION timescaledb", dsn=dsn)
    ((version, licence),) = timescale_server.sql(
        "SELECT extversion, current_setting('timescaledb.license') FROM pg_extension WHERE extname = 'timescaledb'",
        dsn=dsn,
    )
    assert [int(part) for part in version.split(".")] >= [2, 19]
    assert licence == "apache"
    timescale_server.sql("CREATE TABLE readings (at timestamptz NOT NULL, value float8)", dsn=dsn)
    timescale_server.sql("SELECT create_hypertable('readings', by_range('at'))", dsn=dsn)
    with pytest.raises(psycopg.errors.FeatureNotSupported, match='"apache" license'):
        timescale_server.sql("SELECT add_retention_policy('readings', INTERVAL '1 day')", dsn=dsn)


def test_postgres_is_15_without_timescale(postgres15_server: PostgresServer) -> None:
    assert postgres15_server.sql("SHOW server_version")[0][0].startswith("15.")
    assert postgres15_server.sql("SELECT FROM pg_available_extensions WHERE name = 'timescaledb'") == []


def test_databases_are_empty_or_copies(server: PostgresServer) -> None:
    original = server.create_database()
    server.sql("CREATE TABLE numbers AS SELECT 1 AS number", dsn=original)
    if server.kind == "timescale":
        server.sql("CREATE EXTENSION timescaledb", dsn=original)
    with psycopg.connect(original):
        copies = [server.create_database(template=original) for _ in range(3)]
    assert [server.sql("SELECT number FROM numbers", dsn=dsn) for dsn in copies] == [[(1,)]] * 3
    with pytest.raises(psycopg.errors.UndefinedTable):
        server.sql("SELECT FROM numbers", dsn=server.create_database())
    server.drop_database(original)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(original)


def test_only_the_superuser_needs_no_password(server: PostgresServer) -> None:
    server.sql("CREATE ROLE reader LOGIN PASSWORD 'known'")
    with psycopg.connect(server.dsn(user="reader", password="known")):
        pass
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(server.dsn(user="reader"))


@pytest.mark.parametrize("end", ["fast", "immediate", "kill9"])
def test_what_was_committed_survives_every_end(server: PostgresServer, end: StopMode | Literal["kill9"]) -> None:
    dsn, port, recoveries = server.create_database(), server.port, server.log().count(RECOVERY)
    with psycopg.connect(dsn, autocommit=True) as client:
        client.execute("CREATE TABLE numbers AS SELECT 1 AS number")
        processes = server.processes()
        if end == "kill9":
            server.kill9()
        else:
            server.stop(end)
        assert not any(map(alive, processes))
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
    server.start()
    assert server.sql("SELECT number FROM numbers", dsn=dsn) == [(1,)]
    assert server.log().count(RECOVERY) - recoveries == (0 if end == "fast" else 1)
    assert server.port == port


def test_a_server_ends_with_the_process_that_started_it() -> None:
    executables("postgres")  # or it is missing
    with subprocess.Popen([sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, directory = owner.stdout.readline().split()
        postmaster = psutil.Process(int(pid))
        owner.kill()
    eventually(lambda: alive(postmaster), lambda is_alive: not is_alive, 30)
    eventually(Path(directory).exists, lambda exists: not exists, 30)


def test_connections_can_be_dropped(server: PostgresServer) -> None:
    with psycopg.connect(server.dsn()) as client:
        server.drop_connections()
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")


def test_a_standby_has_all_and_takes_over(server: PostgresServer) -> None:
    dsn = server.create_database()
    with server.standby() as standby:
        server.configure(synchronous_standby_names="standby", synchronous_commit="remote_apply")
        server.sql("CREATE TABLE numbers AS SELECT 1 AS number", dsn=dsn)
        following = standby.dsn(dsn.rpartition("/")[2])
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            standby.sql("INSERT INTO numbers VALUES (2)", dsn=following)
        server.kill9()
        standby.promote()
        standby.sql("INSERT INTO numbers VALUES (2)", dsn=following)
        assert standby.sql("SELECT sum(number) FROM numbers", dsn=following) == [(3,)]
    server.start()
    server.configure(synchronous_standby_names="")


def test_tools_of_the_servers_version_dump_and_restore_it(server: PostgresServer, tmp_path: Path) -> None:
    original, restored = server.create_database(), server.create_database()
    server.sql("CREATE TABLE numbers AS SELECT 1 AS number", dsn=original)
    subprocess.run([server.bin / "pg_dump", "-Fc", "-f", tmp_path / "dump", original], check=True)
    subprocess.run([server.bin / "pg_restore", "-d", restored, tmp_path / "dump"], check=True)
    assert server.sql("SELECT number FROM numbers", dsn=restored) == [(1,)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_an_error_until_there_is_room(kind: Kind) -> None:
    with running(kind, {"max_wal_size": "32MB", "min_wal_size": "32MB"}, disk="200m") as server:
        server.sql("CREATE TABLE texts (text text)")
        fill(server.directory / "ballast")
        with pytest.raises(psycopg.errors.DiskFull):
            server.sql("INSERT INTO texts SELECT repeat('x', 1000) FROM generate_series(1, 10000)")
        (server.directory / "ballast").unlink()
        server.sql("INSERT INTO texts VALUES ('x')")
        assert server.sql("SELECT count(*) FROM texts") == [(1,)]
