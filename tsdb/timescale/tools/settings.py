"""The settings of PostgreSQL and TimescaleDB that matter to Fleetwatch, against what it needs of them."""

from collections.abc import Iterator

import psycopg

from tsdb.timescale.editions import Server
from tsdb.timescale.tools.findings import Finding
from tsdb.timescale.tools.inspection import row_of

_RELOAD = "SELECT pg_reload_conf();"
_RESTART = "-- then restart PostgreSQL"

_NAMES = """
SELECT name, setting FROM pg_settings WHERE name IN (
    'autovacuum', 'fsync', 'full_page_writes', 'jit', 'max_connections', 'max_locks_per_transaction',
    'max_parallel_workers', 'max_prepared_transactions', 'max_worker_processes', 'shared_buffers', 'synchronous_commit',
    'timescaledb.max_background_workers', 'timescaledb.telemetry_level', 'track_counts')
UNION ALL SELECT 'timescaledb.telemetry_level', current_setting('timescaledb.telemetry_level', true)
"""

_USED = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
       (SELECT count(*) FROM fleetwatch_data.parts),
       (SELECT coalesce(sum(pg_indexes_size(part)), 0)::bigint FROM fleetwatch_data.parts
        WHERE from_time <= now() AND now() < to_time)
"""

# Locks that a part takes of a statement on all of them: its own, its indexes' and its TOAST table's.
_LOCKS_OF_A_PART = 4
# TimescaleDB's own advice for what it and PostgreSQL need beside the workers.
_WORKERS_BESIDE = 3
_PAGE_BYTES = 8192

_HAVE_TO_BE_ON = {
    "fsync": "a power cut can destroy the database",
    "full_page_writes": "a power cut can destroy the database",
    "synchronous_commit": "a crash of the server loses samples that were acknowledged",
    "autovacuum": "tables grow without end",
    "track_counts": "autovacuum does not know what to do",
}


def setting_findings(connection: psycopg.Connection, server: Server) -> Iterator[Finding]:
    """What should be set otherwise. Raises psycopg.Error."""
    settings = {name: value for name, value in connection.execute(_NAMES) if value is not None}
    for name, consequence in _HAVE_TO_BE_ON.items():
        if settings[name] == "off":
            yield Finding(f"{name} is off: {consequence}", f"ALTER SYSTEM SET {name} = on; {_RELOAD}")
    if settings.get("timescaledb.telemetry_level", "off") != "off":
        remedy = f"ALTER SYSTEM SET timescaledb.telemetry_level = off; {_RELOAD}"
        yield Finding("TimescaleDB reports to its makers over the internet", remedy)
    if settings["jit"] == "on":
        fault = "just-in-time compilation is on, and takes seconds before SQL over many series begins"
        yield Finding(fault, f'ALTER DATABASE "{server.database}" SET jit = off;')
    numbers = {name: int(value) for name, value in settings.items() if value.isdigit()}
    connections, parts, hot_index_bytes = row_of(connection, _USED)
    yield from _workers(numbers, server)
    yield from _locks(numbers, parts)
    yield from _buffers(numbers["shared_buffers"] * _PAGE_BYTES, hot_index_bytes)
    if connections > 0.8 * numbers["max_connections"]:
        fault = f"{connections} of {numbers['max_connections']} connections (max_connections) are in use"
        yield Finding(fault, f"ALTER SYSTEM SET max_connections = {2 * numbers['max_connections']}; {_RESTART}")


def _workers(numbers: dict[str, int], server: Server) -> Iterator[Finding]:
    if not server.has_hypertables:
        return
    background = numbers.get("timescaledb.max_background_workers", 16)
    needed = _WORKERS_BESIDE + background + numbers["max_parallel_workers"]
    if numbers["max_worker_processes"] < needed:
        yield Finding(
            f"max_worker_processes is {numbers['max_worker_processes']}, less than max_parallel_workers and "
            f"timescaledb.max_background_workers need together with {_WORKERS_BESIDE} others",
            f"ALTER SYSTEM SET max_worker_processes = {needed}; {_RESTART}",
        )


def _locks(numbers: dict[str, int], parts: int) -> Iterator[Finding]:
    users = numbers["max_connections"] + numbers["max_prepared_transactions"]
    if numbers["max_locks_per_transaction"] * users < _LOCKS_OF_A_PART * parts:
        needed = max(256, 2 * _LOCKS_OF_A_PART * parts // users)
        yield Finding(
            f"max_locks_per_transaction is {numbers['max_locks_per_transaction']}, too few for {parts:,} parts of "
            "tables: a backup or a query of a long time can fail",
            f"ALTER SYSTEM SET max_locks_per_transaction = {needed}; {_RESTART}",
        )


def _buffers(buffers_bytes: int, hot_index_bytes: int) -> Iterator[Finding]:
    if hot_index_bytes > buffers_bytes // 2:
        megabytes = 4 * hot_index_bytes >> 20
        yield Finding(
            f"the indexes of what is written now take {hot_index_bytes >> 20:,} MB, shared_buffers has "
            f"{buffers_bytes >> 20:,} MB: writing waits for the disk",
            f"ALTER SYSTEM SET shared_buffers = '{megabytes}MB'; {_RESTART}",
        )
