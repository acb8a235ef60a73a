"""What is wrong around a database that works: settings, rights, versions, what nobody does. Each finding has a remedy.

A remedy is a command for a shell or, where it has semicolons, for psql as the database's administrator.
"""

from collections.abc import Iterator

import psycopg

from tsdb.timescale import roles
from tsdb.timescale.editions import Server
from tsdb.timescale.tools.findings import Finding
from tsdb.timescale.tools.inspection import row_of
from tsdb.timescale.tools.settings import setting_findings
from tsdb.timescale.tools.spools import SpoolFound
from tsdb.timescale.tools.status import Status

_CLOCK_TOLERANCE_S = 1.0
# A window lasts two hours, and is sealed some minutes after its end.
_LONGEST_WAIT_S = 3 * 3600.0
_WRITERS_QUIET_S = 15 * 60.0
_TRANSACTION_S = 3600
_SPOOLED_S = 5 * 60.0
_REPLICA_BEHIND_S = 30.0

_USER = """
SELECT current_user::text,
       rolsuper,
       coalesce((SELECT bool_or(pg_has_role(oid, 'USAGE')) FROM pg_roles WHERE rolname = ANY(%s)), false)
FROM pg_roles WHERE rolname = current_user
"""

_UPDATE = """
SELECT installed_version, default_version FROM pg_available_extensions
WHERE name = 'timescaledb' AND installed_version <> default_version
"""

_LONG_TRANSACTIONS = """
SELECT pid, coalesce(usename::text, '?'), extract(epoch FROM now() - xact_start)::int FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
  AND xact_start < now() - make_interval(secs => %s)
"""

_INVALID_INDEXES = """
SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
WHERE NOT indisvalid AND relnamespace = 'fleetwatch_data'::regnamespace
"""

_SLOW_COMPRESSION = """
SELECT attrelid::regclass::text, attname::text FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'fleetwatch_data'::regnamespace AND NOT relispartition AND relkind IN ('r', 'p')
  AND attcompression = 'p'
"""

_FAILED_JOBS = """
SELECT job_id, hypertable_name::text FROM timescaledb_information.job_stats
WHERE hypertable_schema = 'fleetwatch_data' AND last_run_status = 'Failed'
"""

_REPLICA = """
SELECT pg_is_in_recovery(),
       coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0)::float8,
       pg_last_wal_receive_lsn() IS DISTINCT FROM pg_last_wal_replay_lsn()
"""


def examine(connection: psycopg.Connection, status: Status, server: Server, shown: str) -> Iterator[Finding]:
    """What is wrong with a database whose status is known; `shown` names it in commands. Raises psycopg.Error."""
    yield from setting_findings(connection, server)
    yield from _rights(connection, shown)
    yield from _versions(connection, server)
    yield from _objects(connection, server)
    for pid, user, seconds in connection.execute(_LONG_TRANSACTIONS, [_TRANSACTION_S]):
        fault = f"a transaction of user {user} has been open for {seconds} s: nothing that was deleted since is freed"
        yield Finding(fault, f"SELECT pg_terminate_backend({pid});")
    if abs(status.clock_ahead_s) > _CLOCK_TOLERANCE_S:
        fault = f"the clocks of this host and of the database differ by {abs(status.clock_ahead_s):.1f} s"
        yield Finding(fault, "timedatectl set-ntp true    # on both")
    if status.unsealed_s is not None and status.unsealed_s > _LONGEST_WAIT_S:
        fault = f"scrapes have waited for {status.unsealed_s / 3600:.1f} h to be sealed: no process keeps up"
        yield Finding(fault, f"fleetwatch db compact --storage.path '{shown}'")
    quiet_s = min([(status.now_ms - writer.seen_ms) / 1000 for writer in status.writers], default=0.0)
    if quiet_s > _WRITERS_QUIET_S:
        fault = f"no process has written for {quiet_s / 60:.0f} min"
        yield Finding(
            fault, "fleetwatch scraper --config.file FILE    # or see why it does not: journalctl -u fleetwatch"
        )


def examine_spools(spools: list[SpoolFound], now_ms: int) -> Iterator[Finding]:
    """What waits on this host and should not."""
    for spool in spools:
        if not spool.records or spool.oldest_ms is None:
            continue
        if spool.locked_by is None:
            fault = f"{spool.bytes:,} bytes wait in {spool.directory}, which no process has"
            port = spool.directory.rsplit("/", 1)[-1]
            yield Finding(fault, f"fleetwatch server --config.file FILE --web.listen-address localhost:{port}")
        elif now_ms - spool.oldest_ms > _SPOOLED_S * 1000:
            minutes = (now_ms - spool.oldest_ms) / 60_000
            fault = (
                f"{spool.bytes:,} bytes wait in {spool.directory} since {minutes:.0f} min: process {spool.locked_by}"
            )
            yield Finding(f"{fault} cannot write to the database", "journalctl -u fleetwatch -n 50")


def examine_replica(connection: psycopg.Connection, shown: str) -> Iterator[Finding]:
    """Whether a read replica is one, and follows."""
    is_replica, behind_s, has_more = row_of(connection, _REPLICA)
    if not is_replica:
        yield Finding(f"{shown} is no replica, but takes writes itself", "# name it in storage.path, or remove it")
    elif has_more and behind_s > _REPLICA_BEHIND_S:
        yield Finding(f"{shown} is {behind_s:.0f} s behind", "SELECT * FROM pg_stat_replication;    -- on the primary")


def _rights(connection: psycopg.Connection, shown: str) -> Iterator[Finding]:
    user, is_superuser, may_write = row_of(connection, _USER, [roles.OWNER, roles.WRITER])
    if roles.missing_roles(connection):
        for sentence in roles.missing_rights(connection):
            yield Finding(sentence, f"fleetwatch db migrate --storage.path '{shown}'    # with such a user in the URL")
    if is_superuser:
        yield Finding(
            f"{user} is a superuser, which Fleetwatch's processes need not be: put another user into storage.path",
            f"CREATE ROLE fleetwatch_server LOGIN PASSWORD '...' IN ROLE {roles.WRITER};",
        )
    elif not may_write:
        yield Finding(f"user {user} may not write", f"GRANT {roles.WRITER} TO {user};")


def _versions(connection: psycopg.Connection, server: Server) -> Iterator[Finding]:
    for installed, available in connection.execute(_UPDATE):
        yield Finding(
            f"the server has TimescaleDB {available}, database {server.database} still {installed}",
            f"psql -X -d {server.database} -c 'ALTER EXTENSION timescaledb UPDATE'",
        )


def _objects(connection: psycopg.Connection, server: Server) -> Iterator[Finding]:
    for (index,) in connection.execute(_INVALID_INDEXES):
        yield Finding(f"index {index} is not valid", f"REINDEX INDEX {index};")
    if server.has_lz4:
        for table, column in connection.execute(_SLOW_COMPRESSION):
            fault = f"{table}.{column} is compressed with pglz, though the server has lz4, which is four times as fast"
            yield Finding(fault, f"ALTER TABLE {table} ALTER {column} SET COMPRESSION lz4;")
    if server.edition == "community":
        for job, table in connection.execute(_FAILED_JOBS):
            fault = f"TimescaleDB's job {job} on {table} failed: see timescaledb_information.job_errors"
            yield Finding(fault, f"CALL run_job({job});")
