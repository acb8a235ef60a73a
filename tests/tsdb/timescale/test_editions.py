"""What a server is and can is seen at start; where it cannot be used, the message has the remedy."""

import re

import psycopg
import pytest

from tests.postgres import PostgresServer, running
from tests.tsdb.timescale.engines import ENGINES, empty_database
from tsdb.errors import StoreOpenError
from tsdb.timescale.editions import detect
from tsdb.timescale.migrate import check_schema, migrate

pytest_plugins = ["tests.databases"]


def test_the_editions(request: pytest.FixtureRequest) -> None:
    servers = [migrate(empty_database(request, engine)) for engine in ENGINES]

    assert [one.edition for one in servers] == ["apache", "postgresql", "community"]
    assert [one.has_hypertables for one in servers] == [True, False, True]
    assert [one.postgresql for one in servers] == [17, 15, 17]
    assert [one.compression for one in servers] == ["lz4", "lz4", "pglz"]
    assert re.fullmatch(r"TimescaleDB 2\.\d+\.\d+ \(apache edition\) on PostgreSQL 17", servers[0].described())
    assert servers[1].described() == "PostgreSQL 15 without TimescaleDB"
    for server, words in zip(
        servers,
        [("no policies", "no columnstore"), ("partitions", "no policies", "no columnstore"), ("lz4",)],
        strict=True,
    ):
        sentences = [sentence for sentence in server.missing() if "Just-in-time" not in sentence]
        assert len(sentences) == len(words)
        assert all(word in sentence for word, sentence in zip(words, sentences, strict=True))


def test_an_extension_that_is_not_in_the_database(timescale_server: PostgresServer) -> None:
    dsn = timescale_server.create_database()
    with psycopg.connect(dsn) as connection, pytest.raises(StoreOpenError, match="run CREATE EXTENSION timescaledb"):
        detect(connection)
    # Who may, makes it.
    assert migrate(dsn).edition == "apache"


def test_who_may_not_make_the_extension_is_told(timescale_server: PostgresServer) -> None:
    dsn = timescale_server.create_database()
    name = str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])
    timescale_server.sql("CREATE ROLE stranger LOGIN PASSWORD 'x'")
    try:
        with pytest.raises(StoreOpenError, match=f"not in database {name}: run CREATE EXTENSION timescaledb in it"):
            migrate(timescale_server.dsn(name, "stranger", "x"))
    finally:
        timescale_server.sql("DROP ROLE stranger")


def test_an_extension_that_the_server_does_not_load() -> None:
    with running("timescale") as server:
        used, unused = server.create_database(), server.create_database()
        migrate(used)
        server.configure(shared_preload_libraries="auto_explain")
        server.restart("fast")

        with pytest.raises(StoreOpenError, match="has not loaded it: set shared_preload_libraries = 'timescaledb'"):
            migrate(used)
        plain = migrate(unused)
        assert plain.edition == "postgresql"
        assert any("is installed, but not loaded" in sentence for sentence in plain.missing())

        # Partitions made without it do not become hypertables because it is there now.
        server.configure(shared_preload_libraries="timescaledb")
        server.restart("fast")
        server.sql("CREATE EXTENSION timescaledb", dsn=unused)
        with pytest.raises(StoreOpenError, match=r"was made on PostgreSQL without TimescaleDB, .* DROP EXTENSION"):
            migrate(unused)


@pytest.mark.parametrize(
    ("made_for", "message"),
    [
        ("community", r"made on TimescaleDB \(community edition\).*set timescaledb.license = 'timescale'"),
        ("postgresql", "made on PostgreSQL without TimescaleDB"),
    ],
)
def test_another_edition_than_the_schema_was_made_for(
    timescale_server: PostgresServer, made_for: str, message: str
) -> None:
    dsn = timescale_server.create_database()
    migrate(dsn)
    timescale_server.sql("UPDATE fleetwatch_data.meta SET value = %s WHERE key = 'edition'", [made_for], dsn)
    with pytest.raises(StoreOpenError, match=message):
        migrate(dsn)
    with psycopg.connect(dsn) as connection, pytest.raises(StoreOpenError, match=message):
        check_schema(connection)


def test_hypertables_without_timescaledb(postgres15_server: PostgresServer) -> None:
    dsn = postgres15_server.create_database()
    migrate(dsn)
    postgres15_server.sql("UPDATE fleetwatch_data.meta SET value = 'apache' WHERE key = 'edition'", dsn=dsn)
    with pytest.raises(StoreOpenError, match=r"on TimescaleDB \(apache edition\), and is now on PostgreSQL 15"):
        migrate(dsn)


def test_the_apache_edition_becomes_the_community_edition(request: pytest.FixtureRequest) -> None:
    dsn = empty_database(request, "pglite_server")
    migrate(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE fleetwatch_data.meta SET value = 'apache' WHERE key = 'edition'")
        assert migrate(dsn).edition == "community"
        assert check_schema(connection).edition == "community"
