"""`fleetwatch db view`."""

from typing import Any

import psycopg

from tsdb.errors import StoreError
from tsdb.timescale.migrate import check_schema, connect
from tsdb.timescale.tools.inspection import one_line

_CREATE = "SELECT fleetwatch.create_metric_view(%s, %s)"


def run_view(dsn: str, metric: str, name: str | None) -> dict[str, Any]:
    """Make a view of a metric, or make it anew with the labels of now. Raises StoreOpenError, StoreError."""
    try:
        with connect(dsn) as connection:
            check_schema(connection)
            row = connection.execute(_CREATE, [metric, name]).fetchone()
    except psycopg.Error as error:
        raise StoreError(f"no view of {metric}: {error.diag.message_primary or one_line(error)}") from error
    return {"view": f"fleetwatch.{row[0] if row else ''}"}
