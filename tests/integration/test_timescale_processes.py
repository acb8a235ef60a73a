"""Several processes over one database, as users of no special rights: what one scrapes, another answers."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.fleetwatch_process import eventually, free_port
from tests.integration.test_parts import fetch, part
from tests.postgres import PostgresServer, running
from tsdb.timescale.migrate import migrate
from tsdb.timescale.tools.spools import find_spools

pytest_plugins = ["tests.databases"]

PASSWORD = "a b:c@d/e%f"

CONFIG = """\
global: {{scrape_interval: 500ms}}
scrape_configs:
- job_name: {job}
  static_configs: [{{targets: ['127.0.0.1:{port}']}}]
storage:
  path: {dsn}
  timescaledb:
    password_file: password
"""


@pytest.fixture
def dsn(timescale_server: PostgresServer) -> Iterator[str]:
    """Of a database with the tables in it, for a user who may only write rows; the password is not in it."""
    server = timescale_server
    superuser = server.create_database()
    server.sql("CREATE EXTENSION timescaledb", dsn=superuser)
    migrate(superuser)
    server.sql("DROP ROLE IF EXISTS process_user")
    server.sql(f"CREATE ROLE process_user LOGIN PASSWORD '{PASSWORD}' IN ROLE fleetwatch_writer")
    yield superuser.replace("postgres@", "process_user@")
    server.drop_database(superuser)


def answer(port: int, expr: str) -> dict[str, float]:
    """By job the value of a query."""
    found = json.loads(fetch(f"http://127.0.0.1:{port}/api/v1/query?query={quote(expr)}"))["data"]["result"]
    return {series["metric"]["job"]: float(series["value"][1]) for series in found}


def test_two_scrapers_and_a_server(dsn: str, tmp_path: Path) -> None:
    ports = {"one": free_port(), "two": free_port(), "server": free_port()}
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    for job in ("one", "two"):
        (tmp_path / f"{job}.yml").write_text(CONFIG.format(job=job, port=ports[job], dsn=dsn))
    with ExitStack() as stack:
        for command, name, config in (
            ("scraper", "one", "one"),
            ("scraper", "two", "two"),
            ("server", "server", "one"),
        ):
            address = f"127.0.0.1:{ports[name]}"
            arguments = (command, "--config.file", f"{config}.yml", "--web.listen-address", address)
            stack.enter_context(part(*arguments, cwd=tmp_path))
        eventually(lambda: answer(ports["server"], "up"), lambda up: up == {"one": 1, "two": 1}, 30)
        # From the scrape to the answer of another process: about a second, when this machine has nothing else to do.
        eventually(lambda: answer(ports["server"], "time() - timestamp(up)"), lambda ages: max(ages.values()) < 2, 30)
        # A scraper answers too, from the database.
        eventually(lambda: answer(ports["one"], "count_over_time(up[1m])"), lambda counts: counts.get("two", 0) > 1, 30)
        shown = fetch(f"http://127.0.0.1:{ports['server']}/api/v1/status/config")
        assert "password_file" in shown
        assert PASSWORD not in shown
    assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == sorted(map(str, ports.values()))


def test_a_scraper_starts_without_its_database(tmp_path: Path) -> None:
    port = free_port()
    with running("postgres") as server:
        dsn = server.create_database()
        migrate(dsn)
        (tmp_path / "password").write_text("unused")
        (tmp_path / "one.yml").write_text(CONFIG.format(job="one", port=port, dsn=dsn))
        server.stop()
        with part("scraper", "--config.file", "one.yml", "--web.listen-address", f"127.0.0.1:{port}", cwd=tmp_path):
            spools = tmp_path / "spool"
            eventually(lambda: find_spools(spools), lambda found: bool(found) and found[0].records >= 2, 30)
            started = time.time()
            server.start()
            query = "SELECT extract(epoch FROM min(time))::float8 FROM fleetwatch_data.journal"
            ((first,),) = eventually(lambda: server.sql(query, dsn=dsn), lambda rows: rows[0][0] is not None, 30)
            assert first < started
            eventually(lambda: find_spools(spools)[0].records, lambda records: records == 0, 30)
