"""Migrations: once however many start them, wholly or not at all, and by whom they may be run and used."""

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from fleetwatch.db.migrate import run_migrate
from fleetwatch.db.view import run_view
from tests.postgres import Kind, PostgresServer, running
from tests.tsdb.timescale.engines import ENGINES, empty_database
from tests.tsdb.timescale.written import Written
from tsdb.errors import StoreError, StoreOpenError
from tsdb.timescale import roles
from tsdb.timescale.migrate import SCHEMA_VERSION, check_schema, migrate, schema_version, shortcomings
from tsdb.timescale.partitions import RELATIONS, Partitions
from tsdb.timescale.settings_applied import Settings, apply_settings

pytest_plugins = ["tests.databases"]

NATIVE: tuple[str, ...] = ("timescale_server", "postgres15_server")

TABLES = """
SELECT count(*) FROM pg_class WHERE relnamespace = 'fleetwatch_data'::regnamespace AND relkind IN ('r', 'p')
AND NOT relispartition
"""
MIGRATE = "import sys; from tsdb.timescale.migrate import migrate; migrate(sys.argv[1])"


@pytest.fixture(params=ENGINES)
def dsn(request: pytest.FixtureRequest) -> str:
    """An empty database."""
    return empty_database(request, request.param)


@pytest.fixture(params=NATIVE)
def server(request: pytest.FixtureRequest) -> PostgresServer:
    """A server with several users."""
    server: PostgresServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def users(server: PostgresServer) -> Iterator[dict[str, str]]:
    """The DSNs of the superuser and of others, in a new database."""
    owner = server.create_database()
    database = str(conninfo_to_dict(owner)["dbname"])
    names = ("writer", "reader", "stranger")
    for name in names:
        server.sql(SQL("CREATE ROLE {} LOGIN PASSWORD 'secret'").format(Identifier(name)))
    yield {"owner": owner, **{name: server.dsn(database, name, "secret") for name in names}}
    server.drop_database(owner)
    for name in names:
        server.sql(SQL("DROP ROLE {}").format(Identifier(name)))


def test_tables_are_made_once(dsn: str) -> None:
    made = migrate(dsn)
    with psycopg.connect(dsn) as connection:
        oids = connection.execute("SELECT oid FROM pg_class ORDER BY oid").fetchall()
        assert schema_version(connection) == SCHEMA_VERSION
        assert check_schema(connection) == made
        assert 20 <= connection.execute(TABLES).fetchall()[0][0] < 50
    assert migrate(dsn) == made
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT oid FROM pg_class ORDER BY oid").fetchall() == oids


@pytest.mark.parametrize("engine", NATIVE)
def test_processes_that_migrate_at_once(request: pytest.FixtureRequest, engine: str) -> None:
    dsn = empty_database(request, engine)
    processes = [
        subprocess.Popen([sys.executable, "-c", MIGRATE, dsn], stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in processes] == [("", 0)] * 3
    with psycopg.connect(dsn) as connection:
        check_schema(connection)
        assert connection.execute("SELECT count(*) FROM fleetwatch_data.schema_version").fetchone() == (1,)


def test_a_migration_that_fails_leaves_nothing(server: PostgresServer) -> None:
    dsn = server.create_database()
    refuse = """
        CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            IF EXISTS (SELECT FROM pg_proc WHERE proname = 'set_retention') THEN RAISE 'not today'; END IF;
        END $$;
        CREATE EVENT TRIGGER refuse ON ddl_command_end EXECUTE FUNCTION public.refuse()
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(refuse.encode())
    with pytest.raises(errors.RaiseException, match="not today"):
        migrate(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        schemas = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'fleetwatch%'"
        assert connection.execute(schemas.encode()).fetchall() == []
        assert schema_version(connection) is None
        connection.execute("DROP EVENT TRIGGER refuse")
    migrate(dsn)


def test_a_newer_schema_is_refused(dsn: str) -> None:
    migrate(dsn)
    message = (
        f"written by a newer Fleetwatch: its schema version is 9000, this one knows up to {SCHEMA_VERSION}; upgrade"
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE fleetwatch_data.schema_version SET version_num = '9000'")
        with pytest.raises(StoreOpenError, match=message):
            check_schema(connection)
    with pytest.raises(StoreOpenError, match=message):
        migrate(dsn)


def test_an_empty_database_is_no_store(dsn: str) -> None:
    with psycopg.connect(dsn) as connection, pytest.raises(StoreOpenError, match="run `fleetwatch db migrate`"):
        check_schema(connection)


def test_what_cannot_be_opened_says_why(server: PostgresServer, users: dict[str, str]) -> None:
    database = str(conninfo_to_dict(users["owner"])["dbname"])
    for dsn, message in (
        (server.dsn("nowhere"), 'database "nowhere" does not exist: run CREATE DATABASE nowhere'),
        (server.dsn(database, "stranger", "wrong"), "check user and password of the DSN"),
        (server.dsn(database, "stranger"), "give a password in the DSN"),
        (server.dsn(database, "nobody", "x"), "check user and password of the DSN"),
    ):
        with pytest.raises(StoreOpenError, match=re.escape(message)):
            migrate(dsn)
        with pytest.raises(StoreOpenError, match=re.escape(message)):
            run_migrate(dsn)
    away = users["owner"].replace(f":{server.port}/", ":1/")
    with pytest.raises(psycopg.OperationalError, match="refused"):
        migrate(away)
    with pytest.raises(StoreOpenError, match="the database cannot be reached"):
        run_migrate(away)


def test_who_may_not_migrate_is_told_what_to_grant(server: PostgresServer, users: dict[str, str]) -> None:
    database = conninfo_to_dict(users["owner"])["dbname"]
    if server.kind == "timescale":
        server.sql("CREATE EXTENSION timescaledb", dsn=users["owner"])
    with pytest.raises(StoreOpenError, match=f"run GRANT CREATE ON DATABASE {database} TO stranger"):
        migrate(users["stranger"])

    migrate(users["owner"])
    with pytest.raises(StoreOpenError, match="run GRANT fleetwatch_writer TO stranger"):
        migrate(users["stranger"])

    server.sql("GRANT fleetwatch_writer TO writer")
    assert migrate(users["writer"]) == migrate(users["owner"])
    server.sql("UPDATE fleetwatch_data.schema_version SET version_num = '0001'", dsn=users["owner"])
    with pytest.raises(StoreOpenError, match="which belongs to fleetwatch_owner: run `fleetwatch db migrate` as"):
        migrate(users["writer"])


def test_a_schema_of_somebody_else_is_left_alone(server: PostgresServer) -> None:
    dsn = server.create_database()
    server.sql("CREATE SCHEMA fleetwatch", dsn=dsn)
    with pytest.raises(StoreOpenError, match="has a schema fleetwatch that is not Fleetwatch's: rename it"):
        migrate(dsn)


WRITERS: tuple[LiteralString, ...] = (
    "INSERT INTO fleetwatch_data.writers (name) VALUES (gen_random_uuid())",
    "UPDATE fleetwatch_data.meta SET value = '1' WHERE key = 'series_epoch'",
    "SELECT nextval('fleetwatch_data.journal_seq'), last_value FROM fleetwatch_data.journal_seq",
    "DELETE FROM fleetwatch_data.journal",
    "DELETE FROM fleetwatch_data.series WHERE metric = 'down'",
    "INSERT INTO fleetwatch_data.block VALUES (now(), 1, 1, 1000, NULL, '{1}')",
    "SELECT * FROM fleetwatch.samples",
    "SELECT fleetwatch.create_metric_view('up')",
)
NOT_WRITERS: tuple[LiteralString, ...] = (
    "UPDATE fleetwatch_data.schema_version SET version_num = '0001'",
    "UPDATE fleetwatch_data.divisions SET time_column = 'x'",
    "CREATE TABLE fleetwatch_data.mine ()",
    "CREATE VIEW fleetwatch.mine AS SELECT 1",
    "ALTER TABLE fleetwatch_data.block ADD x int",
    "DROP TABLE fleetwatch_data.logs",
    "TRUNCATE fleetwatch_data.logs",
)
READERS: tuple[LiteralString, ...] = (
    *(f"SELECT * FROM fleetwatch.{view}" for view in ("samples", "metrics", "series", "logs", "servers", "up")),
    "SELECT * FROM fleetwatch.samples(now() - interval '1 hour', now())",
    "SELECT * FROM fleetwatch.metrics(now() - interval '1 hour', now())",
    "SELECT * FROM fleetwatch.up(now() - interval '1 hour', now())",
    "SELECT * FROM fleetwatch.series('{}', now() - interval '1 hour', now())",
    "SELECT * FROM fleetwatch.rate('{}', now() - interval '1 hour', now(), '1 minute')",
)
NOT_READERS: tuple[LiteralString, ...] = (
    *(f"SELECT * FROM fleetwatch_data.{table}" for table in ("writers", "meta", "logs", "members", "alert_state")),
    "DELETE FROM fleetwatch_data.series",
    "INSERT INTO fleetwatch_data.block VALUES (now(), 1, 1, 1000, NULL, '{1}')",
    "SELECT fleetwatch_data.drop_parts('block', now(), false)",
    "SELECT fleetwatch_data.set_retention('block', '1 day')",
    "SELECT fleetwatch.create_metric_view('up', 'mine')",
)


def test_the_roles_have_what_they_need_and_no_more(server: PostgresServer, users: dict[str, str]) -> None:
    facts = migrate(users["owner"])
    server.sql("GRANT fleetwatch_writer TO writer")
    server.sql("GRANT fleetwatch_reader TO reader")
    with psycopg.connect(users["owner"], autocommit=True) as connection:
        # Views of others do not stand in the way of what is granted.
        connection.execute("CREATE VIEW fleetwatch.of_another AS SELECT 1")
        written = Written(connection)
        written.series(written.target("host"), {"__name__": "up"})
    with psycopg.connect(users["writer"], autocommit=True) as connection:
        for relation in RELATIONS:
            Partitions().ensure(connection, relation, 0, 0)
            Partitions().drop_before(connection, relation, 10**12)
        with connection.transaction():
            apply_settings(connection, facts, Settings(86400_000, 86400_000, 86400_000))
        connection.execute("SET jit = off")
        for statement in WRITERS:
            connection.execute(statement)
        for statement in NOT_WRITERS:
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement)
        assert shortcomings(connection, facts) == facts.missing()
    with psycopg.connect(users["reader"], autocommit=True) as connection:
        connection.execute("SET jit = off")
        for statement in READERS:
            connection.execute(statement)
        for statement in NOT_READERS:
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement)
    limit = "SELECT rolcanlogin, rolconnlimit, rolsuper FROM pg_roles WHERE rolname = %s"
    assert server.sql(limit, [roles.OWNER]) == [(True, 0, False)]


def test_roles_are_made_by_who_may() -> None:
    with running("postgres") as server:
        server.sql("CREATE ROLE alice LOGIN PASSWORD 'secret'")
        server.sql("CREATE DATABASE store OWNER alice")
        alice = server.dsn("store", "alice", "secret")
        missing = run_migrate(alice)["missing"]
        assert "no role fleetwatch_owner, fleetwatch_writer, fleetwatch_reader: run `fleetwatch db migrate`" in missing
        assert migrate(alice).edition == "postgresql"

        assert "no role" not in run_migrate(server.dsn("store")).get("missing", "")
        server.sql("CREATE ROLE writer LOGIN PASSWORD 'secret' IN ROLE fleetwatch_writer")
        writer = server.dsn("store", "writer", "secret")
        migrate(writer)
        assert server.sql("SELECT value FROM fleetwatch_data.meta WHERE key = 'edition'", dsn=writer) == [
            ("postgresql",)
        ]

        # A second database of the server finds them.
        second = server.create_database()
        migrate(second)
        owner = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'fleetwatch_data'"
        assert server.sql(owner, dsn=second) == [(roles.OWNER,)]
        assert server.sql(owner, dsn=alice) == [("alice",)]


@pytest.mark.parametrize("kind", ["timescale", "postgres"])
def test_nobody_who_migrates_needs_to_be_a_superuser(kind: Kind) -> None:
    with running(kind) as server:
        for name in ("alice", "bob"):
            server.sql(SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD 'secret'").format(Identifier(name)))
            server.sql(SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(Identifier(name), Identifier(name)))
            if kind == "timescale":
                server.sql("CREATE SCHEMA hidden", dsn=server.dsn(name))
                server.sql("CREATE EXTENSION timescaledb SCHEMA hidden", dsn=server.dsn(name))
        if kind == "timescale":
            with pytest.raises(
                StoreOpenError, match="nothing was migrated: permission denied for schema hidden: grant"
            ):
                migrate(server.dsn("alice", "alice", "secret"))
            for name in ("alice", "bob"):
                server.sql("GRANT USAGE ON SCHEMA hidden TO PUBLIC", dsn=server.dsn(name))
        # Both need the roles, which the server has once.
        for name in ("alice", "bob"):
            dsn = server.dsn(name, name, "secret")
            for _ in range(2):
                assert "no role" not in run_migrate(dsn).get("missing", "")
            writer = f"writer_of_{name}"
            server.sql(SQL("CREATE ROLE {} LOGIN PASSWORD 'x' IN ROLE fleetwatch_writer").format(Identifier(writer)))
            with psycopg.connect(server.dsn(name, writer, "x")) as connection:
                Partitions().ensure(connection, "block", 0, 0)
                insert = "INSERT INTO fleetwatch_data.block VALUES ('epoch', 1, 1, 1000, NULL, '{1}')"
                connection.execute(insert)
                assert Partitions().drop_before(connection, "block", 10**12) == 1


def test_a_dsn_that_is_none() -> None:
    with pytest.raises(StoreOpenError, match="the DSN of the database cannot be read"):
        migrate("postgresql://host/database?unknown=1")


def test_views_of_metrics_by_command(dsn: str) -> None:
    migrate(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        written = Written(connection)
        written.series(written.target("host"), {"__name__": "up"})
    assert run_view(dsn, "up", None) == {"view": "fleetwatch.up"}
    assert run_view(dsn, "up", "alive") == {"view": "fleetwatch.alive"}
    with pytest.raises(StoreError, match="no view of down: there are no series of metric down"):
        run_view(dsn, "down", None)
