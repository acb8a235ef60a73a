"""`fleetwatch db migrate`."""

from typing import Any

import psycopg

from tsdb.errors import StoreOpenError
from tsdb.timescale.migrate import SCHEMA_VERSION, connect, migrate, shortcomings
from tsdb.timescale.tools.inspection import one_line


def run_migrate(dsn: str) -> dict[str, Any]:
    """Bring the schema of a database up to date. Raises StoreOpenError with the remedy."""
    try:
        server = migrate(dsn)
        with connect(dsn) as connection:
            missing = shortcomings(connection, server)
    except psycopg.OperationalError as error:
        raise StoreOpenError(f"the database cannot be reached: {one_line(error)}") from error
    result: dict[str, Any] = {
        "database": server.database,
        "server": server.described(),
        "schema_version": SCHEMA_VERSION,
    }
    if missing:
        result["missing"] = " ".join(missing)
    return result
