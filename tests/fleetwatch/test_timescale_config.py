"""`storage` with a DSN: what it becomes, what is wrong with it, and that nobody sees the password."""

import re
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from common.yamlfile import ConfigError
from fleetwatch.config import check_config, load_config
from fleetwatch.errors import StartError
from fleetwatch.opening import database_dsn, open_configured, store_place
from fleetwatch.timescale_config import SpoolConfig, TimescaleConfig
from tsdb.dsn import is_dsn, shown_dsn, with_password
from tsdb.errors import StoreOpenError

SOUND = """\
storage:
  path: postgresql://writer:hunter2@db1,db2:5433/fleetwatch?sslmode=require&password=hunter2&sslpassword=hunter2
  timescaledb:
    password_file: secrets/db
    read_replicas: ['postgresql://reader:hunter2@db3/fleetwatch']
    narrow: true
    head: 30m
    spool: {path: /var/spool/fleetwatch, size: 10GiB}
    pool: 3
    statement_timeout: 30s
    commit_delay: 1s
"""

MISTAKEN = """\
storage:
  path: postgresql://u:hunter2@db/fleetwatch?sslmod=require
  timescaledb:
    read_replicas:
      - db3
      - postgresql://u:hunter2@[::1/fleetwatch
    spool:
      path: ''
      size: 5KiB
    pool: -1
    statement_timeout: 0s
    narow: true
"""


def loaded(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prometheus.yml"
    path.write_text(text)
    return path


def test_the_keys_reach_the_store(tmp_path: Path) -> None:
    storage = load_config(loaded(tmp_path, SOUND)).config.storage
    config = storage.timescaledb
    assert config.read_replicas == ("postgresql://reader:hunter2@db3/fleetwatch",)
    assert (config.narrow, config.head, config.pool) == (True, 30 * 60_000, 3)
    assert (config.spool.path, config.spool.size) == ("/var/spool/fleetwatch", 10 * 2**30)
    assert (config.statement_timeout, config.commit_delay) == (30_000, 1000)


def test_mistakes_are_named_without_passwords(tmp_path: Path) -> None:
    path = loaded(tmp_path, MISTAKEN)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [problem.removeprefix(f"{path}:") for problem in caught.value.problems] == [
        '2: storage.path: is not a URL of a database: invalid URI query parameter: "sslmod"',
        "5: storage.timescaledb.read_replicas[0]: must begin with postgresql://",
        "6: storage.timescaledb.read_replicas[1]: is not a URL of a database: end of string reached when looking for "
        'matching "]" in IPv6 host address in URI: "postgresql://u@[::1/fleetwatch"',
        "8: storage.timescaledb.spool.path: is empty: name a directory",
        "9: storage.timescaledb.spool.size: must be 1MiB at least",
        "10: storage.timescaledb.pool: is negative: 0 means two connections for each core",
        "11: storage.timescaledb.statement_timeout: must be longer than 0",
        "12: storage.timescaledb.narow: unknown key",
    ]


def test_what_is_shown_has_no_password(tmp_path: Path) -> None:
    shown = load_config(loaded(tmp_path, SOUND)).shown_yaml
    assert "hunter2" not in shown
    assert "postgresql://writer:<secret>@db1,db2:5433/fleetwatch?sslmode=require&password=<secret>" in shown
    assert "password_file: secrets/db" in shown


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://u:p@h:5432/d", "postgresql://u@h:5432/d"),
        ("postgresql://u:p%40@a:1,b:2/d?sslmode=require", "postgresql://u@a:1,b:2/d?sslmode=require"),
        ("postgresql://u:p@ss@h/d", "postgresql://u@h/d"),
        ("postgresql://u@h/d?password=p", "postgresql://u@h/d"),
        ("postgres://u@h/d?password=p&sslpassword=q&sslmode=require", "postgres://u@h/d?sslmode=require"),
        ("postgresql://", "postgresql://"),
        ("data", "data"),
    ],
)
def test_a_dsn_is_shown_without_passwords(dsn: str, shown: str) -> None:
    assert shown_dsn(dsn) == shown


@pytest.mark.parametrize("dsn", ["postgresql://u@h/d", "postgresql://u:old@h/d?sslmode=require", "postgresql:///d"])
def test_a_password_of_any_kind_can_be_added(dsn: str) -> None:
    password = "a b&c=%/@'\"ü"
    assert conninfo_to_dict(with_password(dsn, password))["password"] == password
    assert shown_dsn(with_password(dsn, password)) == shown_dsn(dsn)


def test_only_urls_of_postgresql_are_dsns() -> None:
    assert is_dsn("postgresql://h/d")
    assert is_dsn("postgres://h/d")
    assert not is_dsn("postgresql/data")
    assert not is_dsn("host=h dbname=d")


def test_the_documentation_names_every_key() -> None:
    text = (Path(__file__).parents[2] / "docs" / "config.md").read_text()
    keys = {key for struct in (TimescaleConfig, SpoolConfig) for key in struct.__struct_encode_fields__}
    assert [key for key in keys if not re.search(rf"[`.]{key}[`.]", text)] == []


def test_the_password_is_in_a_file_beside_the_config(tmp_path: Path) -> None:
    path = loaded(tmp_path, SOUND)
    storage = load_config(path).config.storage
    with pytest.raises(StartError, match=r"secrets/db: No such file or directory; set storage.timescaledb.password_"):
        database_dsn(storage, tmp_path, storage.path)
    with pytest.raises(ConfigError, match=rf"yml:4: storage.timescaledb.password_file: there is no file {tmp_path}"):
        check_config(path)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "db").write_text("s3cret\n")
    check_config(path)
    place = store_place(storage, tmp_path, "0.0.0.0:9091")
    assert conninfo_to_dict(place.spec)["password"] == "s3cret"
    assert place.directory == Path("/var/spool/fleetwatch/9091")


def test_the_command_line_overrides_the_path(tmp_path: Path) -> None:
    storage = load_config(loaded(tmp_path, "storage: {path: data}\n")).config.storage
    assert store_place(storage, tmp_path, ":9090").directory == tmp_path / "data"
    assert store_place(storage, tmp_path, ":9090", "elsewhere").spec == "elsewhere"
    place = store_place(storage, tmp_path, ":9090", "postgresql://h/d")
    assert (place.is_database, place.spec, place.directory) == (True, "postgresql://h/d", tmp_path / "spool" / "9090")


def test_a_database_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    storage = load_config(loaded(tmp_path, "storage: {path: 'postgresql://u:hunter2@127.0.0.1:1/d'}\n")).config.storage
    place = store_place(storage, tmp_path, ":9090")
    with pytest.raises(StoreOpenError) as caught:
        open_configured(storage, place, tmp_path)
    assert "127.0.0.1" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert not isinstance(caught.value, psycopg.Error)
