"""`fleetwatch db move`."""

import contextlib
import time
from pathlib import Path
from typing import Any

import psycopg

from fleetwatch.db.places import Place
from fleetwatch.db.progress import count_bar
from tsdb.embedded.tools.inspection import lock_holder, refuse_without_store
from tsdb.errors import StoreError, StoreLockedError
from tsdb.timescale.connections import Connections
from tsdb.timescale.migrate import migrate
from tsdb.timescale.tools.inspection import one_line
from tsdb.timescale.tools.move import SampleMover
from tsdb.timescale.tools.move_rest import move_rest
from tsdb.timescale.tools.move_rollups import move_rollups
from tsdb.timescale.tools.move_source import MoveSource


def run_move(directory: Path, place: Place) -> dict[str, Any]:
    """Copy an embedded store into a database; how much of it is there then. Raises StoreError."""
    dsn = place.dsn("name the database second, or give --config.file")
    refuse_without_store(directory)
    if (holder := lock_holder(directory)) is not None:
        raise StoreLockedError(
            f"{directory} is in use by process {holder}: stop it, or copy what `fleetwatch db backup` makes of it"
        )
    started = time.monotonic()
    try:
        migrate(dsn)
        with (
            contextlib.closing(MoveSource(directory)) as source,
            contextlib.closing(Connections(dsn, size=1)) as connections,
        ):
            with count_bar("Copying samples") as report:
                moved = SampleMover(source, connections).run(report)
            with count_bar("Copying roll-ups") as report:
                rollup_days = move_rollups(source, connections, report)
            with count_bar("Copying logs") as report:
                rest = move_rest(source, connections, report)
    except psycopg.Error as error:
        raise StoreError(
            f"the database {place.shown} did not take it: {one_line(error)}; what was copied stays, and the same "
            "command goes on from there"
        ) from error
    return {
        "series": moved.series,
        "samples": moved.samples,
        "too_old": moved.too_old,
        "rollup_days": rollup_days,
        "servers": rest.servers,
        "logs": rest.logs,
        "exemplars": rest.exemplars,
        "seconds": round(time.monotonic() - started, 1),
    }
