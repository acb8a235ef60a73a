"""`fleetwatch db` over databases: TimescaleDB and plain PostgreSQL."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from common.labels import Labels
from common.matchers import Matcher
from tests.fleetwatch import db_command
from tests.fleetwatch.database import PASSWORD, as_user, create_database, fill, opened
from tests.fleetwatch.db_command import LONG_AGO_MS, SERIES, make_store
from tests.pglite.server import PGliteServer
from tests.postgres import PostgresServer, running
from tests.tsdb.reading import read
from tsdb import open_store
from tsdb.dsn import shown_dsn
from tsdb.timescale.migrate import migrate
from tsdb.timescale.options import Options

pytest_plugins = ["tests.databases"]

EVERYTHING = [Matcher.equal("__name__", "x")]


@pytest.fixture(params=["timescale_server", "postgres15_server"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    """With its programs on PATH, as on the host of an operator."""
    server: PostgresServer = request.getfixturevalue(request.param)
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    return server


@pytest.fixture
def dsn(server: PostgresServer) -> Iterator[str]:
    dsn = create_database(server)
    yield dsn
    server.drop_database(dsn)


def faults(found: dict[str, Any]) -> list[str]:
    return [finding["fault"] for finding in found["findings"]]


# Status and check


def test_status_and_check(dsn: str, server: PostgresServer, tmp_path: Path) -> None:
    fill(dsn, tmp_path)
    found = db_command.answer("status", "--storage.path", dsn)
    assert (found["series"], found["targets"], found["layouts"], found["journal_rows"]) == (SERIES, 1, 1, 500)
    assert found["edition"] == ("apache" if server.kind == "timescale" else "postgresql")
    assert 0 <= found["unsealed_s"] < 60
    assert abs(found["clock_ahead_s"]) < 1
    assert [writer["writes"] > 0 for writer in found["writers"]] == [True]
    assert {table["name"]: table["bytes"] > 0 for table in found["tables"]}["journal"]
    shown = db_command.text("status", "--storage.path", dsn)
    assert "500 scrapes, the oldest for" in shown
    checked = db_command.answer("check", "--storage.path", dsn)
    assert (checked["journal_rows"], checked["samples"], checked["findings"]) == (500, 500 * SERIES, [])


def test_bytes_per_sample_are_of_what_is_sealed(dsn: str, tmp_path: Path) -> None:
    make_store(tmp_path / "data", rows=4000)
    moved = db_command.answer("move", tmp_path / "data", dsn)
    assert moved["samples"] == 4001 * SERIES
    found = db_command.answer("status", "--storage.path", dsn)
    assert found["samples"] == pytest.approx(4000 * SERIES, rel=0.3)
    assert 2 < found["bytes_per_sample"] < 20
    assert "all is sound" in db_command.text("check", "--storage.path", dsn)


def test_the_community_edition(pglite_server: PGliteServer, tmp_path: Path) -> None:
    dsn = pglite_server.create_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    make_store(tmp_path / "data")
    assert db_command.answer("move", tmp_path / "data", dsn)["samples"] == 501 * SERIES
    found = db_command.answer("status", "--storage.path", dsn)
    assert (found["edition"], found["series"]) == ("community", SERIES)
    assert "all is sound" in db_command.text("check", "--storage.path", dsn)
    shown = db_command.answer("doctor", "--storage.path", dsn, status=1)
    assert any("is a superuser" in fault for fault in faults(shown))


def test_check_names_what_is_damaged(dsn: str, server: PostgresServer, tmp_path: Path) -> None:
    fill(dsn, tmp_path, rows=5)
    server.sql(
        "UPDATE fleetwatch_data.journal SET v = v[2:] WHERE seq = (SELECT min(seq) FROM fleetwatch_data.journal)",
        dsn=dsn,
    )
    server.sql('DELETE FROM fleetwatch_data.series WHERE labels @> \'{"n": "3"}\'', dsn=dsn)
    said = db_command.text("check", "--storage.path", dsn, status=1)
    assert "layouts name series that are not there" in said
    assert "journal rows have not a value and a time for each series, the first are" in said
    assert said.endswith("2 findings\n")


# Doctor


def test_what_the_doctor_says_is_done_and_all_is_well(dsn: str, server: PostgresServer) -> None:
    migrate(dsn)
    found = db_command.answer("doctor", "--storage.path", dsn, status=1)["findings"]
    remedies = {finding["fault"].split()[0]: finding["remedy"] for finding in found}
    assert remedies.keys() == {"postgres", "just-in-time"}
    server.sql(remedies["just-in-time"], dsn=dsn)
    assert remedies["postgres"].endswith("IN ROLE fleetwatch_writer;")
    user = as_user(server, dsn, "fleetwatch_writer")
    assert db_command.text("doctor", "--storage.path", user) == "all is well\n"
    assert db_command.answer("status", "--storage.path", user)["user"] == "db_user"


def test_the_doctor_names_settings_with_the_statement_that_mends_them() -> None:
    settings = {
        "fsync": "off",
        "autovacuum": "off",
        "max_worker_processes": "8",
        "max_locks_per_transaction": "10",
        "max_connections": "20",
        "timescaledb.telemetry_level": "basic",
    }
    with running("timescale", settings=settings) as server:
        dsn = create_database(server)
        migrate(dsn)
        for day in range(1, 200):
            server.sql(
                "INSERT INTO fleetwatch_data.block VALUES (to_timestamp(%s), 1, 1, 0, NULL, '{1}')",
                [day * 86_400],
                dsn=dsn,
            )
        found = db_command.answer("doctor", "--storage.path", dsn, status=1)["findings"]
    mended = {finding["fault"].split()[0]: finding["remedy"] for finding in found}
    assert mended["fsync"] == "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();"
    assert mended["autovacuum"] == "ALTER SYSTEM SET autovacuum = on; SELECT pg_reload_conf();"
    assert mended["TimescaleDB"] == "ALTER SYSTEM SET timescaledb.telemetry_level = off; SELECT pg_reload_conf();"
    assert mended["max_worker_processes"] == "ALTER SYSTEM SET max_worker_processes = 15; -- then restart PostgreSQL"
    assert mended["max_locks_per_transaction"].startswith("ALTER SYSTEM SET max_locks_per_transaction = ")


def test_the_doctor_finds_what_does_not_go_on(dsn: str, server: PostgresServer, tmp_path: Path) -> None:
    migrate(dsn)
    server.sql("SELECT fleetwatch_data.ensure_parts('journal', now() - interval '1 day', now())", dsn=dsn)
    server.sql(
        "INSERT INTO fleetwatch_data.journal (written_at, writer_id, write_no, target_id, time, layout_id, v)"
        " VALUES (now() - interval '5 hours', 1, 1, 1, now(), 1, '{1}')",
        dsn=dsn,
    )
    fill(dsn, tmp_path, rows=1)
    server.sql("UPDATE fleetwatch_data.writers SET seen_at = now() - interval '1 hour'", dsn=dsn)
    config = tmp_path / "fleetwatch.yml"
    config.write_text(f"storage: {{path: '{dsn}', timescaledb: {{spool: {{path: spools}}}}}}\n")
    spool = tmp_path / "spools" / "9091"
    away = Options(spool=spool, start_without=True)
    with contextlib.closing(open_store("postgresql://127.0.0.1:1/d", timescale=away)) as store:
        store.append_samples(Labels.of(__name__="x"), [(LONG_AGO_MS, 1.0)])
    said = db_command.text("doctor", "--config.file", config, status=1)
    assert "for 5.0 h to be sealed: no process keeps up\n    fleetwatch db compact --storage.path" in said
    assert "no process has written for 60 min" in said
    assert f"bytes wait in {spool}, which no process has" in said
    status = db_command.answer("status", "--config.file", config)
    assert [(found["directory"], found["records"], found["locked_by"]) for found in status["spools"]] == [
        (str(spool), 1, None)
    ]
    assert "--web.listen-address localhost:9091" in said


def test_the_doctor_says_that_there_is_no_database(tmp_path: Path) -> None:
    config = tmp_path / "fleetwatch.yml"
    config.write_text(
        "storage: {path: 'postgresql://u:hunter2@127.0.0.1:1/d', timescaledb: {read_replicas: ['postgresql://127.0.0.1:2/d']}}\n"
    )
    said = db_command.text("doctor", "--config.file", config, status=1)
    assert "cannot connect to postgresql://u@127.0.0.1:1/d: " in said
    assert "cannot connect to postgresql://127.0.0.1:2/d: " in said
    assert "hunter2" not in said
    assert said.endswith("2 findings\n")


def test_the_doctor_says_that_there_are_no_tables(server: PostgresServer) -> None:
    dsn = server.create_database()
    (found,) = db_command.answer("doctor", "--storage.path", dsn, status=1)["findings"]
    assert "has not the schema version" in found["fault"]
    assert found["remedy"] == f"fleetwatch db migrate --storage.path '{dsn}'"


def test_the_doctor_looks_at_replicas(tmp_path: Path) -> None:
    with running("postgres") as server:
        dsn = create_database(server)
        migrate(dsn)
        with server.standby() as standby:
            config = tmp_path / "fleetwatch.yml"
            user = as_user(server, dsn, "fleetwatch_writer")
            replica = user.replace(str(server.port), str(standby.port))
            config.write_text(f"storage: {{path: '{user}', timescaledb: {{read_replicas: ['{replica}', '{user}']}}}}\n")
            found = faults(db_command.answer("doctor", "--config.file", config, status=1))
    assert [fault for fault in found if "replica" in fault or "behind" in fault] == [
        f"{shown_dsn(user)} is no replica, but takes writes itself"
    ]


# Backup and restore


def test_a_backup_beside_a_writer_is_restored_whole(dsn: str, server: PostgresServer, tmp_path: Path) -> None:
    fill(dsn, tmp_path)
    owner = as_user(server, dsn, "fleetwatch_owner")
    backed_up = db_command.answer("backup", tmp_path / "backup", "--storage.path", owner)
    with opened(dsn, tmp_path) as store:
        expected = read(store, EVERYTHING, 0, 2**60)
        store.append_samples(next(iter(expected)), [(LONG_AGO_MS + 10**9, 1.0)])
    target = server.create_database()
    restored = db_command.answer("restore", tmp_path / "backup", "--storage.path", target)
    assert restored["rows"] == backed_up["rows"]
    with opened(target, tmp_path / "restored") as store:
        assert read(store, EVERYTHING, 0, 2**60) == expected
        store.append_samples(next(iter(expected)), [(LONG_AGO_MS + 10**9, 1.0)])
    again = db_command.text("restore", tmp_path / "backup", "--storage.path", target, status=1)
    assert "has a store already: make a new database with `createdb`" in again
    server.drop_database(target)


def test_an_older_schema_can_be_backed_up_before_it_is_upgraded(
    dsn: str, server: PostgresServer, tmp_path: Path
) -> None:
    migrate(dsn)
    server.sql("UPDATE fleetwatch_data.schema_version SET version_num = '0001'", dsn=dsn)
    db_command.run("backup", tmp_path / "backup", "--storage.path", dsn)
    target = server.create_database()
    db_command.run("restore", tmp_path / "backup", "--storage.path", target)
    assert server.sql("SELECT version_num FROM fleetwatch_data.schema_version", dsn=target) == [("0001",)]
    server.drop_database(target)


def test_what_is_no_backup_is_not_restored(dsn: str, server: PostgresServer, tmp_path: Path) -> None:
    migrate(dsn)
    target = server.create_database()
    db_command.run("backup", tmp_path / "backup", "--storage.path", dsn)
    said = db_command.text("backup", tmp_path / "backup", "--storage.path", dsn, status=1)
    assert "is there already and not an empty directory: choose a new one" in said
    manifest = tmp_path / "backup" / "manifest.json"
    written = manifest.read_text()
    manifest.write_text(written.replace('"targets": 0', '"targets": 1'))
    other = server.create_database()
    said = db_command.text("restore", tmp_path / "backup", "--storage.path", other, status=1)
    assert "table targets has 0 rows after the restore, the backup 1" in said
    server.drop_database(other)
    manifest.write_text(written)
    table = max((tmp_path / "backup" / "dump").glob("*.gz"), key=lambda path: path.stat().st_size)
    table.write_bytes(table.read_bytes()[:-1])
    assert f"{table} is damaged or missing" in db_command.text(
        "restore", tmp_path / "backup", "--storage.path", target, status=1
    )
    manifest.unlink()
    assert "is no backup" in db_command.text("restore", tmp_path / "backup", "--storage.path", target, status=1)
    assert not server.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'fleetwatch_data'", dsn=target)
    server.drop_database(target)


def test_the_password_is_not_among_the_arguments_of_pg_dump(
    timescale_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = create_database(timescale_server)
    migrate(dsn)
    user = as_user(timescale_server, dsn, "fleetwatch_owner")
    program = tmp_path / "pg_dump"
    program.write_text(
        '#!/bin/sh\necho "pg_dump (PostgreSQL) 17.0"\n[ $# = 1 ] || { echo "$@" "$PGPASSWORD"; exit 3; }\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    said = db_command.text("backup", tmp_path / "backup", "--storage.path", user, status=1)
    assert "pg_dump ended with status 3" in said
    assert f"--dbname={shown_dsn(user)} {PASSWORD}" in said
    assert not (tmp_path / "backup").exists()
    timescale_server.drop_database(dsn)


def test_an_older_pg_dump_is_refused(
    timescale_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = create_database(timescale_server)
    migrate(dsn)
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tsdb.timescale.tools.postgres_programs._DEBIAN", tmp_path)
    said = db_command.text("backup", tmp_path / "backup", "--storage.path", dsn, status=1)
    assert "pg_dump is of PostgreSQL 9, the server is 17: install the client programs of PostgreSQL 17" in said
    assert not (tmp_path / "backup").exists()
    timescale_server.drop_database(dsn)


# What changes samples


def test_delete_and_undelete(dsn: str, tmp_path: Path) -> None:
    fill(dsn, tmp_path, rows=50)
    one = ("delete", "--match", 'x{n="1"}', "--storage.path", dsn)
    assert db_command.answer(*one, "--dry-run") == {"series": 1, "samples": 50}
    deleted = db_command.answer(*one, "--yes")
    assert (deleted["series"], deleted["samples"]) == (1, 50)
    with opened(dsn, tmp_path) as store:
        assert len(read(store, EVERYTHING, 0, 2**60)) == SERIES - 1
    listed = db_command.answer("undelete", "--storage.path", dsn)
    assert [(one["id"], one["match"]) for one in listed] == [(deleted["id"], ['{__name__="x",n="1"}'])]
    db_command.run("undelete", deleted["id"], "--storage.path", dsn)
    with opened(dsn, tmp_path) as store:
        assert len(read(store, EVERYTHING, 0, 2**60)) == SERIES


def test_usage(dsn: str, tmp_path: Path) -> None:
    fill(dsn, tmp_path, rows=1)
    with opened(dsn, tmp_path) as store:
        store.select(EVERYTHING, 0, 2**60)
    (metric,) = db_command.answer("usage", "--storage.path", dsn)["metrics"]
    assert (metric["name"], metric["series"], metric["reads"]) == ("x", SERIES, 1)


def test_export(dsn: str, tmp_path: Path) -> None:
    """What comes out of a database is what comes out of the directory that was moved into it."""
    make_store(tmp_path / "data")
    db_command.answer("move", tmp_path / "data", dsn)
    exported = [db_command.text("export", "-", "--storage.path", place) for place in (tmp_path / "data", dsn)]
    assert exported[0] == exported[1]
    assert exported[0].count("\n") > 501


def test_what_is_for_directories_says_so() -> None:
    said = db_command.text("import", "-", "--storage.path", "postgresql://u:hunter2@127.0.0.1:1/d", status=1)
    assert "postgresql://u@127.0.0.1:1/d is a database, and this command is for the embedded store" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("arguments", [["doctor"], ["migrate"], ["move", "data"]])
def test_what_is_for_databases_says_so(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = db_command.text(*arguments, status=1)
    assert "data is a directory, and this command is for a database" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        *(["status"], ["check"], ["usage"], ["compact"], ["migrate"], ["view", "up"], ["undelete"], ["undelete", "1"]),
        *(["backup", "new"], ["delete", "--match", "up", "--yes"], ["delete", "--match", "up", "--dry-run"]),
    ],
    ids=" ".join,
)
def test_a_database_that_is_away_is_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = db_command.text(*arguments, "--storage.path", "postgresql://u:hunter2@127.0.0.1:1/d", status=1)
    assert said.count("\n") == 1
    assert "127.0.0.1" in said
    assert "hunter2" not in said
    assert not any(tmp_path.iterdir())
