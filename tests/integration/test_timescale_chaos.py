"""Whatever happens to the database and to the processes around it: what was scraped is there afterwards, once.

FLEETWATCH_CHAOS_ROUNDS says how often each thing happens; more of them take longer.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests.disks import fill
from tests.fleetwatch_process import eventually, free_port
from tests.integration.counting_targets import CountingTargets, counting_targets
from tests.integration.test_parts import part
from tests.postgres import PostgresServer, running
from tests.tsdb.timescale.databases import maintaining as maintaining_here
from tests.tsdb.timescale.sequences import (
    EVERYTHING_MS,
    RECOVERY_S,
    Writer,
    check,
    finish,
    found,
    maintaining,
    reading,
    writing,
)
from tsdb.timescale.block_rows import WINDOW_MS
from tsdb.timescale.migrate import migrate
from tsdb.timescale.tools.spools import find_spools

ROUNDS = int(os.environ.get("FLEETWATCH_CHAOS_ROUNDS", "2"))
CHANCE = random.Random(int(os.environ.get("FLEETWATCH_CHAOS_SEED", "1")))

SCRAPER_CONFIG = """\
global: {{scrape_interval: 250ms}}
scrape_configs:
- job_name: {name}
  metrics_path: /{name}
  static_configs: [{{targets: ['127.0.0.1:{port}']}}]
storage:
  path: {dsn}
"""

# The most scrapes of a target that are not sealed.
UNSEALED = """
SELECT coalesce(max(scrapes), 0) FROM (SELECT count(*) FROM fleetwatch_data.journal GROUP BY target_id) AS of (scrapes)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that the tests do anything to."""
    with running("timescale") as server:
        yield server


@pytest.fixture
def dsn(server: PostgresServer) -> Iterator[str]:
    """Of a database with the tables in it."""
    dsn = server.create_database()
    migrate(dsn)
    yield dsn
    server.drop_database(dsn)


def some_time(longest_s: float) -> None:
    """Nothing tells of the moments at which things are to happen: any of them will do."""
    time.sleep(CHANCE.uniform(0, longest_s))


def killed(server: PostgresServer, writers: list[Writer]) -> None:
    server.kill9()
    for writer in writers:
        writer.goes_on()
    server.start()
    some_time(2)


def restarted(server: PostgresServer, _: list[Writer]) -> None:
    server.restart("immediate")
    some_time(2)


def disconnected(server: PostgresServer, writers: list[Writer]) -> None:
    for _ in range(20):
        server.drop_connections()
        some_time(0.1)
    for writer in writers:
        writer.goes_on()


@pytest.mark.parametrize("hurt", [killed, restarted, disconnected])
def test_a_database_that_is_hurt_while_processes_write(
    server: PostgresServer, dsn: str, tmp_path: Path, hurt: Callable[[PostgresServer, list[Writer]], None]
) -> None:
    """Two of them, a third that maintains it, and a fourth that follows them in its head."""
    with (
        writing(dsn, tmp_path) as writers,
        maintaining(dsn) as (maintainer,),
        reading(dsn, tmp_path / "following", head=True) as following,
    ):
        for _ in range(ROUNDS):
            hurt(server, writers)
        eventually(lambda: maintainer.sealed, bool, RECOVERY_S)
        finish(writers)
        assert check(writers, tmp_path / "reading", following) > 0


def test_scrapers_whose_database_is_killed(tmp_path: Path) -> None:
    with running("postgres") as server, counting_targets() as targets, ExitStack() as stack:
        dsn = server.create_database()
        migrate(dsn)
        for name in ("one", "two"):
            (tmp_path / f"{name}.yml").write_text(SCRAPER_CONFIG.format(name=name, port=targets.port, dsn=dsn))
            address = f"127.0.0.1:{free_port()}"
            arguments = ("scraper", "--config.file", f"{name}.yml", "--web.listen-address", address)
            stack.enter_context(part(*arguments, cwd=tmp_path))
        for _ in range(ROUNDS):
            wait_for_scrapes(targets, 4)
            server.kill9()
            wait_for_scrapes(targets, 4)
            server.start()
        eventually(
            lambda: [spool.records for spool in find_spools(tmp_path / "spool")],
            lambda records: records == [0, 0],
            RECOVERY_S,
        )
        # They end by themselves, with everything stored.
        stack.close()
        check_scrapes(dsn, targets)


def wait_for_scrapes(targets: CountingTargets, count: int) -> None:
    """So many more of each target."""
    goal = {path: targets.served[path] + count for path in ("/one", "/two")}
    eventually(
        lambda: dict(targets.served), lambda served: all(served.get(path, 0) >= n for path, n in goal.items()), 30
    )


def check_scrapes(dsn: str, targets: CountingTargets) -> None:
    """Each number that was served is there once, but for scrapes that say themselves that they got none."""
    with psycopg.connect(dsn) as connection:
        query = "SELECT labels ->> 'job', value FROM fleetwatch.samples('-infinity', 'infinity') WHERE metric = %s"
        numbers = connection.execute(query, ("scrape_number",)).fetchall()
        ups = connection.execute(query, ("up",)).fetchall()
    for path, served in targets.served.items():
        stored = sorted(value for job, value in numbers if f"/{job}" == path)
        assert len(stored) == len(set(stored)) == sum(value for job, value in ups if f"/{job}" == path)
        failed = sum(1 for job, value in ups if f"/{job}" == path and not value)
        assert len(set(range(1, served + 1)) - set(stored)) <= failed
        assert served - failed > 8


def test_a_full_disk(tmp_path: Path) -> None:
    with running("timescale", {"max_wal_size": "32MB", "min_wal_size": "32MB", "wal_keep_size": "0"}, "200m") as server:
        dsn = server.create_database()
        migrate(dsn)
        with writing(dsn, tmp_path, series=50) as writers:
            for _ in range(ROUNDS):
                fill(server.directory / "ballast")
                for writer in writers:
                    eventually(writer.waiting, lambda records: records > 5, RECOVERY_S)
                    writer.goes_on()
                (server.directory / "ballast").unlink()
                for writer in writers:
                    eventually(writer.waiting, lambda records: records == 0, RECOVERY_S)
            finish(writers)
            assert "No space left on device" in server.log()
            check(writers, tmp_path / "reading")


def test_failover_to_a_standby(tmp_path: Path) -> None:
    """One without which nothing is committed: it has all that was acknowledged."""
    with running("timescale") as primary:
        name = primary.create_database().rpartition("/")[2]
        migrate(primary.dsn(name))
        with primary.standby() as standby:
            primary.configure(synchronous_standby_names="standby")
            dsn = f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/{name}"
            with (
                writing(dsn, tmp_path) as writers,
                maintaining(dsn) as (maintainer,),
                reading(dsn, tmp_path / "following", head=True) as following,
            ):
                eventually(lambda: maintainer.sealed, bool, RECOVERY_S)
                primary.kill9()
                for writer in writers:
                    writer.goes_on()
                standby.promote()
                for writer in writers:
                    writer.goes_on()
                finish(writers)
                check(writers, tmp_path / "reading", following)


def test_processes_killed_while_they_seal(dsn: str, tmp_path: Path) -> None:
    with writing(dsn, tmp_path, targets=20, step_ms=300_000) as writers:
        sealed = 0
        for _ in range(2 * ROUNDS):
            with maintaining(dsn, 2, settle_s=0.3) as maintainers:
                some_time(0.5)
                for maintainer in maintainers:
                    maintainer.kill()
                    sealed += maintainer.sealed
        assert sealed > 0
        finish(writers)
        check(writers, tmp_path / "reading")
        with maintaining_here(dsn) as maintenance:
            maintenance.run(EVERYTHING_MS)
            assert maintenance.figures()["maintenance_failures_total"] == 0
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT count(*) FROM fleetwatch_data.journal").fetchall() == [(0,)]
        check(writers, tmp_path / "reading")


def test_writers_killed_with_a_full_spool(server: PostgresServer, dsn: str, tmp_path: Path) -> None:
    with writing(dsn, tmp_path) as writers:
        for _ in range(ROUNDS):
            server.stop("immediate")
            for writer in writers:
                eventually(writer.waiting, lambda records: records > 30, RECOVERY_S)
            # They start without their database.
            killed_and_started(writers)
            server.start()
            # In the middle of the replay, mostly.
            some_time(1.5)
            killed_and_started(writers)
        finish(writers)
        check(writers, tmp_path / "reading")


def killed_and_started(writers: list[Writer]) -> None:
    for writer in writers:
        writer.kill()
        writer.start()
    for writer in writers:
        writer.goes_on()


def test_two_maintain_while_others_write_and_read(server: PostgresServer, dsn: str, tmp_path: Path) -> None:
    """At 70,000 samples/s, twice those of a thousand servers: without a deadlock, and without falling behind."""
    load = {"targets": 5, "series": 500, "tick_s": 0.0714, "step_ms": 240_000, "commit_delay_s": 0.2}
    with ExitStack() as stack:
        writers = stack.enter_context(writing(dsn, tmp_path, 2, **load))
        maintainers = stack.enter_context(maintaining(dsn, 2, settle_s=0.3))
        reader = stack.enter_context(reading(dsn, tmp_path / "reading", head=False))
        connection = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        unsealed = []
        deadline = time.monotonic() + 3 * ROUNDS
        while time.monotonic() < deadline:
            acknowledged = {target: set(numbers) for one in writers for target, numbers in one.acknowledged.items()}
            there = found(reader)
            for target, numbers in acknowledged.items():
                assert numbers - {value for _, value in there[target, "0"]} == set()
            unsealed.append(connection.execute(UNSEALED).fetchall()[0][0])
        finish(writers)
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert connection.execute(deadlocks).fetchall() == [(0,)]
        assert "deadlock" not in server.log()
        assert [maintainer.failed for maintainer in maintainers] == [0, 0]
        check(writers, tmp_path / "checking")
        assert max(unsealed) < 3 * WINDOW_MS // load["step_ms"], unsealed
